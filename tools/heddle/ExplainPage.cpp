// The page of `heddle explain --html`. Everything is in one file: its content policy allows the one style
// sheet, by its hash, and nothing else, so that no name of a model can become a script or fetch anything.
#include "ir/Sha256.h"
#include "tools/heddle/Explanation.h"
#include "llvm/Support/Base64.h"
#include "llvm/Support/FormatVariadic.h"
#include <algorithm>
#include <map>

namespace heddle::cli {

namespace {
constexpr const char *kStyle = R"css(
:root{color-scheme:light dark;--paper:#fbfaf7;--card:#fff;--ink:#1d2126;--soft:#646c76;--line:#e3e0d9;--accent:#8a3b12;
--product:#2f6db5;--attention:#c2571a;--rows:#2f8a5b;--add:#e5f4e9;--addink:#14572f;--cut:#fbe9e6;--cutink:#8c2318}
@media (prefers-color-scheme:dark){:root{--paper:#15181c;--card:#1d2126;--ink:#e6e3dc;--soft:#9aa3ad;--line:#31373e;--accent:#f0a06a;
--product:#74a9e6;--attention:#ef9455;--rows:#6fc596;--add:#16311f;--addink:#a3dfb7;--cut:#3a1d1a;--cutink:#f2b1a8}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1120px;margin:0 auto;padding:2.2rem 1.2rem 4rem}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 .3rem;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:2.8rem 0 .4rem}
h3{font-size:1rem;margin:0}
p{margin:.3rem 0 .9rem;max-width:72ch}
.soft,.note,figcaption{color:var(--soft)}
code,pre,.kernel,.mono{font:12.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
nav{display:flex;flex-wrap:wrap;gap:.4rem 1.1rem;margin:.8rem 0 0}
a{color:var(--accent);text-decoration:none}a:hover{text-decoration:underline}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(148px,1fr));gap:.7rem;margin:1.4rem 0 0;padding:0}
.facts div{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:.65rem .85rem}
.facts dt{color:var(--soft);font-size:.8rem}.facts dd{margin:0;font-size:1.2rem;font-variant-numeric:tabular-nums}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;margin:.9rem 0;overflow:hidden}
.card>header{display:flex;flex-wrap:wrap;gap:.2rem .8rem;align-items:baseline;padding:.65rem .9rem;border-bottom:1px solid var(--line)}
.times{color:var(--accent);font-weight:600}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.42rem .9rem;vertical-align:top;border-top:1px solid var(--line)}
thead th{border-top:0;color:var(--soft);font-weight:500;font-size:.8rem}
tbody tr:first-child td{border-top:0}
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums}
.kernel{display:inline-block;position:relative;padding-left:1.15em;overflow-wrap:anywhere}
.kernel::before{content:"";position:absolute;left:0;top:.42em;width:.68em;height:.68em;border-radius:2px;background:var(--soft)}
.legend .kernel{height:1em}.card table{table-layout:fixed}.card th:nth-child(1){width:29%}.card th:nth-child(2){width:19%}.card th:nth-child(3){width:19%}.card th:nth-child(6){width:13%}
#decisions th:nth-child(1){width:10%}#decisions th:nth-child(2){width:30%}#decisions th:nth-child(3){width:40%}
.contraction .kernel::before{background:var(--product)}.attention .kernel::before{background:var(--attention)}.rows .kernel::before{background:var(--rows)}
.chip{display:inline-block;border:1px solid var(--line);border-radius:99px;padding:0 .5em;margin:0 .25em .2em 0;font-size:.82rem;overflow-wrap:anywhere}
tr.barrier td{border-top:1px dashed var(--accent)}
.legend{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;font-size:.85rem;color:var(--soft)}
.legend .barrier{border-top:1px dashed var(--accent)}
figure{margin:.9rem 0;background:var(--card);border:1px solid var(--line);border-radius:10px;padding:.9rem}
figcaption{font-size:.85rem;margin-bottom:.5rem}
svg{display:block;width:100%;height:auto}
svg text{fill:var(--soft);font-size:11px}
.f-contraction{fill:var(--product)}.f-attention{fill:var(--attention)}.f-rows{fill:var(--rows)}
.grid{stroke:var(--line)}
details{border-top:1px solid var(--line)}details:first-child{border-top:0}
summary{cursor:pointer;padding:.5rem .9rem;display:flex;flex-wrap:wrap;gap:.2rem .9rem;align-items:baseline}
summary::-webkit-details-marker{display:none}
summary::before{content:"\25b8";color:var(--soft);width:.8em}details[open]>summary::before{content:"\25be"}
.plus{color:var(--addink)}.minus{color:var(--cutink)}
.ir{overflow-x:auto;border-top:1px solid var(--line);padding:.4rem 0}
.ir pre{margin:0;min-width:max-content;padding:0 .9rem}
.ir pre span{display:block;margin:0 -.9rem;padding:0 .9rem}
.ir .a{background:var(--add);color:var(--addink)}.ir .r{background:var(--cut);color:var(--cutink)}
.ir .f{color:var(--accent)}.ir i{color:var(--soft);font-style:normal}
.ir details{border:0}.ir summary{padding:.1rem .9rem;color:var(--soft);font-size:.82rem}
footer{margin-top:3rem;color:var(--soft);font-size:.85rem}
@media (max-width:720px){main{padding:1.3rem .8rem 3rem}h1{font-size:1.45rem}
thead{display:none}tr{display:block;padding:.5rem .9rem;border-top:1px solid var(--line)}tbody tr:first-child{border-top:0}
td{display:block;border:0;padding:.06rem 0}td:empty{display:none}td.number:not(:empty){display:inline-block;margin-right:1.1em;padding:0;text-align:left}
td[data-is]::before{content:attr(data-is) " ";color:var(--soft);font-size:.8rem}
tr.barrier{border-top:1px dashed var(--accent)}tr.barrier td{border-top:0}
figure{overflow-x:auto}svg{min-width:860px}figcaption{position:sticky;left:0}}
@media print{details{display:block}body{background:#fff}}
)css";

std::string escape(llvm::StringRef text) {
  std::string out;
  for (char c : printable(text.str()))
    switch (c) {
    case '&':
      out += "&amp;";
      break;
    case '<':
      out += "&lt;";
      break;
    case '>':
      out += "&gt;";
      break;
    case '"':
      out += "&quot;";
      break;
    case '\'':
      out += "&#39;";
      break;
    default:
      out += c;
    }
  return out;
}

std::string bytes(int64_t count) { return formatBytes(static_cast<uint64_t>(count)); }

// "1.2 M"
std::string amount(int64_t count) {
  if (count == 0)
    return "";
  if (count < 1000)
    return std::to_string(count);
  return count < 1000000 ? llvm::formatv("{0:f1} k", count / 1e3).str()
                         : llvm::formatv("{0:f1} M", count / 1e6).str();
}

class Page {
public:
  explicit Page(const Explanation &explanation) : explanation(explanation) {}

  std::string make() {
    Sha256 hash;
    hash.update({reinterpret_cast<const uint8_t *>(kStyle), std::strlen(kStyle)});
    auto digest = hash.final();
    std::string policy = "default-src 'none'; style-src 'sha256-" + llvm::encodeBase64(digest) +
                         "'; base-uri 'none'; form-action 'none'";
    html += "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
            "<meta http-equiv=\"Content-Security-Policy\" content=\"" +
            policy +
            "\">\n<meta name=\"referrer\" content=\"no-referrer\">\n"
            "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>" +
            escape(explanation.name) + " explained by Heddle</title>\n<style>" + kStyle +
            "</style></head>\n<body><main>\n";
    header();
    for (size_t number = 0; number < explanation.variants.size(); ++number)
      variant(explanation.variants[number], number);
    decisions();
    passes();
    html += "<footer>Made by <code>heddle explain --html</code>. This page holds no script and fetches "
            "nothing.</footer>\n</main></body></html>\n";
    return std::move(html);
  }

private:
  void fact(llvm::StringRef name, llvm::StringRef value) {
    html += "<div><dt>" + escape(name) + "</dt><dd>" + escape(value) + "</dd></div>";
  }

  void header() {
    html += "<header><h1>" + escape(explanation.name) + "</h1><p class=\"soft\">" +
            escape(explanation.architecture) + ": what the compiler makes of this model, and why.</p><nav>";
    for (size_t number = 0; number < explanation.variants.size(); ++number)
      html += "<a href=\"#variant-" + std::to_string(number) + "\">" +
              escape(explanation.variants[number].name) + "</a>";
    html += "<a href=\"#decisions\">Decisions</a><a href=\"#passes\">IR, pass by pass</a></nav></header>\n"
            "<dl class=\"facts\">";
    fact("weights in the file", bytes(explanation.sourceBytes));
    if (explanation.maxContext)
      fact("context", std::to_string(explanation.maxContext) + " tokens");
    if (explanation.cacheBytesPerSequence)
      fact("KV cache per sequence", bytes(explanation.cacheBytesPerSequence));
    fact("rows of one step", "up to " + std::to_string(explanation.maxChunk));
    fact("kernels", std::to_string(explanation.kernels));
    size_t launches = 0;
    for (const VariantNote &variant : explanation.variants)
      launches += variant.launches.size();
    fact("launches",
         std::to_string(launches) + " in " + std::to_string(explanation.variants.size()) + " variants");
    html += "</dl>\n";
  }

  void variant(const VariantNote &variant, size_t number) {
    size_t barriers = 0;
    for (const LaunchNote &launch : variant.launches)
      barriers += launch.barrier;
    html += "<section id=\"variant-" + std::to_string(number) + "\"><h2>" + escape(variant.name) +
            "</h2><p>" + std::to_string(variant.launches.size()) + " launches with " +
            std::to_string(barriers) + " barriers; intermediate results live in an arena of " +
            bytes(variant.arenaBytes) +
            ". Each row is a kernel and the source nodes that were fused into it.</p>\n"
            "<div class=\"legend\"><span class=\"contraction\"><span class=\"kernel\"></span>matrix "
            "products</span><span class=\"attention\"><span class=\"kernel\"></span>attention</span><span "
            "class=\"rows\"><span class=\"kernel\"></span>work on rows</span><span class=\"barrier\">all "
            "threads meet before</span></div>\n";
    for (const LayerGroup &group : groupLayers(variant.launches))
      card(variant, group);
    layerChart(variant);
    memoryChart(variant);
    html += "</section>\n";
  }

  void card(const VariantNote &variant, const LayerGroup &group) {
    int64_t weights = 0;
    for (size_t at = group.begin; at < group.begin + group.launches; ++at)
      weights += variant.launches[at].weightBytes;
    html += "<article class=\"card\"><header><h3>" + escape(group.title) + "</h3>";
    if (group.count > 1)
      html += "<span class=\"times\">" + std::to_string(group.count) + " times the same</span>";
    html += "<span class=\"soft\">" + std::to_string(group.launches) +
            (group.launches == 1 ? " launch, " : " launches, ") + bytes(weights) + " of weights" +
            (group.count > 1 ? " each" : "") +
            "</span></header><table><thead><tr><th>kernel</th><th>source nodes</th><th>precision</th>"
            "<th class=\"number\">weights</th><th class=\"number\">bytes per row</th>"
            "<th class=\"number\">multiply-adds</th></tr></thead><tbody>";
    for (size_t at = group.begin; at < group.begin + group.launches; ++at) {
      const LaunchNote &launch = variant.launches[at];
      html += "<tr class=\"" + launch.family + (launch.barrier ? " barrier" : "") +
              "\"><td><span class=\"kernel\">" + escape(launch.kernel) + "</span></td><td>";
      for (const std::string &source : launch.sources)
        html += "<span class=\"chip mono\">" + escape(group.count > 1 ? withoutLayer(source) : source) +
                "</span>";
      html += "</td><td>" + escape(launch.precision) + "<div class=\"note\">" + escape(launch.why) +
              "</div></td>";
      std::string products = amount(launch.multiplyAdds);
      if (launch.multiplyAddsPerToken)
        products = amount(launch.multiplyAddsPerToken) + " per token seen";
      cell("weights", launch.weightBytes ? bytes(launch.weightBytes) : "");
      cell("bytes per row", bytes(launch.bytesPerRow));
      cell("multiply-adds", products);
      html += "</tr>";
    }
    html += "</tbody></table></article>\n";
  }

  void cell(llvm::StringRef what, const std::string &value) {
    if (value.empty())
      html += "<td class=\"number\"></td>";
    else
      html += "<td class=\"number\" data-is=\"" + what.str() + "\">" + value + "</td>";
  }

  // Bytes of weights that each layer reads, by family.
  void layerChart(const VariantNote &variant) {
    std::map<int, int64_t> layers;
    for (const LaunchNote &launch : variant.launches)
      if (launch.layer >= 0)
        layers[launch.layer] += launch.weightBytes;
    if (layers.size() < 2 || layers.size() > 400)
      return;
    int64_t most = 1;
    for (auto [layer, count] : layers)
      most = std::max(most, count);
    double step = 960.0 / layers.size();
    html +=
        "<figure><figcaption>Weights that each layer reads in a step; the highest bar is " + bytes(most) +
        "</figcaption><svg viewBox=\"0 0 960 130\" role=\"img\" aria-label=\"bytes of weights by layer\">";
    size_t number = 0;
    for (auto [layer, count] : layers) {
      double height = 100.0 * count / most, x = number * step;
      html += llvm::formatv("<rect class=\"f-contraction\" x=\"{0:f1}\" y=\"{1:f1}\" width=\"{2:f1}\" "
                            "height=\"{3:f1}\"><title>layer {4}: {5}</title></rect>",
                            x + step * 0.1, 105 - height, step * 0.8, height, layer, bytes(count))
                  .str();
      if (number % std::max<size_t>(1, layers.size() / 16) == 0)
        html += llvm::formatv("<text x=\"{0:f1}\" y=\"122\">{1}</text>", x + step * 0.1, layer).str();
      ++number;
    }
    html += "</svg></figure>\n";
  }

  // The arena over time: a rectangle from the launch that makes a result to the last one that reads it.
  void memoryChart(const VariantNote &variant) {
    constexpr size_t most = 64;
    size_t shown = std::min(variant.launches.size(), most);
    if (shown < 2 || variant.arenaBytes <= 0)
      return;
    int64_t top =
        1; // of what is shown: the largest results, as of logits, are often those of the last launches
    for (size_t at = 0; at < shown; ++at)
      for (const LaunchNote::Buffer &buffer : variant.launches[at].buffers)
        top = std::max(top, buffer.offset + buffer.bytes);
    constexpr double left = 70; // of the boxes; sizes stand beside them
    const double step = (960 - left) / shown, scale = 200.0 / top;
    html += "<figure><figcaption>The plan of memory: launches ";
    if (shown < variant.launches.size())
      html += "(the first " + std::to_string(shown) + " of " + std::to_string(variant.launches.size()) + ") ";
    html += "from left to right, the arena from bottom to top";
    if (top < variant.arenaBytes)
      html += " (" + bytes(top) + " of its " + bytes(variant.arenaBytes) + ")";
    html += ". A box is an intermediate result while it is needed.</figcaption><svg viewBox=\"0 0 960 236\" "
            "role=\"img\" aria-label=\"plan of memory\">";
    for (int line = 0; line <= 4; ++line)
      html += llvm::formatv("<line class=\"grid\" x1=\"{0}\" x2=\"960\" y1=\"{1}\" y2=\"{1}\"/>"
                            "<text x=\"{2}\" y=\"{3}\" text-anchor=\"end\">{4}</text>",
                            left, 215 - 50 * line, left - 6, 219 - 50 * line, bytes(top * line / 4))
                  .str();
    for (size_t at = 0; at < shown; ++at) {
      const LaunchNote &launch = variant.launches[at];
      for (const LaunchNote::Buffer &buffer : launch.buffers) {
        double height = std::max(1.5, buffer.bytes * scale);
        html += llvm::formatv(
                    "<rect class=\"f-{0}\" fill-opacity=\"0.75\" rx=\"2\" x=\"{1:f1}\" y=\"{2:f1}\" "
                    "width=\"{3:f1}\" height=\"{4:f1}\"><title>{5} ({6})\n{7} at {8}</title></rect>",
                    launch.family, left + at * step + 1, 215 - buffer.offset * scale - height,
                    (std::min(buffer.lastUse, shown - 1) - at + 1) * step - 2, height, escape(launch.kernel),
                    escape(launch.sources.front()), bytes(buffer.bytes), buffer.offset)
                    .str();
      }
    }
    html += llvm::formatv("<text x=\"{0}\" y=\"232\">launch 0</text>", left).str() +
            "<text x=\"960\" y=\"232\" text-anchor=\"end\">launch " + std::to_string(shown - 1) +
            "</text></svg></figure>\n";
  }

  // Equal decisions about equal nodes of many layers are one line.
  void decisions() {
    struct Line {
      std::string kind, source, reason, first;
      size_t count = 0;
      int64_t cost = 0;
    };
    std::vector<std::pair<std::string, std::vector<Line>>> byPass;
    for (const DecisionNote &decision : explanation.decisions) {
      auto pass = std::find_if(byPass.begin(), byPass.end(),
                               [&](const auto &entry) { return entry.first == decision.pass; });
      if (pass == byPass.end())
        pass = byPass.insert(byPass.end(), {decision.pass, {}});
      std::string source = withoutLayer(decision.source), reason = withoutLayer(decision.reason);
      auto line = std::find_if(pass->second.begin(), pass->second.end(), [&](const Line &known) {
        return known.source == source && known.reason == reason && known.kind == decision.kind;
      });
      if (line == pass->second.end())
        line = pass->second.insert(line, {decision.kind, source, reason, decision.source, 0, 0});
      ++line->count;
      line->cost += decision.cost;
    }
    html +=
        "<section id=\"decisions\"><h2>Decisions</h2><p>What each pass decided, with its reason. Lines for "
        "equal nodes of several layers are one, with <code>*</code> for the layer.</p><div class=\"card\">";
    for (const auto &[pass, lines] : byPass) {
      html += "<details><summary><code>" + escape(pass) + "</code><span class=\"soft\">" +
              std::to_string(lines.size()) +
              " kinds of decisions</span></summary><table><thead><tr><th>"
              "decision</th><th>source node</th><th>reason</th><th class=\"number\">times</th>"
              "<th class=\"number\">bytes</th></tr></thead><tbody>";
      for (const Line &line : lines) {
        html += "<tr><td>" + escape(line.kind) + "</td><td class=\"mono\">" +
                escape(line.count > 1 ? line.source : line.first) + "</td><td>" + escape(line.reason) +
                "</td>";
        cell("times", std::to_string(line.count));
        cell("bytes", line.cost ? bytes(line.cost) : "");
        html += "</tr>";
      }
      html += "</tbody></table></details>";
    }
    html += "</div></section>\n";
  }

  // Most lines are as they were: without an element each, a page of many passes opens at once.
  void line(const char *kind, const char *sign, const IrLine &line) {
    bool folded = llvm::StringRef(line.text).ltrim().starts_with("...");
    bool plain = !folded && !*kind;
    if (!plain)
      html += std::string("<span class=\"") + (folded ? "f " : "") + kind + "\">";
    html += std::string(sign) + " " + escape(line.text);
    if (!line.note.empty())
      html += " <i>" + escape(line.note) + "</i>";
    html += plain ? "\n" : "</span>";
  }

  void listing(const std::vector<IrLine> &lines) {
    html += "<div class=\"ir\"><pre>";
    for (const IrLine &item : lines)
      line("", " ", item);
    html += "</pre></div>";
  }

  // What changed, with a few lines around it; the rest is folded.
  void difference(const std::vector<DiffLine> &steps) {
    constexpr size_t around = 2;
    html += "<div class=\"ir\">";
    for (size_t at = 0; at < steps.size();) {
      size_t end = at;
      while (end < steps.size() && steps[end].kind == DiffLine::Same)
        ++end;
      size_t head = at == 0 ? 0 : std::min(around, end - at);
      size_t tail = end == steps.size() ? 0 : std::min(around, end - at - head);
      html += "<pre>";
      for (size_t step = at; step < at + head; ++step)
        line("", " ", *steps[step].line);
      html += "</pre>";
      if (size_t hidden = end - at - head - tail) {
        html += "<details><summary>" + std::to_string(hidden) + " lines as before</summary><pre>";
        for (size_t step = at + head; step < end - tail; ++step)
          line("", " ", *steps[step].line);
        html += "</pre></details>";
      }
      html += "<pre>";
      for (size_t step = end - tail; step < end; ++step)
        line("", " ", *steps[step].line);
      for (at = end; at < steps.size() && steps[at].kind != DiffLine::Same; ++at)
        line(steps[at].kind == DiffLine::Added ? "a" : "r", steps[at].kind == DiffLine::Added ? "+" : "-",
             *steps[at].line);
      html += "</pre>";
    }
    html += "</div>";
  }

  void passes() {
    html +=
        "<section id=\"passes\"><h2>IR, pass by pass</h2><p>The module as imported, then what each pass "
        "changed. Numbers of values and places in the arena do not count as changes; layers that are alike "
        "are shown once.</p><div class=\"card\">";
    for (size_t number = 0; number < explanation.passes.size(); ++number) {
      const PassNote &pass = explanation.passes[number];
      if (number == 0) {
        html += "<details><summary><code>" + escape(pass.name) + "</code><span class=\"soft\">" +
                std::to_string(pass.lines.size()) + " lines</span></summary>";
        listing(pass.lines);
        html += "</details>";
        continue;
      }
      std::vector<DiffLine> steps = compareIr(explanation.passes[number - 1].lines, pass.lines);
      size_t added = 0, removed = 0;
      for (const DiffLine &step : steps) {
        added += step.kind == DiffLine::Added;
        removed += step.kind == DiffLine::Removed;
      }
      html += "<details><summary><code>" + escape(pass.name) + "</code>";
      if (added + removed == 0) {
        html += "<span class=\"soft\">nothing to do</span></summary></details>";
        continue;
      }
      html += "<span class=\"plus\">+" + std::to_string(added) + "</span><span class=\"minus\">-" +
              std::to_string(removed) + "</span></summary>";
      difference(steps);
      html += "</details>";
    }
    html += "</div></section>\n";
  }

  const Explanation &explanation;
  std::string html;
};
} // namespace

std::string explainPage(const Explanation &explanation) { return Page(explanation).make(); }

} // namespace heddle::cli

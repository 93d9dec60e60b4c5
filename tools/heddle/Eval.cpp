#include "tools/heddle/Generation.h"
#include "tools/heddle/Metrics.h"
#include "tools/heddle/Tensor.h"
#include "tools/heddle/Text.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"
#include <algorithm>
#include <cmath>

namespace heddle::cli {

namespace {
struct EvalVerb {
  RunOptions run;
  Format format = Format::Text;
  std::string text, input, expected, output, maxError;
  uint32_t stride = 0, chunk = 0, context = 0, prefill = 0;
  bool stepByStep = false;
};

constexpr uint64_t kLargestText = uint64_t(1) << 30;

struct Evaluation {
  ModelPtr model;
  TeamPtr team;
  SessionPtr session;
  heddle_model_info info;
  heddle_entry_info entry;
  uint32_t context, first, chunk; // tokens of the first step, and of those after it

  explicit Evaluation(const EvalVerb &verb) : model(openToRun(verb.run)) {
    info = modelInfo(model.get());
    entry = entryOfKind(model.get(), HEDDLE_ENTRY_STEP, verb.run.file);
    team = makeTeam(verb.run.threads);
    context = verb.context ? std::min(verb.context, info.max_context) : info.max_context;
    chunk = std::min({verb.chunk ? verb.chunk : info.max_rows, info.max_rows, info.max_wanted});
    if (verb.stepByStep || verb.prefill)
      chunk = 1;
    first = verb.prefill ? std::min({verb.prefill, info.max_rows, info.max_wanted}) : chunk;
    auto options = sized<heddle_session_options>();
    options.team = team.get();
    options.context = context;
    options.rows = options.wanted = std::max(first, chunk);
    session = makeSession(model.get(), options);
  }
};

int perplexity(const EvalVerb &verb) {
  Evaluation eval(verb);
  Text text(eval.model.get(), verb.run.file);
  std::vector<int32_t> ids = text.encode(readFile(verb.text, kLargestText), HEDDLE_TEXT_ENCODE_SPECIAL);
  if (ids.size() < 2)
    fail(ExitUsage, printable(verb.text) + ": has " + std::to_string(ids.size()) +
                        " tokens; perplexity needs at least 2");
  // Windows of the whole context, each `stride` after the one before; a token is scored once, with the most
  // context.
  uint32_t stride = verb.stride ? std::min(verb.stride, eval.context) : eval.context;
  double loss = 0;
  size_t scored = 0;
  Sequence sequence(eval.session.get(), eval.entry.name, eval.info.vocabulary);
  size_t scoredTo = 0; // tokens below this index have their score
  for (size_t begin = 0; scoredTo + 1 < ids.size(); begin += stride) {
    size_t end = std::min(ids.size(), begin + eval.context);
    sequence.clear();
    for (size_t at = begin; at < end; at += eval.chunk) {
      size_t count = std::min<size_t>(eval.chunk, end - at);
      const float *rows = sequence.step({ids.data() + at, count}, count);
      for (size_t row = 0; row < count; ++row) {
        size_t next = at + row + 1; // the token that this row predicts
        if (next <= scoredTo || next >= ids.size() || next >= end)
          continue;
        const float *logits = rows + row * eval.info.vocabulary;
        loss += logSumExp(logits, eval.info.vocabulary) - logits[ids[next]];
        ++scored;
      }
    }
    scoredTo = std::max(scoredTo, end - 1);
    if (end == ids.size())
      break;
  }
  double mean = loss / static_cast<double>(scored);
  if (verb.format == Format::Json) {
    llvm::json::OStream json(llvm::outs(), 2);
    json.object([&] {
      json.attribute("perplexity", std::exp(mean));
      json.attribute("mean_loss_nats", mean);
      json.attribute("tokens", static_cast<int64_t>(ids.size()));
      json.attribute("scored_tokens", static_cast<int64_t>(scored));
      json.attribute("context_tokens", eval.context);
      json.attribute("stride_tokens", stride);
      json.attribute("chunk_tokens", eval.chunk);
    });
    llvm::outs() << "\n";
  } else {
    std::printf(
        "perplexity %.4f over %zu of %zu tokens (mean loss %.5f nats; context %u, stride %u, chunks of %u)\n",
        std::exp(mean), scored, ids.size(), mean, eval.context, stride, eval.chunk);
  }
  return ExitOk;
}

// "kl=0.01"; nothing: no bound.
std::optional<double> klBound(const std::string &text) {
  if (text.empty())
    return std::nullopt;
  char *end = nullptr;
  double value = text.rfind("kl=", 0) == 0 ? std::strtod(text.c_str() + 3, &end) : -1;
  if (!end || *end || !(value >= 0))
    fail(ExitUsage, "--max-error of eval takes kl=NATS, but found '" + printable(text) + "'");
  return value;
}

int compareLogits(const EvalVerb &verb) {
  auto [inputName, inputValue] = splitBinding(verb.input, "--input");
  if (inputName != "tokens")
    fail(ExitUsage, "eval takes --input tokens=..., but found '" + printable(inputName) + "'");
  Tensor tokens = parseTensor(inputValue, inputName, nullptr);
  Evaluation eval(verb);
  size_t vocabulary = eval.info.vocabulary;
  if (tokens.shape.size() != 1 || tokens.count() == 0)
    fail(ExitUsage,
         "tokens: expected one dimension with at least one id, but found " + shapeText(tokens.shape));
  std::vector<int32_t> ids;
  for (int64_t index = 0; index < tokens.count(); ++index) {
    double id = tokens.at(index);
    if (!(id >= 0 && id < eval.info.vocabulary && id == std::floor(id)))
      fail(ExitUsage,
           "tokens: element " + std::to_string(index) + " is not an id below " + std::to_string(vocabulary));
    ids.push_back(static_cast<int32_t>(id));
  }
  if (ids.size() > eval.context)
    fail(ExitResourceLimit, "tokens: " + std::to_string(ids.size()) + " ids, but the context has room for " +
                                std::to_string(eval.context));
  std::vector<int64_t> shape = {static_cast<int64_t>(ids.size()), static_cast<int64_t>(vocabulary)};
  Tensor reference, logits;
  if (!verb.expected.empty()) {
    auto [name, value] = splitBinding(verb.expected, "--expected");
    reference = parseTensor(value, name, nullptr);
    if (name != "logits" || reference.type != HEDDLE_DTYPE_F32 || reference.shape != shape)
      fail(ExitUsage, "--expected takes logits=..., f32 " + shapeText(shape) + ", but found " +
                          printable(name) + ", " + dtypeName(reference.type) + " " +
                          shapeText(reference.shape));
  }
  if (!verb.output.empty()) {
    logits.shape = shape;
    logits.allocate();
  }
  std::optional<double> bound = klBound(verb.maxError);
  Sequence sequence(eval.session.get(), eval.entry.name, eval.info.vocabulary);
  double sum = 0, most = 0;
  size_t agreed = 0;
  for (size_t at = 0, count; at < ids.size(); at += count) {
    count = std::min<size_t>(at ? eval.chunk : eval.first, ids.size() - at);
    const float *rows = sequence.step({ids.data() + at, count}, count);
    if (!verb.output.empty())
      std::memcpy(static_cast<float *>(logits.data()) + at * vocabulary, rows,
                  count * vocabulary * sizeof(float));
    for (size_t row = 0; row < count && !verb.expected.empty(); ++row) {
      const float *exact = static_cast<const float *>(reference.data()) + (at + row) * vocabulary;
      const float *actual = rows + row * vocabulary;
      double kl = divergence(exact, actual, vocabulary);
      sum += kl;
      most = std::isnan(kl) ? kl : std::max(most, kl);
      agreed += largest(exact, vocabulary) == largest(actual, vocabulary);
    }
  }
  if (!verb.output.empty()) {
    auto [name, value] = splitBinding(verb.output, "--output");
    if (name != "logits" || value.rfind("@", 0) != 0)
      fail(ExitUsage, "--output of eval takes logits=@FILE.npy, but found '" + printable(verb.output) + "'");
    writeNpy(value.substr(1), logits);
  }
  if (verb.expected.empty())
    return ExitOk;
  double mean = sum / static_cast<double>(ids.size()),
         top1 = static_cast<double>(agreed) / static_cast<double>(ids.size());
  if (verb.format == Format::Json) {
    llvm::json::OStream json(llvm::outs(), 2);
    json.object([&] {
      json.attribute("mean_kl_nats", mean);
      json.attribute("max_kl_nats", most);
      json.attribute("top1_agreement", top1);
      json.attribute("tokens", static_cast<int64_t>(ids.size()));
      json.attribute("chunk_tokens", eval.chunk);
    });
    llvm::outs() << "\n";
  } else {
    std::printf("mean KL %.6f nats, largest %.6f, top-1 agreement %.2f %% over %zu tokens in chunks of %u\n",
                mean, most, 100 * top1, ids.size(), eval.chunk);
  }
  if (bound && !(mean <= *bound))
    fail(ExitAccuracy,
         "mean KL " + std::to_string(mean) + " nats is above the bound of " + std::to_string(*bound));
  return ExitOk;
}
} // namespace

void addEval(CLI::App &app, Action &action) {
  auto *verb = app.add_subcommand("eval", "Perplexity of a text, or distance of logits from a reference");
  auto options = std::make_shared<EvalVerb>();
  addRunOptions(*verb, options->run);
  addFormatOption(*verb, options->format);
  verb->add_option("--text", options->text, "Perplexity of this text (-: standard input)")
      ->option_text("FILE");
  verb->add_option("--stride", options->stride, "Tokens between the starts of windows; default: the context")
      ->option_text("N");
  verb->add_option("--context", options->context, "Tokens in a window; default: the model's bound")
      ->option_text("N");
  verb->add_option("--chunk", options->chunk, "Tokens per step; default: the model's bound")
      ->option_text("N");
  verb->add_flag("--step-by-step", options->stepByStep, "One token per step, as in generation");
  verb->add_option("--prefill", options->prefill, "Tokens of the first step, with one per step after it")
      ->option_text("N");
  verb->add_option("--input", options->input, "Token ids to evaluate")->option_text("tokens=@IDS.npy");
  verb->add_option("--expected", options->expected, "Reference logits, f32 [tokens, vocabulary]")
      ->option_text("logits=@REF.npy");
  verb->add_option("--output", options->output, "Write the logits")->option_text("logits=@OUT.npy");
  verb->add_option("--max-error", options->maxError, "Exit 6 when the mean KL is larger")
      ->option_text("kl=NATS");
  verb->callback([&action, options] {
    action = [options] {
      bool text = !options->text.empty(), tensors = !options->input.empty();
      if (text == tensors)
        fail(ExitUsage, "eval takes either --text FILE or --input tokens=@IDS.npy");
      if (tensors && options->expected.empty() && options->output.empty())
        fail(ExitUsage, "eval --input needs --expected logits=@REF.npy or --output logits=@OUT.npy");
      return text ? perplexity(*options) : compareLogits(*options);
    };
  });
}

} // namespace heddle::cli

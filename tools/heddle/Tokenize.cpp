#include "tools/heddle/Text.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"
#include <charconv>

namespace heddle::cli {

namespace {
struct TokenizeOptions {
  std::string model, lines, text, format = "jsonl";
  bool special = false, parseSpecial = false, decode = false, strings = false;
};

constexpr uint64_t kLargestInput = uint64_t(1) << 30;

void printIds(const std::vector<int32_t> &ids) {
  llvm::outs() << '[';
  for (size_t index = 0; index < ids.size(); ++index)
    llvm::outs() << (index ? "," : "") << ids[index];
  llvm::outs() << "]\n";
}

void printPieces(const Text &text, const std::vector<int32_t> &ids) {
  for (int32_t id : ids) {
    size_t size = 0;
    const char *piece = heddle_text_token(text.get(), id, &size, nullptr);
    llvm::outs() << id << '\t' << printable({piece, size}) << '\n';
  }
}

// One line of input: as it is, or a JSON string when the lines are JSON.
std::string unwrap(std::string_view line, const TokenizeOptions &options, size_t number) {
  if (!options.strings)
    return std::string(line);
  auto value = llvm::json::parse(llvm::StringRef(line.data(), line.size()));
  auto string = value ? value->getAsString() : std::nullopt;
  if (!value)
    llvm::consumeError(value.takeError());
  if (!string)
    fail(ExitInvalidFile,
         printable(options.lines) + ": line " + std::to_string(number) + " is not a JSON string");
  return string->str();
}

void decodeLine(const Text &text, std::string_view line, const TokenizeOptions &options, size_t number) {
  TextStream stream(text, {}, HEDDLE_TEXT_SHOW_SPECIAL | HEDDLE_TEXT_RAW_BYTES);
  std::string out;
  for (const char *at = line.data(), *end = at + line.size(); at < end;) {
    if (*at == ' ' || *at == ',' || *at == '[' || *at == ']') {
      ++at;
      continue;
    }
    int32_t id = 0;
    auto [next, problem] = std::from_chars(at, end, id);
    if (problem != std::errc() || id < 0 || static_cast<uint32_t>(id) >= text.info().token_count)
      fail(ExitInvalidFile, printable(options.lines) + ": line " + std::to_string(number) +
                                ": expected token ids below " + std::to_string(text.info().token_count));
    out += stream.feed(id);
    at = next;
  }
  out += stream.end();
  if (options.strings)
    llvm::outs() << llvm::json::Value(llvm::json::fixUTF8(out)) << '\n';
  else
    llvm::outs() << out << '\n';
}

int tokenize(const TokenizeOptions &options) {
  ModelPtr model = openForInspection(options.model); // no code runs, so trust is not asked for
  Text text(model.get(), options.model);
  uint32_t flags = (options.special ? HEDDLE_TEXT_ENCODE_SPECIAL : 0u) |
                   (options.parseSpecial ? HEDDLE_TEXT_PARSE_SPECIAL : 0u);
  if (!options.lines.empty() == !options.text.empty())
    fail(ExitUsage, "tokenize takes either --file LINES or --text TEXT");
  auto one = [&](std::string_view line, size_t number) {
    if (options.decode)
      return decodeLine(text, line, options, number);
    std::vector<int32_t> ids = text.encode(unwrap(line, options, number), flags);
    options.format == "text" ? printPieces(text, ids) : printIds(ids);
  };
  if (!options.text.empty()) {
    one(options.text, 1);
    return ExitOk;
  }
  std::string content = readFile(options.lines, kLargestInput);
  std::string_view rest = content;
  for (size_t number = 1; !rest.empty(); ++number) {
    size_t end = rest.find('\n');
    one(rest.substr(0, end), number);
    rest.remove_prefix(end == rest.npos ? rest.size() : end + 1);
  }
  return ExitOk;
}
} // namespace

void addTokenize(CLI::App &app, Action &action) {
  auto *verb =
      app.add_subcommand("tokenize", "Text to token ids and back, with a compiled model's tokenizer");
  auto options = std::make_shared<TokenizeOptions>();
  verb->add_option("file", options->model, "Compiled model (.heddle)")->required()->option_text("FILE");
  verb->add_option("--file", options->lines, "Each line of this file (-: standard input) by itself")
      ->option_text("LINES");
  verb->add_option("--text", options->text, "This text")->option_text("TEXT");
  verb->add_option("--format", options->format,
                   "jsonl: an array of ids a line; text: an id and its piece a line")
      ->check(CLI::IsMember({"jsonl", "text"}))
      ->option_text("jsonl|text");
  verb->add_flag("--special", options->special,
                 "Add the ids that the model wants around a text, such as BOS");
  verb->add_flag("--parse-special", options->parseSpecial,
                 "Names of control tokens in the text become those tokens");
  verb->add_flag("--json-strings", options->strings,
                 "Lines of text are JSON strings, which may hold any character");
  verb->add_flag("--decode", options->decode, "The lines are arrays of ids; print their text");
  verb->callback([&action, options] { action = [options] { return tokenize(*options); }; });
}

} // namespace heddle::cli

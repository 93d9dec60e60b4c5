#include "tools/heddle/Generation.h"
#include "tools/heddle/Tensor.h"
#include "tools/heddle/Text.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"
#include <chrono>
#include <cmath>
#include <cstdio>
#include <unistd.h>

namespace heddle::cli {

namespace {
struct RunVerb {
  RunOptions run;
  Format format = Format::Text;
  std::string prompt, system, entry;
  bool chat = false, quiet = false;
  std::vector<std::string> stops, inputs, outputs, expected;
  uint32_t maxTokens = 256;
  uint32_t context = 0;
  double tolerance = 1e-3;
  heddle_sampler_options sampler = sized<heddle_sampler_options>();
};

using Clock = std::chrono::steady_clock;

double secondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

constexpr uint64_t kLargestPrompt = 256 << 20;

// TEXT, @file or - (standard input).
std::string promptText(const std::string &argument) {
  if (argument == "-")
    return readFile("-", kLargestPrompt);
  return argument.rfind("@", 0) == 0 ? readFile(argument.substr(1), kLargestPrompt) : argument;
}

// ESC and the like must not reach a terminal; a file or a pipe gets the model's text as it is.
void emitText(const std::string &piece) {
  static const bool terminal = isatty(STDOUT_FILENO);
  std::string shown = terminal ? printableText(piece) : piece;
  if (std::fwrite(shown.data(), 1, shown.size(), stdout) != shown.size() || std::fflush(stdout) != 0)
    fail(ExitInputOutput, "standard output cannot be written");
}

struct SamplerCloser {
  void operator()(heddle_sampler *sampler) const { heddle_sampler_destroy(sampler); }
};

int generate(const RunVerb &verb, heddle_model *model) {
  heddle_entry_info entry = entryOfKind(model, HEDDLE_ENTRY_STEP, verb.run.file);
  heddle_model_info info = modelInfo(model);
  Text text(model, verb.run.file);
  std::string prompt = promptText(verb.prompt);
  bool chat = verb.chat || !verb.system.empty();
  std::vector<int32_t> ids = chat ? text.encodeChat(promptText(verb.system), prompt)
                                  : text.encode(prompt, HEDDLE_TEXT_ENCODE_SPECIAL);
  if (ids.empty())
    fail(ExitUsage, "the prompt is empty; there is nothing to continue");
  uint32_t context = verb.context ? verb.context : info.max_context;
  if (ids.size() > context)
    fail(ExitResourceLimit, "the prompt has " + std::to_string(ids.size()) +
                                " tokens, but the context has room for " + std::to_string(context) +
                                "; compile with a larger --max-context or shorten the prompt");

  TeamPtr team = makeTeam(verb.run.threads);
  auto options = sized<heddle_session_options>();
  options.team = team.get();
  options.context = verb.context;
  options.wanted = 1;
  SessionPtr session = makeSession(model, options);
  heddle_sampler *samplerPointer = nullptr;
  char message[512] = "";
  checkText(heddle_sampler_create(&verb.sampler, info.vocabulary, &samplerPointer, message, sizeof message),
            message, "sampler");
  std::unique_ptr<heddle_sampler, SamplerCloser> sampler(samplerPointer);
  for (int32_t id : ids)
    heddle_sampler_accept(sampler.get(), id);

  Sequence sequence(session.get(), entry.name, info.vocabulary);
  auto start = Clock::now();
  const float *logits = sequence.prefill(ids, info.max_rows);
  double prefillSeconds = secondsSince(start);

  TextStream stream(text, verb.stops);
  std::string whole;
  auto show = [&](const std::string &piece) {
    whole += piece;
    if (verb.format == Format::Text && !piece.empty())
      emitText(piece);
  };
  const char *reason = "max_tokens";
  uint32_t generated = 0, steps = 0;
  start = Clock::now();
  double decodeSeconds = 0;
  while (generated < verb.maxTokens) {
    int32_t token = heddle_sampler_sample(sampler.get(), logits);
    heddle_sampler_accept(sampler.get(), token);
    ++generated;
    if (text.isStop(token)) {
      reason = "end_of_text";
      break;
    }
    show(stream.feed(token));
    if (stream.stopped()) {
      reason = "stop_string";
      break;
    }
    if (sequence.length() == context) {
      reason = "context_full";
      break;
    }
    if (generated < verb.maxTokens) {
      logits = sequence.step({&token, 1}, 1);
      ++steps;
    }
    decodeSeconds = secondsSince(start);
  }
  if (!stream.stopped())
    show(stream.end());

  double prefillRate = static_cast<double>(ids.size()) / prefillSeconds,
         decodeRate = steps ? steps / decodeSeconds : 0;
  if (verb.format == Format::Json) {
    llvm::json::OStream json(llvm::outs(), 2);
    json.object([&] {
      json.attribute("text", llvm::json::fixUTF8(whole));
      json.attribute("stop_reason", reason);
      json.attribute("prompt_tokens", static_cast<int64_t>(ids.size()));
      json.attribute("generated_tokens", generated);
      json.attribute("prefill_tokens_per_second", prefillRate);
      json.attribute("decode_tokens_per_second", decodeRate);
      json.attribute("threads", heddle_team_threads(team.get()));
    });
    llvm::outs() << "\n";
  } else {
    emitText("\n");
    if (!verb.quiet)
      std::fprintf(stderr,
                   "[%zu prompt tokens, %.1f tokens/s; %u generated, %.1f tokens/s; %u threads; %s]\n",
                   ids.size(), prefillRate, generated, decodeRate, heddle_team_threads(team.get()), reason);
  }
  return ExitOk;
}

// The embedding of one text; batches go through --input.
int embed(const RunVerb &verb, heddle_model *model, const heddle_entry_info &entry) {
  Text text(model, verb.run.file);
  std::vector<int32_t> ids = text.encode(promptText(verb.prompt), HEDDLE_TEXT_ENCODE_SPECIAL);
  heddle_model_info info = modelInfo(model);
  if (ids.size() > info.max_rows)
    fail(ExitResourceLimit,
         "the text has " + std::to_string(ids.size()) + " tokens, but the model was compiled for at most " +
             std::to_string(info.max_rows) + "; compile with a larger --max-chunk or shorten it");
  TeamPtr team = makeTeam(verb.run.threads);
  auto options = sized<heddle_session_options>();
  options.team = team.get();
  options.wanted = 1;
  SessionPtr session = makeSession(model, options);
  encodeText(session.get(), entry, ids);
  auto view = sized<heddle_view>();
  call("", heddle_session_output, session.get(), entry.name, 0u, &view);
  const float *values = static_cast<const float *>(view.data);
  if (verb.format == Format::Json) {
    llvm::json::OStream json(llvm::outs());
    json.object([&] {
      json.attributeArray("embedding", [&] {
        for (int64_t index = 0; index < view.dimension[1]; ++index)
          json.value(static_cast<double>(values[index]));
      });
      json.attribute("prompt_tokens", static_cast<int64_t>(ids.size()));
    });
    llvm::outs() << "\n";
  } else {
    for (int64_t index = 0; index < view.dimension[1]; ++index)
      std::printf("%.9g\n", static_cast<double>(values[index]));
  }
  return ExitOk;
}

// ---------------------------------------------------------------------------------------------------------------
// Named tensors

struct Io {
  uint32_t index;
  heddle_io_info info;
  Tensor tensor;
  bool given = false;
};

std::string ioNames(const std::vector<Io> &ios, bool outputs) {
  std::string names;
  for (const Io &io : ios)
    if (bool(io.info.is_output) == outputs)
      names += std::string(names.empty() ? "" : ", ") + printable(io.info.name);
  return names;
}

Io &findIo(std::vector<Io> &ios, const std::string &name, bool output) {
  for (Io &io : ios)
    if (bool(io.info.is_output) == output && name == io.info.name)
      return io;
  fail(ExitUsage, std::string("the model has no ") + (output ? "output" : "input") + " '" + printable(name) +
                      "'; it has " + ioNames(ios, output));
}

void checkInput(const Io &io) {
  std::string name = "input '" + printable(io.info.name) + "'";
  if (io.tensor.type != io.info.dtype)
    fail(ExitUsage,
         name + ": expected " + dtypeName(io.info.dtype) + ", but found " + dtypeName(io.tensor.type));
  if (io.tensor.shape.size() != io.info.rank)
    fail(ExitUsage, name + ": expected " + std::to_string(io.info.rank) + " dimensions, but found " +
                        shapeText(io.tensor.shape));
  for (uint32_t axis = 0; axis < io.info.rank; ++axis) {
    const heddle_dimension &bound = io.info.dimension[axis];
    int64_t size = io.tensor.shape[axis];
    if (size < bound.minimum || size > bound.maximum)
      fail(ExitUsage, name + ": dimension " + std::to_string(axis) + " is " + std::to_string(size) +
                          ", expected " + std::to_string(bound.minimum) + " to " +
                          std::to_string(bound.maximum));
  }
}

// A text entry's other inputs follow from its tokens: one sequence from position 0, all rows wanted.
void completeTextInputs(std::vector<Io> &ios) {
  Io &tokens = findIo(ios, "tokens", false);
  if (!tokens.given)
    return;
  for (Io &io : ios) {
    if (io.info.is_output || io.given || io.info.dtype != HEDDLE_DTYPE_I32 || io.info.rank != 1)
      continue;
    bool ascending =
        std::string_view(io.info.name) == "positions" || std::string_view(io.info.name) == "wanted";
    io.tensor.type = HEDDLE_DTYPE_I32;
    io.tensor.shape = tokens.tensor.shape;
    io.tensor.allocate();
    for (int64_t index = 0; index < io.tensor.count(); ++index)
      io.tensor.set(index, ascending ? static_cast<double>(index) : 0);
    io.given = true;
  }
}

// Prints what differs; true when all elements are within the tolerance.
bool compareTensors(const std::string &name, const Tensor &actual, const Tensor &expected, double tolerance) {
  if (actual.shape != expected.shape) {
    std::fprintf(stderr, "output '%s': expected shape %s, but found %s\n", printable(name).c_str(),
                 shapeText(expected.shape).c_str(), shapeText(actual.shape).c_str());
    return false;
  }
  double largest = 0, square = 0, reference = 0;
  int64_t worst = 0;
  for (int64_t index = 0; index < actual.count(); ++index) {
    double want = expected.at(index), difference = std::fabs(actual.at(index) - want);
    if (std::isnan(difference))
      difference = std::isnan(want) && std::isnan(actual.at(index)) ? 0 : HUGE_VAL;
    if (difference > largest)
      largest = difference, worst = index;
    square += difference * difference;
    reference += want * want;
  }
  double relative = square == 0 ? 0 : reference > 0 ? std::sqrt(square / reference) : HUGE_VAL;
  bool ok = relative <= tolerance;
  std::printf("output '%s': relative L2 %.3g (%s %.3g), largest difference %.3g at element %lld\n",
              printable(name).c_str(), relative, ok ? "within" : "above", tolerance, largest,
              static_cast<long long>(worst));
  return ok;
}

int runTensors(const RunVerb &verb, heddle_model *model) {
  auto entry = sized<heddle_entry_info>();
  call(verb.run.file, heddle_model_entry, model, verb.entry.empty() ? nullptr : verb.entry.c_str(), &entry);
  std::vector<Io> ios;
  for (uint32_t index = 0; index < entry.input_count + entry.output_count; ++index) {
    Io io{index, sized<heddle_io_info>(), {}};
    call(verb.run.file, heddle_model_entry_io, model, entry.name, index, &io.info);
    ios.push_back(std::move(io));
  }
  for (const std::string &argument : verb.inputs) {
    auto [name, value] = splitBinding(argument, "--input");
    Io &io = findIo(ios, name, false);
    Tensor like;
    like.type = io.info.dtype;
    for (uint32_t axis = 0; axis < io.info.rank; ++axis) {
      if (io.info.dimension[axis].minimum != io.info.dimension[axis].maximum &&
          value.rfind("random:", 0) == 0)
        fail(ExitUsage, "input '" + printable(name) +
                            "' has a dimension that varies; give a literal or a file instead of random data");
      like.shape.push_back(io.info.dimension[axis].maximum);
    }
    io.tensor = parseTensor(value, name, &like);
    io.given = true;
  }
  if (entry.kind != HEDDLE_ENTRY_TENSORS)
    completeTextInputs(ios);
  TeamPtr team = makeTeam(verb.run.threads);
  auto options = sized<heddle_session_options>();
  options.team = team.get();
  SessionPtr session = makeSession(model, options);
  for (Io &io : ios) {
    if (io.info.is_output)
      continue;
    if (!io.given)
      fail(ExitUsage, "input '" + printable(io.info.name) + "' is missing; give --input " +
                          printable(io.info.name) + "=...");
    checkInput(io);
    heddle_view view = io.tensor.view();
    call("", heddle_session_bind, session.get(), entry.name, io.index, &view);
  }
  call("", heddle_session_run, session.get(), entry.name);
  for (Io &io : ios) {
    if (!io.info.is_output)
      continue;
    auto view = sized<heddle_view>();
    call("", heddle_session_output, session.get(), entry.name, io.index - entry.input_count, &view);
    io.tensor.type = view.dtype;
    io.tensor.shape.assign(view.dimension, view.dimension + view.rank);
    io.tensor.allocate();
    std::memcpy(io.tensor.data(), view.data, io.tensor.bytes());
  }
  for (const std::string &argument : verb.outputs) {
    auto [name, value] = splitBinding(argument, "--output");
    if (value.rfind("@", 0) != 0)
      fail(ExitUsage, "--output takes NAME=@FILE.npy, but found '" + printable(argument) + "'");
    writeNpy(value.substr(1), findIo(ios, name, true).tensor);
  }
  bool matches = true;
  for (const std::string &argument : verb.expected) {
    auto [name, value] = splitBinding(argument, "--expected");
    matches = compareTensors(name, findIo(ios, name, true).tensor, parseTensor(value, name, nullptr),
                             verb.tolerance) &&
              matches;
  }
  if (verb.outputs.empty() && verb.expected.empty()) {
    for (Io &io : ios) {
      if (!io.info.is_output)
        continue;
      std::printf("%s=%sx%s=", printable(io.info.name).c_str(), shapeText(io.tensor.shape).c_str(),
                  dtypeName(io.tensor.type));
      for (int64_t index = 0; index < io.tensor.count(); ++index)
        std::printf("%s%.9g", index ? " " : "", io.tensor.at(index));
      std::printf("\n");
    }
  }
  return matches ? ExitOk : ExitMismatch;
}

int run(const RunVerb &verb) {
  ModelPtr model = openToRun(verb.run);
  bool tensors = !verb.inputs.empty() || !verb.outputs.empty() || !verb.expected.empty();
  if (tensors == !verb.prompt.empty())
    fail(ExitUsage, tensors ? "run takes either --prompt or --input, not both"
                            : "run needs --prompt TEXT for a text model, or --input NAME=VALUE for tensors");
  if (tensors)
    return runTensors(verb, model.get());
  heddle_model_info info = modelInfo(model.get());
  for (uint32_t index = 0; index < info.entry_count; ++index) {
    auto entry = sized<heddle_entry_info>();
    call(verb.run.file, heddle_model_entry_at, model.get(), index, &entry);
    if (entry.kind == HEDDLE_ENTRY_ENCODE)
      return embed(verb, model.get(), entry);
  }
  return generate(verb, model.get());
}
} // namespace

void addRun(CLI::App &app, Action &action) {
  auto *verb =
      app.add_subcommand("run", "Run a compiled model: generate text, embed a text, or compute tensors");
  auto options = std::make_shared<RunVerb>();
  addRunOptions(*verb, options->run);
  addFormatOption(*verb, options->format);
  verb->add_option("--prompt", options->prompt, "Text to continue, to answer (--chat) or to embed")
      ->option_text("TEXT|@FILE|-");
  verb->add_flag("--chat", options->chat, "The prompt is a user's message; use the model's chat template");
  verb->add_option("--system", options->system, "System message before it; implies --chat")
      ->option_text("TEXT|@FILE");
  verb->add_option("--stop", options->stops, "End before this text; may be repeated")->option_text("STRING");
  verb->add_option("--max-tokens", options->maxTokens, "Most tokens to generate (256)")->option_text("N");
  verb->add_option("--context", options->context,
                   "Tokens of prompt and answer to make room for; 0: the model's bound")
      ->option_text("N");
  verb->add_option("--temperature", options->sampler.temperature, "0: always the most likely token (default)")
      ->check(CLI::Range(0.0, 100.0))
      ->option_text("T");
  verb->add_option("--top-k", options->sampler.top_k, "Sample among the k most likely")->option_text("K");
  verb->add_option("--top-p", options->sampler.top_p, "Sample among the fewest that reach this probability")
      ->check(CLI::Range(0.0, 1.0))
      ->option_text("P");
  verb->add_option("--min-p", options->sampler.min_p, "Drop those below this share of the most likely")
      ->check(CLI::Range(0.0, 1.0))
      ->option_text("P");
  verb->add_option("--repetition-penalty", options->sampler.repetition_penalty,
                   "Make recent tokens less likely")
      ->check(CLI::Range(0.0, 100.0))
      ->option_text("R");
  verb->add_option("--seed", options->sampler.seed, "Seed of the sampler (0)")->option_text("N");
  verb->add_flag("--quiet", options->quiet, "No statistics on stderr");
  verb->add_option("--entry", options->entry, "Entry to run with --input; default: the first")
      ->option_text("NAME");
  verb->add_option("--input", options->inputs, "2x3xf32=1 2 3 4 5 6, @file.npy or random:SEED")
      ->option_text("NAME=VALUE");
  verb->add_option("--output", options->outputs, "Write an output to a .npy file")->option_text("NAME=@FILE");
  verb->add_option("--expected", options->expected, "Compare an output; exit 1 when it differs")
      ->option_text("NAME=VALUE");
  verb->add_option("--tolerance", options->tolerance, "Largest relative L2 difference for --expected (0.001)")
      ->option_text("E");
  for (auto *option : {verb->get_option("--stop"), verb->get_option("--input"), verb->get_option("--output"),
                       verb->get_option("--expected")})
    option->allow_extra_args(false);
  verb->callback([&action, options] { action = [options] { return run(*options); }; });
}

} // namespace heddle::cli

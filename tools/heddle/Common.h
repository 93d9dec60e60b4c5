// What the verbs of the `heddle` command share: exit codes, failures, output formats, opening models.
#ifndef HEDDLE_TOOLS_COMMON_H
#define HEDDLE_TOOLS_COMMON_H

#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstring>
#include <functional>
#include <heddle/runtime.h>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace heddle::cli {

enum Exit {
  ExitOk = 0,
  ExitMismatch = 1,
  ExitUsage = 2,
  ExitInvalidFile = 3,
  ExitUnsupported = 4,
  ExitResourceLimit = 5,
  ExitAccuracy = 6,
  ExitNotTrusted = 7,
  ExitInternal = 70,
  ExitInputOutput = 74,
  ExitInterrupted = 130
};

// Thrown by a verb; main prints the message and returns the code.
struct Failure {
  Exit code;
  std::string message;
};

[[noreturn]] void fail(Exit code, std::string message);

// Zeroed, with struct_size set, as the C API wants its structs.
template <typename T> T sized() {
  T value;
  std::memset(&value, 0, sizeof value);
  value.struct_size = sizeof value;
  return value;
}

// Throws the failure that `status` stands for; `context` (a file name) comes before the library's message.
void check(heddle_status status, const heddle_error &error, const std::string &context = {});

// Calls a function of the C API whose last argument is the error, and checks what it returns.
template <typename Function, typename... Arguments>
void call(const std::string &context, Function function, Arguments... arguments) {
  auto error = sized<heddle_error>();
  heddle_status status = function(arguments..., &error);
  check(status, error, context);
}

// Text that came from a file, for a terminal or a log: control bytes and invalid UTF-8 become \xNN.
std::string printable(std::string_view text);
// The same, but what is legal in running text (line breaks, tabs) stays.
std::string printableText(std::string_view text);

std::string formatBytes(uint64_t bytes);
std::string hex(const uint8_t *bytes, size_t count);

// Results go to stdout in one of two forms.
enum class Format { Text, Json };
void addFormatOption(CLI::App &app, Format &format);

// Options of the verbs that execute a model.
struct RunOptions {
  std::string file;
  std::string device = "cpu";
  std::string cpu;   // code level to use at most: v3, v3-vnni, v4-vnni, v4-amx
  std::string trust; // sha256:...
  unsigned threads = 0;
  std::string maxMemory;
  bool map = false;
  bool perfMap = false;
  bool gdb = false;
  // Not options: set by verbs.
  uint32_t features = 0;                        // HEDDLE_CPU_* that code may use instead of those of `cpu`
  const struct heddle_driver *driver = nullptr; // instead of the device's own
};
void addRunOptions(CLI::App &app, RunOptions &options);

// "512", "64k", "2M", "1.5G": bytes. Fails with exit 2 otherwise.
uint64_t parseBytes(const std::string &text, const std::string &option);

struct ModelCloser {
  void operator()(heddle_model *model) const { (void)heddle_model_close(model, nullptr); }
};
struct TeamCloser {
  void operator()(heddle_team *team) const { (void)heddle_team_destroy(team, nullptr); }
};
struct SessionCloser {
  void operator()(heddle_session *session) const;
};
using ModelPtr = std::unique_ptr<heddle_model, ModelCloser>;
using TeamPtr = std::unique_ptr<heddle_team, TeamCloser>;
using SessionPtr = std::unique_ptr<heddle_session, SessionCloser>;

// Opens without reading code or weights; nothing of it can run.
ModelPtr openForInspection(const std::string &file);
// Opens to run: on this device, past the trust gate. Fails with exit 7 and the command to type when not
// trusted. `allocator`, when given, must live as long as the model.
ModelPtr openToRun(const RunOptions &options, const heddle_allocator *allocator = nullptr);
TeamPtr makeTeam(unsigned threads);
// A session whose run Ctrl-C cancels.
SessionPtr makeSession(heddle_model *model, const heddle_session_options &options);
// Runs an encode entry on one text.
void encodeText(heddle_session *session, const heddle_entry_info &entry, std::span<const int32_t> tokens);
heddle_model_info modelInfo(const heddle_model *model);
// All bytes of a member; an empty optional when the artifact has none of that name.
std::optional<std::string> readMember(const heddle_model *model, const char *name);
// The first entry of this kind; exit 4 with what the model has instead otherwise.
heddle_entry_info entryOfKind(const heddle_model *model, heddle_entry_kind kind, const std::string &file);

// A file's bytes, at most `limit`; "-" is standard input.
std::string readFile(const std::string &path, uint64_t limit);
// Replaces `path` by `content` in one step.
void writeFileAtomically(const std::string &path, std::string_view content);

// Digests that this user trusts: one file, one "sha256:..." a line.
bool isTrusted(const uint8_t *digest);
void recordTrust(const uint8_t *digest);
std::string trustFile();

// Ctrl-C: the first cancels the run in progress (or ends the program when there is none), the second ends it.
void installInterruptHandler();
bool interrupted();
// A file that a signal that ends the program removes first; nullptr: none. Not copied.
void setTemporaryFile(const char *path);

// Of HEDDLE_CPU_* bits.
std::string cpuFeatureNames(uint32_t features);

// One of these per verb: adds the subcommand and what it runs when parsed.
using Action = std::function<int()>;
void addCompile(CLI::App &app, Action &action);
void addRun(CLI::App &app, Action &action);
void addEval(CLI::App &app, Action &action);
void addTokenize(CLI::App &app, Action &action);
void addBench(CLI::App &app, Action &action);
void addInspect(CLI::App &app, Action &action);
void addBisect(CLI::App &app, Action &action);
void addCheck(CLI::App &app, Action &action);
void addExplain(CLI::App &app, Action &action);
void addTrust(CLI::App &app, Action &action);
void addVerify(CLI::App &app, Action &action);
void addTargets(CLI::App &app, Action &action);
void addDoctor(CLI::App &app, Action &action);
void addVersion(CLI::App &app, Action &action);
void addCompletion(CLI::App &app, Action &action);

} // namespace heddle::cli

#endif

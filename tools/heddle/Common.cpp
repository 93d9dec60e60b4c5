#include "tools/heddle/Common.h"
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace heddle::cli {

void fail(Exit code, std::string message) { throw Failure{code, std::move(message)}; }

static Exit exitCodeOf(heddle_status status) {
  switch (status) {
  case HEDDLE_OK:
    return ExitOk;
  case HEDDLE_INVALID_ARGUMENT:
    return ExitUsage;
  case HEDDLE_INVALID_FILE:
    return ExitInvalidFile;
  case HEDDLE_UNSUPPORTED:
    return ExitUnsupported;
  case HEDDLE_RESOURCE_LIMIT:
    return ExitResourceLimit;
  case HEDDLE_NOT_TRUSTED:
    return ExitNotTrusted;
  case HEDDLE_IO_ERROR:
    return ExitInputOutput;
  case HEDDLE_CANCELLED:
    return ExitInterrupted;
  case HEDDLE_BUSY:
  case HEDDLE_INTERNAL_ERROR:
    return ExitInternal;
  }
  return ExitInternal;
}

void check(heddle_status status, const heddle_error &error, const std::string &context) {
  if (status == HEDDLE_OK)
    return;
  std::string message = error.message[0] ? error.message : heddle_status_name(status);
  // Many of the library's messages begin with the file themselves.
  if (!context.empty() && message.rfind(context, 0) != 0)
    message = context + ": " + message;
  fail(exitCodeOf(status), message);
}

// Bytes of the UTF-8 sequence at the start of `text`, 0 when it is none. Overlong forms, surrogates and what
// is past U+10FFFF are none; so are the C1 control codes, which some terminals obey.
static size_t sequenceLength(std::string_view text) {
  auto byte = [&](size_t index) {
    return index < text.size() ? static_cast<unsigned char>(text[index]) : 0u;
  };
  unsigned first = byte(0);
  if (first < 0x80)
    return 1;
  size_t length = first >= 0xc2 && first <= 0xdf   ? 2
                  : first >= 0xe0 && first <= 0xef ? 3
                  : first >= 0xf0 && first <= 0xf4 ? 4
                                                   : 0;
  for (size_t index = 1; index < length; ++index)
    if ((byte(index) & 0xc0) != 0x80)
      return 0;
  if ((first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) > 0x9f) ||
      (first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) > 0x8f) ||
      (first == 0xc2 && byte(1) < 0xa0))
    return 0;
  return length;
}

static std::string escapeUnprintable(std::string_view text, std::string_view keep) {
  std::string out;
  while (!text.empty()) {
    unsigned char first = static_cast<unsigned char>(text[0]);
    size_t length = sequenceLength(text);
    bool control = first < 0x20 || first == 0x7f;
    if (length == 0 || (control && keep.find(text[0]) == keep.npos)) {
      char escaped[5];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", first);
      out += escaped;
      length = 1;
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length);
  }
  return out;
}

std::string printable(std::string_view text) { return escapeUnprintable(text, ""); }
std::string printableText(std::string_view text) { return escapeUnprintable(text, "\n\t"); }

std::string formatBytes(uint64_t bytes) {
  char text[32];
  if (bytes < 1000)
    std::snprintf(text, sizeof text, "%llu B", static_cast<unsigned long long>(bytes));
  else if (bytes < 1000 * 1000)
    std::snprintf(text, sizeof text, "%.1f kB", bytes / 1e3);
  else if (bytes < 1000 * 1000 * 1000)
    std::snprintf(text, sizeof text, "%.1f MB", bytes / 1e6);
  else
    std::snprintf(text, sizeof text, "%.2f GB", bytes / 1e9);
  return text;
}

std::string hex(const uint8_t *bytes, size_t count) {
  static const char digits[] = "0123456789abcdef";
  std::string out;
  for (size_t index = 0; index < count; ++index) {
    out += digits[bytes[index] >> 4];
    out += digits[bytes[index] & 15];
  }
  return out;
}

void addFormatOption(CLI::App &app, Format &format) {
  static const std::map<std::string, Format> names = {{"text", Format::Text}, {"json", Format::Json}};
  app.add_option("--format", format, "Form of the result: text or json")
      ->transform(CLI::CheckedTransformer(names))
      ->option_text("text|json");
}

uint64_t parseBytes(const std::string &text, const std::string &option) {
  double value = 0;
  auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  std::string unit(end, text.data() + text.size());
  double scale = unit.empty()                 ? 1
                 : unit == "k" || unit == "K" ? 1e3
                 : unit == "M"                ? 1e6
                 : unit == "G"                ? 1e9
                                              : 0;
  if (problem != std::errc() || scale == 0 || !(value >= 0) || value * scale > 9e18)
    fail(ExitUsage, option + " takes a size such as 800M or 2G, but found '" + printable(text) + "'");
  return static_cast<uint64_t>(value * scale);
}

// ---------------------------------------------------------------------------------------------------------------
// Files

namespace {
struct Descriptor {
  int number;
  ~Descriptor() {
    if (number >= 0)
      close(number);
  }
};
} // namespace

std::string readFile(const std::string &path, uint64_t limit) {
  Descriptor file{path == "-" ? dup(0) : open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.number < 0)
    fail(ExitInputOutput, printable(path) + ": cannot be opened: " + std::strerror(errno));
  std::string content;
  char buffer[1 << 16];
  for (;;) {
    ssize_t count = read(file.number, buffer, sizeof buffer);
    if (count < 0 && errno == EINTR && !interrupted())
      continue;
    if (count < 0)
      fail(ExitInputOutput, printable(path) + ": cannot be read: " + std::strerror(errno));
    if (count == 0)
      return content;
    if (content.size() + static_cast<size_t>(count) > limit)
      fail(ExitResourceLimit, printable(path) + ": larger than " + formatBytes(limit));
    content.append(buffer, static_cast<size_t>(count));
  }
}

static bool writeAll(int descriptor, std::string_view content) {
  while (!content.empty()) {
    ssize_t count = write(descriptor, content.data(), content.size());
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return false;
    content.remove_prefix(static_cast<size_t>(count));
  }
  return true;
}

void writeFileAtomically(const std::string &path, std::string_view content) {
  // A device or a pipe is written to: a rename would put a file in its place (run as root: in that of
  // /dev/null).
  struct stat existing;
  if (stat(path.c_str(), &existing) == 0 && !S_ISREG(existing.st_mode)) {
    Descriptor special{open(path.c_str(), O_WRONLY | O_CLOEXEC)};
    if (special.number < 0 || !writeAll(special.number, content))
      fail(ExitInputOutput, printable(path) + ": cannot be written: " + std::strerror(errno));
    return;
  }
  std::string temporary = path + ".part-" + std::to_string(getpid());
  auto giveUp = [&](const char *what) {
    std::string reason = std::strerror(errno);
    unlink(temporary.c_str());
    setTemporaryFile(nullptr);
    fail(ExitInputOutput, printable(path) + ": " + what + ": " + reason);
  };
  Descriptor file{open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666)};
  if (file.number < 0)
    fail(ExitInputOutput, printable(path) + ": cannot be created: " + std::strerror(errno));
  setTemporaryFile(temporary.c_str());
  if (!writeAll(file.number, content))
    giveUp("cannot be written");
  if (rename(temporary.c_str(), path.c_str()) != 0)
    giveUp("cannot be put in place");
  setTemporaryFile(nullptr);
}

// ---------------------------------------------------------------------------------------------------------------
// Trust

static std::string trustFolder() {
  if (const char *state = std::getenv("XDG_STATE_HOME"); state && state[0] == '/')
    return std::string(state) + "/heddle";
  const char *home = std::getenv("HOME");
  if (!home || home[0] != '/')
    fail(ExitInputOutput, "neither XDG_STATE_HOME nor HOME names a folder; trust is recorded there");
  return std::string(home) + "/.local/state/heddle";
}

std::string trustFile() { return trustFolder() + "/trusted"; }

static std::string trustLine(const uint8_t *digest) { return "sha256:" + hex(digest, 32) + "\n"; }

bool isTrusted(const uint8_t *digest) {
  std::string path = trustFile();
  struct stat facts;
  if (stat(path.c_str(), &facts) != 0)
    return false;
  // Whoever can write this file decides what runs as this user.
  if (!S_ISREG(facts.st_mode) || facts.st_uid != geteuid() || (facts.st_mode & 022)) {
    std::fprintf(
        stderr, "heddle: warning: %s is ignored: expected a file that only its owner, this user, can write\n",
        path.c_str());
    return false;
  }
  std::string lines = "\n" + readFile(path, 64 << 20);
  return lines.find("\n" + trustLine(digest)) != lines.npos;
}

void recordTrust(const uint8_t *digest) {
  if (isTrusted(digest))
    return;
  std::string folder = trustFolder(), path = trustFile();
  for (size_t at = folder.find('/', 1);; at = folder.find('/', at + 1)) { // each parent, then the folder
    if (mkdir(folder.substr(0, at).c_str(), 0700) != 0 && errno != EEXIST)
      fail(ExitInputOutput, folder + ": cannot be created: " + std::strerror(errno));
    if (at == folder.npos)
      break;
  }
  Descriptor file{open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600)};
  // One write of one short line: two processes never mix theirs.
  if (file.number < 0 || !writeAll(file.number, trustLine(digest)))
    fail(ExitInputOutput, path + ": trust cannot be recorded: " + std::strerror(errno));
}

// ---------------------------------------------------------------------------------------------------------------
// Interrupts

static volatile std::sig_atomic_t interruptCount;
static std::atomic<heddle_session *> currentSession; // what Ctrl-C cancels
static char temporaryFile[4096];
static volatile std::sig_atomic_t temporaryFileSet;

static void onSignal(int signal) {
  heddle_session *session = currentSession.load();
  interruptCount = interruptCount + 1;
  if (signal == SIGINT && session && interruptCount == 1) {
    heddle_session_cancel(session);
    return;
  }
  if (temporaryFileSet)
    unlink(temporaryFile);
  _exit(ExitInterrupted);
}

void installInterruptHandler() {
  struct sigaction action;
  std::memset(&action, 0, sizeof action);
  action.sa_handler = onSignal;
  for (int signal : {SIGINT, SIGTERM, SIGHUP})
    sigaction(signal, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN); // a closed stdout is an error of the write, exit 74
}

bool interrupted() { return interruptCount != 0; }

void setTemporaryFile(const char *path) {
  temporaryFileSet = 0;
  if (!path)
    return;
  size_t size = std::strlen(path) + 1;
  if (size > sizeof temporaryFile)
    fail(ExitInputOutput,
         "the output's path is longer than " + std::to_string(sizeof temporaryFile) + " bytes");
  std::memcpy(temporaryFile, path, size);
  temporaryFileSet = 1;
}

SessionPtr makeSession(heddle_model *model, const heddle_session_options &options) {
  heddle_session *session = nullptr;
  call("", heddle_session_create, model, &options, &session);
  currentSession.store(session);
  return SessionPtr(session);
}

void encodeText(heddle_session *session, const heddle_entry_info &entry, std::span<const int32_t> tokens) {
  std::vector<int32_t> slots(tokens.size(), 0), positions(tokens.size());
  for (size_t i = 0; i < positions.size(); ++i)
    positions[i] = static_cast<int32_t>(i);
  auto step = sized<heddle_step>();
  step.tokens = tokens.data();
  step.slots = slots.data();
  step.positions = positions.data();
  step.count = static_cast<uint32_t>(tokens.size());
  call("", heddle_session_step, session, entry.name, &step);
}

void SessionCloser::operator()(heddle_session *session) const {
  currentSession.store(nullptr);
  heddle_session_destroy(session);
}

} // namespace heddle::cli

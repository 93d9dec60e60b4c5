#include "tools/heddle/Calibration.h"
#include "passes/Passes.h"
#include "tools/heddle/Tensor.h"
#include "tools/heddle/Text.h"
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <dirent.h>
#include <numeric>
#include <sys/stat.h>
#include <unistd.h>

namespace heddle::cli {

namespace {
constexpr uint64_t kLargestSample = uint64_t(64) << 20;
constexpr size_t kLeastSamples = 4, kHeldOutEvery = 4;

bool endsWith(const std::string &text, std::string_view end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// Regular .txt and .npy files of a folder in the order of their names, or the file itself.
std::vector<std::string> sampleFiles(const std::string &path) {
  struct stat status;
  if (stat(path.c_str(), &status) != 0)
    fail(ExitInputOutput, printable(path) + ": " + std::strerror(errno));
  if (!S_ISDIR(status.st_mode))
    return {path};
  std::vector<std::string> files;
  std::unique_ptr<DIR, int (*)(DIR *)> folder(opendir(path.c_str()), closedir);
  if (!folder)
    fail(ExitInputOutput, printable(path) + ": " + std::strerror(errno));
  while (const dirent *item = readdir(folder.get())) {
    std::string file = path + "/" + item->d_name;
    if ((endsWith(file, ".txt") || endsWith(file, ".npy")) && stat(file.c_str(), &status) == 0 &&
        S_ISREG(status.st_mode))
      files.push_back(file);
  }
  std::sort(files.begin(), files.end());
  if (files.empty())
    fail(ExitUsage, printable(path) + ": has no .txt or .npy files to calibrate with");
  return files;
}

std::vector<int32_t> readIds(const std::string &file, uint32_t vocabulary) {
  Tensor tensor = readNpy(file);
  std::vector<int32_t> ids;
  for (int64_t index = 0; index < tensor.count(); ++index) {
    double id = tensor.at(index);
    if (!(id >= 0 && id < vocabulary && id == std::floor(id)))
      fail(ExitUsage, printable(file) + ": element " + std::to_string(index) + " is not a token id below " +
                          std::to_string(vocabulary));
    ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

std::vector<std::vector<int32_t>> textSamples(const std::string &file, const Text &text, bool lines) {
  std::string content = readFile(file, kLargestSample);
  std::vector<std::vector<int32_t>> samples;
  if (!lines)
    return {text.encode(content, HEDDLE_TEXT_ENCODE_SPECIAL)};
  for (size_t begin = 0; begin < content.size();) {
    size_t end = std::min(content.find('\n', begin), content.size());
    std::string line = content.substr(begin, end - begin);
    if (line.find_first_not_of(" \t\r") != std::string::npos)
      samples.push_back(text.encode(line, HEDDLE_TEXT_ENCODE_SPECIAL));
    begin = end + 1;
  }
  return samples;
}
} // namespace

size_t Samples::tokens() const {
  auto count = [](const std::vector<std::vector<int32_t>> &samples) {
    return std::accumulate(samples.begin(), samples.end(), size_t(0),
                           [](size_t sum, const std::vector<int32_t> &ids) { return sum + ids.size(); });
  };
  return count(chosenBy) + count(heldOut);
}

Samples readSamples(const std::string &path, const Text &text, heddle_entry_kind kind, size_t limit) {
  std::vector<std::vector<int32_t>> all;
  const std::vector<int32_t> start = text.encode("", HEDDLE_TEXT_ENCODE_SPECIAL), none;
  auto add = [&](const std::vector<int32_t> &ids) {
    if (kind == HEDDLE_ENTRY_ENCODE) { // an encoder reads a text as a whole
      all.push_back({ids.begin(), ids.begin() + std::min(ids.size(), Samples::kSampleTokens)});
      return;
    }
    // Models expect every text to begin alike (with a token for it): so does each piece of one.
    const bool begins = ids.size() >= start.size() && std::equal(start.begin(), start.end(), ids.begin());
    const std::vector<int32_t> &before = begins ? start : none;
    for (size_t at = before.size(); at < ids.size();) {
      const size_t end = std::min(ids.size(), at + Samples::kSampleTokens - before.size());
      std::vector<int32_t> &piece = all.emplace_back(before);
      piece.insert(piece.end(), ids.begin() + at, ids.begin() + end);
      at = end;
    }
  };
  for (const std::string &file : sampleFiles(path)) {
    if (endsWith(file, ".npy"))
      add(readIds(file, static_cast<uint32_t>(text.info().token_count)));
    else
      for (const std::vector<int32_t> &ids : textSamples(file, text, kind == HEDDLE_ENTRY_ENCODE))
        add(ids);
  }
  const size_t least = kind == HEDDLE_ENTRY_ENCODE ? 2 : Samples::kLeastTokens;
  std::erase_if(all, [&](const std::vector<int32_t> &ids) { return ids.size() < least; });
  if (all.size() < kLeastSamples)
    fail(ExitUsage, printable(path) + ": gives " + std::to_string(all.size()) +
                        " samples, but calibration needs at least " + std::to_string(kLeastSamples) +
                        (kind == HEDDLE_ENTRY_ENCODE
                             ? " (lines of text)"
                             : " (pieces of " + std::to_string(Samples::kSampleTokens) + " tokens)"));
  size_t total = 0;
  for (const std::vector<int32_t> &ids : all)
    total += ids.size();
  // Of too many samples every n-th is taken, so that all texts are among them.
  const size_t step = std::max<size_t>(1, std::min((total + limit - 1) / limit, all.size() / kLeastSamples));
  Samples samples;
  for (size_t index = 0, taken = 0; index < all.size(); index += step, ++taken)
    (taken % kHeldOutEvery == kHeldOutEvery - 1 ? samples.heldOut : samples.chosenBy)
        .push_back(std::move(all[index]));
  return samples;
}

CompiledTrial::CompiledTrial(const std::string &file, const std::array<uint8_t, 32> &digest,
                             unsigned threads) {
  RunOptions options;
  options.file = file;
  options.trust = "sha256:" + hex(digest.data(), digest.size());
  options.map = true; // read once or twice
  model = openToRun(options);
  unlink(file.c_str());
  call(file, heddle_model_entry, model.get(), static_cast<const char *>(nullptr),
       &(entry = sized<heddle_entry_info>()));
  if (entry.kind != HEDDLE_ENTRY_STEP && entry.kind != HEDDLE_ENTRY_ENCODE)
    fail(ExitUnsupported,
         "calibration runs text models; this one's entry '" + printable(entry.name) + "' takes tensors");
  team = makeTeam(threads);
  heddle_model_info info = modelInfo(model.get());
  auto sessionOptions = sized<heddle_session_options>();
  sessionOptions.team = team.get();
  sessionOptions.sequences = 1;
  sessionOptions.rows = std::min<uint32_t>(info.max_rows, Samples::kSampleTokens);
  if (entry.kind == HEDDLE_ENTRY_STEP) {
    sessionOptions.wanted = std::min(info.max_wanted, sessionOptions.rows);
    sessionOptions.context = std::min<uint32_t>(info.max_context, Samples::kSampleTokens);
  } else {
    sessionOptions.wanted = 1;
  }
  session = makeSession(model.get(), sessionOptions);
}

CompiledTrial::Rows CompiledTrial::run(std::span<const int32_t> ids, size_t stride) {
  slots.assign(ids.size(), 0);
  positions.resize(ids.size());
  std::iota(positions.begin(), positions.end(), 0);
  wanted.clear();
  auto step = sized<heddle_step>();
  step.tokens = ids.data();
  step.slots = slots.data();
  step.positions = positions.data();
  step.count = static_cast<uint32_t>(ids.size());
  if (entry.kind == HEDDLE_ENTRY_STEP) {
    call("", heddle_sequence_clear, session.get(), 0u);
    for (size_t row = stride - 1; row < ids.size(); row += stride)
      wanted.push_back(static_cast<int32_t>(row));
    if (wanted.empty())
      wanted.push_back(static_cast<int32_t>(ids.size() - 1));
    step.wanted = wanted.data();
    step.wanted_count = static_cast<uint32_t>(wanted.size());
  }
  call("", heddle_session_step, session.get(), entry.name, &step);
  auto view = sized<heddle_view>();
  call("", heddle_session_output, session.get(), entry.name, 0u, &view);
  if (view.dtype != HEDDLE_DTYPE_F32 || view.rank != 2)
    fail(ExitUnsupported,
         "calibration expects results of f32 rows, but found rank " + std::to_string(view.rank));
  return {static_cast<const float *>(view.data), static_cast<size_t>(view.dimension[0]),
          static_cast<size_t>(view.dimension[1])};
}

void CompiledTrial::observed(
    const std::function<void(const std::string &, const float *, int64_t, int64_t)> &see) {
  for (uint32_t output = 0; output < entry.output_count; ++output) {
    auto info = sized<heddle_io_info>();
    call("", heddle_model_entry_io, model.get(), entry.name, entry.input_count + output, &info);
    std::string name = info.name;
    if (name.rfind(mlir::heddle::kObserverPrefix.str(), 0) != 0)
      continue;
    auto view = sized<heddle_view>();
    call("", heddle_session_output, session.get(), entry.name, output, &view);
    int64_t columns = 1;
    for (uint32_t dim = 1; dim < view.rank; ++dim)
      columns *= view.dimension[dim];
    see(name, static_cast<const float *>(view.data), view.dimension[0], columns);
  }
}

void note(const std::string &what) {
  if (isatty(STDERR_FILENO))
    std::fprintf(stderr, "\r\x1b[K%s\r", printable(what).c_str());
}

// The descriptor of a new file, whose name goes to `path`.
static int createTemporaryFile(const std::string &suffix, std::string &path) {
  const char *folder = std::getenv("TMPDIR");
  path = std::string(folder && folder[0] == '/' ? folder : "/tmp") + "/heddle-XXXXXX" + suffix;
  int descriptor = mkstemps(path.data(), static_cast<int>(suffix.size()));
  if (descriptor < 0)
    fail(ExitInputOutput, printable(path) + ": " + std::strerror(errno));
  return descriptor;
}

std::string makeTemporaryFile(const std::string &suffix) {
  std::string path;
  close(createTemporaryFile(suffix, path));
  return path;
}

UnnamedFile::UnnamedFile() {
  std::string path;
  descriptor = createTemporaryFile(".weights", path);
  unlink(path.c_str());
}

UnnamedFile::~UnnamedFile() { close(descriptor); }

std::string UnnamedFile::path() const { return "/proc/self/fd/" + std::to_string(descriptor); }

void UnnamedFile::write(std::span<const uint8_t> bytes, uint64_t offset) {
  while (!bytes.empty()) {
    ssize_t count = pwrite(descriptor, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      fail(ExitInputOutput,
           std::string("cannot write the temporary file of rounded weights: ") + std::strerror(errno));
    bytes = bytes.subspan(static_cast<size_t>(count));
    offset += static_cast<uint64_t>(count);
  }
}

} // namespace heddle::cli

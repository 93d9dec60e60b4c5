#include "frontends/common/InputFile.h"

#include "frontends/common/ByteReader.h"
#include "frontends/common/InputError.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Path.h"
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace heddle {

// A FIFO must not block us, and a terminal must not become ours.
static constexpr int kReadFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;

llvm::Expected<std::shared_ptr<InputFile>> InputFile::open(llvm::StringRef path, llvm::StringRef name) {
  int fd = ::open(path.str().c_str(), kReadFlags);
  if (fd < 0)
    return inputOutputError("cannot open " + quoted(path), errno);
  return map(fd, name.empty() ? llvm::sys::path::filename(path) : name);
}

llvm::Expected<std::shared_ptr<InputFile>> InputFile::map(int fd, llvm::StringRef name) {
  std::shared_ptr<InputFile> file(new InputFile(fd, escaped(name)));
  struct stat status;
  if (fstat(fd, &status) != 0)
    return inputOutputError("cannot read " + quoted(name), errno);
  if (S_ISDIR(status.st_mode))
    return inputOutputError("cannot read " + quoted(name) + ", expected a file", EISDIR);
  if (!S_ISREG(status.st_mode))
    return inputOutputError("cannot read " + quoted(name) + ", which is not a regular file", EINVAL);
  if (status.st_size == 0)
    return file;
  void *address = mmap(nullptr, status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (address == MAP_FAILED)
    return inputOutputError("cannot map " + quoted(name), errno);
  file->data = static_cast<const uint8_t *>(address);
  file->size = status.st_size;
  return file;
}

std::shared_ptr<InputFile> InputFile::copyOf(llvm::ArrayRef<uint8_t> bytes, llvm::StringRef name) {
  std::shared_ptr<InputFile> file(new InputFile(-1, escaped(name)));
  uint8_t *copy = new uint8_t[bytes.size()];
  llvm::copy(bytes, copy);
  file->data = copy;
  file->size = bytes.size();
  return file;
}

InputFile::~InputFile() {
  if (fd < 0) {
    delete[] data;
    return;
  }
  if (data)
    munmap(const_cast<uint8_t *>(data), size);
  close(fd);
}

/// The real path of what a descriptor refers to; empty when it has none.
static std::string pathOfDescriptor(int fd) {
  char path[PATH_MAX];
  ssize_t length = readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), path, sizeof(path));
  return length > 0 && length < PATH_MAX && path[0] == '/' ? std::string(path, length) : std::string();
}

static std::string realPath(const std::string &path) {
  char *resolved = realpath(path.c_str(), nullptr);
  std::string result = resolved ? resolved : "";
  free(resolved);
  return result;
}

static bool isBeneath(llvm::StringRef path, llvm::StringRef folder) {
  return !folder.empty() && path.consume_front(folder) && (path.starts_with("/") || folder.ends_with("/"));
}

llvm::Expected<ModelFolder> ModelFolder::of(llvm::StringRef modelPath,
                                            llvm::ArrayRef<std::string> allowedFolders) {
  std::string folder = llvm::sys::path::parent_path(modelPath).str();
  if (folder.empty())
    folder = ".";
  ModelFolder result(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (result.fd < 0)
    return inputOutputError("cannot open folder " + quoted(folder), errno);
  std::string real = pathOfDescriptor(result.fd);
  result.allowed.push_back(real);
  // Hugging Face caches keep REPOSITORY/snapshots/REVISION/FILE as a link to REPOSITORY/blobs/HASH.
  llvm::StringRef snapshots = llvm::sys::path::parent_path(real);
  if (llvm::sys::path::filename(snapshots) == "snapshots")
    result.allowed.push_back(realPath((llvm::sys::path::parent_path(snapshots) + "/blobs").str()));
  for (const std::string &extra : allowedFolders)
    result.allowed.push_back(realPath(extra));
  return result;
}

ModelFolder::~ModelFolder() {
  if (fd >= 0)
    close(fd);
}

/// An O_PATH descriptor, so that nothing is read, and no device or FIFO opened, before the place is known to
/// be allowed.
llvm::Expected<int> ModelFolder::openBeneath(const std::string &name) const {
  open_how how = {};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  int pinned = static_cast<int>(syscall(SYS_openat2, fd, name.c_str(), &how, sizeof(how)));
  if (pinned >= 0)
    return pinned;
  if (errno == ENOENT)
    return inputOutputError("cannot open " + quoted(name) + ", which the model names", errno);
  // The name leads out of the folder, or the kernel has no openat2: judge the place where it ended. The
  // descriptor pins the file, so what was judged is what is read.
  pinned = openat(fd, name.c_str(), O_PATH | O_CLOEXEC);
  if (pinned < 0)
    return inputOutputError("cannot open " + quoted(name) + ", which the model names", errno);
  std::string place = pathOfDescriptor(pinned);
  if (llvm::any_of(allowed, [&](const std::string &folder) { return isBeneath(place, folder); }))
    return pinned;
  close(pinned);
  return invalidInput(quoted(name) + ", which the model names, is a link out of the model's folder; "
                                     "allow its target with --allow-external-dir");
}

llvm::Expected<std::shared_ptr<InputFile>> ModelFolder::open(llvm::StringRef name) const {
  if (name.empty() || name.size() >= PATH_MAX || name.contains('\0'))
    return invalidInput("the model names a file " + quoted(name) + ", which is not a file name");
  if (name.starts_with("/"))
    return invalidInput("the model names " + quoted(name) +
                        ", expected a name relative to the model's folder");
  llvm::SmallVector<llvm::StringRef> components;
  name.split(components, '/');
  if (llvm::is_contained(components, ".."))
    return invalidInput("the model names " + quoted(name) + ", which leads out of the model's folder");
  llvm::Expected<int> pinned = openBeneath(name.str());
  if (!pinned)
    return pinned.takeError();
  struct stat status;
  bool regular = fstat(*pinned, &status) == 0 && S_ISREG(status.st_mode);
  int file = regular ? ::open(("/proc/self/fd/" + std::to_string(*pinned)).c_str(), kReadFlags) : -1;
  int code = errno;
  close(*pinned);
  if (!regular)
    return invalidInput(quoted(name) + ", which the model names, is not a regular file");
  if (file < 0)
    return inputOutputError("cannot open " + quoted(name), code);
  return InputFile::map(file, llvm::sys::path::filename(name));
}

llvm::Expected<llvm::ArrayRef<uint8_t>> fileRange(const InputFile &file, uint64_t offset, uint64_t length) {
  std::optional<uint64_t> end = addChecked(offset, length);
  if (!end || *end > file.bytes().size())
    return invalidInput(file.name() + ": bytes " + llvm::Twine(offset) + " to " +
                        (end ? llvm::Twine(*end) : "2^64") + " are wanted, past the end of the file (" +
                        llvm::Twine(file.bytes().size()) + ")");
  return file.bytes().slice(offset, length);
}

} // namespace heddle

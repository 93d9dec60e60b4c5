#include "codegen/package/PendingFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Signals.h"
#include <fcntl.h>
#include <unistd.h>

namespace heddle {

namespace fs = llvm::sys::fs;

static llvm::Error systemError(const llvm::Twine &what, llvm::StringRef path, int code) {
  std::error_code error(code, std::generic_category());
  return llvm::createStringError(error, what + " '" + path + "': " + error.message());
}

llvm::Expected<PendingFile> PendingFile::create(llvm::StringRef path) {
  for (int attempt = 0; attempt < 128; ++attempt) {
    llvm::SmallString<256> name;
    fs::createUniquePath(path + ".part-%%%%%%%%", name, /*MakeAbsolute=*/false);
    // Before there is a file: a signal that came between would leave it.
    llvm::sys::RemoveFileOnSignal(name);
    int descriptor = ::open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor >= 0)
      return PendingFile(path.str(), name.str().str(), descriptor);
    int code = errno;
    llvm::sys::DontRemoveFileOnSignal(name);
    if (code != EEXIST && code != EINTR)
      return systemError("cannot create a file beside", path, code);
  }
  return systemError("cannot create a file beside", path, EEXIST);
}

PendingFile::PendingFile(PendingFile &&other)
    : path(std::move(other.path)), temporary(std::exchange(other.temporary, {})),
      descriptor(std::exchange(other.descriptor, -1)) {}

PendingFile::~PendingFile() {
  close();
  if (temporary.empty())
    return;
  ::unlink(temporary.c_str());
  llvm::sys::DontRemoveFileOnSignal(temporary);
}

void PendingFile::close() {
  if (descriptor >= 0)
    ::close(std::exchange(descriptor, -1));
}

llvm::Error PendingFile::writeAt(llvm::ArrayRef<uint8_t> bytes, uint64_t offset) {
  while (!bytes.empty()) {
    ssize_t written = ::pwrite(descriptor, bytes.data(), bytes.size(), offset);
    if (written < 0 && errno == EINTR)
      continue;
    if (written <= 0)
      return systemError("cannot write", path, written < 0 ? errno : EIO);
    bytes = bytes.drop_front(written);
    offset += written;
  }
  return llvm::Error::success();
}

llvm::Error PendingFile::keep(bool durable) {
  if (durable && ::fsync(descriptor) != 0)
    return systemError("cannot write", path, errno);
  close();
  if (::rename(temporary.c_str(), path.c_str()) != 0)
    return systemError("cannot rename the finished file to", path, errno);
  llvm::sys::DontRemoveFileOnSignal(std::exchange(temporary, {}));
  if (!durable)
    return llvm::Error::success();
  // The name is durable once the folder is. Some file systems cannot sync a folder; the file is complete
  // anyway.
  llvm::StringRef folder = llvm::sys::path::parent_path(path);
  int opened = ::open(folder.empty() ? "." : folder.str().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (opened >= 0) {
    (void)::fsync(opened);
    ::close(opened);
  }
  return llvm::Error::success();
}

} // namespace heddle

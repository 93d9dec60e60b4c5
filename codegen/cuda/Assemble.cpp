#include "codegen/cuda/Assemble.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"
#include <cstdlib>

namespace heddle::cuda {

std::string findPtxas() {
  if (const char *named = std::getenv("HEDDLE_PTXAS"))
    return named;
  auto found = llvm::sys::findProgramByName("ptxas");
  if (!found)
    return "";
  llvm::SmallString<128> path(*found);
  llvm::sys::fs::make_absolute(path);
  return path.str().str();
}

static llvm::Error fail(const llvm::Twine &message) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(), message);
}

/// A folder that nobody else may enter.
struct PrivateFolder {
  llvm::SmallString<128> path;
  std::error_code error = llvm::sys::fs::createUniqueDirectory("heddle-ptxas", path);
  ~PrivateFolder() {
    if (!error)
      llvm::sys::fs::remove_directories(path);
  }
  std::string file(llvm::StringRef name) const { return (path + "/" + name).str(); }
};

static std::string contentOf(const std::string &file) {
  auto buffer = llvm::MemoryBuffer::getFile(file);
  return buffer ? (*buffer)->getBuffer().str() : "";
}

llvm::Expected<std::string> assemble(llvm::StringRef ptx, const std::string &ptxas) {
  if (!llvm::sys::path::is_absolute(ptxas))
    return fail("expected the absolute path of ptxas, but found '" + ptxas + "'");
  PrivateFolder folder;
  if (folder.error)
    return fail("no folder for temporary files: " + folder.error.message());
  llvm::sys::fs::setPermissions(folder.path, llvm::sys::fs::owner_all);
  std::string input = folder.file("kernels.ptx"), output = folder.file("kernels.cubin"),
              log = folder.file("log");
  {
    std::error_code error;
    llvm::raw_fd_ostream out(input, error);
    if (!error)
      out << ptx;
    out.close();
    if (error || out.has_error())
      return fail(input + ": " + (error ? error : out.error()).message());
  }
  llvm::StringRef arguments[] = {ptxas, "-arch=sm_80", input, "-o", output};
  std::optional<llvm::StringRef> redirects[] = {llvm::StringRef(""), llvm::StringRef(log),
                                                llvm::StringRef(log)};
  std::string message;
  constexpr unsigned mostSeconds = 600;
  int status = llvm::sys::ExecuteAndWait(ptxas, arguments, std::nullopt, redirects, mostSeconds, 0, &message);
  if (status != 0)
    return fail("'" + ptxas + "' failed: " +
                llvm::StringRef(message.empty() ? contentOf(log) : message).trim().take_front(400));
  std::string code = contentOf(output);
  if (code.empty())
    return fail("'" + ptxas + "' made no code");
  return code;
}

} // namespace heddle::cuda

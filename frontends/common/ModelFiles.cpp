#include "frontends/common/ModelFiles.h"

#include "frontends/common/InputError.h"
#include "ir/Sha256.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MathExtras.h"
#include <algorithm>
#include <sys/mman.h>
#include <unistd.h>

namespace heddle {

llvm::Expected<llvm::ArrayRef<uint8_t>> ModelFiles::bytes(int64_t file, uint64_t offset,
                                                          uint64_t size) const {
  if (file < 0 || static_cast<size_t>(file) >= files.size())
    return invalidInput("the model has " + llvm::Twine(files.size()) + " files, but number " +
                        llvm::Twine(file) + " is wanted");
  return fileRange(*files[file], offset, size);
}

void ModelFiles::release(int64_t file, uint64_t offset, uint64_t size) const {
  const InputFile &input = *files[file];
  if (input.descriptor() < 0) // memory of ours: dropping its pages would lose it
    return;
  // Only pages that lie wholly inside: their neighbours may still be wanted.
  uint64_t page = sysconf(_SC_PAGESIZE);
  uint64_t begin = llvm::alignTo(offset, page), end = llvm::alignDown(offset + size, page);
  if (begin < end)
    madvise(const_cast<uint8_t *>(input.bytes().data()) + begin, end - begin, MADV_DONTNEED);
}

std::string ModelFiles::sha256(size_t index) const {
  constexpr uint64_t piece = 16 << 20;
  llvm::ArrayRef<uint8_t> bytes = files[index]->bytes();
  Sha256 hash;
  for (uint64_t offset = 0; offset < bytes.size(); offset += piece) {
    uint64_t size = std::min<uint64_t>(piece, bytes.size() - offset);
    hash.update(bytes.slice(offset, size));
    release(index, offset, size);
  }
  auto digest = hash.final();
  return llvm::toHex(digest, /*LowerCase=*/true);
}

} // namespace heddle

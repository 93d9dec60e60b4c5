// The position-independent ELF image of a CPU level's code, as it lies in an artifact.
#pragma once
#include "codegen/cpu/Backend.h"
#include "llvm/ADT/ArrayRef.h"
#include <string>
#include <vector>

namespace heddle::cpu {

struct Image {
  std::vector<char> bytes;
  std::vector<uint64_t>
      offsets; // of each asked-for function, from the start of the image (file offset = address)
};

/// Links objects into an ET_DYN image that needs no loader beyond mapping its segments: only R and R+X
/// PT_LOADs whose file offsets are their addresses, no relocations, imports, writable data or constructors.
/// `functions` are looked up in it; a kernel that calls what no object defines is an error that names the
/// symbol.
llvm::Expected<Image> linkImage(llvm::ArrayRef<const CompiledObject *> objects,
                                llvm::ArrayRef<std::string> functions);

/// Checks all that linkImage promises. `image` is trusted to be ours: this guards against mistakes, not
/// attacks (the runtime's loader does its own checks).
llvm::Error checkImage(llvm::ArrayRef<char> image);

} // namespace heddle::cpu

// A finished artifact as an object file and a C header, to be linked into a program (`--emit obj`): for hosts
// that forbid executable memory made at run time, and programs that want to be one file.
#pragma once
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

namespace heddle {

/// Writes `objectPath` (ELF64 x86-64, relocatable, no relocations) with the artifact's bytes as read-only
/// data and each of its code members once more in an executable section, and `headerPath` with a function
/// `heddle_NAME_open` that opens it. Both appear complete or not at all. `name` is a C identifier's end.
/// Memory does not grow with the artifact.
llvm::Error writeObject(llvm::StringRef artifactPath, llvm::StringRef objectPath, llvm::StringRef headerPath,
                        llvm::StringRef name);

/// The same as a static library with one member.
llvm::Error writeLibrary(llvm::StringRef artifactPath, llvm::StringRef libraryPath,
                         llvm::StringRef headerPath, llvm::StringRef name);

} // namespace heddle

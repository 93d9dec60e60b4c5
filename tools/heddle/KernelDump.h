// Options of `compile` that show what the compiler does: IR after passes, every kernel in a file of its own.
#ifndef HEDDLE_TOOLS_KERNEL_DUMP_H
#define HEDDLE_TOOLS_KERNEL_DUMP_H

#include "tools/heddle/ImportVerb.h"

namespace heddle::cli {

struct DumpOptions {
  std::vector<std::string> printAfter; // passes
  std::string kernels;                 // folder
};
void addDumpOptions(CLI::App &app, DumpOptions &options);

// Has the IR printed on stderr after the passes that were named; fails when one did not run.
class PassPrinter {
public:
  PassPrinter(const DumpOptions &request, CompileOptions &options);
  // After all passes.
  void check() const;

private:
  const std::vector<std::string> &wanted;
  std::shared_ptr<std::vector<std::string>> seen = std::make_shared<std::vector<std::string>>();
};

// Writes NAME.mlir and NAME.s (NAME.ptx for CUDA) of every kernel to the folder, instead of an artifact.
int dumpKernels(Importer &importer, CompileOptions options, const std::string &folder);

} // namespace heddle::cli

#endif

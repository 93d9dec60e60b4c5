// A target: kernels become code of a machine.
#pragma once
#include "codegen/Compiler.h"
#include "codegen/KernelContext.h"
#include "codegen/package/Program.h"
#include "llvm/Support/ThreadPool.h"

namespace heddle {

/// All that a target adds to an artifact.
struct TargetCode {
  std::vector<KernelInfo> kernels;
  std::vector<CodeMember> members;
  std::vector<std::string> contents; // of the members
  llvm::json::Object manifest;       // of "targets": at least its "name"
};

class Target {
public:
  virtual ~Target() = default;
  /// What `--target` says: "cpu", "npu:mobile". The same name has a description (passes/TargetDescription.h).
  virtual llvm::StringRef name() const = 0;
  /// Whether code computes what the program says but for rounding in f32. Where a machine rounds more than
  /// the IR shows, samples compare with the source model alone.
  virtual bool isExact() const { return true; }
  /// Code of all kernels of `module`, which the passes for this target made. An error of
  /// std::errc::not_supported names the kernel and op that there is no code for.
  virtual llvm::Expected<TargetCode> compile(mlir::ModuleOp module, const CompileOptions &options,
                                             llvm::ThreadPoolInterface &pool) const = 0;
  /// What `--emit llvm|asm|ptx|npu` prints; "kernels": the IR that generators make, for all levels.
  virtual llvm::Expected<std::string> text(mlir::ModuleOp module, const CompileOptions &options,
                                           llvm::StringRef form) const = 0;
};

/// Makes a target of a plug-in known, whose description is.
void registerCodeTarget(std::unique_ptr<Target> target);

/// The target called `name`, or null.
const Target *findCodeTarget(llvm::StringRef name);
/// Names of those that plug-ins brought, in order of loading.
std::vector<std::string> pluginTargets();

/// The facts of `module` that are built into code.
KernelContext kernelContext(mlir::ModuleOp module);

// Those of this compiler.
std::unique_ptr<Target> makeCpuTarget();
std::unique_ptr<Target> makeCudaTarget();
std::unique_ptr<Target> makeNpuTarget(llvm::StringRef machine);

} // namespace heddle

// Kernels from IR text, compiled for a level and called in this process.
#pragma once
#include "codegen/cpu/Attention.h"
#include "codegen/cpu/Rows.h"
#include "mlir/Parser/Parser.h"
#include "passes/Passes.h"
#include "test/unit/codegen/LoadedImage.h"
#include <catch2/catch.hpp>
#include <memory>
#include <random>
#include <string>

namespace heddle::cpu::testing {

class TestKernel {
public:
  /// `text` holds one kernel, called @k.
  TestKernel(const std::string &text, const CpuLevel &level, const CpuKernelContext &facts = {}) {
    loadKernelDialects(context);
    context.loadDialect<mlir::heddle::HeddleDialect>();
    auto module = mlir::parseSourceString<mlir::ModuleOp>(text, mlir::ParserConfig(&context));
    if (!module) {
      error = "the kernel does not parse";
      return;
    }
    auto kernel = *module->getOps<mlir::heddle::KernelOp>().begin();
    mlir::OwningOpRef<mlir::ModuleOp> out = mlir::ModuleOp::create(mlir::UnknownLoc::get(&context));
    auto emitted = kernel.getFamily() == mlir::heddle::Family::Attention
                       ? emitAttentionKernel(kernel, level, facts, *out)
                       : emitRowsKernel(kernel, level, facts, *out);
    if (!emitted) {
      error = llvm::toString(emitted.takeError());
      return;
    }
    kernelFacts = *emitted;
    CompileOptions options;
    options.expandMath = [](mlir::OpPassManager &passes) {
      passes.addPass(mlir::heddle::createExpandMathPass());
    };
    image = std::make_unique<LoadedImage>(*out, level, std::vector<std::string>{"k"}, options);
    scratch = std::make_unique<GuardedBuffer<float>>(kernelFacts.scratchBytes / 4 + 1);
    for (float &x : *scratch)
      x = NAN; // scratch comes as it is
  }

  void operator()(std::vector<void *> operands, int64_t rows, int64_t begin, int64_t end, int64_t work = 0) {
    int64_t dims[HEDDLE_DIM_COUNT] = {rows, rows, work};
    image->function(0)(operands.data(), dims, scratch->data(), begin, end);
  }
  void operator()(std::vector<void *> operands, int64_t rows) { (*this)(std::move(operands), rows, 0, rows); }

  KernelFacts kernelFacts;
  std::string error;

private:
  mlir::MLIRContext context;
  std::unique_ptr<LoadedImage> image;
  std::unique_ptr<GuardedBuffer<float>> scratch;
};

template <typename Body> void forLevels(Body body) {
  for (const CpuLevel &level : cpuLevels()) {
    if (!hostHas(level))
      continue;
    INFO(std::string(level.name));
    body(level);
  }
}

/// The first level of each vector width: the others have the same code but for integer and bf16 dot products.
template <typename Body> void forWidths(Body body) {
  int lanes = 0;
  forLevels([&](const CpuLevel &level) {
    if (level.lanes != lanes)
      body(level);
    lanes = level.lanes;
  });
}

inline void fillRandom(GuardedBuffer<float> &buffer, uint32_t seed, float scale = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  for (float &x : buffer)
    x = normal(random);
}

inline bool sameBits(GuardedBuffer<float> &a, GuardedBuffer<float> &b) {
  return a.size() == b.size() && memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// Replaces every `$name` of `text`.
inline std::string substitute(std::string text,
                              std::initializer_list<std::pair<std::string, std::string>> values) {
  for (const auto &[name, value] : values)
    for (size_t at; (at = text.find("$" + name)) != std::string::npos;)
      text.replace(at, name.size() + 1, value);
  return text;
}

} // namespace heddle::cpu::testing

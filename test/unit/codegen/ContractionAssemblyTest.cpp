// What the compiled tiles look like: the intended instruction in every inner loop, and registers that
// suffice.
#include "codegen/cpu/Contraction.h"
#include "test/unit/codegen/LoadedImage.h"
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <sstream>

using namespace heddle;
using namespace heddle::cpu;

namespace {

/// An innermost loop of an assembly listing.
struct Loop {
  std::vector<std::string> instructions;
  int count(const std::string &text) const {
    return std::count_if(instructions.begin(), instructions.end(),
                         [&](const std::string &line) { return line.find(text) != std::string::npos; });
  }
  /// Memory operands on the stack, addressed by either of its registers.
  int stackAccesses() const { return count("(%rsp") + count("(%rbp"); }
};

std::vector<Loop> innermostLoops(const std::string &assembly) {
  std::vector<std::string> lines;
  std::map<std::string, size_t> labels;
  std::vector<std::pair<size_t, size_t>> loops; // line of the label, line of the jump back
  std::istringstream in(assembly);
  for (std::string line; std::getline(in, line);) {
    if (line.rfind(".L", 0) == 0)
      labels[line.substr(0, line.find(':'))] = lines.size();
    size_t target = line.find("\t.L");
    if (line.rfind("\tj", 0) == 0 && target != std::string::npos)
      if (auto label = labels.find(line.substr(target + 1)); label != labels.end())
        loops.push_back({label->second, lines.size()});
    lines.push_back(line);
  }
  std::vector<Loop> result;
  for (auto [begin, end] : loops) {
    bool innermost = std::none_of(loops.begin(), loops.end(), [&, begin = begin, end = end](auto &other) {
      return other != std::pair(begin, end) && other.first >= begin && other.second <= end;
    });
    if (!innermost)
      continue;
    Loop loop;
    for (size_t i = begin; i <= end; ++i)
      if (lines[i].size() > 1 && lines[i][0] == '\t' && lines[i][1] != '.')
        loop.instructions.push_back(lines[i]);
    result.push_back(loop);
  }
  return result;
}

std::vector<Loop> loopsOf(const CpuLevel &level, StorageFormat format, int planes, int64_t columns) {
  ContractionSpec spec{"contraction", 256, columns, {format}, planes, HEDDLE_DIM_ROWS, 512};
  REQUIRE(checkContraction(spec) == "");
  mlir::MLIRContext context;
  loadKernelDialects(context);
  mlir::OwningOpRef<mlir::ModuleOp> module = mlir::ModuleOp::create(mlir::UnknownLoc::get(&context));
  buildContraction(*module, level, spec);
  auto text = compileToText(*module, level, TextForm::Assembly);
  REQUIRE(!!text);
  return innermostLoops(*text);
}

} // namespace

TEST_CASE("inner loops of block formats use the level's dot product", "[assembly]") {
  for (const CpuLevel &level : cpuLevels())
    for (StorageFormat format :
         {StorageFormat::Q4_1, StorageFormat::Q8_0, StorageFormat::Q5_0, StorageFormat::Q4_K})
      for (int planes : {1, 2}) {
        INFO(std::string(level.name) << " " << std::string(formatInfo(format).name) << " planes " << planes);
        // Plain AVX2 multiplies s16 in panels of 8-bit codes or two planes.
        const bool wide = !level.vnni && (planes == 2 || format == StorageFormat::Q8_0);
        const std::string other = level.vnni ? "vpmadd" : "vpdpbusd";
        int tiles = 0;
        for (const Loop &loop : loopsOf(level, format, planes, 768)) {
          const std::string wanted = level.vnni                          ? "vpdpbusd"
                                     : wide && !loop.count("vpmaddubsw") ? "vpmaddwd"
                                                                         : "vpmaddubsw";
          if (loop.count("vcvtdq2ps") == 0 || loop.count(wanted) == 0)
            continue; // expansion and corrections
          ++tiles;
          // At least as many dot products as a lone row of 32 elements needs, and nothing of the other
          // level's.
          CHECK(loop.count(wanted) >= 8 * planes * (16 / level.lanes));
          CHECK(loop.count(other) == 0);
          CHECK(loop.count("call") == 0);
          if (level.lanes == 16) { // in zmm registers, and AVX-512 needs no broadcast of its own
            CHECK(loop.count("zmm") > loop.count("ymm"));
            CHECK(loop.stackAccesses() == 0);
          }
          if (level.lanes == 8)
            CHECK(loop.count("zmm") == 0);
        }
        CHECK(tiles >= 3); // row counts of register tiles, and the panel's
      }
}

TEST_CASE("with 16 registers, 4-bit panels and single rows keep their sums in registers", "[assembly]") {
  for (const CpuLevel &level : cpuLevels()) {
    if (level.lanes != 8)
      continue;
    INFO(std::string(level.name));
    int clean = 0;
    for (const Loop &loop : loopsOf(level, StorageFormat::Q4_1, 1, 768))
      if (loop.count("vcvtdq2ps") && loop.stackAccesses() == 0)
        ++clean;
    CHECK(clean >= 2);
  }
}

TEST_CASE("dense tiles are fused multiply-adds on registers", "[assembly]") {
  for (const CpuLevel &level : cpuLevels())
    for (StorageFormat format : {StorageFormat::F32, StorageFormat::F16, StorageFormat::BF16}) {
      INFO(std::string(level.name) << " " << std::string(formatInfo(format).name));
      int most = 0;
      for (const Loop &loop : loopsOf(level, format, 0, 768)) {
        if (loop.count("vfmadd") == 0)
          continue;
        most = std::max(most, loop.count("vfmadd"));
        CHECK(loop.stackAccesses() == 0);
      }
      CHECK(most == 4 * 6 * (level.lanes == 16 ? 4 : 2)); // four steps of 6 rows by 64 or 16 columns
    }
}

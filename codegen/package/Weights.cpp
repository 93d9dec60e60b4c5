#include "codegen/package/Weights.h"
#include "codegen/package/Pack.h"
#include "ir/interpreter/Interpreter.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/DenseSet.h"
#include <array>
#include <cmath>
#include <cstring>

using namespace mlir;
using namespace mlir::heddle;

namespace heddle {
namespace {

constexpr uint64_t kAlign = 64;

llvm::Error paramError(ParamOp param, const llvm::Twine &message) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(), "parameter '" + llvm::Twine(param.getSymName()) + "': " + message);
}

template <typename T> llvm::ArrayRef<uint8_t> asBytes(llvm::ArrayRef<T> values) {
  return {reinterpret_cast<const uint8_t *>(values.data()), values.size() * sizeof(T)};
}

/// Rows of `rope_table` without factors (its description has the formula): f64 inside, one rounding to f32.
llvm::Error writeRopeTable(RopeTableOp table, ByteSink sink) {
  auto type = cast<RankedTensorType>(table.getType());
  int64_t rows = type.getDimSize(0), half = type.getDimSize(1) / 2;
  std::vector<double> frequency(half);
  for (int64_t i = 0; i < half; ++i)
    frequency[i] = table.getScale().convertToDouble() * std::pow(table.getBase().convertToDouble(), -2.0 * i / (2.0 * half));
  std::vector<float> row(2 * half);
  for (int64_t p = 0; p < rows; ++p) {
    for (int64_t i = 0; i < half; ++i) {
      row[i] = static_cast<float>(std::cos(p * frequency[i]));
      row[half + i] = static_cast<float>(std::sin(p * frequency[i]));
    }
    if (auto error = sink(asBytes<float>(row)))
      return error;
  }
  return llvm::Error::success();
}
} // namespace

llvm::Expected<WeightLayout> WeightPacker::plan() {
  llvm::DenseSet<Operation *> seen;
  SymbolTable symbols(module);
  // Order of first use: a step reads the member from front to back.
  module.walk([&](LaunchOp launch) {
    for (Value input : launch.getInputs()) {
      auto get = input.getDefiningOp<GetParamOp>();
      if (!get)
        continue;
      auto param = symbols.lookup<ParamOp>(get.getParam());
      if (!seen.insert(param).second)
        continue;
      order.push_back(param);
      layout.offsets[param.getSymName()] = layout.size;
      layout.size += (valueBytes(param.getType(), 0) + kAlign - 1) / kAlign * kAlign;
    }
  });
  return layout;
}

llvm::Error WeightPacker::write(ByteSink sink, llvm::function_ref<void(uint64_t)> progress) {
  uint64_t written = 0;
  for (ParamOp param : order) {
    uint64_t expected = valueBytes(param.getType(), 0), got = 0;
    auto counting = [&](llvm::ArrayRef<uint8_t> bytes) -> llvm::Error {
      got += bytes.size();
      progress(written + got);
      return sink(bytes);
    };
    if (auto error = writeParam(param, counting))
      return error;
    if (got != expected)
      return paramError(param, "expected " + llvm::Twine(expected) + " bytes of " + "its type, but its origin gave " + llvm::Twine(got));
    static const uint8_t zeros[kAlign] = {};
    if (uint64_t padding = (kAlign - got % kAlign) % kAlign)
      if (auto error = sink({zeros, size_t(padding)}))
        return error;
    written += (got + kAlign - 1) / kAlign * kAlign;
  }
  return llvm::Error::success();
}

llvm::Error WeightPacker::writeParam(ParamOp param, ByteSink sink) {
  if (!param.getRecipe().empty())
    return writeRecipe(param, sink);
  if (auto value = param.getValue()) {
    auto dense = dyn_cast<DenseElementsAttr>(*value);
    if (!dense)
      return paramError(param, "expected its value to be dense elements");
    ArrayRef<char> raw = dense.getRawData();
    int64_t repeat = dense.isSplat() ? dense.getNumElements() : 1;
    for (int64_t i = 0; i < repeat; ++i)
      if (auto error = sink({reinterpret_cast<const uint8_t *>(raw.data()), raw.size()}))
        return error;
    return llvm::Error::success();
  }
  uint64_t size = valueBytes(param.getType(), 0);
  auto bytes = source.bytes(*param.getFile(), *param.getOffset(), size);
  if (!bytes)
    return bytes.takeError();
  auto error = sink(*bytes);
  source.release(*param.getFile(), *param.getOffset(), size);
  return error;
}

llvm::Error WeightPacker::writeRecipe(ParamOp param, ByteSink sink) {
  Block &recipe = param.getRecipe().front();
  // What can be large streams; everything else is a table of at most some megabytes, which the interpreter makes.
  if (auto pack = dyn_cast<PackOp>(recipe.front())) {
    auto from = cast<FlatSymbolRefAttr>((*param.getFrom())[cast<BlockArgument>(pack.getInput()).getArgNumber()]);
    return writePacked(pack, lookupParam(param, from), sink);
  }
  if (auto table = dyn_cast<RopeTableOp>(recipe.front()); table && !table.getFactors())
    return writeRopeTable(table, sink);
  interpreter::Interpreter evaluator(module, {}, &source);
  auto value = evaluator.parameter(param.getSymName());
  if (!value)
    return value.takeError();
  const interpreter::Numbers *numbers = value->numbers();
  if (!numbers || !getElementTypeOrSelf(param.getType()).isF32())
    return paramError(param, "expected its recipe to give an f32 tensor, but found " + value->describe());
  std::vector<float> rounded(numbers->data.begin(), numbers->data.end());
  return sink(asBytes<float>(rounded));
}

llvm::Error WeightPacker::writePacked(PackOp pack, ParamOp from, ByteSink sink) {
  auto type = cast<StoredType>(from.getType());
  if (!from.getFile())
    return paramError(from, "expected a packed parameter to come from a file");
  StorageFormat format = storageFormat(type.getEncoding());
  int64_t rows = type.getShape()[0], columns = type.getShape()[1];
  uint64_t rowBytes = storedBytes(format, columns);
  std::vector<uint8_t> group(packedGroupBytes(format, columns));
  for (int64_t row = 0; row < rows; row += 16) {
    int64_t count = std::min<int64_t>(16, rows - row);
    uint64_t offset = *from.getOffset() + row * rowBytes;
    auto bytes = source.bytes(*from.getFile(), offset, count * rowBytes);
    if (!bytes)
      return bytes.takeError();
    std::array<std::span<const uint8_t>, 16> group16;
    for (int64_t i = 0; i < count; ++i)
      group16[i] = {bytes->data() + i * rowBytes, size_t(rowBytes)};
    packGroup(format, std::span(group16).first(count), columns, group);
    if (auto error = sink(group))
      return error;
    source.release(*from.getFile(), offset, count * rowBytes);
  }
  return llvm::Error::success();
}

} // namespace heddle

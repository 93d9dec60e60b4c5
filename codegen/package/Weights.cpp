#include "codegen/package/Weights.h"
#include "codegen/package/Pack.h"
#include "codegen/package/StoredRows.h"
#include "heddle/artifact.h"
#include "ir/interpreter/Interpreter.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/MapVector.h"
#include <array>
#include <cmath>
#include <cstring>

using namespace mlir;
using namespace mlir::heddle;

namespace heddle {
namespace {

constexpr uint64_t kAlign = 64;
constexpr uint64_t kPiece = 1 << 20; // bytes of a tensor that are packed and written at once
// The kernel maps this much around a page that is read, pages that were released included.
constexpr uint64_t kFaultAround = 64 << 10;

llvm::Error paramError(ParamOp param, const llvm::Twine &message) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(),
                                 "parameter '" + llvm::Twine(param.getSymName()) + "': " + message);
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
    frequency[i] = table.getScale().convertToDouble() *
                   std::pow(table.getBase().convertToDouble(), -2.0 * i / (2.0 * half));
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

WeightPacker::WeightPacker(llvm::ArrayRef<CompiledModule> modules, const ParameterSource &source,
                           PackedParameters *kept)
    : modules(modules), source(source), kept(kept) {
  for (const CompiledModule &compiled : modules)
    symbols.try_emplace(compiled.module, compiled.module);
}

/// The parameter of this name in the module of `beside`.
ParamOp WeightPacker::lookup(ParamOp beside, Attribute symbol) {
  return symbols.at(beside->getParentOp()).lookup<ParamOp>(cast<FlatSymbolRefAttr>(symbol).getValue());
}

ParamOp WeightPacker::sameBytes(ParamOp param) {
  if (ParamOp known = same.lookup(param))
    return known;
  // All of this is unique in the context, so that addresses can be compared.
  ParameterKey key{param.getType().getAsOpaquePointer()};
  for (Attribute origin :
       {Attribute(param.getFileAttr()), Attribute(param.getOffsetAttr()), Attribute(param.getValueAttr())})
    key.push_back(origin.getAsOpaquePointer());
  if (!param.getRecipe().empty()) {
    Block &recipe = param.getRecipe().front();
    DenseMap<Value, size_t> numbers;
    for (Value argument : recipe.getArguments())
      numbers.try_emplace(argument, numbers.size());
    for (Operation &op : recipe) {
      // No op of a recipe has regions; one that had would have to be compared, so it stands for itself.
      key.push_back(op.getNumRegions() == 0 ? op.getName().getAsOpaquePointer() : &op);
      key.push_back(op.getAttrDictionary().getAsOpaquePointer());
      for (Value operand : op.getOperands())
        key.push_back(reinterpret_cast<const void *>(numbers.lookup(operand)));
      for (Value result : op.getResults()) {
        key.push_back(result.getType().getAsOpaquePointer());
        numbers.try_emplace(result, numbers.size());
      }
    }
  }
  if (ArrayAttr origins = param.getFromAttr())
    for (Attribute from : origins) {
      const ParameterKey &theirs = keys.at(sameBytes(lookup(param, from)));
      key.push_back(reinterpret_cast<const void *>(theirs.size()));
      key.insert(key.end(), theirs.begin(), theirs.end());
    }
  auto [known, fresh] = byKey.try_emplace(key, param);
  if (fresh)
    keys[param] = std::move(key);
  return same[param] = known->second;
}

llvm::Expected<std::vector<WeightLayout>> WeightPacker::plan() {
  // Order of first use: a step reads a member from front to back.
  llvm::MapVector<Operation *, uint64_t> users; // of each parameter, a bit for every module
  llvm::DenseMap<Operation *, uint64_t> places; // in its member
  for (auto [number, compiled] : llvm::enumerate(modules)) {
    ModuleOp module = compiled.module;
    module.walk([&](LaunchOp launch) {
      for (Value input : launch.getInputs())
        if (auto get = input.getDefiningOp<GetParamOp>())
          users[sameBytes(symbols.at(module).lookup<ParamOp>(get.getParam()))] |= uint64_t{1} << number;
    });
  }
  llvm::MapVector<uint64_t, WeightMember> members; // by users
  for (auto [op, mask] : users) {
    WeightMember &member = members[mask];
    if (member.name.empty()) {
      member.name = "weights";
      for (auto [number, compiled] : llvm::enumerate(modules))
        if (modules.size() > 1 && mask >> number & 1)
          member.name += "-" + memberWord(compiled.target);
      member.name += ".bin";
    }
    auto param = cast<ParamOp>(op);
    member.parameters.push_back(param);
    places[op] = member.size;
    member.size += (valueBytes(param.getType(), 0) + kAlign - 1) / kAlign * kAlign;
  }
  std::vector<WeightLayout> layouts(modules.size());
  for (auto [number, compiled] : llvm::enumerate(modules)) {
    WeightLayout &layout = layouts[number];
    llvm::DenseMap<uint64_t, uint64_t> begins;
    for (auto &[mask, member] : members)
      if (mask >> number & 1) {
        begins[mask] = (layout.size + HEDDLE_ZIP_SIZE_MULTIPLE - 1) / HEDDLE_ZIP_SIZE_MULTIPLE *
                       HEDDLE_ZIP_SIZE_MULTIPLE;
        layout.size = begins[mask] + member.size;
        layout.members.push_back(member.name);
      }
    for (auto param : compiled.module.getOps<ParamOp>())
      if (auto known = same.find(param); known != same.end())
        if (auto place = places.find(known->second); place != places.end())
          layout.offsets[param.getSymName()] = begins.lookup(users.lookup(known->second)) + place->second;
  }
  for (auto &[mask, member] : members)
    planned.push_back(std::move(member));
  return layouts;
}

llvm::Error WeightPacker::write(size_t member, ByteSink sink, llvm::function_ref<void(uint64_t)> progress) {
  uint64_t written = 0;
  for (ParamOp param : planned[member].parameters) {
    uint64_t expected = valueBytes(param.getType(), 0), got = 0;
    auto counting = [&](llvm::ArrayRef<uint8_t> bytes) -> llvm::Error {
      got += bytes.size();
      progress(written + got);
      return sink(bytes);
    };
    if (auto error = kept ? writeKept(param, counting) : writeParam(param, counting))
      return error;
    if (got != expected)
      return paramError(param, "expected " + llvm::Twine(expected) + " bytes of " +
                                   "its type, but its origin gave " + llvm::Twine(got));
    static const uint8_t zeros[kAlign] = {};
    if (uint64_t padding = (kAlign - got % kAlign) % kAlign)
      if (auto error = sink({zeros, size_t(padding)}))
        return error;
    written += (got + kAlign - 1) / kAlign * kAlign;
  }
  return llvm::Error::success();
}

llvm::Error WeightPacker::writeKept(ParamOp param, ByteSink sink) {
  auto [entry, fresh] = kept->try_emplace(keys.at(param));
  std::vector<uint8_t> &bytes = entry->second;
  if (fresh)
    if (auto error = writeParam(param, [&](llvm::ArrayRef<uint8_t> piece) {
          bytes.insert(bytes.end(), piece.begin(), piece.end());
          return llvm::Error::success();
        })) {
      kept->erase(entry);
      return error;
    }
  return sink(bytes);
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
  uint64_t size = valueBytes(param.getType(), 0), begin = *param.getOffset();
  for (uint64_t done = 0; done < size; done += kPiece) {
    uint64_t piece = std::min(kPiece, size - done);
    auto bytes = source.bytes(*param.getFile(), begin + done, piece);
    if (!bytes)
      return bytes.takeError();
    if (auto error = sink(*bytes))
      return error;
    release(param, done, piece);
  }
  return llvm::Error::success();
}

/// Lets go of `size` bytes at `start` of a parameter's bytes, and of the pages before them that were mapped
/// along with them.
void WeightPacker::release(ParamOp param, uint64_t start, uint64_t size) {
  uint64_t before = std::min<uint64_t>(*param.getOffset() + start, kFaultAround);
  source.release(*param.getFile(), *param.getOffset() + start - before, size + before);
}

llvm::Error WeightPacker::writeRecipe(ParamOp param, ByteSink sink) {
  Block &recipe = param.getRecipe().front();
  // What can be large streams; everything else is a table of at most some megabytes, which the interpreter
  // makes.
  if (auto pack = dyn_cast<PackOp>(recipe.front())) {
    Attribute from = (*param.getFrom())[cast<BlockArgument>(pack.getInput()).getArgNumber()];
    return writePacked(lookup(param, from), cast<StoredType>(param.getType()).getEncoding().getLayout(),
                       sink);
  }
  if (auto table = dyn_cast<RopeTableOp>(recipe.front()); table && !table.getFactors())
    return writeRopeTable(table, sink);
  interpreter::Interpreter evaluator(cast<ModuleOp>(param->getParentOp()), {}, &source);
  auto value = evaluator.parameter(param.getSymName());
  if (!value)
    return value.takeError();
  const interpreter::Numbers *numbers = value->numbers();
  if (!numbers || !getElementTypeOrSelf(param.getType()).isF32())
    return paramError(param, "expected its recipe to give an f32 tensor, but found " + value->describe());
  std::vector<float> rounded(numbers->data.begin(), numbers->data.end());
  return sink(asBytes<float>(rounded));
}

llvm::Error WeightPacker::writePacked(ParamOp from, Layout layout, ByteSink sink) {
  auto type = cast<StoredType>(from.getType());
  StorageFormat format = storageFormat(type.getEncoding());
  int64_t rows = type.getShape()[0], columns = type.getShape()[1];
  const int64_t array = panelColumns(layout);
  const bool gathers = layout == Layout::Gather;
  if (array && format != StorageFormat::I8)
    return paramError(from, "expected weights of target 'npu' to be 'int8', but found '" +
                                llvm::StringRef(formatInfo(format).name) + "'; compile with --quantize int8");
  const PanelLayout panel{array, columns};
  const GatherLayout gather = GatherLayout::of(format, columns);
  const int64_t groupRows = array ? array : gathers ? 1 : 16;
  uint64_t groupBytes = array ? panel.bytes() : gathers ? gather.stride() : packedGroupBytes(format, columns);
  int64_t groups = (rows + groupRows - 1) / groupRows;
  int64_t pieceGroups = std::min<int64_t>(std::max<uint64_t>(kPiece / groupBytes, 1), groups),
          pieceRows = pieceGroups * groupRows;
  auto stored = StoredRows::of(from, symbols.at(from->getParentOp()), source);
  if (!stored)
    return stored.takeError();
  std::vector<uint8_t> packed(pieceGroups * groupBytes);
  for (int64_t first = 0; first < rows; first += pieceRows) {
    int64_t end = std::min(first + pieceRows, rows);
    auto bytes = (*stored)->read(first, end - first);
    if (!bytes)
      return bytes.takeError();
    uint64_t rowBytes = storedBytes(format, columns);
    uint8_t *group = packed.data();
    for (int64_t row = first; row < end; row += groupRows, group += groupBytes) {
      std::array<std::span<const uint8_t>, 32> groupOf;
      size_t count = std::min<int64_t>(groupRows, end - row);
      for (size_t i = 0; i < count; ++i)
        groupOf[i] = {bytes->data() + (row - first + i) * rowBytes, size_t(rowBytes)};
      std::span<uint8_t> out(group, groupBytes);
      if (array)
        packPanel(panel, std::span(groupOf).first(count), out);
      else if (gathers)
        packGatherRow(format, gather, groupOf[0], out);
      else
        packGroup(format, std::span(groupOf).first(count), columns, out);
    }
    if (auto error = sink({packed.data(), group}))
      return error;
    (*stored)->release(first, end - first);
  }
  return llvm::Error::success();
}

} // namespace heddle

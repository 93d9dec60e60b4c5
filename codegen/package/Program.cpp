#include "codegen/package/Program.h"
#include "codegen/AttentionItems.h"
#include "codegen/KernelOperands.h"
#include "heddle/runtime.h"
#include "ir/ActivationLayout.h"
#include "ir/Entries.h"
#include "ir/PackedLayout.h"
#include "ir/SourceNames.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringSwitch.h"
#include <cstring>

using namespace mlir;
using namespace mlir::heddle;

namespace heddle {

std::string memberWord(StringRef target) {
  std::string word = target.str();
  std::replace(word.begin(), word.end(), ':', '-');
  return word;
}

uint64_t valueBytes(Type type, int64_t rows) {
  auto shape = shapeOf(type);
  if (auto stored = dyn_cast<StoredType>(type)) {
    EncAttr enc = stored.getEncoding();
    uint64_t leading = shape.size() == 1 ? 1 : ShapedType::isDynamic(shape[0]) ? rows : shape[0];
    if (enc.isActivation())
      return leading * activationLayout(stored).stride();
    if (enc.getLayout() == Layout::W16)
      return (leading + 15) / 16 * packedGroupBytes(storageFormat(enc), shape.back());
    if (int64_t array = panelColumns(enc.getLayout()))
      return (leading + array - 1) / array * PanelLayout{array, shape.back()}.bytes();
    if (enc.getLayout() == Layout::Gather)
      return leading * GatherLayout::of(storageFormat(enc), shape.back()).stride();
    return leading * storedBytes(storageFormat(enc), shape.back());
  }
  uint64_t elements = 1;
  for (int64_t size : shape)
    elements *= ShapedType::isDynamic(size) ? rows : size;
  return isa<SelectionType>(type) ? elements : elements * cast<ShapedType>(type).getElementTypeBitWidth() / 8;
}

namespace {

int32_t dimensionId(StringRef name) {
  return llvm::StringSwitch<int32_t>(name)
      .Case("n", HEDDLE_DIM_ROWS)
      .Cases("m", "s", HEDDLE_DIM_WANTED)
      .Default(-1);
}

uint32_t dtypeOf(Type type) {
  if (type.isF32())
    return HEDDLE_DTYPE_F32;
  if (type.isF16())
    return HEDDLE_DTYPE_F16;
  if (type.isBF16())
    return HEDDLE_DTYPE_BF16;
  if (type.getIntOrFloatBitWidth() == 8)
    return type.isInteger(8) ? HEDDLE_DTYPE_I8 : HEDDLE_DTYPE_U8;
  return type.isInteger(64) ? HEDDLE_DTYPE_I64 : HEDDLE_DTYPE_I32;
}

uint32_t kindOf(func::FuncOp entry) {
  switch (entryKind(entry)) {
  case EntryKind::Step:
    return HEDDLE_ENTRY_STEP;
  case EntryKind::Encode:
    return HEDDLE_ENTRY_ENCODE;
  case EntryKind::Tensors:
    return HEDDLE_ENTRY_TENSORS;
  }
  llvm_unreachable("unknown kind of entry");
}

class ProgramBuilder {
public:
  ProgramBuilder(ModuleOp module, ArrayRef<KernelInfo> kernels, ArrayRef<CodeMember> codes,
                 const WeightLayout &weights)
      : module(module), symbols(module), kernels(kernels), codes(codes), weights(weights) {
    strings.push_back('\0');
    for (auto [index, kernel] : llvm::enumerate(kernels))
      kernelIndex[kernel.symbol] = index;
  }

  llvm::Expected<std::string> build();

private:
  uint32_t string(StringRef text) {
    auto [it, inserted] = stringOffsets.try_emplace(text, strings.size());
    if (inserted) {
      strings.append(text.begin(), text.end());
      strings.push_back('\0');
    }
    return it->second;
  }
  int64_t fact(StringRef name, int64_t otherwise = 0) {
    auto facts = module->getAttrOfType<DictionaryAttr>(kModelAttr);
    auto value = facts ? facts.getAs<IntegerAttr>(name) : IntegerAttr();
    return value ? value.getInt() : otherwise;
  }
  void addCaches();
  llvm::Error addEntry(StringRef name, ArrayRef<func::FuncOp> functions);
  llvm::Error addVariant(func::FuncOp function);
  llvm::Error addAlternative(const heddle_entry &entry, func::FuncOp function);
  llvm::Error addLaunch(LaunchOp launch);
  llvm::Error addOperand(LaunchOp launch, const KernelOperand &operand);
  llvm::Error addValue(Value value);
  heddle_io makeIo(Type type, DictionaryAttr attrs, bool output, unsigned number);

  ModuleOp module;
  SymbolTable symbols;
  ArrayRef<KernelInfo> kernels;
  ArrayRef<CodeMember> codes;
  const WeightLayout &weights;
  llvm::StringMap<uint32_t> kernelIndex, cacheIndex;
  llvm::StringMap<uint32_t> stringOffsets;
  std::string strings;
  std::vector<heddle_entry> entries;
  std::vector<heddle_io> ios;
  std::vector<heddle_variant> variants;
  std::vector<heddle_launch> launches;
  std::vector<heddle_operand> operands;
  std::vector<heddle_cache> caches;
  uint32_t maxRows = 0, maxWanted = 0;
};

llvm::Error failed(Operation *op, const llvm::Twine &message) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(),
                                 "'" + describeSource(op->getLoc()) + "': " + message);
}

void ProgramBuilder::addCaches() {
  for (auto cache : module.getOps<CacheOp>()) {
    auto type = cast<KvCacheType>(cache.getType());
    cacheIndex[cache.getSymName()] = caches.size();
    caches.push_back({uint32_t(type.getHeads()), uint32_t(type.getKeyDim()), uint32_t(type.getValueDim()),
                      dtypeOf(type.getElementType()), HEDDLE_PAGE_TOKENS * uint64_t(type.tokenBytes()),
                      uint32_t(cache.getWindow()), string(cache.getSymName())});
  }
}

heddle_io ProgramBuilder::makeIo(Type type, DictionaryAttr attrs, bool output, unsigned number) {
  heddle_io io{};
  auto name = attrs ? attrs.getAs<StringAttr>(kNameAttr) : StringAttr();
  io.name = string(name ? name.getValue().str() : (output ? "output" : "input") + std::to_string(number));
  auto tensor = cast<RankedTensorType>(type);
  io.dtype = dtypeOf(tensor.getElementType());
  io.is_output = output;
  io.rank = tensor.getRank();
  auto dims = attrs ? attrs.getAs<ArrayAttr>(kDimsAttr) : ArrayAttr();
  unsigned dynamic = 0;
  for (unsigned i = 0; i < HEDDLE_MAX_RANK; ++i) {
    io.dim[i] = i < io.rank ? tensor.getDimSize(i) : 0;
    io.dim_id[i] = -1;
    if (i >= io.rank || !tensor.isDynamicDim(i))
      continue;
    io.dim[i] = -1;
    if (dims && dynamic < dims.size())
      io.dim_id[i] = dimensionId(cast<DimAttr>(dims[dynamic]).getName());
    ++dynamic;
  }
  return io;
}

llvm::Error ProgramBuilder::addOperand(LaunchOp launch, const KernelOperand &operand) {
  switch (operand.kind) {
  case KernelOperand::Argument:
    return addValue(launch.getInputs()[operand.index]);
  case KernelOperand::Result:
    return addValue(launch.getResult(operand.index));
  case KernelOperand::PageTable:
    operands.push_back({HEDDLE_OPERAND_PAGE_TABLE, 0, 0, 0});
    return llvm::Error::success();
  case KernelOperand::Work:
    operands.push_back({HEDDLE_OPERAND_WORK, 0, 0, 0});
    return llvm::Error::success();
  }
  llvm_unreachable("unknown operand kind");
}

llvm::Error ProgramBuilder::addValue(Value value) {
  Type type = value.getType();
  // A value has the rows of the launch that makes it; inputs are checked against the call's own. Memory of a
  // variant is planned for its rows.
  int64_t rows = std::max<int64_t>(variants.back().max_rows, maxWanted);
  if (auto maker = value.getDefiningOp<LaunchOp>())
    rows = maker.getRows() == "n" ? variants.back().max_rows : maxWanted;
  uint64_t bytes = isa<KvCacheType>(type) ? 0 : valueBytes(type, rows);
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    operands.push_back({HEDDLE_OPERAND_IO, argument.getArgNumber(), 0, bytes});
    return llvm::Error::success();
  }
  Operation *def = value.getDefiningOp();
  if (auto get = dyn_cast<GetParamOp>(def)) {
    auto offset = weights.offsets.find(get.getParam());
    if (offset == weights.offsets.end())
      return failed(def, "parameter '" + get.getParam() + "' has no place in the weights");
    operands.push_back({HEDDLE_OPERAND_WEIGHT, 0, offset->second, bytes});
    return llvm::Error::success();
  }
  if (auto get = dyn_cast<GetCacheOp>(def)) {
    operands.push_back({HEDDLE_OPERAND_CACHE, cacheIndex.lookup(get.getCache()), 0, 0});
    return llvm::Error::success();
  }
  auto launch = dyn_cast<LaunchOp>(def);
  if (!launch || !launch.getArena())
    return failed(def,
                  "expected a launch with planned memory, but found '" + def->getName().getStringRef() + "'");
  int64_t offset = (*launch.getArena())[cast<OpResult>(value).getResultNumber()];
  if (offset >= 0) {
    operands.push_back({HEDDLE_OPERAND_ARENA, 0, uint64_t(offset), bytes});
    return llvm::Error::success();
  }
  auto function = launch->getParentOfType<func::FuncOp>();
  for (OpOperand &use : value.getUses())
    if (isa<func::ReturnOp>(use.getOwner())) {
      operands.push_back({HEDDLE_OPERAND_IO, function.getNumArguments() + use.getOperandNumber(), 0, bytes});
      return llvm::Error::success();
    }
  return failed(def, "expected a result without an arena offset to be returned");
}

llvm::Error ProgramBuilder::addLaunch(LaunchOp launch) {
  auto index = kernelIndex.find(launch.getKernel());
  if (index == kernelIndex.end())
    return failed(launch, "kernel '" + launch.getKernel() + "' has no code");
  const KernelInfo &info = kernels[index->second];
  auto kernel = symbols.lookup<KernelOp>(launch.getKernel());
  heddle_launch record{};
  record.function = index->second;
  record.first_operand = operands.size();
  record.flags = launch.getBarrier() ? HEDDLE_LAUNCH_BARRIER : 0;
  record.grain = info.grain;
  record.items_mul = record.items_div = 1;
  record.source = string(sourceNames(launch.getLoc()));
  for (const KernelOperand &operand : kernelOperands(kernel))
    if (auto error = addOperand(launch, operand))
      return error;
  switch (kernel.getFamily()) {
  case Family::Contraction:
    record.items_dim = -1;
    record.items_mul = (shapeOf(launch.getResultTypes()[0]).back() + 15) / 16;
    break;
  case Family::Rows:
    record.items_dim = dimensionId(launch.getRows());
    // Static rows are named by their number.
    if (record.items_dim == -1 && launch.getRows().getAsInteger(10, record.items_mul))
      return failed(launch, "has rows '" + launch.getRows() +
                                "', which are neither of the call, nor wanted, nor a number");
    break;
  case Family::Attention: {
    record.items_dim = HEDDLE_DIM_WORK;
    auto scoring = *kernel.getBody().front().getOps<ScoringOpInterface>().begin();
    record.items_mul = attentionItems(scoring);
    // All kernels of a variant take the same records.
    uint32_t &workRows = variants.back().work_rows;
    workRows = std::min({workRows ? workRows : maxRows, info.workRows, maxRows});
    break;
  }
  }
  if (info.threads != 0) { // a grid of blocks: rows by what the generator says
    if (kernel.getFamily() == Family::Contraction)
      record.items_dim = dimensionId(launch.getRows());
    record.items_div = info.blockRows;
    record.items_mul = info.gridY;
  }
  record.operand_count = operands.size() - record.first_operand;
  launches.push_back(record);
  return llvm::Error::success();
}

llvm::Error ProgramBuilder::addVariant(func::FuncOp function) {
  heddle_variant variant{};
  variant.name = string(function.getSymName());
  auto rows = function->getAttrOfType<DenseI64ArrayAttr>(kRowsAttr);
  variant.min_rows = rows ? rows[0] : 1;
  variant.max_rows = rows ? rows[1] : maxRows;
  variant.first_launch = launches.size();
  if (auto bytes = function->getAttrOfType<IntegerAttr>("heddle.arena_bytes"))
    variant.arena_bytes = (bytes.getInt() + 63) / 64 * 64;
  variants.push_back(variant);
  for (Operation &op : function.getBody().front()) {
    if (isa<GetParamOp, GetCacheOp, func::ReturnOp>(op))
      continue;
    auto launch = dyn_cast<LaunchOp>(op);
    if (!launch)
      return failed(&op, "expected only launches, but found '" + op.getName().getStringRef() + "'");
    if (auto error = addLaunch(launch))
      return error;
  }
  variants.back().launch_count = launches.size() - variant.first_launch;
  return llvm::Error::success();
}

/// Adds the variant that replaces the one of the same rows where processors multiply tiles.
llvm::Error ProgramBuilder::addAlternative(const heddle_entry &entry, func::FuncOp function) {
  uint32_t number = variants.size();
  if (auto error = addVariant(function))
    return error;
  heddle_variant &alternative = variants[number];
  for (uint32_t i = 0; i < entry.variant_count; ++i) {
    heddle_variant &variant = variants[entry.first_variant + i];
    if (variant.min_rows != alternative.min_rows || variant.max_rows != alternative.max_rows)
      continue;
    // One session and one list of work serve both.
    variant.arena_bytes = std::max(variant.arena_bytes, alternative.arena_bytes);
    variant.work_rows = alternative.work_rows = std::min(variant.work_rows, alternative.work_rows);
    variant.alternative = number;
    variant.alternative_features = HEDDLE_CPU_AMX_BF16;
    return llvm::Error::success();
  }
  return failed(function, "'" + function.getSymName() + "' replaces no variant");
}

llvm::Error ProgramBuilder::addEntry(StringRef name, ArrayRef<func::FuncOp> functions) {
  heddle_entry entry{};
  entry.name = string(name);
  entry.kind = kindOf(functions.back());
  entry.first_io = ios.size();
  entry.first_variant = variants.size();
  func::FuncOp widest = functions.back();
  for (BlockArgument argument : widest.getArguments())
    ios.push_back(makeIo(argument.getType(), widest.getArgAttrDict(argument.getArgNumber()), false,
                         argument.getArgNumber()));
  for (auto [number, type] : llvm::enumerate(widest.getResultTypes())) {
    ios.push_back(makeIo(type, widest.getResultAttrDict(number), true, number));
    // Rows of a result are those that are wanted unless it says otherwise.
    heddle_io &io = ios.back();
    if (io.rank > 0 && io.dim[0] == -1 && io.dim_id[0] == -1)
      io.dim_id[0] = entry.kind == HEDDLE_ENTRY_TENSORS ? HEDDLE_DIM_ROWS : HEDDLE_DIM_WANTED;
  }
  entry.io_count = ios.size() - entry.first_io;
  auto isTiled = [](func::FuncOp function) { return function->hasAttr(kTilesAttr); };
  for (func::FuncOp function : llvm::make_filter_range(functions, std::not_fn(isTiled)))
    if (auto error = addVariant(function))
      return error;
  entry.variant_count = variants.size() - entry.first_variant;
  for (func::FuncOp function : llvm::make_filter_range(functions, isTiled))
    if (auto error = addAlternative(entry, function))
      return error;
  entries.push_back(entry);
  return llvm::Error::success();
}

llvm::Expected<std::string> ProgramBuilder::build() {
  addCaches();
  llvm::MapVector<StringRef, SmallVector<func::FuncOp>> byEntry;
  for (auto function : module.getOps<func::FuncOp>()) {
    if (auto entry = function->getAttrOfType<StringAttr>(kEntryAttr))
      byEntry[entry.getValue()].push_back(function);
    auto addBounds = [&](ArrayAttr dims) {
      if (!dims)
        return;
      for (auto dim : dims.getAsRange<DimAttr>()) {
        uint32_t &bound = dim.getName() == "n" ? maxRows : maxWanted;
        bound = std::max<uint32_t>(bound, dim.getMax());
      }
    };
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      addBounds(function.getArgAttrOfType<ArrayAttr>(i, kDimsAttr));
    // Sequences stand on results alone.
    for (unsigned i = 0; i < function.getNumResults(); ++i)
      addBounds(function.getResultAttrOfType<ArrayAttr>(i, kDimsAttr));
  }
  maxRows = std::max(maxRows, 1u);
  maxWanted = std::max(maxWanted, 1u);
  for (auto &[name, functions] : byEntry) {
    llvm::sort(functions, [](func::FuncOp a, func::FuncOp b) {
      auto low = [](func::FuncOp f) {
        auto rows = f->getAttrOfType<DenseI64ArrayAttr>(kRowsAttr);
        return rows ? rows[0] : 1;
      };
      return low(a) < low(b);
    });
    if (auto error = addEntry(name, functions))
      return error;
  }

  std::vector<heddle_function> functions;
  for (const KernelInfo &kernel : kernels)
    functions.push_back({string(kernel.symbol), kernel.threads, kernel.scratchBytes});
  std::vector<heddle_code> codeRecords;
  std::vector<uint64_t> offsets;
  for (const CodeMember &code : codes) {
    codeRecords.push_back({string(code.member), code.features});
    offsets.insert(offsets.end(), code.offsets.begin(), code.offsets.end());
  }
  std::vector<uint32_t> weightMembers;
  for (const std::string &member : weights.members)
    weightMembers.push_back(string(member));

  heddle_program_header header{};
  std::memcpy(header.magic, HEDDLE_PROGRAM_MAGIC, sizeof header.magic);
  header.version = HEDDLE_PROGRAM_VERSION;
  header.code_abi = HEDDLE_CODE_ABI;
  header.weights_size = weights.size;
  header.max_rows = maxRows;
  header.max_wanted = maxWanted;
  // Only caches have a context.
  header.max_context = caches.empty() ? 0
                                      : (fact("max_context") + HEDDLE_PAGE_TOKENS - 1) / HEDDLE_PAGE_TOKENS *
                                            HEDDLE_PAGE_TOKENS;
  header.max_slots = fact("max_slots", 1);
  header.vocabulary = fact("vocabulary");
  std::string bytes(sizeof header, '\0');
  auto append = [&](heddle_span &span, const auto &table) {
    bytes.resize((bytes.size() + 7) / 8 * 8, '\0');
    span = {bytes.size(), table.size()};
    bytes.append(reinterpret_cast<const char *>(table.data()), table.size() * sizeof(table[0]));
  };
  append(header.strings, strings);
  append(header.entries, entries);
  append(header.ios, ios);
  append(header.variants, variants);
  append(header.launches, launches);
  append(header.operands, operands);
  append(header.functions, functions);
  append(header.codes, codeRecords);
  append(header.offsets, offsets);
  append(header.caches, caches);
  append(header.weights, weightMembers);
  bytes.resize((bytes.size() + 7) / 8 * 8, '\0');
  header.file_size = bytes.size();
  std::memcpy(bytes.data(), &header, sizeof header);
  return bytes;
}
} // namespace

llvm::Expected<std::string> buildProgram(ModuleOp module, ArrayRef<KernelInfo> kernels,
                                         ArrayRef<CodeMember> codes, const WeightLayout &weights) {
  return ProgramBuilder(module, kernels, codes, weights).build();
}

} // namespace heddle

#include "ir/npu/Npu.h"
#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace mlir::npu;

#include "ir/npu/NpuDialect.cpp.inc"

#define GET_OP_CLASSES
#include "ir/npu/NpuOps.cpp.inc"

void NpuDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "ir/npu/NpuOps.cpp.inc"
      >();
}

const heddle_npu_command_info *mlir::npu::commandInfo(StringRef name) {
  for (const heddle_npu_command_info &info : heddle_npu_command_table)
    if (name == info.name)
      return &info;
  return nullptr;
}

const heddle_npu_command_info *mlir::npu::commandInfo(Operation *op) {
  return commandInfo(op->getName().stripDialect());
}

LogicalResult FunctionOp::verifyRegions() {
  int depth = 0;
  for (Operation &op : getBody().front()) {
    if (!commandInfo(&op))
      return op.emitOpError() << "expected a command of the NPU";
    if (isa<LoopOp>(op) && ++depth > HEDDLE_NPU_LOOP_DEPTH)
      return op.emitOpError() << "expected loops to nest at most " << HEDDLE_NPU_LOOP_DEPTH << " deep";
    if (isa<EndLoopOp>(op) && --depth < 0)
      return op.emitOpError() << "expected a 'loop' before it";
  }
  if (depth != 0)
    return emitOpError() << "expected an 'end_loop' for each 'loop', but " << depth << " are missing";
  return success();
}

// Text
// ----------------------------------------------------------------------------------------------------------------

static const char *const kTypeNames[] = {"s8", "s16", "s32"};

static std::optional<int> indexOf(StringRef name, const char *const *names, int count) {
  for (int i = 0; i < count; ++i)
    if (names[i] && name == names[i])
      return i;
  return std::nullopt;
}

static int numberOf(Operation *op, StringRef name) {
  auto attribute = op->getAttrOfType<IntegerAttr>(name);
  return attribute ? int(attribute.getInt()) : 0;
}

static bool isAddress(uint8_t kind) {
  return kind == HEDDLE_NPU_KIND_CHIP_ADDRESS || kind == HEDDLE_NPU_KIND_SCALAR_OR_CHIP;
}

void mlir::npu::printCommand(OpAsmPrinter &printer, Operation *op) {
  const heddle_npu_command_info &info = *commandInfo(op);
  int types = numberOf(op, "types"), modes = numberOf(op, "modes");
  if (info.function_count)
    printer << " " << info.functions[numberOf(op, "function")];
  if (info.type_count) {
    printer << " <";
    for (int i = 0; i < info.type_count; ++i)
      printer << (i ? ", " : "") << kTypeNames[types >> 2 * i & 3];
    printer << ">";
  }
  for (int i = 0; i < info.mode_count; ++i)
    if (modes >> i & 1)
      printer << " [" << info.modes[i] << "]";
  auto registers = op->getAttrOfType<DenseI8ArrayAttr>("registers");
  auto immediates = op->getAttrOfType<DenseI32ArrayAttr>("immediates");
  bool isFirst = true;
  for (int i = 0; i < info.field_count; ++i) {
    int number = registers[i];
    int32_t immediate = immediates[i];
    if (number == 0 && immediate == 0)
      continue;
    printer << (isFirst ? " " : ", ") << info.fields[i] << " = ";
    isFirst = false;
    if (number)
      printer << "r" << number;
    if (number && immediate)
      printer << " + ";
    if (!number || immediate) {
      if (isAddress(info.kinds[i]) && immediate < 0)
        printer << uint32_t(immediate);
      else
        printer << immediate;
    }
  }
}

ParseResult mlir::npu::parseCommand(OpAsmParser &parser, OperationState &state) {
  const heddle_npu_command_info &info = *commandInfo(state.name.stripDialect());
  Builder &builder = parser.getBuilder();
  int function = 0, types = 0, modes = 0;
  auto pick = [&](const char *const *names, int count, int &index) -> ParseResult {
    StringRef word;
    SMLoc loc = parser.getCurrentLocation();
    if (parser.parseKeyword(&word))
      return failure();
    auto found = indexOf(word, names, count);
    if (!found)
      return parser.emitError(loc) << "'" << word << "' is no word of '" << info.name << "'";
    index = *found;
    return success();
  };
  if (info.function_count && pick(info.functions, info.function_count, function))
    return failure();
  for (int i = 0; i < info.type_count; ++i) {
    int type = 0;
    if ((i ? parser.parseComma() : parser.parseLess()) || pick(kTypeNames, 3, type))
      return failure();
    types |= type << 2 * i;
  }
  if (info.type_count && parser.parseGreater())
    return failure();
  while (succeeded(parser.parseOptionalLSquare())) {
    int mode = 0;
    if (pick(info.modes, info.mode_count, mode) || parser.parseRSquare())
      return failure();
    modes |= 1 << mode;
  }
  SmallVector<int8_t> registers(info.field_count);
  SmallVector<int32_t> immediates(info.field_count);
  StringRef word;
  while (succeeded(parser.parseOptionalKeyword(&word))) {
    auto field = indexOf(word, info.fields, info.field_count);
    if (!field)
      return parser.emitError(parser.getCurrentLocation())
             << "'" << info.name << "' has no field '" << word << "'";
    if (parser.parseEqual())
      return failure();
    StringRef name;
    bool more = true;
    if (succeeded(parser.parseOptionalKeyword(&name))) {
      unsigned number = 0;
      if (!name.consume_front("r") || name.getAsInteger(10, number) || number >= HEDDLE_NPU_REGISTERS)
        return parser.emitError(parser.getCurrentLocation()) << "expected a register from r0 to r63";
      registers[*field] = int8_t(number);
      more = succeeded(parser.parseOptionalPlus());
    }
    int64_t immediate = 0;
    if (more && parser.parseInteger(immediate))
      return failure();
    immediates[*field] = int32_t(immediate);
    if (failed(parser.parseOptionalComma()))
      break;
  }
  for (auto [name, value] : {std::pair("function", function), {"types", types}, {"modes", modes}})
    state.addAttribute(name, builder.getI32IntegerAttr(value));
  state.addAttribute("registers", builder.getDenseI8ArrayAttr(registers));
  state.addAttribute("immediates", builder.getDenseI32ArrayAttr(immediates));
  return success();
}

// Verifier
// ------------------------------------------------------------------------------------------------------------

namespace {
struct Bounds {
  int64_t least, most;
};
} // namespace

/// What an immediate alone may be (docs/npu-isa.md); the array's width is the machine's.
static Bounds rangeOf(uint8_t kind) {
  switch (kind) {
  case HEDDLE_NPU_KIND_CHIP_STRIDE:
  case HEDDLE_NPU_KIND_BYTES:
    return {0, 1 << 24};
  case HEDDLE_NPU_KIND_DRAM_STRIDE:
    return {0, INT32_MAX};
  case HEDDLE_NPU_KIND_COUNT:
    return {0, 65535};
  case HEDDLE_NPU_KIND_COLUMNS:
    return {0, 32};
  case HEDDLE_NPU_KIND_ROW_LIMIT:
    return {1, INT32_MAX};
  case HEDDLE_NPU_KIND_SHIFT:
    return {0, 62};
  case HEDDLE_NPU_KIND_EXPONENT:
    return {-64, 64};
  case HEDDLE_NPU_KIND_UNITS:
    return {1, 65535};
  case HEDDLE_NPU_KIND_DESTINATION:
    return {1, HEDDLE_NPU_REGISTERS - 1};
  case HEDDLE_NPU_KIND_SEMAPHORE:
    return {0, HEDDLE_NPU_SEMAPHORES - 1};
  default:
    return {INT32_MIN, INT32_MAX};
  }
}

LogicalResult mlir::npu::verifyCommand(Operation *op) {
  const heddle_npu_command_info &info = *commandInfo(op);
  auto registers = op->getAttrOfType<DenseI8ArrayAttr>("registers");
  auto immediates = op->getAttrOfType<DenseI32ArrayAttr>("immediates");
  if (registers.size() != info.field_count || immediates.size() != info.field_count)
    return op->emitOpError() << "expected " << int(info.field_count) << " fields, but found "
                             << immediates.size();
  int function = numberOf(op, "function"), modes = numberOf(op, "modes"), types = numberOf(op, "types");
  if (function < 0 || function >= std::max<int>(info.function_count, 1))
    return op->emitOpError() << "expected a function below " << int(info.function_count) << ", but found "
                             << function;
  if (modes < 0 || modes >= 1 << info.mode_count)
    return op->emitOpError() << "expected modes below " << (1 << info.mode_count) << ", but found " << modes;
  for (int i = 0; i < 4; ++i)
    if ((types >> 2 * i & 3) > (i < info.type_count ? 2 : 0))
      return op->emitOpError() << "expected types s8, s16 or s32 of " << int(info.type_count)
                               << " operands, but found code " << types;
  for (int i = 0; i < info.field_count; ++i) {
    if (registers[i] < 0 || registers[i] >= HEDDLE_NPU_REGISTERS)
      return op->emitOpError() << "expected field '" << info.fields[i] << "' to name a register below "
                               << HEDDLE_NPU_REGISTERS << ", but found " << int(registers[i]);
    bool isFixed = info.kinds[i] == HEDDLE_NPU_KIND_DESTINATION || info.kinds[i] == HEDDLE_NPU_KIND_SEMAPHORE;
    if (isFixed && registers[i] != 0)
      return op->emitOpError() << "expected field '" << info.fields[i] << "' to be an immediate";
    Bounds range = rangeOf(info.kinds[i]);
    if (registers[i] == 0 && (immediates[i] < range.least || immediates[i] > range.most))
      return op->emitOpError() << "expected field '" << info.fields[i] << "' to be from " << range.least
                               << " to " << range.most << ", but found " << immediates[i];
  }
  return success();
}

// Code for the tape: one instruction for each op of a kernel.
#include "codegen/KernelOperands.h"
#include "codegen/RowValues.h"
#include "codegen/plugin/Plugin.h"
#include "tape.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::heddle;

namespace {

class Tape {
public:
  explicit Tape(KernelOp kernel) : kernel(kernel), operands(::heddle::kernelOperands(kernel)) {}

  llvm::Error emit() {
    for (Operation &op : kernel.getBody().front())
      if (llvm::Error error = emit(&op))
        return error;
    return llvm::Error::success();
  }

  std::vector<tape_instruction> instructions;

private:
  llvm::Error unsupported(Operation *op, const llvm::Twine &why) {
    return llvm::createStringError(std::make_error_code(std::errc::not_supported),
                                   "kernel '" + kernel.getSymName() + "' for target 'tape': '" +
                                       op->getName().getStringRef() + "' " + why);
  }

  uint32_t operandOf(::heddle::KernelOperand::Kind kind, unsigned index) {
    for (auto [number, operand] : llvm::enumerate(operands))
      if (operand.kind == kind && operand.index == index)
        return number;
    llvm_unreachable("every argument and result is an operand");
  }

  uint32_t operandOf(Value argument) {
    return operandOf(::heddle::KernelOperand::Argument, cast<BlockArgument>(argument).getArgNumber());
  }

  /// Numbers that a register holds of a value: a row, or all of a parameter.
  static uint32_t columnsOf(Type type) {
    auto shaped = cast<ShapedType>(type);
    return shaped.isDynamicDim(0) ? ::heddle::rowColumns(type) : shaped.getNumElements();
  }

  tape_instruction &append(tape_opcode opcode, Value result) {
    uint32_t columns = columnsOf(result.getType());
    uint32_t to = registers.try_emplace(result, registers.size()).first->second;
    instructions.push_back({opcode, 0, to, 0, 0, columns, columns, 0});
    return instructions.back();
  }

  /// The register of a value; arguments are loaded when they are first read.
  uint32_t read(Value value) {
    value = ::heddle::withoutReshapes(value);
    if (!registers.contains(value)) {
      tape_instruction &load = append(TAPE_LOAD, value);
      load.a = operandOf(value);
      load.kind = !cast<ShapedType>(value.getType()).isDynamicDim(0);
    }
    return registers.lookup(value);
  }

  llvm::Error emit(Operation *op) {
    if (registers.size() + 3 > TAPE_REGISTERS)
      return unsupported(op, "comes after more values than the machine has registers");
    llvm::SmallVector<Value> values(op->getOperands());
    llvm::append_range(values, op->getResults());
    for (Value value : values) {
      auto type = dyn_cast<RankedTensorType>(value.getType());
      if (!type && !isa<StoredType>(value.getType()))
        return unsupported(op, "reads or makes what is no tensor of numbers");
      if (type && (!type.getElementType().isF32() || columnsOf(type) > TAPE_COLUMNS))
        return unsupported(op, "has rows that are not f32, or too long");
    }
    return llvm::TypeSwitch<Operation *, llvm::Error>(op)
        .Case<ReshapeOp>([&](ReshapeOp) { return llvm::Error::success(); })
        .Case<UnaryOp>([&](UnaryOp unary) { return emitUnary(unary); })
        .Case<BinaryOp>([&](BinaryOp binary) { return emitBinary(binary); })
        .Case<ScaleOp>([&](ScaleOp scale) {
          uint32_t a = read(scale.getInput());
          tape_instruction &made = append(TAPE_SCALE, scale);
          made.a = a;
          made.number = scale.getFactor().convertToFloat();
          return llvm::Error::success();
        })
        .Case<RmsNormOp>([&](RmsNormOp norm) {
          uint32_t a = read(norm.getInput()), weight = read(norm.getWeight());
          tape_instruction &made = append(TAPE_RMS_NORM, norm);
          made.a = a;
          made.b = weight;
          made.inner = norm.getWeight().getType().getNumElements();
          made.number = norm.getEpsilon().convertToFloat();
          return llvm::Error::success();
        })
        .Case<LinearOp>([&](LinearOp linear) { return emitLinear(linear); })
        .Case<YieldOp>([&](YieldOp yield) {
          for (auto [number, value] : llvm::enumerate(yield.getOperands())) {
            uint32_t from = read(value);
            instructions.push_back({TAPE_STORE, 0, 0, operandOf(::heddle::KernelOperand::Result, number),
                                    from, uint32_t(::heddle::rowColumns(value.getType())), 0, 0});
          }
          return llvm::Error::success();
        })
        .Default([&](Operation *) { return unsupported(op, "is not available for it"); });
  }

  llvm::Error emitUnary(UnaryOp op) {
    const std::pair<UnaryKind, tape_unary> kinds[] = {{UnaryKind::Relu, TAPE_RELU},
                                                      {UnaryKind::Tanh, TAPE_TANH},
                                                      {UnaryKind::Silu, TAPE_SILU},
                                                      {UnaryKind::Exp, TAPE_EXP}};
    for (auto [kind, code] : kinds)
      if (op.getKind() == kind) {
        uint32_t a = read(op.getInput());
        tape_instruction &made = append(TAPE_UNARY, op);
        made.kind = code;
        made.a = a;
        return llvm::Error::success();
      }
    return unsupported(op, "<" + stringifyUnaryKind(op.getKind()) + "> is not available for it");
  }

  llvm::Error emitBinary(BinaryOp op) {
    if (op.getKind() > BinaryKind::Div)
      return unsupported(op, "<" + stringifyBinaryKind(op.getKind()) + "> is not available for it");
    uint32_t a = read(op.getLhs()), b = read(op.getRhs());
    tape_instruction &made = append(TAPE_BINARY, op);
    made.kind = uint32_t(op.getKind()); // in the order of tape_binary
    made.a = a;
    made.b = b;
    return llvm::Error::success();
  }

  llvm::Error emitLinear(LinearOp op) {
    EncAttr enc = cast<StoredType>(op.getWeight().getType()).getEncoding();
    if (enc.getFormat() != Format::F32 || enc.getLayout() != Layout::W16 || op.getSelection())
      return unsupported(op, "reads weights that are not f32, or a selection");
    uint32_t a = read(op.getInput());
    tape_instruction &made = append(TAPE_LINEAR, op);
    made.a = a;
    made.b = operandOf(op.getWeight());
    made.inner = ::heddle::rowColumns(op.getInput().getType());
    if (op.getBias()) {
      uint32_t product = made.to, bias = read(op.getBias()); // `made` is gone
      uint32_t columns = ::heddle::rowColumns(op.getType());
      instructions.push_back({TAPE_BINARY, TAPE_ADD, product, product, bias, columns, columns, 0});
    }
    return llvm::Error::success();
  }

  KernelOp kernel;
  llvm::SmallVector<::heddle::KernelOperand> operands;
  llvm::DenseMap<Value, uint32_t> registers;
};

class TapeTarget : public ::heddle::Target {
  llvm::StringRef name() const override { return "tape"; }

  llvm::Expected<::heddle::TargetCode> compile(ModuleOp module, const ::heddle::CompileOptions &,
                                               llvm::ThreadPoolInterface &) const override {
    auto tapes = emit(module);
    if (!tapes)
      return tapes.takeError();
    llvm::StringMap<llvm::StringRef> rows = ::heddle::launchRows(module);
    ::heddle::TargetCode code;
    std::vector<tape_function> functions;
    std::string instructions;
    for (auto [kernel, tape] : llvm::zip(module.getOps<KernelOp>(), *tapes)) {
      code.kernels.push_back({kernel.getSymName().str()});
      bool isWanted = rows.lookup(kernel.getSymName()) != "n";
      functions.push_back({uint32_t(instructions.size() / sizeof(tape_instruction)), uint32_t(tape.size()),
                           isWanted ? HEDDLE_DIM_WANTED : HEDDLE_DIM_ROWS, 0});
      instructions.append(reinterpret_cast<const char *>(tape.data()),
                          tape.size() * sizeof(tape_instruction));
    }
    tape_header header = {{'T', 'A', 'P', 'E', '0', '0', '0', '1'},
                          uint32_t(functions.size()),
                          uint32_t(instructions.size() / sizeof(tape_instruction))};
    std::string content(reinterpret_cast<const char *>(&header), sizeof header);
    content.append(reinterpret_cast<const char *>(functions.data()),
                   functions.size() * sizeof(tape_function));
    content += instructions;
    code.members.push_back(
        {"code/tape.bin", HEDDLE_CODE_OTHER | TAPE_NUMBER << 16, std::vector<uint64_t>(functions.size())});
    code.contents.push_back(std::move(content));
    code.manifest = llvm::json::Object{{"name", "tape"}};
    return code;
  }

  llvm::Expected<std::string> text(ModuleOp module, const ::heddle::CompileOptions &,
                                   llvm::StringRef) const override {
    auto tapes = emit(module);
    if (!tapes)
      return tapes.takeError();
    std::string text;
    for (auto [kernel, tape] : llvm::zip(module.getOps<KernelOp>(), *tapes))
      text += (kernel.getSymName() + ": " + llvm::Twine(tape.size()) + " instructions\n").str();
    return text;
  }

  llvm::Expected<std::vector<std::vector<tape_instruction>>> emit(ModuleOp module) const {
    llvm::StringMap<llvm::StringRef> rows = ::heddle::launchRows(module);
    std::vector<std::vector<tape_instruction>> tapes;
    for (auto kernel : module.getOps<KernelOp>()) {
      llvm::StringRef dimension = rows.lookup(kernel.getSymName());
      if (dimension != "n" && dimension != "m" && dimension != "s")
        return llvm::createStringError(std::make_error_code(std::errc::not_supported),
                                       "kernel '" + kernel.getSymName() +
                                           "' for target 'tape': expected rows of the call, but found '" +
                                           dimension + "'");
      Tape tape(kernel);
      if (llvm::Error error = tape.emit())
        return std::move(error);
      tapes.push_back(std::move(tape.instructions));
    }
    return tapes;
  }
};

void load(::heddle::PluginRegistry &registry) {
  TargetDescription description;
  description.level2Bytes = 64 * 1024; // the values of one row of a kernel
  registry.addTarget(std::make_unique<TapeTarget>(), description);
}

} // namespace

HEDDLE_PLUGIN("tape", "1.0", load);

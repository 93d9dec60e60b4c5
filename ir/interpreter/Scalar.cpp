#include "ir/interpreter/Scalar.h"

using namespace mlir;
using namespace mlir::heddle;
using namespace mlir::heddle::interpreter;

namespace {

using Step = Scalar (*)(const Arithmetics &, const ScalarStep &, const Scalar *);

/// Keeps the low `width` bits, sign-extended; i1 stays 0 or 1.
int64_t wrap(unsigned width, uint64_t value) {
  if (width == 1)
    return value & 1;
  return width >= 64 ? int64_t(value) : int64_t(value << (64 - width)) >> (64 - width);
}

uint64_t unsignedOf(unsigned width, int64_t value) {
  return width >= 64 ? value : value & ((uint64_t(1) << width) - 1);
}
int64_t signedOf(unsigned width, int64_t value) { return width == 1 ? -value : value; }

Scalar integer(const ScalarStep &step, uint64_t value) { return {{}, wrap(step.width, value)}; }

bool compareFloats(arith::CmpFPredicate predicate, double a, double b) {
  using P = arith::CmpFPredicate;
  bool unordered = std::isnan(a) || std::isnan(b);
  switch (predicate) {
  case P::AlwaysFalse:
    return false;
  case P::AlwaysTrue:
    return true;
  case P::OEQ:
    return a == b;
  case P::OGT:
    return a > b;
  case P::OGE:
    return a >= b;
  case P::OLT:
    return a < b;
  case P::OLE:
    return a <= b;
  case P::ONE:
    return !unordered && a != b;
  case P::ORD:
    return !unordered;
  case P::UEQ:
    return unordered || a == b;
  case P::UGT:
    return unordered || a > b;
  case P::UGE:
    return unordered || a >= b;
  case P::ULT:
    return unordered || a < b;
  case P::ULE:
    return unordered || a <= b;
  case P::UNE:
    return a != b;
  case P::UNO:
    return unordered;
  }
  llvm_unreachable("unknown predicate");
}

bool compareIntegers(arith::CmpIPredicate predicate, unsigned width, int64_t a, int64_t b) {
  using P = arith::CmpIPredicate;
  int64_t sa = signedOf(width, a), sb = signedOf(width, b);
  uint64_t ua = unsignedOf(width, a), ub = unsignedOf(width, b);
  switch (predicate) {
  case P::eq:
    return a == b;
  case P::ne:
    return a != b;
  case P::slt:
    return sa < sb;
  case P::sle:
    return sa <= sb;
  case P::sgt:
    return sa > sb;
  case P::sge:
    return sa >= sb;
  case P::ult:
    return ua < ub;
  case P::ule:
    return ua <= ub;
  case P::ugt:
    return ua > ub;
  case P::uge:
    return ua >= ub;
  }
  llvm_unreachable("unknown predicate");
}

/// To an integer as the hardware would, but never out of range: what the IR leaves undefined becomes zero.
int64_t toInteger(unsigned width, double value, bool isSigned) {
  double limit = std::ldexp(1.0, int(width) - (isSigned ? 1 : 0)), truncated = std::trunc(value);
  bool fits = isSigned ? truncated >= -limit && truncated < limit : truncated >= 0 && truncated < limit;
  if (!fits)
    return 0;
  return isSigned ? int64_t(truncated) : int64_t(uint64_t(truncated));
}

// Short names for the table below.
#define REAL(expression)                                                                                     \
  [](const Arithmetics &a, const ScalarStep &step, const Scalar *in) -> Scalar { return {expression, 0}; }
#define APPLY(expression) REAL(a.apply([](double x) -> double { return expression; }, in[0].real))
#define INTEGER(expression)                                                                                  \
  [](const Arithmetics &a, const ScalarStep &step, const Scalar *in) -> Scalar {                             \
    return integer(step, expression);                                                                        \
  }

const llvm::StringMap<Step> &stepTable() {
  static const llvm::StringMap<Step> table = {
      {"arith.addf", REAL(a.add(in[0].real, in[1].real))},
      {"arith.subf", REAL(a.subtract(in[0].real, in[1].real))},
      {"arith.mulf", REAL(a.multiply(in[0].real, in[1].real))},
      {"arith.divf", REAL(a.divide(in[0].real, in[1].real))},
      {"arith.negf", REAL((Real{-in[0].real.value, in[0].real.tolerance}))},
      {"arith.maximumf", REAL(a.maximum(in[0].real, in[1].real))},
      {"arith.minimumf", REAL(a.minimum(in[0].real, in[1].real))},
      // The other operand where one is NaN.
      {"arith.maxnumf", REAL(std::isnan(in[0].real.value)   ? in[1].real
                             : std::isnan(in[1].real.value) ? in[0].real
                                                            : a.maximum(in[0].real, in[1].real))},
      {"arith.minnumf", REAL(std::isnan(in[0].real.value)   ? in[1].real
                             : std::isnan(in[1].real.value) ? in[0].real
                                                            : a.minimum(in[0].real, in[1].real))},
      {"arith.extf", REAL(in[0].real)},
      {"arith.truncf", REAL(a.result(static_cast<float>(in[0].real.value), std::abs(in[0].real.value),
                                     in[0].real.tolerance))},
      {"arith.sitofp", REAL((Real{a.round(signedOf(step.fromWidth, in[0].integer)), 0}))},
      {"arith.uitofp", REAL((Real{a.round(unsignedOf(step.fromWidth, in[0].integer)), 0}))},
      {"math.absf", REAL((Real{std::abs(in[0].real.value), in[0].real.tolerance}))},
      {"math.fma",
       REAL(a.result(in[0].real.value * in[1].real.value + in[2].real.value,
                     std::abs(in[0].real.value * in[1].real.value) + std::abs(in[2].real.value),
                     std::abs(in[0].real.value) * in[1].real.tolerance +
                         std::abs(in[1].real.value) * in[0].real.tolerance + in[2].real.tolerance))},
      {"math.exp", APPLY(std::exp(x))},
      {"math.exp2", APPLY(std::exp2(x))},
      {"math.expm1", APPLY(std::expm1(x))},
      {"math.log", APPLY(std::log(x))},
      {"math.log2", APPLY(std::log2(x))},
      {"math.log1p", APPLY(std::log1p(x))},
      {"math.sqrt", APPLY(std::sqrt(x))},
      {"math.rsqrt", APPLY(1 / std::sqrt(x))},
      {"math.tanh", APPLY(std::tanh(x))},
      {"math.sin", APPLY(std::sin(x))},
      {"math.cos", APPLY(std::cos(x))},
      {"math.erf", APPLY(std::erf(x))},
      {"math.floor", APPLY(std::floor(x))},
      {"math.ceil", APPLY(std::ceil(x))},
      {"math.roundeven", APPLY(std::nearbyint(x))},
      {"math.powf", REAL((a.result(std::pow(in[0].real.value, in[1].real.value),
                                   std::abs(std::pow(in[0].real.value, in[1].real.value)),
                                   in[0].real.tolerance + in[1].real.tolerance > 0
                                       ? std::numeric_limits<double>::infinity()
                                       : 0)))},
      {"arith.addi", INTEGER(uint64_t(in[0].integer) + in[1].integer)},
      {"arith.subi", INTEGER(uint64_t(in[0].integer) - in[1].integer)},
      {"arith.muli", INTEGER(uint64_t(in[0].integer) * in[1].integer)},
      // The divisor is not zero (run() has checked); -1 alone could overflow.
      {"arith.divsi",
       INTEGER(in[1].integer == -1 ? -uint64_t(in[0].integer) : in[0].integer / in[1].integer)},
      {"arith.remsi", INTEGER(in[1].integer == -1 ? 0 : in[0].integer % in[1].integer)},
      {"arith.divui",
       INTEGER(unsignedOf(step.fromWidth, in[0].integer) / unsignedOf(step.fromWidth, in[1].integer))},
      {"arith.remui",
       INTEGER(unsignedOf(step.fromWidth, in[0].integer) % unsignedOf(step.fromWidth, in[1].integer))},
      {"arith.andi", INTEGER(in[0].integer & in[1].integer)},
      {"arith.ori", INTEGER(in[0].integer | in[1].integer)},
      {"arith.xori", INTEGER(in[0].integer ^ in[1].integer)},
      {"arith.shli",
       INTEGER(uint64_t(in[1].integer) >= step.width ? 0 : uint64_t(in[0].integer) << in[1].integer)},
      {"arith.shrsi", INTEGER(in[0].integer >> std::min<uint64_t>(in[1].integer, 63))},
      {"arith.shrui", INTEGER(uint64_t(in[1].integer) >= step.width
                                  ? 0
                                  : unsignedOf(step.fromWidth, in[0].integer) >> in[1].integer)},
      {"arith.maxsi", INTEGER(std::max(in[0].integer, in[1].integer))},
      {"arith.minsi", INTEGER(std::min(in[0].integer, in[1].integer))},
      {"arith.maxui", INTEGER(std::max(unsignedOf(step.fromWidth, in[0].integer),
                                       unsignedOf(step.fromWidth, in[1].integer)))},
      {"arith.minui", INTEGER(std::min(unsignedOf(step.fromWidth, in[0].integer),
                                       unsignedOf(step.fromWidth, in[1].integer)))},
      {"math.absi", INTEGER(in[0].integer < 0 ? -uint64_t(in[0].integer) : in[0].integer)},
      {"arith.extsi", INTEGER(signedOf(step.fromWidth, in[0].integer))},
      {"arith.extui", INTEGER(unsignedOf(step.fromWidth, in[0].integer))},
      {"arith.trunci", INTEGER(in[0].integer)},
      {"arith.index_cast", INTEGER(signedOf(step.fromWidth, in[0].integer))},
      {"arith.index_castui", INTEGER(unsignedOf(step.fromWidth, in[0].integer))},
      {"arith.fptosi", INTEGER(toInteger(step.width, in[0].real.value, true))},
      {"arith.fptoui", INTEGER(toInteger(step.width, in[0].real.value, false))},
      {"arith.cmpf", INTEGER(compareFloats(static_cast<arith::CmpFPredicate>(step.predicate),
                                           in[0].real.value, in[1].real.value))},
      {"arith.cmpi", INTEGER(compareIntegers(static_cast<arith::CmpIPredicate>(step.predicate),
                                             step.fromWidth, in[0].integer, in[1].integer))},
      {"arith.select",
       [](const Arithmetics &, const ScalarStep &,
          const Scalar *in) -> Scalar { return in[0].integer ? in[1] : in[2]; }},
  };
  return table;
}

#undef REAL
#undef APPLY
#undef INTEGER

/// Bits of an integer or index type; 0 for floats.
unsigned widthOf(Type type) {
  if (isa<IndexType>(type))
    return 64;
  return isa<IntegerType>(type) ? type.getIntOrFloatBitWidth() : 0;
}

bool isScalar(Type type) {
  return type.isF32() || type.isF64() || (widthOf(type) >= 1 && widthOf(type) <= 64);
}

Scalar constantOf(TypedAttr attribute) {
  if (auto real = dyn_cast<FloatAttr>(attribute))
    return {{real.getValueAsDouble(), 0}, 0};
  const APInt &value = cast<IntegerAttr>(attribute).getValue();
  return {{}, value.getBitWidth() == 1 ? int64_t(value.getZExtValue()) : value.getSExtValue()};
}

} // namespace

Scalar interpreter::scalarOf(const Datum &datum) {
  if (auto *numbers = datum.numbers())
    return {{numbers->data[0], numbers->toleranceAt(0)}, 0};
  return {{}, datum.integers()->data[0]};
}

Datum interpreter::datumOf(const Scalar &scalar, Type type) {
  if (!isa<FloatType>(type))
    return Integers{{}, {scalar.integer}, {}};
  Numbers number{{}, {scalar.real.value}, {}, {}};
  if (scalar.real.tolerance > 0)
    number.tolerance = {scalar.real.tolerance};
  return number;
}

llvm::Error ScalarProgram::append(Operation *op,
                                  llvm::function_ref<llvm::Expected<unsigned>(mlir::Value)> registerOf) {
  auto found = stepTable().find(op->getName().getStringRef());
  if (found == stepTable().end())
    return fail(op, "expected an operation that the interpreter knows (docs/interpreter.md lists them)",
                Kind::Unsupported);
  for (Type type :
       llvm::concat<Type>(llvm::to_vector(op->getOperandTypes()), llvm::to_vector(op->getResultTypes())))
    if (!isScalar(type)) {
      std::string text;
      llvm::raw_string_ostream(text) << type;
      return fail(
          op, "expected scalars of type f32, f64, index or integers of at most 64 bits, but found " + text,
          Kind::Unsupported);
    }
  ScalarStep step;
  step.op = op;
  step.function = found->second;
  for (mlir::Value operand : op->getOperands()) {
    auto reg = registerOf(operand);
    if (!reg)
      return reg.takeError();
    step.operands.push_back(*reg);
  }
  Type type = op->getResult(0).getType(), from = op->getOperand(0).getType();
  step.width = widthOf(type);
  step.fromWidth = widthOf(from);
  step.isDouble = isa<FloatType>(type) ? type.isF64() : from.isF64();
  step.divides = isa<arith::DivSIOp, arith::DivUIOp, arith::RemSIOp, arith::RemUIOp>(op);
  if (auto compare = dyn_cast<arith::CmpFOp>(op))
    step.predicate = static_cast<int64_t>(compare.getPredicate());
  else if (auto compare = dyn_cast<arith::CmpIOp>(op))
    step.predicate = static_cast<int64_t>(compare.getPredicate());
  step.result = registers.size();
  registers.emplace_back();
  steps.push_back(std::move(step));
  return llvm::Error::success();
}

/// The element that the operands name, indices outside being clamped.
static Scalar readElement(const Arithmetics &, const ScalarStep &step, const Scalar *indices) {
  size_t place = 0;
  for (auto [i, size] : llvm::enumerate(step.tensor.shape()))
    place = place * size + std::clamp<int64_t>(indices[i].integer, 0, size - 1);
  if (auto *numbers = step.tensor.numbers())
    return {{numbers->data[place], numbers->toleranceAt(place)}, 0};
  return {{}, step.tensor.integers()->data[place]};
}

llvm::Error
ScalarProgram::appendElement(ElementOp op, Datum tensor,
                             llvm::function_ref<llvm::Expected<unsigned>(mlir::Value)> registerOf) {
  if (!tensor.fits(op.getTensor().getType()) || elementCount(tensor.shape()).value_or(0) == 0)
    return fail(op, "expected a tensor with elements, but found " + tensor.describe());
  ScalarStep step;
  step.op = op;
  step.function = readElement;
  step.tensor = std::move(tensor);
  for (mlir::Value index : op.getIndices()) {
    auto reg = registerOf(index);
    if (!reg)
      return reg.takeError();
    step.operands.push_back(*reg);
  }
  step.result = registers.size();
  registers.emplace_back();
  steps.push_back(std::move(step));
  return llvm::Error::success();
}

llvm::Expected<ScalarProgram> ScalarProgram::compile(Block &block, Lookup captured, Context &context) {
  ScalarProgram program(context);
  program.argumentCount = block.getNumArguments();
  DenseMap<mlir::Value, unsigned> known;
  DenseMap<mlir::Value, Datum> tensors; // constants of the region
  for (BlockArgument argument : block.getArguments()) {
    known[argument] = program.registers.size();
    program.registers.emplace_back();
  }
  auto registerOf = [&](mlir::Value value) -> llvm::Expected<unsigned> {
    auto [entry, isNew] = known.try_emplace(value, program.registers.size());
    if (isNew) {
      auto datum = captured(value);
      if (!datum)
        return datum.takeError();
      if (!datum->shape().empty() || (!datum->numbers() && !datum->integers()))
        return fail(block.getParentOp(),
                    "expected a region to capture scalars, but found " + datum->describe(),
                    Kind::Unsupported);
      program.registers.push_back(scalarOf(*datum));
    }
    return entry->second;
  };
  for (Operation &op : block.without_terminator()) {
    if (auto constant = dyn_cast<arith::ConstantOp>(op); constant && isScalar(constant.getType())) {
      known[constant] = program.registers.size();
      program.registers.push_back(constantOf(constant.getValue()));
      continue;
    }
    if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
      auto elements = dyn_cast<ElementsAttr>(constant.getValue());
      auto charge =
          context.charge(&op, elements ? elements.getNumElements() : 0, 8); // before a splat is spread
      if (!charge)
        return charge.takeError();
      if (auto datum = elements ? interpreter::datumOf(elements) : std::nullopt)
        tensors[constant] = *datum;
      continue;
    }
    if (auto element = dyn_cast<ElementOp>(op)) {
      Datum tensor = tensors.lookup(element.getTensor());
      if (!tensor) {
        auto found = captured(element.getTensor());
        if (!found)
          return found.takeError();
        tensor = *found;
      }
      if (llvm::Error error = program.appendElement(element, std::move(tensor), registerOf))
        return std::move(error);
      known[element] = program.steps.back().result;
      continue;
    }
    if (op.getNumResults() != 1 || op.getNumOperands() == 0)
      return fail(&op, "expected an operation with operands and one result", Kind::Unsupported);
    if (llvm::Error error = program.append(&op, registerOf))
      return std::move(error);
    known[op.getResult(0)] = program.steps.back().result;
  }
  auto reg = registerOf(block.getTerminator()->getOperand(0));
  if (!reg)
    return reg.takeError();
  program.result = *reg;
  return program;
}

llvm::Expected<ScalarProgram> ScalarProgram::compile(Operation *op, Context &context) {
  ScalarProgram program(context);
  program.argumentCount = op->getNumOperands();
  if (auto constant = dyn_cast<arith::ConstantOp>(op); constant && isScalar(constant.getType())) {
    program.registers.push_back(constantOf(constant.getValue()));
    return program;
  }
  if (op->getNumResults() != 1 || op->getNumOperands() == 0)
    return fail(op, "expected an operation that the interpreter knows (docs/interpreter.md lists them)",
                Kind::Unsupported);
  unsigned next = 0;
  program.registers.resize(op->getNumOperands());
  if (llvm::Error error = program.append(op, [&](mlir::Value) -> llvm::Expected<unsigned> { return next++; }))
    return std::move(error);
  program.result = program.steps.back().result;
  return program;
}

llvm::Expected<Scalar> ScalarProgram::run(ArrayRef<Scalar> arguments) {
  llvm::copy(arguments.take_front(argumentCount), registers.begin());
  Scalar operands[4];
  for (const ScalarStep &step : steps) {
    for (auto [i, reg] : llvm::enumerate(step.operands))
      operands[i] = registers[reg];
    if (step.divides && operands[1].integer == 0)
      return fail(step.op, "expected a divisor other than zero, but found 0");
    registers[step.result] = step.function(step.isDouble ? wide : single, step, operands);
  }
  return registers[result];
}

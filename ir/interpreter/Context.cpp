#include "ir/interpreter/Context.h"
#include "ir/SourceNames.h"

using namespace mlir;
using namespace mlir::heddle;
using namespace mlir::heddle::interpreter;

char InterpreterError::ID = 0;

llvm::Error interpreter::fail(Operation *op, const Twine &message, Kind kind) {
  std::string text =
      (describeSource(op->getLoc()) + ": '" + op->getName().getStringRef() + "': " + message).str();
  return llvm::make_error<InterpreterError>(kind, std::move(text));
}

Context::Context(const Options &options)
    : options(options), arithmetic{options.arithmetic == Arithmetic::F32,
                                   ::heddle::kToleranceFactor * options.toleranceEpsilon},
      budget(std::make_shared<Budget>(Budget{options.memoryLimit})), stepsLeft(options.stepLimit),
      ties(options.tieSeed) {}

llvm::Expected<Charge> Context::charge(Operation *op, int64_t count, uint64_t bytes) {
  uint64_t size;
  if (count < 0 || __builtin_mul_overflow(static_cast<uint64_t>(count), bytes, &size) ||
      size > budget->limit - budget->used)
    return fail(op,
                Twine("expected all values to fit into ") + Twine(budget->limit) + " bytes, but found " +
                    Twine(budget->used) + " in use and " + Twine(count) +
                    " elements more; raise the interpreter's memory limit",
                Kind::Limit);
  budget->used += size;
  return Charge(nullptr, [budget = budget, size](void *) { budget->used -= size; });
}

llvm::Error Context::spend(Operation *op, std::initializer_list<uint64_t> factors) {
  uint64_t steps = 1;
  for (uint64_t factor : factors)
    if (__builtin_mul_overflow(steps, factor, &steps))
      steps = UINT64_MAX;
  if (steps > stepsLeft)
    return fail(op,
                Twine("expected the program to end within ") + Twine(options.stepLimit) +
                    " steps; raise the interpreter's step limit",
                Kind::Limit);
  stepsLeft -= steps;
  return llvm::Error::success();
}

llvm::Expected<Numbers> Context::numbers(Operation *op, ArrayRef<int64_t> shape) {
  std::optional<int64_t> count = elementCount(shape);
  auto charged = charge(op, count.value_or(-1), tracks() ? 16 : 8);
  if (!charged)
    return charged.takeError();
  Numbers result{Shape(shape), std::vector<double>(*count), {}, std::move(*charged)};
  if (tracks())
    result.tolerance.resize(*count);
  return result;
}

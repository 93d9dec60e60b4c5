// Regions and scalars of upstream dialects: arith and math ops on single values, compiled to a flat list of
// steps once, since an attention region runs for every pair of row and key.
#pragma once
#include "ir/interpreter/Context.h"

namespace mlir::heddle::interpreter {

struct Scalar {
  Real real;           // of float types
  int64_t integer = 0; // of integer types; sign-extended, i1 is 0 or 1
};

struct ScalarStep {
  Operation *op;
  Scalar (*function)(const Arithmetics &, const ScalarStep &, const Scalar *operands);
  SmallVector<unsigned, 3> operands; // registers
  unsigned result;
  unsigned width = 0;     // of the result, where it is an integer
  unsigned fromWidth = 0; // of the first operand, the same
  int64_t predicate = 0;
  bool isDouble = false; // works on f64: not rounded in f32 arithmetic
  bool divides = false;  // by an integer, which may be zero
  Datum tensor;          // that `element` reads at the operands
};

class ScalarProgram {
public:
  /// `block` ends in a terminator whose first operand is the result; values from outside come from
  /// `captured`.
  static llvm::Expected<ScalarProgram> compile(Block &block, Lookup captured, Context &context);

  /// A program of one op, whose operands are the arguments.
  static llvm::Expected<ScalarProgram> compile(Operation *op, Context &context);

  /// Arguments past those of the block are left out.
  llvm::Expected<Scalar> run(ArrayRef<Scalar> arguments);

  size_t size() const { return steps.size(); }

private:
  explicit ScalarProgram(const Context &context)
      : single(context.arithmetic), wide{false, context.arithmetic.unit} {}
  llvm::Error appendElement(ElementOp op, Datum tensor,
                            llvm::function_ref<llvm::Expected<unsigned>(mlir::Value)> registerOf);
  llvm::Error append(Operation *op, llvm::function_ref<llvm::Expected<unsigned>(mlir::Value)> registerOf);

  Arithmetics single, wide;
  std::vector<ScalarStep> steps;
  size_t argumentCount = 0;
  std::vector<Scalar> registers; // arguments, captured values and constants, results of steps
  unsigned result = 0;
};

/// A rank-0 value as a scalar and back.
Scalar scalarOf(const Datum &datum);
Datum datumOf(const Scalar &scalar, Type type);

} // namespace mlir::heddle::interpreter

// The reference interpreter: executes model- and kernel-level IR by plain loops. The oracle of tests,
// `verify` and `bisect`.
#pragma once
#include "ir/ParameterSource.h"
#include "ir/interpreter/Datum.h"
#include "ir/interpreter/Tolerance.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Error.h"
#include <functional>

namespace mlir::heddle::interpreter {

/// F32: every operation on reals is rounded to f32, as compiled code does. F64: computed in f64, not rounded.
/// Quantized integers and the scales that belong to them are the same in both, as docs/kernel-abi.md states.
enum class Arithmetic { F32, F64 };

struct Options {
  Arithmetic arithmetic = Arithmetic::F32;
  /// Tracks tolerances for evaluations that accumulate with this epsilon (kF32Epsilon, kF64Epsilon); 0: does
  /// not.
  double toleranceEpsilon = 0;
  /// Half a step of every `quantize` belongs to the tolerance: for comparing with a program that does not
  /// quantize.
  bool quantizationBound = false;
  /// Where a code lies as near to a tie as it is uncertain, one of both neighbours is drawn by this seed: any
  /// of these programs is right. 0: the nearest. Needs tolerances.
  uint64_t tieSeed = 0;
  uint64_t memoryLimit = uint64_t(8) << 30; // bytes of all values together; weights stay in their source
  uint64_t stepLimit = uint64_t(1) << 46;   // multiply-adds or the like, since the interpreter was made
  int64_t maxSlots = 64;                    // of caches
  int64_t maxContext = 1 << 20;
};

class InterpreterError : public llvm::ErrorInfo<InterpreterError> {
public:
  static char ID;
  enum class Kind { Invalid, Unsupported, Limit };

  InterpreterError(Kind kind, std::string message) : kind(kind), message(std::move(message)) {}
  Kind getKind() const { return kind; }
  void log(llvm::raw_ostream &os) const override { os << message; }
  std::error_code convertToErrorCode() const override { return llvm::inconvertibleErrorCode(); }

private:
  Kind kind;
  std::string message;
};

/// Sees each op of functions and kernels after it ran (not those of recipes and attention regions).
using Observer = std::function<void(Operation *op, ArrayRef<Datum> operands, ArrayRef<Datum> results)>;

class Executor;

/// Runs functions of one verified module; module and source must outlive it. KV caches persist between runs.
class Interpreter {
public:
  /// `parameters` may be null where no parameter comes from a file.
  explicit Interpreter(ModuleOp module, Options options = {},
                       const ::heddle::ParameterSource *parameters = nullptr);
  ~Interpreter();

  void setObserver(Observer observer);

  /// Runs `function`, or the variant of it for this number of rows (`@step.rows_1_4` with `heddle.rows`, by
  /// the first size of the first input).
  llvm::Expected<SmallVector<Datum>> run(StringRef function, ArrayRef<Datum> inputs);

  /// Runs one op of the module (a launch runs its kernel) on operands of the caller's choice: what `bisect`
  /// asks.
  llvm::Expected<SmallVector<Datum>> evaluate(Operation *op, ArrayRef<Datum> operands);

  /// The value of a parameter, derived ones included.
  llvm::Expected<Datum> parameter(StringRef name);

  /// Empties all caches.
  void clearState();

private:
  std::unique_ptr<Executor> executor;
};

/// The function that `run` would run, or null.
func::FuncOp findFunction(ModuleOp module, StringRef name, ArrayRef<Datum> inputs);

} // namespace mlir::heddle::interpreter

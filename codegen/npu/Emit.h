// The emitter of NPU kernels: commands of the npu dialect, registers, places on the chip.
#pragma once
#include "ir/npu/Npu.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace heddle::npu {

using Machine = heddle_npu_machine;
const Machine *machineByName(llvm::StringRef name);

/// A register, or a register plus a number: what a field of a command holds.
struct Field {
  uint8_t reg = 0;
  int32_t number = 0;

  Field() = default;
  Field(int64_t number) : number(int32_t(number)) {}
  static Field of(int reg) {
    Field field;
    field.reg = uint8_t(reg);
    return field;
  }
  Field operator+(int64_t more) const {
    Field sum = *this;
    sum.number += int32_t(more);
    return sum;
  }
  bool isNumber() const { return reg == 0; }
};

enum Queue { Dma = HEDDLE_NPU_QUEUE_DMA, Array = HEDDLE_NPU_QUEUE_ARRAY, Vector = HEDDLE_NPU_QUEUE_VECTOR };
enum Type { S8 = HEDDLE_NPU_S8, S16 = HEDDLE_NPU_S16, S32 = HEDDLE_NPU_S32 };

/// Rows of elements on the chip; `stride` in bytes, 0: all rows are the same one.
struct Tile {
  Field at, stride;
  Type type = S32;
};

/// Rows and columns that a command works on.
struct Extent {
  Field rows, cols;
};

enum class Binary { Add, Sub, Mul, Min, Max, Div, Eq, Lt };
enum class Reduce { Sum, Max, AbsMax, SumSquares };
enum class Function { Exp, Gelu, Silu, Rsqrt };
enum class Set { Add, Sub, Mul, Min, Max, Div, And, Shl, Shr };

class Emitter {
public:
  Emitter(mlir::ModuleOp out, const Machine &machine);

  const Machine &machine;

  /// Starts the function that the commands from here on belong to.
  void begin(llvm::StringRef symbol, int operands, mlir::Location loc);
  void end();
  /// Takes back the function that end() closed last.
  void discard();
  /// The op that the next commands are for.
  void setSource(mlir::Location loc) { source = loc; }

  // Registers.
  Field operand(int index) { return Field::of(HEDDLE_NPU_REGISTER_OPERANDS + index); }
  /// A HEDDLE_DIM_*.
  Field dimension(int id) { return Field::of(HEDDLE_NPU_REGISTER_DIMS + id); }
  Field newRegister();
  /// Takes back all registers from `first` on.
  int registerMark() const { return nextRegister; }
  void releaseRegisters(int mark) { nextRegister = mark; }
  bool ranOutOfRegisters() const { return outOfRegisters; }

  void set(Field destination, Set op, Field a, Field b);
  void copy(Field destination, Field value) { set(destination, Set::Add, value, 0); }
  Field computed(Set op, Field a, Field b);
  void load(Field destination, Field address);
  void loop(Field count, llvm::function_ref<void()> body);

  // Order.
  void signal(Queue queue, int semaphore);
  void wait(Queue queue, int semaphore);
  /// What `before` does up to here comes before what `after` does from here on. Semaphores 0 to 5.
  void order(Queue before, Queue after);
  static constexpr int kFirstSemaphore = 6; // that order() does not use

  // DMA: rows of `bytes`; one row by default.
  void dmaLoad(Tile chip, Field dram, Field dramStride, Field bytes, Field rows = 1);
  void dmaStore(Tile chip, Field dram, Field dramStride, Field bytes, Field rows = 1);
  /// Rows of DRAM by the s32 at `index`, each clamped below `limit`.
  void dmaGather(Tile chip, Field dram, Field dramStride, Field bytes, Field rows, Field index, Field limit);
  void dmaScatter(Tile chip, Field dram, Field dramStride, Field bytes, Field rows, Field index, Field limit);

  /// acc[m][n] = a[m][k] * w[k][n]
  void matmul(Tile acc, Tile a, Tile w, Field m, Field k, Field n, bool transposed = false,
              bool accumulate = false);

  void fill(Tile dst, Extent extent, int32_t value);
  void binary(Binary op, Tile dst, Tile a, Tile b, Extent extent, int shift = 0);
  /// b has one element for each row.
  void binaryByRow(Binary op, Tile dst, Tile a, Tile b, Extent extent, int shift = 0);
  void binaryScalar(Binary op, Tile dst, Tile a, Field b, Extent extent, int shift = 0);
  void requant(Tile dst, Tile a, Field records, Extent extent);
  void reduce(Reduce op, Tile dst, Tile a, Extent extent, int shift = 0);
  void function(Function op, Tile dst, Tile a, Extent extent, int shift = 0);
  void fromF32(Tile dst, Tile a, Extent extent, int exponent);
  void toF32(Tile dst, Tile a, Extent extent, int exponent);
  // f16, elements of 2 bytes.
  void fromF16(Tile dst, Tile a, Extent extent, int exponent);
  void toF16(Tile dst, Tile a, Extent extent, int exponent);
  void select(Tile dst, Tile a, Tile condition, Extent extent, int32_t otherwise);

private:
  void command(llvm::StringRef name, llvm::ArrayRef<Field> fields, int function = 0, int types = 0,
               int modes = 0);

  mlir::OpBuilder builder;
  mlir::ModuleOp out;
  mlir::Location source;
  int nextRegister = 0;
  bool outOfRegisters = false;
};

} // namespace heddle::npu

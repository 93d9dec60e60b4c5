#include "codegen/npu/Kernel.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cmath>

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::npu {
namespace {

llvm::Error emitUnary(Emitter &e, KernelOp kernel, UnaryOp op, Tile dst, Tile x, Extent extent) {
  switch (op.getKind()) {
  case UnaryKind::Silu:
    return e.function(Function::Silu, dst, x, extent), llvm::Error::success();
  case UnaryKind::GeluErf:
    return e.function(Function::Gelu, dst, x, extent), llvm::Error::success();
  case UnaryKind::Relu:
    return e.binaryScalar(Binary::Max, dst, x, 0, extent), llvm::Error::success();
  default:
    return unsupportedOp(kernel, op,
                         "<" + stringifyUnaryKind(op.getKind()) + "> is not available for it yet");
  }
}

void emitBinary(Emitter &e, BinaryOp op, Tile dst, Tile a, Tile b, Extent extent) {
  switch (op.getKind()) {
  case BinaryKind::Add:
    return e.binary(Binary::Add, dst, a, b, extent);
  case BinaryKind::Sub:
    return e.binary(Binary::Sub, dst, a, b, extent);
  case BinaryKind::Mul:
    return e.binary(Binary::Mul, dst, a, b, extent, kFraction);
  case BinaryKind::Div:
    return e.binary(Binary::Div, dst, a, b, extent, kFraction);
  case BinaryKind::Max:
    return e.binary(Binary::Max, dst, a, b, extent);
  case BinaryKind::Min:
    return e.binary(Binary::Min, dst, a, b, extent);
  }
  llvm_unreachable("unknown function of two numbers");
}

} // namespace

void emitScale(Emitter &e, double factor, Tile dst, Tile x, Extent extent) {
  int exponent = 0;
  double fraction = std::frexp(factor, &exponent);
  int shift = std::clamp(30 - exponent, 0, 62);
  double multiplier = std::clamp(std::ldexp(fraction, exponent + shift), -2147483648.0, 2147483647.0);
  e.binaryScalar(Binary::Mul, dst, x, int32_t(std::lrint(multiplier)), extent, shift);
}

llvm::Error emitElementwise(Emitter &e, KernelOp kernel, Operation *op, Tile dst, ArrayRef<Tile> operands,
                            Extent extent) {
  return llvm::TypeSwitch<Operation *, llvm::Error>(op)
      .Case<UnaryOp>([&](UnaryOp unary) { return emitUnary(e, kernel, unary, dst, operands[0], extent); })
      .Case<BinaryOp>([&](BinaryOp binary) {
        emitBinary(e, binary, dst, operands[0], operands[1], extent);
        return llvm::Error::success();
      })
      .Case<ScaleOp>([&](ScaleOp scale) {
        emitScale(e, scale.getFactor().convertToDouble(), dst, operands[0], extent);
        return llvm::Error::success();
      })
      .Default([&](Operation *) { return unsupportedOp(kernel, op, "is not available for it yet"); });
}

} // namespace heddle::npu

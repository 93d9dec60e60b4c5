#include "codegen/npu/Emit.h"

using namespace mlir;

namespace heddle::npu {

const Machine *machineByName(StringRef name) {
  for (const Machine &machine : heddle_npu_machines)
    if (name == machine.name)
      return &machine;
  return nullptr;
}

Emitter::Emitter(ModuleOp out, const Machine &machine)
    : machine(machine), builder(out.getContext()), out(out), source(out.getLoc()) {}

void Emitter::begin(StringRef symbol, int operands, Location loc) {
  builder.setInsertionPointToEnd(out.getBody());
  auto function =
      builder.create<mlir::npu::FunctionOp>(loc, builder.getStringAttr(symbol), operands, DenseI8ArrayAttr());
  builder.createBlock(&function.getBody());
  source = loc;
  nextRegister = HEDDLE_NPU_REGISTER_OPERANDS + operands;
  outOfRegisters = false;
}

void Emitter::end() { builder.setInsertionPointToEnd(out.getBody()); }

void Emitter::discard() {
  out.getBody()->back().erase();
  end();
}

void Emitter::command(StringRef name, ArrayRef<Field> fields, int function, int types, int modes) {
  SmallVector<int8_t> registers;
  SmallVector<int32_t> immediates;
  for (Field field : fields) {
    registers.push_back(int8_t(field.reg));
    immediates.push_back(field.number);
  }
  OperationState state(source, ("npu." + name).str());
  state.addAttribute("function", builder.getI32IntegerAttr(function));
  state.addAttribute("types", builder.getI32IntegerAttr(types));
  state.addAttribute("modes", builder.getI32IntegerAttr(modes));
  state.addAttribute("registers", builder.getDenseI8ArrayAttr(registers));
  state.addAttribute("immediates", builder.getDenseI32ArrayAttr(immediates));
  builder.create(state);
}

Field Emitter::newRegister() {
  if (nextRegister == HEDDLE_NPU_REGISTERS) {
    outOfRegisters = true;
    return Field::of(HEDDLE_NPU_REGISTERS - 1);
  }
  return Field::of(nextRegister++);
}

void Emitter::set(Field destination, Set op, Field a, Field b) {
  command("set", {Field(destination.reg), a, b}, int(op));
}

Field Emitter::computed(Set op, Field a, Field b) {
  Field result = newRegister();
  set(result, op, a, b);
  return result;
}

void Emitter::load(Field destination, Field address) { command("load", {Field(destination.reg), address}); }

void Emitter::loop(Field count, function_ref<void()> body) {
  command("loop", {count});
  body();
  command("end_loop", {});
}

void Emitter::signal(Queue queue, int semaphore) { command("signal", {semaphore, 1}, queue); }
void Emitter::wait(Queue queue, int semaphore) { command("wait", {semaphore, 1}, queue); }

void Emitter::order(Queue before, Queue after) {
  int semaphore = before * 2 + (after > before ? after - 1 : after);
  signal(before, semaphore);
  wait(after, semaphore);
}

void Emitter::dmaLoad(Tile chip, Field dram, Field dramStride, Field bytes, Field rows) {
  command("dma_load", {chip.at, chip.stride, 0, dram, dramStride, 0, bytes, rows, 1});
}

void Emitter::dmaStore(Tile chip, Field dram, Field dramStride, Field bytes, Field rows) {
  command("dma_store", {chip.at, chip.stride, 0, dram, dramStride, 0, bytes, rows, 1});
}

void Emitter::dmaGather(Tile chip, Field dram, Field dramStride, Field bytes, Field rows, Field index,
                        Field limit) {
  command("dma_gather", {chip.at, chip.stride, dram, dramStride, bytes, rows, index, limit});
}

void Emitter::dmaScatter(Tile chip, Field dram, Field dramStride, Field bytes, Field rows, Field index,
                         Field limit) {
  command("dma_scatter", {chip.at, chip.stride, dram, dramStride, bytes, rows, index, limit});
}

void Emitter::matmul(Tile acc, Tile a, Tile w, Field m, Field k, Field n, bool transposed, bool accumulate) {
  command("matmul", {acc.at, acc.stride, a.at, a.stride, w.at, w.stride, m, k, n}, 0, 0,
          (transposed ? HEDDLE_NPU_MATMUL_TRANSPOSED : 0) | (accumulate ? HEDDLE_NPU_MATMUL_ACCUMULATE : 0));
}

static int typesOf(Type dst, Type a = S8, Type b = S8) { return dst | a << 2 | b << 4; }

void Emitter::fill(Tile dst, Extent extent, int32_t value) {
  command("vec_fill", {dst.at, dst.stride, extent.rows, extent.cols, value}, 0, typesOf(dst.type));
}

void Emitter::binary(Binary op, Tile dst, Tile a, Tile b, Extent extent, int shift) {
  command("vec_binary", {dst.at, dst.stride, a.at, a.stride, b.at, b.stride, extent.rows, extent.cols, shift},
          int(op), typesOf(dst.type, a.type, b.type));
}

void Emitter::binaryByRow(Binary op, Tile dst, Tile a, Tile b, Extent extent, int shift) {
  command("vec_binary", {dst.at, dst.stride, a.at, a.stride, b.at, b.stride, extent.rows, extent.cols, shift},
          int(op), typesOf(dst.type, a.type, b.type), HEDDLE_NPU_VEC_BINARY_B_PER_ROW);
}

void Emitter::binaryScalar(Binary op, Tile dst, Tile a, Field b, Extent extent, int shift) {
  command("vec_binary", {dst.at, dst.stride, a.at, a.stride, b, 0, extent.rows, extent.cols, shift}, int(op),
          typesOf(dst.type, a.type), HEDDLE_NPU_VEC_BINARY_B_SCALAR);
}

void Emitter::requant(Tile dst, Tile a, Field records, Extent extent) {
  command("vec_requant", {dst.at, dst.stride, a.at, a.stride, records, 0, extent.rows, extent.cols}, 0,
          typesOf(dst.type, a.type));
}

void Emitter::reduce(Reduce op, Tile dst, Tile a, Extent extent, int shift) {
  command("vec_reduce", {dst.at, dst.stride, a.at, a.stride, extent.rows, extent.cols, shift}, int(op),
          typesOf(dst.type, a.type));
}

void Emitter::function(Function op, Tile dst, Tile a, Extent extent, int shift) {
  command("vec_function", {dst.at, dst.stride, a.at, a.stride, extent.rows, extent.cols, shift}, int(op),
          typesOf(dst.type));
}

void Emitter::fromF32(Tile dst, Tile a, Extent extent, int exponent) {
  command("vec_from_f32", {dst.at, dst.stride, a.at, a.stride, extent.rows, extent.cols, exponent}, 0,
          typesOf(dst.type));
}

void Emitter::toF32(Tile dst, Tile a, Extent extent, int exponent) {
  command("vec_to_f32", {dst.at, dst.stride, a.at, a.stride, extent.rows, extent.cols, exponent}, 0,
          typesOf(a.type));
}

void Emitter::fromF16(Tile dst, Tile a, Extent extent, int exponent) {
  command("vec_from_f16", {dst.at, dst.stride, a.at, a.stride, extent.rows, extent.cols, exponent}, 0,
          typesOf(dst.type));
}

void Emitter::toF16(Tile dst, Tile a, Extent extent, int exponent) {
  command("vec_to_f16", {dst.at, dst.stride, a.at, a.stride, extent.rows, extent.cols, exponent}, 0,
          typesOf(a.type));
}

void Emitter::select(Tile dst, Tile a, Tile condition, Extent extent, int32_t otherwise) {
  command("vec_select",
          {dst.at, dst.stride, a.at, a.stride, condition.at, condition.stride, extent.rows, extent.cols,
           otherwise},
          0, typesOf(dst.type, a.type, condition.type));
}

} // namespace heddle::npu

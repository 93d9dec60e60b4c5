#include "codegen/cpu/RowsBuilder.h"
#include "codegen/cpu/Rows.h"
#include "heddle/program.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cpu {

RowsBuilder::RowsBuilder(Emitter &e, KernelOp kernel, const CpuKernelContext &context)
    : e(e), kernel(kernel), context(context), floats(e.vec(e.f32(), kLanes)), ints(e.vec(e.i32(), kLanes)) {}

/// Is a row of `type` something that this generator addresses by its number?
static bool hasRows(Type type) {
  if (auto stored = dyn_cast<StoredType>(type))
    return stored.getEncoding().isActivation();
  return isa<RankedTensorType, SelectionType>(type);
}

void RowsBuilder::begin(const KernelArguments &arguments) {
  Block &body = kernel.getBody().front();
  int index = 0;
  for (BlockArgument argument : body.getArguments()) {
    operands[argument] = e.operand(arguments, index++);
    if (isa<KvCacheType>(argument.getType()))
      pageTables[argument] = e.operand(arguments, index++);
  }
  for (unsigned i = 0; i < body.getTerminator()->getNumOperands(); ++i)
    outputs.push_back(e.operand(arguments, index++));
  rowsOfCall = e.dimension(arguments, HEDDLE_DIM_ROWS);
  scratchBase = arguments.scratch;
}

llvm::Error RowsBuilder::emitRow(Value number) {
  row = number;
  Block &body = kernel.getBody().front();
  for (BlockArgument argument : body.getArguments())
    if (hasRows(argument.getType()))
      rows[argument] = e.at(operandOf(argument), e.mul(row, rowBytes(argument.getType())));
  Operation *yield = body.getTerminator();
  for (auto [i, value] : llvm::enumerate(yield->getOperands()))
    outputs[i] = e.at(outputs[i], e.mul(row, rowBytes(value.getType())));
  for (Operation &op : body.without_terminator())
    if (llvm::Error error = emitOp(op))
      return error;
  flush();
  // A value that is yielded twice, or an argument, is not where it should be yet.
  for (auto [i, value] : llvm::enumerate(yield->getOperands()))
    if (Value from = memory(value); from != outputs[i])
      copyRow(from, outputs[i], rowBytes(value.getType()) / 4);
  return llvm::Error::success();
}

llvm::Error RowsBuilder::unsupportedOp(Operation &op, const llvm::Twine &expectation) {
  return unsupported(kernel, "'" + op.getName().getStringRef() + "' " + expectation);
}

llvm::Error RowsBuilder::emitOp(Operation &op) {
  using llvm::Error;
  return llvm::TypeSwitch<Operation *, Error>(&op)
      .Case<ReshapeOp>([](ReshapeOp) { return Error::success(); })
      .Case<ElementwiseOpInterface>([&](ElementwiseOpInterface elementwise) {
        defer(&op, [this, elementwise](const Column &column) mutable {
          Values arguments;
          for (Value operand : elementwise->getOperands())
            arguments.push_back(columnOf(operand, column));
          return elementwise.emitElementwise(e, e.getLoc(), arguments);
        });
        return Error::success();
      })
      .Case<QuantizeOp>([&](QuantizeOp) {
        defer(&op, nullptr);
        return Error::success();
      })
      .Case<DequantizeOp>([&](DequantizeOp dequantize) -> Error {
        if (!dequantize.getInput().getType().getEncoding().isActivation())
          return unsupportedOp(op, "expected quantized activations, but found weights");
        emitDequantize(dequantize);
        return Error::success();
      })
      .Case<RmsNormOp>([&](RmsNormOp norm) { return emitRmsNorm(norm), Error::success(); })
      .Case<LayerNormOp>([&](LayerNormOp norm) { return emitLayerNorm(norm), Error::success(); })
      .Case<L2NormalizeOp>([&](L2NormalizeOp norm) { return emitL2Normalize(norm), Error::success(); })
      .Case<RopeOp>([&](RopeOp rope) { return emitRope(rope), Error::success(); })
      .Case<CacheAppendOp>([&](CacheAppendOp append) -> Error {
        if (context.maxSlots < 1 || context.maxContext < int64_t(HEDDLE_PAGE_TOKENS))
          return unsupportedOp(op,
                               "expected the model to state 'max_slots' and 'max_context', but found none");
        emitCacheAppend(append);
        return Error::success();
      })
      .Case<EmbeddingOp>([&](EmbeddingOp embedding) { return emitEmbedding(embedding); })
      .Case<GatherRowsOp>([&](GatherRowsOp gather) { return emitGatherRows(gather); })
      .Case<HeadGateOp>([&](HeadGateOp gate) { return emitHeadGate(gate), Error::success(); })
      .Case<MaskHeadsOp>([&](MaskHeadsOp mask) { return emitMaskHeads(mask), Error::success(); })
      .Case<SkippedSumOp>([&](SkippedSumOp sum) { return emitSkippedSum(sum), Error::success(); })
      .Case<MergeChunksOp>([&](MergeChunksOp merge) { return emitMergeChunks(merge), Error::success(); })
      .Case<SelectBlocksOp>([&](SelectBlocksOp select) { return emitSelectBlocks(select), Error::success(); })
      .Case<PoolRowsOp>([&](PoolRowsOp pool) { return emitPoolRows(pool); })
      .Default([&](Operation *) { return unsupportedOp(op, "is not an op of the family 'rows'"); });
}

// Memory
// --------------------------------------------------------------------------------------------------------------

Value RowsBuilder::memory(Value value) {
  value = withoutReshapes(value);
  if (!rows.contains(value))
    flush();
  Value address = rows.lookup(value);
  assert(address && "a value that others read was stored");
  return address;
}

Value RowsBuilder::destination(Value result) {
  result = withoutReshapes(result);
  Value &address = rows[result];
  if (address)
    return address;
  for (auto [i, value] : llvm::enumerate(kernel.getBody().front().getTerminator()->getOperands()))
    if (withoutReshapes(value) == result)
      return address = outputs[i];
  return address = scratch(rowBytes(result.getType()));
}

Value RowsBuilder::scratch(int64_t bytes) {
  Value address = e.at(scratchBase, scratchSize);
  scratchSize += llvm::alignTo(bytes, 64);
  return address;
}

Value RowsBuilder::clampedIndex(Value indices, Value count) {
  Value index = e.extendS(e.load(e.i32(), memory(indices)), e.i64());
  return e.maxS(e.minS(index, e.add(count, -1)), e.cI64(0));
}

Value RowsBuilder::rowCount(Value argument) {
  int64_t count = shapeOf(argument.getType())[0];
  return ShapedType::isDynamic(count) ? rowsOfCall : e.cI64(count);
}

// Columns
// -------------------------------------------------------------------------------------------------------------

Value RowsBuilder::loadColumn(Value address, const Column &column) {
  Value at = e.at(address, e.shiftLeft(column.index, 2), column.more * 4);
  return column.mask ? e.loadMasked(floats, at, column.mask, e.constant(floats, 0)) : e.load(floats, at);
}

void RowsBuilder::storeColumn(Value value, Value address, const Column &column) {
  Value at = e.at(address, e.shiftLeft(column.index, 2), column.more * 4);
  column.mask ? e.storeMasked(value, at, column.mask) : e.store(value, at);
}

Values RowsBuilder::forColumns(int64_t columns, int count, ValueRange initial,
                               function_ref<Values(ArrayRef<Column>, ValueRange)> body) {
  int64_t step = int64_t(count) * kLanes, full = columns / step * step;
  Values carried(initial);
  auto group = [&](Value index) {
    SmallVector<Column> result;
    for (int i = 0; i < count; ++i)
      result.push_back({index, i * kLanes, kLanes, {}});
    return result;
  };
  if (full == step) {
    carried = body(group(e.cI64(0)), carried);
  } else if (full > 0) {
    carried = e.forRange(e.cI64(0), e.cI64(full), e.cI64(step), carried,
                         [&](Value index, ValueRange values) { return body(group(index), values); });
  }
  if (full == columns)
    return carried;
  SmallVector<Column> rest;
  for (int64_t at = full; at < columns; at += kLanes) {
    int lanes = std::min<int64_t>(columns - at, kLanes);
    rest.push_back({e.cI64(at), 0, lanes, lanes < kLanes ? e.firstLanes(e.cI64(lanes), kLanes) : Value()});
  }
  return body(rest, carried);
}

Value RowsBuilder::columnOf(Value value, const Column &column) {
  value = withoutReshapes(value);
  if (Value computed = columnValues.lookup(value))
    return computed;
  return loadColumn(memory(value), column);
}

void RowsBuilder::flush() {
  // Values of different width never depend on each other inside one group.
  llvm::MapVector<int64_t, SmallVector<Pending>> widths;
  for (Pending &value : pending)
    widths[rowColumns(value.op->getResult(0).getType())].push_back(std::move(value));
  pending.clear();
  for (auto &[columns, group] : widths)
    flushWidth(columns, group);
}

void RowsBuilder::flushWidth(int64_t columns, ArrayRef<Pending> group) {
  llvm::SmallPtrSet<Operation *, 8> members;
  bool quantizes = false;
  for (const Pending &value : group) {
    members.insert(value.op);
    quantizes |= isa<QuantizeOp>(value.op);
  }
  llvm::DenseMap<Operation *, Value> stored;
  for (const Pending &value : group) {
    SmallVector<Operation *> readers = readersOf(value.op->getResult(0));
    if (isa<QuantizeOp>(value.op) ||
        llvm::any_of(readers, [&](Operation *reader) { return !members.contains(reader); }))
      stored[value.op] = destination(value.op->getResult(0));
  }
  forColumns(columns, quantizes ? 4 : 1, {}, [&](ArrayRef<Column> at, ValueRange) {
    llvm::DenseMap<Operation *, SmallVector<Value, 4>> computed;
    for (const Column &column : at) {
      columnValues.clear();
      for (const Pending &value : group) {
        if (auto quantize = dyn_cast<QuantizeOp>(value.op)) {
          computed[quantize].push_back(columnOf(quantize.getInput(), column));
          continue;
        }
        Value result = value.compute(column);
        columnValues[value.op->getResult(0)] = result;
        if (Value address = stored.lookup(value.op))
          storeColumn(result, address, column);
      }
    }
    columnValues.clear();
    for (const Pending &value : group)
      if (auto quantize = dyn_cast<QuantizeOp>(value.op))
        emitQuantizeBlocks(quantize, computed[quantize], at[0].index);
    return Values();
  });
}

void RowsBuilder::copyRow(Value from, Value to, int64_t columns) {
  forColumns(columns, 1, {}, [&](ArrayRef<Column> at, ValueRange) {
    for (const Column &column : at)
      storeColumn(loadColumn(from, column), to, column);
    return Values();
  });
}

void RowsBuilder::forPieces(int64_t count, function_ref<void(Value, int)> body) {
  int64_t full = count / kLanes * kLanes;
  if (full > 0)
    e.forRange(0, full, kLanes, [&](Value offset) { body(offset, kLanes); });
  if (full < count)
    body(e.cI64(full), int(count - full));
}

llvm::Expected<KernelFacts> emitRowsKernel(KernelOp kernel, const CpuLevel &level,
                                           const CpuKernelContext &context, ModuleOp out) {
  Emitter e(out, level);
  RowsBuilder builder(e, kernel, context);
  llvm::Error error = llvm::Error::success();
  e.kernel(kernel.getSymName(), [&](const KernelArguments &arguments) {
    builder.begin(arguments);
    e.forRange(arguments.begin, arguments.end, e.cI64(1), [&](Value row) { error = builder.emitRow(row); });
  });
  if (error)
    return error;
  KernelFacts facts;
  facts.scratchBytes = builder.scratchBytes();
  return facts;
}

} // namespace heddle::cpu

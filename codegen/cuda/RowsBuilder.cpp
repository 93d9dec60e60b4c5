#include "codegen/cuda/RowsBuilder.h"
#include "codegen/KernelOperands.h"
#include "heddle/program.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cuda {

/// Is a row of `type` something that this generator addresses by its number?
static bool hasRows(Type type) {
  if (auto stored = dyn_cast<StoredType>(type))
    return stored.getEncoding().isActivation();
  return isa<RankedTensorType, SelectionType>(type);
}

RowsBuilder::RowsBuilder(Emitter &e, KernelOp kernel, const KernelContext &context)
    : e(e), kernel(kernel), context(context) {
  int64_t widest = 1;
  for (Operation &op : kernel.getBody().front())
    for (Type type : op.getResultTypes())
      widest = std::max(widest, rowColumns(type));
  blockThreads = int(std::min<int64_t>(llvm::alignTo(widest, kWarp), 256));
}

llvm::Error RowsBuilder::emitRow(const KernelArguments &arguments, Value number) {
  row = number;
  thread = e.thread();
  rowsOfCall = e.dimension(arguments, HEDDLE_DIM_ROWS);
  Block &body = kernel.getBody().front();
  Value wideRow = e.wide(row);
  const Value *next = arguments.operands.begin();
  for (BlockArgument argument : body.getArguments()) {
    operands[argument] = *next++;
    if (isa<KvCacheType>(argument.getType()))
      pageTables[argument] = *next++;
    else if (hasRows(argument.getType()))
      rows[argument] = e.at(operandOf(argument), e.mul(wideRow, rowBytes(argument.getType())));
  }
  Operation *yield = body.getTerminator();
  for (Value value : yield->getOperands())
    outputs.push_back(e.at(*next++, e.mul(wideRow, rowBytes(value.getType()))));
  for (Operation &op : body.without_terminator())
    if (llvm::Error error = emitOp(op))
      return error;
  flush();
  // A value that is yielded twice, or an argument, is not where it should be yet.
  for (auto [i, value] : llvm::enumerate(yield->getOperands()))
    if (Value from = memory(value), to = outputs[i]; from != to)
      forShare(rowBytes(value.getType()) / 4,
               [&](Value column) { storeColumn(loadColumn(from, column), to, column); });
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
        defer(&op, [this, elementwise](Value column) mutable {
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

void RowsBuilder::meet() {
  if (mustMeet)
    e.barrier();
  mustMeet = false;
}

Value RowsBuilder::memory(Value value) {
  value = withoutReshapes(value);
  if (!rows.contains(value))
    flush();
  Value address = rows.lookup(value);
  assert(address && "a value that others read was stored");
  if (!isa<BlockArgument>(value))
    meet();
  return address;
}

Value RowsBuilder::destination(Value result) {
  result = withoutReshapes(result);
  mustMeet = true;
  Value &address = rows[result];
  if (address)
    return address;
  for (auto [i, value] : llvm::enumerate(kernel.getBody().front().getTerminator()->getOperands()))
    if (withoutReshapes(value) == result)
      return address = outputs[i];
  return address = shared(rowBytes(result.getType()));
}

Value RowsBuilder::shared(int64_t bytes) {
  Value address = e.shared(sharedSize);
  sharedSize += llvm::alignTo(bytes, 64);
  return address;
}

Value RowsBuilder::clampedIndex(Value indices, Value count) {
  Value index = e.load(e.i32(), memory(indices), 4);
  return e.maxS(e.minS(index, e.add(count, -1)), e.cI32(0));
}

Value RowsBuilder::rowCount(Value argument) {
  int64_t count = shapeOf(argument.getType())[0];
  return ShapedType::isDynamic(count) ? rowsOfCall : e.cI32(count);
}

// Columns
// -------------------------------------------------------------------------------------------------------------

Value RowsBuilder::columnOf(Value value, Value column) {
  value = withoutReshapes(value);
  if (Value computed = columnValues.lookup(value))
    return computed;
  return loadColumn(rows.lookup(value), column);
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
  for (const Pending &value : group)
    members.insert(value.op);
  // The block meets before the loop, not in it.
  for (const Pending &value : group)
    for (Value operand : value.op->getOperands())
      if (Value from = withoutReshapes(operand); rows.contains(from))
        memory(from);
  llvm::DenseMap<Operation *, Value> stored;
  for (const Pending &value : group) {
    SmallVector<Operation *> readers = readersOf(value.op->getResult(0));
    if (isa<QuantizeOp>(value.op) ||
        llvm::any_of(readers, [&](Operation *reader) { return !members.contains(reader); }))
      stored[value.op] = destination(value.op->getResult(0));
  }
  forShare(columns, [&](Value column) {
    columnValues.clear();
    for (const Pending &value : group) {
      if (auto quantize = dyn_cast<QuantizeOp>(value.op)) {
        emitQuantize(quantize, columnOf(quantize.getInput(), column), column);
        continue;
      }
      Value result = value.compute(column);
      columnValues[value.op->getResult(0)] = result;
      if (Value address = stored.lookup(value.op))
        storeColumn(result, address, column);
    }
    columnValues.clear();
  });
}

llvm::Expected<KernelFacts> emitRowsKernel(KernelOp kernel, StringRef rows, const KernelContext &context,
                                           ModuleOp out) {
  Emitter e(out, context);
  RowsBuilder builder(e, kernel, context);
  KernelFacts facts;
  facts.threads = builder.threads();
  int64_t count = 0;
  bool isStatic = !rows.getAsInteger(10, count);
  if (!isStatic && rows != "n" && rows != "m" && rows != "s")
    return unsupported(kernel, "expected all of its launches to run over one dimension");
  if (isStatic)
    facts.gridY = uint32_t(count);
  llvm::Error error = llvm::Error::success();
  e.kernel(kernel.getSymName(), int(kernelOperands(kernel).size()), builder.threads(),
           [&](const KernelArguments &arguments) {
             if (isStatic) {
               error = builder.emitRow(arguments, e.blockY());
               return;
             }
             Value row = e.blockX();
             Value end = e.dimension(arguments, rows == "n" ? HEDDLE_DIM_ROWS : HEDDLE_DIM_WANTED);
             e.ifThen(e.lessThan(row, end), [&] { error = builder.emitRow(arguments, row); });
           });
  if (error)
    return std::move(error);
  facts.sharedBytes = builder.sharedBytes();
  return facts;
}

} // namespace heddle::cuda

// From a `heddle.kernel` of the family `attention` to its code: checks, operands, choice of the way.
#include "codegen/AttentionItems.h"
#include "codegen/KernelOperands.h"
#include "codegen/RowValues.h"
#include "codegen/cuda/Attention.h"
#include "codegen/cuda/AttentionRegion.h"
#include "heddle/program.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cuda {

Value AttentionOperands::addressOf(Value value) const {
  return value ? addresses.lookup(withoutReshapes(value)) : Value();
}

Value emitAttentionRegion(Emitter &e, const AttentionOperands &operands, Region &region,
                          const QueryPlace &query, Value keyPosition, Value score) {
  return emitRegion(
      e, region, {score, query.head, query.kvHead, query.position, keyPosition, operands.slot, query.row},
      [&](Value tensor) { return operands.addressOf(tensor); }, operands.rowsOfCall);
}

Value inverseOrZero(Emitter &e, Value sum) {
  Value any = e.create<arith::CmpFOp>(arith::CmpFPredicate::UNE, sum, e.cF32(0));
  return e.select(any, e.divF(e.cF32(1), sum), e.cF32(0));
}

int64_t attentionBlocks(AttentionOp op) { return attentionItems(op) / op.kvHeads(); }

int64_t chunkBytes(AttentionOp op) { return (op.valueDim() + 2) * 4; }

Value resultAddress(Emitter &e, AttentionOp op, const AttentionOperands &operands, Value row, Value head) {
  int64_t bytes = op.isSplit() ? shapeOf(op.getType())[2] * chunkBytes(op) : op.valueDim() * 4;
  Value place = e.add(e.mul(e.wide(row), shapeOf(op.getQuery().getType())[1]), e.wide(head));
  return e.at(operands.result, e.mul(place, bytes));
}

void forOwnChunks(Emitter &e, AttentionOp op, const AttentionOperands &operands, Value keys,
                  function_ref<void(Value)> body) {
  Value chunks = e.divU(e.add(keys, HEDDLE_CHUNK_TOKENS - 1), HEDDLE_CHUNK_TOKENS);
  e.forRange32(operands.split, chunks, attentionBlocks(op), body);
}

/// The kernel's attention or top-k, if all of it is what this generator can make.
static llvm::Expected<ScoringOpInterface> checkKernel(KernelOp kernel, const KernelContext &context) {
  ScoringOpInterface scoring;
  Block &body = kernel.getBody().front();
  for (Operation &op : body.without_terminator()) {
    if (auto found = dyn_cast<ScoringOpInterface>(op)) {
      if (scoring)
        return unsupported(kernel, "expected one 'heddle.attention', but found several");
      scoring = found;
    } else if (!isa<ReshapeOp, arith::ConstantOp>(op)) {
      return unsupported(kernel,
                         "'" + op.getName().getStringRef() + "' is not an op of the family 'attention'");
    }
  }
  if (!scoring)
    return unsupported(kernel, "expected a 'heddle.attention', but found none");
  std::string name = scoring->getName().getStringRef().str();
  ValueRange yields = body.getTerminator()->getOperands();
  if (yields.size() != 1 || withoutReshapes(yields[0]) != scoring->getResult(0))
    return unsupported(kernel, "expected to yield the result of '" + name + "' and nothing else");
  if (scoring.getCache() && scoring.getKeys())
    return unsupported(kernel, "expected keys to be stored apart from 'heddle.attention'; run "
                               "heddle-split-cache-append first");
  if (Value sequences = scoring.getKeySequences();
      sequences && ShapedType::isDynamic(shapeOf(sequences.getType())[0]))
    return unsupported(kernel, "expected keys of other sequences to be of a fixed number of rows");
  if (scoring.getCache() && context.maxContext < int64_t(HEDDLE_PAGE_TOKENS))
    return unsupported(kernel, "expected the model to state 'max_context', but found none");
  for (Value operand : scoring->getOperands())
    if (!isa<BlockArgument>(withoutReshapes(operand)))
      return unsupported(kernel, "expected operands of '" + name + "' to be arguments of the kernel");
  llvm::Error captured = llvm::Error::success();
  scoring->walk([&](ElementOp element) {
    DenseElementsAttr numbers;
    if (isa<BlockArgument>(withoutReshapes(element.getTensor())) ||
        matchPattern(element.getTensor(), m_Constant(&numbers)) || captured)
      return;
    captured = unsupported(kernel, "expected 'heddle.element' to read an argument of the kernel or a dense "
                                   "constant");
  });
  if (captured)
    return std::move(captured);
  if (auto topK = dyn_cast<TopKOp>(scoring.getOperation());
      topK && TopK::sharedBytes(topK, context) > kMostSharedBytes)
    return unsupported(kernel, "expected a context whose scores fit into shared memory, but found " +
                                   llvm::Twine(context.maxContext) + " tokens; limit --max-context");
  return scoring;
}

static AttentionOperands readOperands(Emitter &e, KernelOp kernel, const KernelArguments &arguments,
                                      Value &work) {
  AttentionOperands operands;
  // Arguments in order, a cache followed by its page table, the result, the work records.
  const Value *next = arguments.operands.begin();
  for (BlockArgument argument : kernel.getBody().front().getArguments()) {
    operands.addresses[argument] = *next++;
    if (isa<KvCacheType>(argument.getType()))
      operands.pageTable = *next++;
  }
  kernel.walk([&](ElementOp element) {
    DenseElementsAttr numbers;
    if (matchPattern(element.getTensor(), m_Constant(&numbers)))
      operands.addresses[element.getTensor()] = e.constantTable(numbers);
  });
  operands.result = *next++;
  work = *next++;
  operands.rowsOfCall = e.dimension(arguments, HEDDLE_DIM_ROWS);
  return operands;
}

llvm::Expected<KernelFacts> emitAttentionKernel(KernelOp kernel, StringRef rows, const KernelContext &context,
                                                ModuleOp out) {
  auto checked = checkKernel(kernel, context);
  if (!checked)
    return checked.takeError();
  auto attention = dyn_cast<AttentionOp>(checked->getOperation());
  auto topK = dyn_cast<TopKOp>(checked->getOperation());
  bool flash = attention && FlashAttention::fits(attention);
  KernelFacts facts;
  facts.threads = kAttentionWarps * kWarp;
  facts.gridY = uint32_t(attentionItems(*checked));
  if (topK) {
    facts.sharedBytes = TopK::sharedBytes(topK, context);
    facts.workRows = TopK::recordRows();
  } else if (flash) {
    facts.sharedBytes = FlashAttention::sharedBytes(attention);
    facts.workRows = FlashAttention::recordRows(attention);
  } else {
    facts.sharedBytes = PlainAttention::sharedBytes(attention);
    facts.workRows = PlainAttention::recordRows();
  }
  Emitter e(out, context);
  e.kernel(kernel.getSymName(), int(kernelOperands(kernel).size()), int(facts.threads),
           [&](const KernelArguments &arguments) {
             Value work, number = e.blockX();
             AttentionOperands operands = readOperands(e, kernel, arguments, work);
             e.ifThen(e.lessThan(number, e.dimension(arguments, HEDDLE_DIM_WORK)), [&] {
               Value record = e.at(work, e.mul(number, sizeof(heddle_work)));
               auto field = [&](size_t offset) { return e.load(e.i32(), e.at(record, int64_t(offset)), 4); };
               operands.rowBegin = field(offsetof(heddle_work, row_begin));
               operands.rowCount = field(offsetof(heddle_work, row_count));
               operands.position = field(offsetof(heddle_work, position));
               operands.slot = field(offsetof(heddle_work, slot));
               operands.firstRow = field(offsetof(heddle_work, first_row));
               operands.slotRows = field(offsetof(heddle_work, slot_rows));
               if (topK)
                 return TopK::emit(e, topK, context, operands);
               if (attention.isSplit())
                 operands.split = e.divU(e.blockY(), attention.kvHeads());
               operands.kvHead = e.remU(e.blockY(), attention.kvHeads());
               operands.values = operands.addressOf(attention.getValues());
               (flash ? FlashAttention::emit : PlainAttention::emit)(e, attention, context, operands);
             });
           });
  return facts;
}

} // namespace heddle::cuda

// From a `heddle.kernel` of the family `attention` to its code: checks, operands, choice of the way.
#include "codegen/KernelOperands.h"
#include "codegen/cuda/Attention.h"
#include "codegen/cuda/AttentionRegion.h"
#include "codegen/cuda/RowsBuilder.h"
#include "heddle/program.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cuda {

Value AttentionOperands::addressOf(Value value) const {
  return value ? addresses.lookup(withoutReshapes(value)) : Value();
}

Value emitAttentionRegion(Emitter &e, AttentionOp op, const AttentionOperands &operands, Region &region,
                          Value row, Value head, Value position, Value keyPosition, Value score) {
  return emitRegion(
      e, region, {score, head, operands.kvHead, position, keyPosition, operands.slot, row},
      [&](Value tensor) { return operands.addressOf(tensor); }, operands.rowsOfCall);
}

/// The kernel's attention op, if all of it is what this generator can make.
static llvm::Expected<AttentionOp> checkKernel(KernelOp kernel, const KernelContext &context) {
  AttentionOp attention;
  Block &body = kernel.getBody().front();
  for (Operation &op : body.without_terminator()) {
    if (auto found = dyn_cast<AttentionOp>(op)) {
      if (attention)
        return unsupported(kernel, "expected one 'heddle.attention', but found several");
      attention = found;
    } else if (!isa<ReshapeOp, arith::ConstantOp>(op)) {
      return unsupported(kernel,
                         "'" + op.getName().getStringRef() + "' is not an op of the family 'attention'");
    }
  }
  if (!attention)
    return unsupported(kernel, "expected a 'heddle.attention', but found none");
  ValueRange yields = body.getTerminator()->getOperands();
  if (yields.size() != 1 || withoutReshapes(yields[0]) != attention.getResult())
    return unsupported(kernel, "expected to yield the result of 'heddle.attention' and nothing else");
  if (attention.getCache() && attention.getKeys())
    return unsupported(kernel, "expected keys to be stored apart from 'heddle.attention'; run "
                               "heddle-split-cache-append first");
  if (attention.getKeySequences())
    return unsupported(kernel, "keys 'from' other sequences are not available yet");
  if (attention.getCache() && context.maxContext < int64_t(HEDDLE_PAGE_TOKENS))
    return unsupported(kernel, "expected the model to state 'max_context', but found none");
  for (Value operand : attention->getOperands())
    if (!isa<BlockArgument>(withoutReshapes(operand)))
      return unsupported(kernel, "expected operands of 'heddle.attention' to be arguments of the kernel");
  llvm::Error captured = llvm::Error::success();
  attention->walk([&](ElementOp element) {
    if (isa<BlockArgument>(element.getTensor()) || captured)
      return;
    captured = unsupported(kernel, "expected 'heddle.element' to read an argument of the kernel");
  });
  if (captured)
    return std::move(captured);
  return attention;
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
  operands.result = *next++;
  work = *next++;
  operands.rowsOfCall = e.dimension(arguments, HEDDLE_DIM_ROWS);
  operands.kvHead = e.blockY();
  return operands;
}

llvm::Expected<KernelFacts> emitAttentionKernel(KernelOp kernel, StringRef rows, const KernelContext &context,
                                                ModuleOp out) {
  auto checked = checkKernel(kernel, context);
  if (!checked)
    return checked.takeError();
  AttentionOp attention = *checked;
  bool flash = FlashAttention::fits(attention);
  KernelFacts facts;
  facts.threads = kAttentionWarps * kWarp;
  facts.sharedBytes = flash ? FlashAttention::sharedBytes(attention) : PlainAttention::sharedBytes(attention);
  facts.gridY = uint32_t(attention.kvHeads());
  facts.workRows = flash ? FlashAttention::recordRows(attention) : PlainAttention::recordRows();
  Emitter e(out);
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
               (flash ? FlashAttention::emit : PlainAttention::emit)(e, attention, context, operands);
             });
           });
  return facts;
}

} // namespace heddle::cuda

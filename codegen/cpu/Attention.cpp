#include "codegen/cpu/Attention.h"
#include "codegen/cpu/AttentionBuilder.h"
#include "heddle/program.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cpu {

static llvm::Error fail(KernelOp kernel, const llvm::Twine &message) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(),
                                 "kernel '" + kernel.getSymName() + "': " + message);
}

static Value withoutReshapes(Value value) {
  while (auto reshape = value.getDefiningOp<ReshapeOp>())
    value = reshape.getInput();
  return value;
}

/// The kernel's attention op, if all of it is what this generator can make.
static llvm::Expected<AttentionOp> checkKernel(KernelOp kernel, const CpuKernelContext &context) {
  AttentionOp attention;
  Block &body = kernel.getBody().front();
  for (Operation &op : body.without_terminator()) {
    if (auto found = dyn_cast<AttentionOp>(op)) {
      if (attention)
        return fail(kernel, "expected one 'heddle.attention', but found several");
      attention = found;
    } else if (!isa<ReshapeOp, arith::ConstantOp>(op)) {
      return fail(kernel, "'" + op.getName().getStringRef() + "' is not an op of the family 'attention'");
    }
  }
  if (!attention)
    return fail(kernel, "expected a 'heddle.attention', but found none");
  ValueRange yields = body.getTerminator()->getOperands();
  if (yields.size() != 1 || withoutReshapes(yields[0]) != attention.getResult())
    return fail(kernel, "expected to yield the result of 'heddle.attention' and nothing else");
  if (attention.getCache() && attention.getKeys())
    return fail(
        kernel,
        "expected keys to be stored apart from 'heddle.attention'; run heddle-split-cache-append first");
  if (attention.getCache() && context.maxContext < int64_t(HEDDLE_PAGE_TOKENS))
    return fail(kernel, "expected the model to state 'max_context', but found none");
  for (Value operand : {attention.getQuery(), attention.getKeys(), attention.getValues()})
    if (operand && !isa<BlockArgument>(withoutReshapes(operand)))
      return fail(kernel, "expected operands of 'heddle.attention' to be arguments of the kernel");
  if (attention.getCache() && !isa<BlockArgument>(Value(attention.getCache())))
    return fail(kernel, "expected the cache of 'heddle.attention' to be an argument of the kernel");
  for (Region *region : {&attention.getScore(), &attention.getMask()})
    if (Operation *op = findCapture(*region))
      return fail(kernel, "'" + op->getName().getStringRef() +
                              "' in a region of 'heddle.attention' captures what is not a constant");
  return attention;
}

llvm::Expected<KernelFacts> emitAttentionKernel(KernelOp kernel, const CpuLevel &level,
                                                const CpuKernelContext &context, ModuleOp out) {
  auto attention = checkKernel(kernel, context);
  if (!attention)
    return attention.takeError();
  Emitter e(out, level);
  AttentionBuilder builder(e, *attention, context);
  // Where registers are few, loads of f16 that are moved ahead of their use make sums spill.
  bool sourceOrder = level.lanes == 8 && attention->getCache();
  e.kernel(
      kernel.getSymName(),
      [&](const KernelArguments &arguments) {
        // Arguments in order, a cache followed by its page table, the result, the work records.
        llvm::DenseMap<Value, Value> addresses;
        AttentionOperands operands;
        int index = 0;
        for (BlockArgument argument : kernel.getBody().front().getArguments()) {
          addresses[argument] = e.operand(arguments, index++);
          if (isa<KvCacheType>(argument.getType()))
            operands.pageTable = e.operand(arguments, index++);
        }
        auto addressOf = [&](Value value) {
          return value ? addresses.lookup(withoutReshapes(value)) : Value();
        };
        operands.result = e.operand(arguments, index++);
        operands.work = e.operand(arguments, index++);
        operands.query = addressOf(attention->getQuery());
        operands.cache = addressOf(attention->getCache());
        operands.keys = addressOf(attention->getKeys());
        operands.values = addressOf(attention->getValues());
        Value workCount = e.dimension(arguments, HEDDLE_DIM_WORK);
        e.forRange(arguments.begin, arguments.end, e.cI64(1),
                   [&](Value item) { builder.emitItem(operands, workCount, arguments.scratch, item); });
      },
      sourceOrder);
  KernelFacts facts;
  facts.scratchBytes = builder.scratchBytes();
  facts.workRows = uint32_t(builder.workRows());
  return facts;
}

} // namespace heddle::cpu

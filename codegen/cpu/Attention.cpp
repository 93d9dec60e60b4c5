#include "codegen/cpu/Attention.h"
#include "codegen/RowValues.h"
#include "codegen/cpu/AttentionBuilder.h"
#include "codegen/cpu/AttentionTopK.h"
#include "heddle/program.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cpu {

static std::string describe(Type type) {
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return text;
}

/// Numbers of a captured tensor, which must fit 32-bit offsets.
static constexpr int64_t kMostCaptured = int64_t(1) << 29;

static llvm::Error checkCaptures(KernelOp kernel, ScoringOpInterface scoring,
                                 const CpuKernelContext &context) {
  for (Region *region : {&scoring.getScore(), &scoring.getMask()}) {
    if (Operation *op = findCapture(*region))
      return unsupported(
          kernel,
          "'" + op->getName().getStringRef() +
              "' in a region of attention uses a value from outside; expected 'heddle.element' to read it");
    for (Block &block : *region)
      for (auto element : block.getOps<ElementOp>()) {
        Value tensor = element.getTensor();
        int64_t count = 1;
        bool fits = true;
        for (int64_t size : shapeOf(tensor.getType()))
          fits &= !llvm::MulOverflow(count, ShapedType::isDynamic(size) ? context.maxRows : size, count);
        if (!fits || count > kMostCaptured)
          return unsupported(kernel, "expected tensors read in a region of attention to have at most " +
                                         llvm::Twine(kMostCaptured) + " elements");
        if (auto constant = tensor.getDefiningOp<arith::ConstantOp>()) {
          if (!isa<DenseElementsAttr>(constant.getValue()))
            return unsupported(kernel, "expected constants read in a region of attention to be dense");
        } else if (!isa<BlockArgument>(withoutReshapes(tensor))) {
          return unsupported(kernel,
                             "expected tensors read in a region of attention to be arguments of the kernel");
        }
      }
  }
  return llvm::Error::success();
}

/// The kernel's attention or top-k, if all of it is what this generator can make.
static llvm::Expected<ScoringOpInterface> checkKernel(KernelOp kernel, const CpuKernelContext &context) {
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
    return unsupported(
        kernel,
        "expected keys to be stored apart from 'heddle.attention'; run heddle-split-cache-append first");
  if (scoring.getCache() && context.maxContext < int64_t(HEDDLE_PAGE_TOKENS))
    return unsupported(kernel, "expected the model to state 'max_context', but found none");
  if (Value sequences = scoring.getKeySequences();
      sequences && ShapedType::isDynamic(shapeOf(sequences.getType())[0]))
    return unsupported(kernel,
                       "expected keys of other sequences to be of a fixed number of rows, but found " +
                           describe(sequences.getType()));
  for (Value operand : scoring->getOperands())
    if (!isa<BlockArgument>(withoutReshapes(operand)))
      return unsupported(kernel, "expected operands of '" + name + "' to be arguments of the kernel");
  if (auto error = checkCaptures(kernel, scoring, context))
    return std::move(error);
  return scoring;
}

/// Arguments in order, a cache followed by its page table, the result, the work records.
static AttentionOperands loadOperands(Emitter &e, KernelOp kernel, ScoringOpInterface scoring,
                                      const KernelArguments &arguments) {
  llvm::DenseMap<Value, Value> addresses;
  AttentionOperands operands;
  int index = 0;
  for (BlockArgument argument : kernel.getBody().front().getArguments()) {
    addresses[argument] = e.operand(arguments, index++);
    if (isa<KvCacheType>(argument.getType()))
      operands.pageTable = e.operand(arguments, index++);
  }
  operands.result = e.operand(arguments, index++);
  operands.work = e.operand(arguments, index++);
  auto addressOf = [&](Value value) { return value ? addresses.lookup(withoutReshapes(value)) : Value(); };
  operands.query = addressOf(scoring.getQuery());
  operands.cache = addressOf(scoring.getCache());
  operands.keys = addressOf(scoring.getKeys());
  operands.keySequences = addressOf(scoring.getKeySequences());
  if (auto attention = dyn_cast<AttentionOp>(scoring.getOperation())) {
    operands.values = addressOf(attention.getValues());
    operands.heads = addressOf(attention.headSelection());
    operands.selectedKeys = addressOf(attention.keySelection());
    operands.skip = addressOf(attention.getSkip());
  }
  operands.captured.rows = e.dimension(arguments, HEDDLE_DIM_ROWS);
  for (Region *region : {&scoring.getScore(), &scoring.getMask()})
    for (Block &block : *region)
      for (auto element : block.getOps<ElementOp>())
        if (Value address = addressOf(element.getTensor()))
          operands.captured.addresses[element.getTensor()] = address;
  return operands;
}

llvm::Expected<KernelFacts> emitAttentionKernel(KernelOp kernel, const CpuLevel &level,
                                                const CpuKernelContext &context, ModuleOp out) {
  auto scoring = checkKernel(kernel, context);
  if (!scoring)
    return scoring.takeError();
  Emitter e(out, level);
  // Where registers are few, loads of f16 that are moved ahead of their use make sums spill.
  bool sourceOrder = level.lanes == 8 && scoring->getCache();
  KernelFacts facts;
  auto emit = [&](auto &&builder) {
    e.kernel(
        kernel.getSymName(),
        [&](const KernelArguments &arguments) {
          AttentionOperands operands = loadOperands(e, kernel, *scoring, arguments);
          Value workCount = e.dimension(arguments, HEDDLE_DIM_WORK);
          e.forRange(arguments.begin, arguments.end, e.cI64(1),
                     [&](Value item) { builder.emitItem(operands, workCount, arguments.scratch, item); });
        },
        sourceOrder);
    facts.scratchBytes = builder.scratchBytes();
    facts.workRows = uint32_t(builder.workRows());
  };
  Operation *op = *scoring;
  if (auto topK = dyn_cast<TopKOp>(op))
    emit(TopKBuilder(e, topK, context));
  else
    emit(AttentionBuilder(e, cast<AttentionOp>(op), context));
  return facts;
}

} // namespace heddle::cpu

#include "passes/RowDims.h"
#include "ir/ActivationLayout.h"
#include "passes/Decisions.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::heddle;

/// The rows that pooling yields: one for each sequence.
static constexpr llvm::StringLiteral kSequences = "s";

static bool hasShape(Type type) {
  return isa<RankedTensorType, StoredType, SelectionType>(type) && !shapeOf(type).empty();
}

SmallVector<Value> mlir::heddle::rowOperands(Operation *op) {
  SmallVector<Value> rows;
  llvm::TypeSwitch<Operation *>(op)
      .Case<EmbeddingOp, GatherRowsOp>([&](auto gather) { rows = {gather.getIndices()}; })
      .Case<LinearOp>([&](LinearOp linear) {
        rows = {linear.getInput()};
        if (linear.getSelection())
          rows.push_back(linear.getSelection());
      })
      .Case<SkippedSumOp>([&](SkippedSumOp sum) { rows = {sum.getSelection()}; })
      .Case<MaskHeadsOp>([&](MaskHeadsOp mask) { rows = {mask.getInput(), mask.getSelection()}; })
      .Case<HeadGateOp, RmsNormOp, LayerNormOp, L2NormalizeOp, ReshapeOp, QuantizeOp, DequantizeOp>(
          [&](auto unary) { rows = {unary.getInput()}; })
      .Case<RopeOp>([&](RopeOp rope) { rows = {rope.getInput(), rope.getPositions()}; })
      .Case<CacheAppendOp>([&](CacheAppendOp append) {
        rows = {append.getKeys(), append.getValues(), append.getSlots(), append.getPositions()};
      })
      .Case<AttentionOp, TopKOp>([&](auto op) {
        rows = {op.getQuery(), op.getSlots(), op.getPositions()};
        if (op.getKeys() && !op.getKeySequences())
          rows.push_back(op.getKeys());
        if constexpr (std::is_same_v<decltype(op), AttentionOp>) {
          if (op.getValues() && !op.getKeySequences())
            rows.push_back(op.getValues());
          llvm::append_range(rows, op.getSelections());
        }
      })
      .Case<MergeChunksOp>([&](MergeChunksOp merge) { rows = {merge.getChunks(), merge.getPositions()}; })
      .Case<SelectBlocksOp>([&](SelectBlocksOp select) {
        rows = {select.getPositions() ? Value(select.getPositions()) : Value(select.getMask())};
      })
      .Case<PoolRowsOp>([&](PoolRowsOp pool) { rows = {pool.getInput(), pool.getSequences()}; })
      .Case<ElementwiseOpInterface>(
          [&](Operation *elementwise) { llvm::append_range(rows, elementwise->getOperands()); });
  return rows;
}

static std::string describe(Value value) {
  if (auto argument = dyn_cast<BlockArgument>(value))
    return "argument " + std::to_string(argument.getArgNumber());
  std::string source = sourceNames(value.getLoc());
  return "'" + (source.empty() ? value.getDefiningOp()->getName().getStringRef().str() : source) + "'";
}

LogicalResult RowDims::declare(func::FuncOp function) {
  llvm::StringMap<DimAttr> byName;
  auto add = [&](DimAttr dim) -> LogicalResult {
    auto [entry, isNew] = byName.try_emplace(dim.getName(), dim);
    if (isNew)
      declared.push_back(dim);
    else if (entry->second != dim)
      return function.emitOpError() << "expected one range for dimension '" << dim.getName()
                                    << "', but found " << entry->second.getMin() << " to "
                                    << entry->second.getMax() << " and " << dim.getMin() << " to "
                                    << dim.getMax();
    return success();
  };
  MLIRContext *context = function.getContext();
  for (BlockArgument argument : function.getArguments()) {
    if (!hasShape(argument.getType()))
      continue;
    unsigned number = argument.getArgNumber();
    auto shape = shapeOf(argument.getType());
    int64_t dynamic = llvm::count(shape, ShapedType::kDynamic);
    auto dims = function.getArgAttrOfType<ArrayAttr>(number, kDimsAttr);
    int64_t named = dims ? dims.size() : 0;
    if (named != dynamic)
      return function.emitOpError() << "expected '" << kDimsAttr << "' of argument " << number
                                    << " to name its " << dynamic << " dynamic dimensions, but found "
                                    << named;
    if (llvm::is_contained(shape.drop_front(), ShapedType::kDynamic))
      return function.emitOpError() << "expected only the first dimension of argument " << number
                                    << " to be dynamic, but found " << argument.getType();
    if (dynamic == 0) {
      names[argument] = StringAttr::get(context, Twine(shape[0]));
      continue;
    }
    auto dim = dyn_cast<DimAttr>(dims[0]);
    if (!dim)
      return function.emitOpError() << "expected '" << kDimsAttr << "' of argument " << number
                                    << " to hold #heddle.dim, but found " << dims[0];
    if (failed(add(dim)))
      return failure();
    names[argument] = StringAttr::get(context, dim.getName());
  }
  for (unsigned i = 0; i < function.getNumResults(); ++i)
    if (auto dims = function.getResultAttrOfType<ArrayAttr>(i, kDimsAttr))
      for (Attribute attr : dims)
        if (auto dim = dyn_cast<DimAttr>(attr); dim && failed(add(dim)))
          return failure();
  return success();
}

/// Sequences are pieces of the rows: there are at most as many.
void RowDims::declareSequences(MLIRContext *context, int64_t atMost) {
  if (!knows(kSequences))
    declared.push_back(DimAttr::get(context, kSequences, 0, atMost));
}

LogicalResult RowDims::infer(Operation *op) {
  MLIRContext *context = op->getContext();
  StringAttr rows;
  if (auto launch = dyn_cast<LaunchOp>(op)) {
    rows = launch.getRowsAttr();
    int64_t most = 0;
    for (DimAttr dim : declared)
      most = std::max(most, dim.getMax());
    if (rows == kSequences)
      declareSequences(context, most);
  } else {
    SmallVector<Value> operands = rowOperands(op);
    Value first;
    for (Value operand : operands) {
      StringAttr name = names.lookup(operand);
      if (!name)
        continue;
      if (!rows) {
        rows = name;
        first = operand;
      } else if (name != rows) {
        InFlightDiagnostic error = op->emitOpError()
                                   << "expected operands with the same rows, but " << describe(first)
                                   << " has rows '" << rows.getValue() << "' and " << describe(operand)
                                   << " has rows '" << name.getValue() << "'";
        error.attachNote(first.getLoc()) << "rows '" << rows.getValue() << "' come from here";
        error.attachNote(operand.getLoc()) << "rows '" << name.getValue() << "' come from here";
        return failure();
      }
    }
    if (isa<PoolRowsOp>(op)) {
      if (rows)
        declareSequences(context, bounds(rows).max);
      rows = StringAttr::get(context, kSequences);
    }
    // What reads parameters alone has their rows, which are static.
    if (!rows && !operands.empty() && op->getNumResults() == 1 && hasShape(op->getResult(0).getType()))
      if (int64_t size = shapeOf(op->getResult(0).getType())[0]; !ShapedType::isDynamic(size))
        rows = StringAttr::get(context, Twine(size));
  }
  if (!rows)
    return success();
  for (Value result : op->getResults())
    if (hasShape(result.getType())) {
      int64_t size = shapeOf(result.getType())[0];
      names[result] = ShapedType::isDynamic(size) ? rows : StringAttr::get(context, Twine(size));
    }
  return success();
}

FailureOr<RowDims> RowDims::compute(func::FuncOp function) {
  RowDims dims;
  if (function.isExternal())
    return dims;
  if (!function.getBody().hasOneBlock())
    return function.emitOpError() << "expected a function without branches, but found "
                                  << function.getBody().getBlocks().size() << " blocks";
  if (failed(dims.declare(function)))
    return failure();
  for (Operation &op : function.getBody().front())
    if (failed(dims.infer(&op)))
      return failure();
  return dims;
}

StringRef RowDims::of(Operation *op) const {
  for (Value result : op->getResults())
    if (StringRef name = of(result); !name.empty())
      return name;
  for (Value operand : rowOperands(op))
    if (StringRef name = of(operand); !name.empty())
      return name;
  return {};
}

bool RowDims::knows(StringRef name) const {
  int64_t size;
  return llvm::any_of(declared, [&](DimAttr dim) { return dim.getName() == name; }) ||
         !name.getAsInteger(10, size);
}

RowDims::Bounds RowDims::bounds(StringRef name) const {
  for (DimAttr dim : declared)
    if (dim.getName() == name)
      return {dim.getMin(), dim.getMax()};
  int64_t size = 0;
  bool isNumber = !name.getAsInteger(10, size);
  (void)isNumber;
  assert(isNumber && "rows have a declared name or a number");
  return {size, size};
}

int64_t mlir::heddle::bytesOf(Type type, int64_t rows) {
  auto shape = shapeOf(type);
  int64_t bytes = rows;
  bool overflows = false;
  auto times = [&](int64_t factor) { overflows |= llvm::MulOverflow(bytes, factor, bytes); };
  if (auto stored = dyn_cast<StoredType>(type)) {
    assert(stored.getEncoding().isActivation() && "weights are parameters, not values with rows");
    if (shape.back() > kMaxBytes)
      return kMaxBytes;
    times(activationLayout(stored).stride());
  } else if (isa<SelectionType>(type)) {
    times(shape[1]);
  } else {
    for (int64_t size : shape.drop_front())
      times(size);
    times(cast<RankedTensorType>(type).getElementTypeBitWidth() / 8);
  }
  return overflows ? kMaxBytes : std::min(bytes, kMaxBytes);
}

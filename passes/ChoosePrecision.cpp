#include "ir/Heddle.h"
#include "passes/Decisions.h"
#include "passes/Passes.h"
#include "passes/RowDims.h"
#include "passes/TargetDescription.h"
#include "llvm/ADT/SetVector.h"

namespace mlir::heddle {
#define GEN_PASS_DEF_CHOOSEPRECISIONPASS
#include "passes/Passes.h.inc"
} // namespace mlir::heddle

using namespace mlir;
using namespace mlir::heddle;

/// Up to this many rows a weight is read for few products, so memory decides and 16-bit activations are
/// nearly free.
static constexpr int64_t kMemoryBoundRows = 4;

static constexpr int64_t kScaleGroup = ::heddle::ActivationLayout::kGroup;

/// Marks the linears whose result reaches `value` through ops for which `passes` is true.
static void markProducers(Value value, function_ref<bool(Operation *)> passes, DenseSet<Operation *> &visited,
                          DenseSet<Operation *> &linears) {
  SmallVector<Value> worklist{value};
  while (!worklist.empty()) {
    Operation *op = worklist.pop_back_val().getDefiningOp();
    if (!op || !visited.insert(op).second)
      continue;
    if (isa<LinearOp>(op))
      linears.insert(op);
    else if (passes(op))
      llvm::append_range(worklist, isa<UnaryOp, ScaleOp, ReshapeOp>(op) ? ValueRange(op->getOperands())
                                                                        : ValueRange(rowOperands(op)));
  }
}

static bool isInteger(Format format) { return format == Format::ACT_I8 || format == Format::ACT_I16; }

/// Whether a value is made of products column by column, so that a kernel that holds both can make codes of
/// some columns while it computes others.
static bool comesFromProducts(Value value) {
  llvm::SetVector<Operation *> ops; // each once, however often its value is used
  auto add = [&](Value from) {
    if (Operation *op = from.getDefiningOp())
      ops.insert(op);
  };
  add(value);
  for (size_t next = 0; next < ops.size(); ++next) {
    Operation *op = ops[next];
    if (isa<LinearOp>(op))
      return true;
    if (isa<ElementwiseOpInterface>(op))
      llvm::for_each(op->getOperands(), add);
  }
  return false;
}

/// Name of a linear's weight, for messages.
static std::string weightName(LinearOp linear) {
  if (auto get = linear.getWeight().getDefiningOp<GetParamOp>())
    return get.getParam().str();
  return sourceNames(linear.getLoc());
}

namespace {
struct ChoosePrecision : mlir::heddle::impl::ChoosePrecisionPassBase<ChoosePrecision> {
  using ChoosePrecisionPassBase::ChoosePrecisionPassBase;

  void runOnOperation() override {
    if (!llvm::is_contained({"mixed", "i8", "i16", "f32"}, activations)) {
      getOperation().emitError() << "unknown activations '" << activations
                                 << "'; expected mixed, i8, i16 or f32";
      return signalPassFailure();
    }
    const TargetDescription *description = findTarget(target);
    if (!description) {
      getOperation().emitError() << "unknown target '" << target << "'; known targets: " << targetNames();
      return signalPassFailure();
    }
    if (getOperation()->hasAttr(kActivationRangesAttr) && target != "cpu") {
      getOperation().emitError() << "expected dynamic activations for target '" << target
                                 << "', but found calibrated ranges; static ones are for target 'cpu'";
      return signalPassFailure();
    }
    scalesRows = description->arrayColumns != 0;
    Decisions decisions(getOperation(), getArgument());
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (!function.isExternal() && failed(quantizeInputs(function, decisions)))
        return signalPassFailure();
  }

  bool scalesRows = false; // the target multiplies 8-bit codes that share a scale all along a row

  LogicalResult quantizeInputs(func::FuncOp function, Decisions &decisions) {
    auto rows = function->getAttrOfType<DenseI64ArrayAttr>(kRowsAttr);
    bool memoryBound = rows && rows.size() == 2 && rows[1] <= kMemoryBoundRows;
    DenseSet<Operation *> attended, head;
    bool tiles = function->hasAttr(kTilesAttr);
    if (activations == "mixed" && !memoryBound)
      markPrecise(function, attended, head);

    auto ranges = getOperation()->getAttrOfType<DictionaryAttr>(kActivationRangesAttr);
    // By value, format and static scale.
    DenseMap<std::pair<Value, std::pair<unsigned, Attribute>>, Value> quantized;
    for (Operation &op : llvm::make_early_inc_range(function.getBody().front())) {
      auto linear = dyn_cast<LinearOp>(op);
      if (!linear)
        continue;
      if (isa<StoredType>(linear.getInput().getType())) {
        decisions.record(linear, "precision", "input is quantized already");
        continue;
      }
      if (!linear.hasBlockWeight()) {
        decisions.record(linear, "precision", "f32: the weight is dense");
        continue;
      }
      if (activations == "f32")
        return linear.emitOpError() << "expected quantized activations for weight '" << weightName(linear)
                                    << "', which is stored in blocks (" << linear.getWeight().getType()
                                    << "), but found activations 'f32'; choose mixed, i8 or i16";
      Format format = Format::ACT_I8;
      std::string why = "i8: arithmetic decides at this many rows";
      if (scalesRows) {
        bool isGrouped = shapeOf(linear.getInput().getType()).back() % kScaleGroup == 0 &&
                         comesFromProducts(linear.getInput());
        format = isGrouped ? Format::ACT_I8_128 : Format::ACT_I8_ROW;
        why = isGrouped ? "i8 with a scale for each 128 columns: made while others are computed"
                        : "i8 with one scale a row: what the array multiplies";
      } else if (activations != "mixed") {
        format = activations == "i16" ? Format::ACT_I16 : Format::ACT_I8;
        why = "as asked for";
      } else if (memoryBound) {
        format = Format::ACT_I16;
        why = "i16: memory decides at this few rows";
      } else if (tiles && !head.contains(linear) && !linear.getSelection()) { // tiles leave out no columns
        format = Format::ACT_BF16;
        why = "bf16: tiles multiply it faster than 8 bits, and it is more accurate";
      } else if (attended.contains(linear)) {
        format = Format::ACT_I16;
        why = "i16: the result is attended to";
      } else if (head.contains(linear)) {
        format = Format::ACT_I16;
        why = "i16: the result leaves the function";
      }
      Value input = linear.getInput();
      OpBuilder builder(&getContext());
      auto type = StoredType::get(&getContext(), shapeOf(input.getType()), builder.getF32Type(),
                                  EncAttr::get(&getContext(), format, Layout::Rows));
      FloatAttr scale;
      if (auto range = ranges && isInteger(format) ? ranges.getAs<FloatAttr>(sourceNames(linear.getLoc()))
                                                   : FloatAttr()) {
        scale = builder.getF32FloatAttr(static_cast<float>(range.getValueAsDouble()) /
                                        activationLayout(type).limit());
      }
      Value &stored = quantized[{input, {static_cast<unsigned>(format), scale}}];
      if (!stored) {
        builder.setInsertionPointAfterValue(input);
        stored = builder.create<QuantizeOp>(input.getLoc(), type, input, scale);
        // A function argument has no source node; its first reader has.
        if (isa<BlockArgument>(input))
          stored.getDefiningOp()->setLoc(linear.getLoc());
      }
      linear.getInputMutable().assign(stored);
      decisions.record(linear, "precision", scale ? why + "; range as calibrated" : why);
    }
    return success();
  }

  /// Linears that make queries, keys and values (`attended`), and those whose results are the function's
  /// (`head`).
  static void markPrecise(func::FuncOp function, DenseSet<Operation *> &attended,
                          DenseSet<Operation *> &head) {
    DenseSet<Operation *> visited, visitedHead;
    auto mark = [&](Value value) {
      if (value)
        markProducers(
            value,
            [](Operation *op) {
              return isa<ReshapeOp, RmsNormOp, LayerNormOp, L2NormalizeOp, RopeOp, ScaleOp>(op);
            },
            visited, attended);
    };
    for (Operation &op : function.getBody().front()) {
      if (auto attention = dyn_cast<AttentionOp>(op)) {
        for (Value value : {attention.getQuery(), attention.getKeys(), attention.getValues()})
          mark(value);
      } else if (auto append = dyn_cast<CacheAppendOp>(op)) {
        mark(append.getKeys());
        mark(append.getValues());
      } else if (isa<func::ReturnOp>(op)) {
        for (Value value : op.getOperands())
          markProducers(
              value, [](Operation *op) { return isa<UnaryOp, ScaleOp, ReshapeOp>(op); }, visitedHead, head);
      }
    }
  }
};
} // namespace

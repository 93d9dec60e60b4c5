#include "passes/Decisions.h"
#include "passes/HeadGating.h"
#include "passes/Passes.h"

namespace mlir::heddle {
#define GEN_PASS_DEF_LOWERHEADGATINGPASS
#include "passes/Passes.h.inc"
} // namespace mlir::heddle

using namespace mlir;
using namespace mlir::heddle;

namespace {
struct LowerHeadGating : mlir::heddle::impl::LowerHeadGatingPassBase<LowerHeadGating> {
  using LowerHeadGatingPassBase::LowerHeadGatingPassBase;

  void runOnOperation() override {
    Decisions decisions(getOperation(), getArgument());
    SymbolTable symbols(getOperation());
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      SmallVector<AttentionOp> gated;
      function.walk([&](AttentionOp attention) {
        if (attention.headSelection())
          gated.push_back(attention);
      });
      for (AttentionOp attention : gated)
        dense ? mask(attention, decisions) : skip(attention, symbols, decisions);
    }
  }

  /// All heads are computed, then those that a row does not select are replaced.
  static void mask(AttentionOp attention, Decisions &decisions) {
    OpBuilder builder(attention->getContext());
    builder.setInsertionPointAfter(attention);
    auto masked =
        builder.create<MaskHeadsOp>(attention.getLoc(), attention.getResult().getType(),
                                    attention.getResult(), attention.headSelection(), attention.getSkip());
    attention.getResult().replaceAllUsesExcept(masked.getResult(), masked);
    removeSelection(attention);
    decisions.record(attention, "mask", "all heads are computed and then masked, as asked for");
  }

  static void removeSelection(AttentionOp attention) {
    Value heads = attention.headSelection();
    attention.getSkipMutable().clear();
    for (auto [number, selection] : llvm::enumerate(attention.getSelections()))
      if (selection == heads) {
        attention.getSelectionsMutable().erase(number);
        return;
      }
  }

  static void skip(AttentionOp attention, SymbolTable &symbols, Decisions &decisions) {
    Value heads = attention.headSelection();
    LinearOp query = queryProjection(attention), output = outputProjection(attention);
    if (query && !query.getSelection() && mayPrecede(heads, query)) {
      query.getSelectionMutable().assign(heads);
      query.setSelected(Selected::Results);
      decisions.record(query, "skip", "queries of heads that a row does not select are not computed");
    } else {
      decisions.record(attention, "keep", "its queries are computed for all heads: other ops read them too");
    }
    if (!output || output.getSelection())
      return decisions.record(
          attention, "keep",
          "its result is read as a whole, so heads that are not selected are written to it");
    if (attention.getSkip() && !moveSkipValue(attention, output, symbols))
      return decisions.record(
          attention, "keep",
          "the skip values or the output projection are no parameters, so they are multiplied "
          "for every row");
    output.getSelectionMutable().assign(heads);
    output.setSelected(Selected::Inputs);
    decisions.record(output, "skip", "columns of heads that a row does not select are not read");
  }

  static bool mayPrecede(Value value, Operation *op) {
    Operation *maker = value.getDefiningOp();
    return !maker || (maker->getBlock() == op->getBlock() && maker->isBeforeInBlock(op));
  }

  /// Skip values are constants, so what they contribute after the output projection is a table: a skipped
  /// head costs an addition of its row.
  static bool moveSkipValue(AttentionOp attention, LinearOp output, SymbolTable &symbols) {
    auto skip = attention.getSkip().getDefiningOp<GetParamOp>();
    auto weight = output.getWeight().getDefiningOp<GetParamOp>();
    if (!skip || !weight)
      return false;
    auto from = symbols.lookup<ParamOp>(skip.getParam());
    auto matrix = symbols.lookup<ParamOp>(weight.getParam());
    Location loc = attention.getLoc();
    OpBuilder builder(attention->getContext());
    Type f32 = builder.getF32Type();
    auto shape = shapeOf(skip.getType());
    auto tableType = RankedTensorType::get({shape[0], shapeOf(output.getType())[1]}, f32);
    std::string name = (skip.getParam() + ".projected").str();
    auto table = symbols.lookup<ParamOp>(name);
    if (!table) {
      builder.setInsertionPointAfter(matrix->isBeforeInBlock(from) ? from : matrix);
      auto sources = builder.getArrayAttr(
          {FlatSymbolRefAttr::get(from.getSymNameAttr()), FlatSymbolRefAttr::get(matrix.getSymNameAttr())});
      table = builder.create<ParamOp>(loc, name, tableType, IntegerAttr(), IntegerAttr(), ElementsAttr(),
                                      sources);
      Block *recipe =
          builder.createBlock(&table.getRecipe(), {}, {from.getType(), matrix.getType()}, {loc, loc});
      auto wide = RankedTensorType::get({shape[0], shape[0] * shape[1]}, f32);
      Value rows = builder.create<BlockDiagonalOp>(loc, wide, recipe->getArgument(0));
      Value projected = builder.create<LinearOp>(loc, tableType, rows, recipe->getArgument(1), Value());
      builder.create<YieldOp>(loc, projected);
      symbols.insert(table, Block::iterator(table));
    }
    builder.setInsertionPointAfter(output);
    Value rows = builder.create<GetParamOp>(loc, tableType, table.getSymName());
    Value added = builder.create<SkippedSumOp>(loc, output.getType(), rows, attention.headSelection());
    auto sum = builder.create<BinaryOp>(output.getLoc(), output.getType(), BinaryKind::Add,
                                        output.getResult(), added);
    output.getResult().replaceAllUsesExcept(sum.getResult(), sum);
    attention.getSkipMutable().clear();
    return true;
  }
};
} // namespace

#include "ir/SourceNames.h"
#include "passes/Decisions.h"
#include "passes/HeadGating.h"
#include "passes/Passes.h"

namespace mlir::heddle {
#define GEN_PASS_DEF_INSERTHEADGATINGPASS
#include "passes/Passes.h.inc"
} // namespace mlir::heddle

using namespace mlir;
using namespace mlir::heddle;

namespace {
struct InsertHeadGating : mlir::heddle::impl::InsertHeadGatingPassBase<InsertHeadGating> {
  void runOnOperation() override {
    Decisions decisions(getOperation(), getArgument());
    SymbolTable symbols(getOperation());
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      SmallVector<AttentionOp> attentions;
      function.walk([&](AttentionOp attention) { attentions.push_back(attention); });
      for (AttentionOp attention : attentions)
        if (failed(gate(attention, symbols, decisions)))
          return signalPassFailure();
    }
  }

  LogicalResult gate(AttentionOp attention, SymbolTable &symbols, Decisions &decisions) {
    std::string node = sourceNames(attention.getLoc());
    auto weight = symbols.lookup<ParamOp>((node + kGateWeight).str());
    if (!weight)
      return success();
    auto keep = [&](const Twine &why) {
      decisions.record(attention, "keep", why);
      return success();
    };
    if (attention.headSelection())
      return keep("its heads are selected already");
    LinearOp query = queryProjection(attention);
    if (!query || !isa<RankedTensorType>(query.getInput().getType()))
      return keep(
          "its queries are no product of f32 numbers that they alone read, so there is no input to gate by");
    if (failed(expectType(attention, weight, {heads(attention), shapeOf(query.getInput().getType())[1]})))
      return failure();

    OpBuilder builder(query);
    Location loc = attention.getLoc();
    auto get = [&](StringRef suffix, ArrayRef<int64_t> shape) -> FailureOr<Value> {
      auto param = symbols.lookup<ParamOp>((node + suffix).str());
      if (!param)
        return Value();
      if (failed(expectType(attention, param, shape)))
        return failure();
      return builder.create<GetParamOp>(loc, param.getType(), param.getSymName()).getResult();
    };
    Value weights = builder.create<GetParamOp>(loc, weight.getType(), weight.getSymName());
    FailureOr<Value> bias = get(kGateBias, {heads(attention)});
    FailureOr<Value> skip = get(kGateSkip, {heads(attention), attention.valueDim()});
    if (failed(bias) || failed(skip))
      return failure();
    auto type = SelectionType::get(&getContext(), SelectionKind::Heads,
                                   {shapeOf(query.getInput().getType())[0], heads(attention)}, 1);
    Value selection = builder.create<HeadGateOp>(loc, type, query.getInput(), weights, *bias);
    attention.getSelectionsMutable().append(selection);
    if (*skip)
      attention.getSkipMutable().assign(*skip);
    decisions.record(attention, "gate",
                     "a gate on the layer's input says which of " + Twine(heads(attention)) +
                         " heads a row needs; others yield " +
                         (*skip ? "their parameter '" + node + kGateSkip + "'" : "zeros"));
    return success();
  }

  static int64_t heads(AttentionOp attention) { return shapeOf(attention.getQuery().getType())[1]; }

  static LogicalResult expectType(AttentionOp attention, ParamOp param, ArrayRef<int64_t> shape) {
    Type expected = RankedTensorType::get(shape, Float32Type::get(param.getContext()));
    if (param.getType() == expected)
      return success();
    InFlightDiagnostic error = attention.emitOpError() << "expected parameter '" << param.getSymName()
                                                       << "' of its gate to have type " << expected
                                                       << ", but found " << param.getType();
    error.attachNote(param.getLoc()) << "the parameter is here";
    return error;
  }
};
} // namespace

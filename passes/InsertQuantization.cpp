#include "ir/Heddle.h"
#include "ir/WeightEncoding.h"
#include "passes/Decisions.h"
#include "passes/Parameters.h"
#include "passes/Passes.h"

namespace mlir::heddle {
#define GEN_PASS_DEF_INSERTQUANTIZATIONPASS
#include "passes/Passes.h.inc"
} // namespace mlir::heddle

using namespace mlir;
using namespace mlir::heddle;

namespace {
/// What `heddle.quantization` says of one weight.
struct Choice {
  std::string scheme;
  IntegerAttr file, offset; // of weights that are rounded already; null: round to the nearest
};

struct InsertQuantization : mlir::heddle::impl::InsertQuantizationPassBase<InsertQuantization> {
  using InsertQuantizationPassBase::InsertQuantizationPassBase;

  void runOnOperation() override {
    Decisions decisions(getOperation(), getArgument());
    SymbolTable symbols(getOperation());
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      SmallVector<GetParamOp> reads(function.getOps<GetParamOp>());
      for (GetParamOp get : reads)
        if (failed(quantize(get, symbols, decisions)))
          return signalPassFailure();
    }
  }

  LogicalResult quantize(GetParamOp get, SymbolTable &symbols, Decisions &decisions) {
    auto type = dyn_cast<StoredType>(get.getType());
    if (!type || type.getEncoding().getLayout() != Layout::Rows || type.getShape().size() != 2)
      return success();
    SmallVector<OpOperand *> uses;
    for (OpOperand &use : get->getUses())
      if (readsStoredRows(use))
        uses.push_back(&use);
    if (uses.empty())
      return success();
    Choice choice = choose(get.getParam());
    if (choice.scheme.empty() || choice.scheme == "keep")
      return success();
    auto source = symbols.lookup<ParamOp>(get.getParam());
    const ::heddle::WeightScheme *scheme = ::heddle::weightSchemeByName(choice.scheme);
    if (!scheme) {
      InFlightDiagnostic error = source.emitError() << "unknown scheme '" << choice.scheme << "' for weight '"
                                                    << get.getParam() << "'; known schemes: keep";
      for (const ::heddle::WeightScheme &known : ::heddle::weightSchemes())
        error << ", " << known.name;
      return error;
    }
    const ::heddle::FormatInfo &info = ::heddle::formatInfo(scheme->format);
    const int64_t columns = type.getShape()[1];
    if (columns % info.blockElements != 0)
      return source.emitError() << "scheme '" << choice.scheme << "' rounds groups of " << info.blockElements
                                << " weights of a row, but rows of '" << get.getParam() << "' have "
                                << columns << "; choose another scheme for it, as in --quantize "
                                << choice.scheme << "," << get.getParam() << "=int8";
    auto to = StoredType::get(&getContext(), type.getShape(), type.getElementType(),
                              EncAttr::get(&getContext(), static_cast<Format>(scheme->format), Layout::Rows));
    OpBuilder builder(&getContext());
    builder.setInsertionPointAfter(get);
    Value result;
    if (choice.file) {
      ParamOp rounded = roundedParameter(source, choice, to, symbols);
      result = builder.create<GetParamOp>(get.getLoc(), to, rounded.getSymName());
    } else if (to == type) {
      decisions.record(get, "quantize", "'" + get.getParam() + "' is " + info.name + " already");
      return success();
    } else {
      result = builder.create<QuantizeWeightsOp>(get.getLoc(), to, get.getResult(), choice.scheme, search);
    }
    for (OpOperand *use : uses)
      use->set(result);
    if (get.use_empty())
      get.erase();
    decisions.record(result.getLoc(), "quantize",
                     "'" + source.getSymName() + "' as " + choice.scheme +
                         (choice.file ? ", rounded by calibration" : ""),
                     type.getShape()[0] * int64_t(::heddle::storedBytes(scheme->format, columns)));
    return success();
  }

  /// The weight's own entry, else the first pattern of `schemes` that fits its name.
  Choice choose(StringRef name) {
    if (auto all = getOperation()->getAttrOfType<DictionaryAttr>(kQuantizationAttr)) {
      if (auto entry = all.getAs<DictionaryAttr>(name))
        return {entry.getAs<StringAttr>("scheme").getValue().str(), entry.getAs<IntegerAttr>("file"),
                entry.getAs<IntegerAttr>("offset")};
    }
    return {schemeFor(SmallVector<std::string>(schemes.begin(), schemes.end()), name).str(), {}, {}};
  }

  ParamOp roundedParameter(ParamOp source, const Choice &choice, Type type, SymbolTable &symbols) {
    ParamOp &known = fromFiles[source];
    if (!known) {
      OpBuilder builder(source->getContext());
      builder.setInsertionPointAfter(source);
      known = builder.create<ParamOp>(source.getLoc(), (source.getSymName() + "." + choice.scheme).str(),
                                      type, choice.file, choice.offset, ElementsAttr(), ArrayAttr());
      symbols.insert(known, Block::iterator(known));
    }
    return known;
  }

  DenseMap<Operation *, ParamOp> fromFiles;
};
} // namespace

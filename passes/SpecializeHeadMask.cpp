#include "ir/SourceNames.h"
#include "passes/Decisions.h"
#include "passes/HeadGating.h"
#include "passes/Parameters.h"
#include "passes/Passes.h"

namespace mlir::heddle {
#define GEN_PASS_DEF_SPECIALIZEHEADMASKPASS
#include "passes/Passes.h.inc"
} // namespace mlir::heddle

using namespace mlir;
using namespace mlir::heddle;

namespace {

/// An attention with all that a mask of its heads changes.
class MaskedAttention {
public:
  MaskedAttention(AttentionOp attention, ArrayRef<bool> keep, SymbolTable &symbols, Decisions &decisions)
      : attention(attention), keep(keep), symbols(symbols), decisions(decisions),
        heads(shapeOf(attention.getQuery().getType())[1]), groups(attention.kvHeads()),
        node(sourceNames(attention.getLoc())) {}

  void specialize() {
    findSkipValue();
    choose();
    if (std::string why = findParts(); !why.empty()) {
      decisions.record(attention, "keep", why + ", so heads that are off are skipped, not removed");
      stays.assign(heads, true);
      groupStays.assign(groups, true);
    } else if (llvm::is_contained(stays, false)) {
      remove();
    }
    forceOff();
  }

private:
  /// What heads that are off yield: with a gate it is there already.
  void findSkipValue() {
    skip = attention.getSkip();
    if (skip && !skip.getDefiningOp<GetParamOp>())
      skip = {};
    auto param = symbols.lookup<ParamOp>(node + kGateSkip.str());
    auto type =
        RankedTensorType::get({heads, attention.valueDim()}, Float32Type::get(attention.getContext()));
    if (!attention.headSelection() && param && param.getType() == type)
      skip = OpBuilder(attention).create<GetParamOp>(attention.getLoc(), type, param.getSymName());
  }

  /// All query heads of a group that is off, and of the others as many heads as are off in each of them.
  void choose() {
    int64_t size = heads / groups, common = size;
    auto isOff = [&](int64_t group, int64_t i) { return !keep[group * size + i]; };
    auto countOff = [&](int64_t group) { return llvm::count(keep.slice(group * size, size), false); };
    for (int64_t group = 0; group < groups; ++group)
      if (countOff(group) < size)
        common = std::min<int64_t>(common, countOff(group));
    for (int64_t group = 0; group < groups; ++group) {
      bool whole = countOff(group) == size;
      groupStays.push_back(!whole);
      int64_t left = whole ? size : common;
      for (int64_t i = 0; i < size; ++i)
        stays.push_back(!(isOff(group, i) && left-- > 0));
    }
    // An attention needs a head: of one that is all off, the first group stays.
    if (!llvm::is_contained(groupStays, true)) {
      groupStays[0] = true;
      std::fill_n(stays.begin(), size, true);
    }
  }

  /// Says what is missing; empty if heads can be removed.
  std::string findParts() {
    query = headProjection(attention.getQuery());
    output = outputProjection(attention);
    if (!query || !output)
      return "its queries or its result are shared with other ops";
    if (llvm::is_contained(groupStays, false)) {
      if (!attention.getKeys())
        return "its keys come from elsewhere";
      keys = headProjection(attention.getKeys());
      values = headProjection(attention.getValues());
      if (!keys || !values)
        return "its keys or values are shared with other ops";
      if (attention.getCache()) {
        auto get = attention.getCache().getDefiningOp<GetCacheOp>();
        cache = get ? symbols.lookup<CacheOp>(get.getCache()) : CacheOp();
        auto uses = cache ? SymbolTable::getSymbolUses(cache, cache->getParentOp()) : std::nullopt;
        if (!uses || !llvm::hasSingleElement(*uses) || !get->hasOneUse())
          return "its cache is shared with other ops";
      }
    }
    for (Region *region : {&attention.getScore(), &attention.getMask()})
      if (!region->empty() && (!region->getArgument(1).use_empty() || !region->getArgument(2).use_empty()))
        return "its regions tell heads apart";
    for (LinearOp linear : {query, keys, values, output})
      if (linear && (!linear.getWeight().getDefiningOp<GetParamOp>() ||
                     (linear.getBias() && !linear.getBias().getDefiningOp<GetParamOp>())))
        return "weights of its projections are no parameters";
    auto type = cast<StoredType>(output.getWeight().getType());
    int64_t block = ::heddle::formatInfo(storageFormat(type.getEncoding())).blockElements;
    if (attention.valueDim() % block != 0)
      return "a head's " + std::to_string(attention.valueDim()) +
             " columns of the output projection are no whole blocks of " + std::to_string(block);
    if (attention.getSkip() && !skip)
      return "its skip values are no parameter";
    if (attention.headSelection() && !gate())
      return "its heads are selected otherwise than by a gate";
    return "";
  }

  HeadGateOp gate() {
    return attention.headSelection() ? attention.headSelection().getDefiningOp<HeadGateOp>() : HeadGateOp();
  }

  /// The value of parameter `value` with some parts of an axis only.
  Value cut(Value value, int64_t axis, ArrayRef<bool> kept, StringRef suffix = ".kept") {
    auto get = value.getDefiningOp<GetParamOp>();
    auto source = symbols.lookup<ParamOp>(get.getParam());
    SmallVector<int64_t> shape(shapeOf(get.getType()));
    shape[axis] = shape[axis] / int64_t(kept.size()) * llvm::count(kept, true);
    auto stored = dyn_cast<StoredType>(get.getType());
    Type type =
        stored ? Type(StoredType::get(get.getContext(), shape, stored.getElementType(), stored.getEncoding()))
               : cast<RankedTensorType>(get.getType()).clone(shape);
    ParamOp &param = cuts[{source, axis}];
    if (!param || param.getType() != type)
      param = deriveParameter(source, suffix, type, symbols, [&](OpBuilder &builder, Value from) -> Value {
        return builder.create<KeepPartsOp>(source.getLoc(), type, from, axis, kept);
      });
    OpBuilder builder(get);
    return builder.create<GetParamOp>(get.getLoc(), type, param.getSymName());
  }

  /// Removes heads from what `linear` makes, and from all values on the way to `last`.
  void cutResults(LinearOp linear, Value last, ArrayRef<bool> kept) {
    linear.getWeightMutable().assign(cut(linear.getWeight(), 0, kept));
    if (linear.getBias())
      linear.getBiasMutable().assign(cut(linear.getBias(), 0, kept));
    int64_t all = kept.size(), left = llvm::count(kept, true);
    for (Value value = linear.getResult();; value = value.getUsers().begin()->getResult(0)) {
      auto type = cast<RankedTensorType>(value.getType());
      SmallVector<int64_t> shape(type.getShape());
      shape[1] = shape[1] / all * left;
      value.setType(type.clone(shape));
      if (value == last)
        return;
    }
  }

  void remove() {
    int64_t before = weightBytes();
    addSkipValues();
    cutResults(query, attention.getQuery(), stays);
    if (keys) {
      cutResults(keys, attention.getKeys(), groupStays);
      cutResults(values, attention.getValues(), groupStays);
    }
    if (cache && keys) {
      auto type = cast<KvCacheType>(cache.getType());
      auto smaller = KvCacheType::get(type.getContext(), llvm::count(groupStays, true), type.getKeyDim(),
                                      type.getValueDim(), type.getElementType());
      cache.setType(smaller);
      attention.getCache().setType(smaller);
    }
    if (HeadGateOp op = gate()) {
      op.getWeightMutable().assign(cut(op.getWeight(), 0, stays));
      if (op.getBias())
        op.getBiasMutable().assign(cut(op.getBias(), 0, stays));
      auto type = cast<SelectionType>(op.getType());
      op.getResult().setType(SelectionType::get(type.getContext(), SelectionKind::Heads,
                                                {type.getShape()[0], llvm::count(stays, true)}, 1));
    }
    if (skip)
      skip = cut(skip, 0, stays);
    if (attention.getSkip())
      attention.getSkipMutable().assign(skip);
    output.getWeightMutable().assign(cut(output.getWeight(), 1, stays));
    for (Value value = attention.getResult(); value != output.getResult();
         value = value.getUsers().begin()->getResult(0)) {
      auto type = cast<RankedTensorType>(value.getType());
      SmallVector<int64_t> shape(type.getShape());
      shape[1] = shape[1] / heads * llvm::count(stays, true);
      value.setType(type.clone(shape));
    }
    decisions.record(attention, "remove",
                     Twine(llvm::count(stays, false)) + " of " + Twine(heads) + " heads and " +
                         Twine(llvm::count(groupStays, false)) + " of " + Twine(groups) +
                         " KV heads are removed",
                     before - weightBytes());
    kept.clear();
    for (int64_t head = 0; head < heads; ++head)
      if (stays[head])
        kept.push_back(keep[head]);
    isCut = true;
  }

  int64_t weightBytes() {
    int64_t bytes = 0;
    for (LinearOp linear : {query, keys, values, output})
      if (linear) {
        auto type = cast<StoredType>(linear.getWeight().getType());
        bytes += type.getShape()[0] *
                 int64_t(::heddle::storedBytes(storageFormat(type.getEncoding()), type.getShape()[1]));
      }
    return bytes;
  }

  /// Skip values of removed heads are constant: what they contribute joins the bias.
  void addSkipValues() {
    if (!skip)
      return;
    auto source = symbols.lookup<ParamOp>(skip.getDefiningOp<GetParamOp>().getParam());
    auto matrix = symbols.lookup<ParamOp>(output.getWeight().getDefiningOp<GetParamOp>().getParam());
    auto oldBias = output.getBias() ? output.getBias().getDefiningOp<GetParamOp>() : GetParamOp();
    Location loc = attention.getLoc();
    OpBuilder builder(attention->getContext());
    SmallVector<bool> removed;
    for (bool isKept : stays)
      removed.push_back(!isKept);
    int64_t count = llvm::count(removed, true), width = attention.valueDim(),
            out = shapeOf(output.getType())[1];
    auto f32 = [&](ArrayRef<int64_t> shape) { return RankedTensorType::get(shape, builder.getF32Type()); };
    SmallVector<ParamOp> sources{source, matrix};
    if (oldBias)
      sources.push_back(symbols.lookup<ParamOp>(oldBias.getParam()));
    SmallVector<Attribute> names;
    SmallVector<Type> types;
    ParamOp last = source;
    for (ParamOp param : sources) {
      names.push_back(FlatSymbolRefAttr::get(param.getSymNameAttr()));
      types.push_back(param.getType());
      if (last->isBeforeInBlock(param))
        last = param;
    }
    builder.setInsertionPointAfter(last);
    auto bias = builder.create<ParamOp>(loc, (source.getSymName() + ".bias").str(), f32({out}), IntegerAttr(),
                                        IntegerAttr(), ElementsAttr(), builder.getArrayAttr(names));
    Block *recipe =
        builder.createBlock(&bias.getRecipe(), {}, types, SmallVector<Location>(types.size(), loc));
    Value rows = builder.create<KeepPartsOp>(loc, f32({count, width}), recipe->getArgument(0), 0, removed);
    Value flat = builder.create<ReshapeOp>(loc, f32({1, count * width}), rows);
    auto stored = cast<StoredType>(matrix.getType());
    auto columns = StoredType::get(builder.getContext(), {out, count * width}, stored.getElementType(),
                                   stored.getEncoding());
    Value weight = builder.create<KeepPartsOp>(loc, columns, recipe->getArgument(1), 1, removed);
    Value sum = builder.create<LinearOp>(loc, f32({1, out}), flat, weight, Value());
    sum = builder.create<ReshapeOp>(loc, f32({out}), sum);
    if (oldBias)
      sum = builder.create<BinaryOp>(loc, f32({out}), BinaryKind::Add, recipe->getArgument(2), sum);
    builder.create<YieldOp>(loc, sum);
    symbols.insert(bias, Block::iterator(bias));
    builder.setInsertionPoint(output);
    output.getBiasMutable().assign(builder.create<GetParamOp>(loc, bias.getType(), bias.getSymName()));
  }

  /// Heads that are off and stay get a gate that says so.
  void forceOff() {
    ArrayRef<bool> mask = isCut ? ArrayRef<bool>(kept) : keep;
    if (!llvm::is_contained(mask, false))
      return;
    if (attention.headSelection() && !gate())
      return decisions.record(attention, "keep", "its heads are selected otherwise, and stay so");
    if (gate())
      return decisions.record(
          attention, "keep",
          Twine(llvm::count(mask, false)) +
              " heads that are off stay beside others of their group; their gate decides");
    LinearOp linear = headProjection(attention.getQuery());
    if (!linear || !isa<RankedTensorType>(linear.getInput().getType()))
      return decisions.record(attention, "keep", "there is no input to gate by, so all heads stay on");
    MLIRContext *context = attention.getContext();
    Location loc = attention.getLoc();
    OpBuilder builder(context);
    auto constant = [&](StringRef suffix, DenseElementsAttr value) {
      builder.setInsertionPoint(attention->getParentOp());
      auto param = builder.create<ParamOp>(loc, (node + suffix).str(), value.getType(), IntegerAttr(),
                                           IntegerAttr(), value, ArrayAttr());
      symbols.insert(param, Block::iterator(param));
      builder.setInsertionPoint(linear);
      return builder.create<GetParamOp>(loc, param.getType(), param.getSymName()).getResult();
    };
    auto input = shapeOf(linear.getInput().getType());
    int64_t count = mask.size();
    SmallVector<float> opens;
    for (bool isOn : mask)
      opens.push_back(isOn ? 1 : -1);
    Value weight = constant(
        ".gate.zeros",
        DenseElementsAttr::get(RankedTensorType::get({count, input[1]}, builder.getF32Type()), 0.0f));
    Value bias =
        constant(".gate.mask", DenseElementsAttr::get(RankedTensorType::get({count}, builder.getF32Type()),
                                                      ArrayRef<float>(opens)));
    auto type = SelectionType::get(context, SelectionKind::Heads, {input[0], count}, 1);
    Value selection = builder.create<HeadGateOp>(loc, type, linear.getInput(), weight, bias);
    attention.getSelectionsMutable().append(selection);
    if (skip)
      attention.getSkipMutable().assign(skip);
    decisions.record(attention, "gate",
                     Twine(llvm::count(mask, false)) +
                         " heads stay beside others of their group and are always off");
  }

  AttentionOp attention;
  ArrayRef<bool> keep;
  SymbolTable &symbols;
  Decisions &decisions;
  int64_t heads, groups;
  std::string node;
  SmallVector<bool> stays, groupStays, kept;
  bool isCut = false;
  Value skip; // a parameter, or null
  LinearOp query, keys, values, output;
  CacheOp cache;
  DenseMap<std::pair<Operation *, int64_t>, ParamOp> cuts;
};

struct SpecializeHeadMask : mlir::heddle::impl::SpecializeHeadMaskPassBase<SpecializeHeadMask> {
  void runOnOperation() override {
    Decisions decisions(getOperation(), getArgument());
    SymbolTable symbols(getOperation());
    SmallVector<AttentionOp> attentions;
    getOperation().walk([&](AttentionOp attention) { attentions.push_back(attention); });
    for (AttentionOp attention : attentions) {
      auto param = symbols.lookup<ParamOp>(sourceNames(attention.getLoc()) + kGateKeep.str());
      auto mask =
          param && param.getValue() ? dyn_cast<DenseElementsAttr>(*param.getValue()) : DenseElementsAttr();
      if (!mask)
        continue;
      int64_t heads = shapeOf(attention.getQuery().getType())[1];
      if (mask.getType() != RankedTensorType::get({heads}, IntegerType::get(&getContext(), 1))) {
        attention.emitOpError() << "expected parameter '" << param.getSymName()
                                << "' to be a constant of type "
                                << RankedTensorType::get({heads}, IntegerType::get(&getContext(), 1))
                                << ", but found " << param.getType();
        return signalPassFailure();
      }
      auto keep = llvm::to_vector(mask.getValues<bool>());
      MaskedAttention(attention, keep, symbols, decisions).specialize();
    }
    for (auto function : getOperation().getOps<func::FuncOp>())
      for (auto get : llvm::make_early_inc_range(function.getOps<GetParamOp>()))
        if (get.use_empty())
          get.erase();
  }
};
} // namespace

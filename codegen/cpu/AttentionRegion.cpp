#include "codegen/cpu/AttentionRegion.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cpu {

namespace {
enum RegionArgument { kScore, kQueryHead, kKvHead, kQueryPosition, kKvPosition, kSlot, kRow };

/// More spans than these are taken for one that holds all keys.
constexpr size_t kMaxSpans = 4;

/// Values of a region that depend on the key: its score, its position, and what is computed from them.
llvm::DenseSet<Value> findVarying(Block &block) {
  llvm::DenseSet<Value> varying{block.getArgument(kScore), block.getArgument(kKvPosition)};
  for (Operation &op : block)
    if (llvm::any_of(op.getOperands(), [&](Value operand) { return varying.contains(operand); }))
      varying.insert(op.result_begin(), op.result_end());
  return varying;
}

class MaskReader {
public:
  explicit MaskReader(Block &block) : key(block.getArgument(kKvPosition)), varying(findVarying(block)) {}

  KeySpans read(Value condition) {
    if (auto both = condition.getDefiningOp<arith::AndIOp>())
      return limited(intersection(read(both.getLhs()), read(both.getRhs())));
    if (auto either = condition.getDefiningOp<arith::OrIOp>()) {
      KeySpans left = read(either.getLhs()), right = read(either.getRhs());
      left.spans.append(right.spans);
      left.exact &= right.exact;
      return limited(std::move(left));
    }
    if (auto constant = getConstantIntValue(condition)) {
      KeySpans result;
      if (*constant != 0)
        result.spans.emplace_back();
      return result;
    }
    KeySpans all;
    KeySpan &span = all.spans.emplace_back();
    if (!varying.contains(condition))
      span.conditions.push_back(condition);
    else
      all.exact = readComparison(condition, span);
    return all;
  }

private:
  /// factor * key + the bound.
  struct Linear {
    int factor = 0;
    KeyBound rest;
  };

  std::optional<Linear> readLinear(Value value) {
    if (value == key)
      return Linear{1, {}};
    if (!varying.contains(value)) {
      if (auto constant = getConstantIntValue(value))
        return Linear{0, {{}, {}, *constant}};
      return Linear{0, {{value}, {}, 0}};
    }
    Operation *op = value.getDefiningOp();
    if (!isa_and_nonnull<arith::AddIOp, arith::SubIOp>(op))
      return std::nullopt;
    auto left = readLinear(op->getOperand(0)), right = readLinear(op->getOperand(1));
    if (!left || !right)
      return std::nullopt;
    return isa<arith::AddIOp>(op) ? combine(*left, *right, 1) : combine(*left, *right, -1);
  }

  static Linear combine(Linear left, const Linear &right, int sign) {
    left.factor += sign * right.factor;
    left.rest.plus.append(sign > 0 ? right.rest.plus : right.rest.minus);
    left.rest.minus.append(sign > 0 ? right.rest.minus : right.rest.plus);
    left.rest.add += sign * right.rest.add;
    return left;
  }

  /// Bounds of `left < right` or, unless strict, `left <= right`.
  bool addOrder(Value left, Value right, bool strict, KeySpan &span) {
    auto l = readLinear(left), r = readLinear(right);
    if (!l || !r)
      return false;
    int factor = l->factor - r->factor;
    Linear difference = factor > 0 ? combine(*r, *l, -1) : combine(*l, *r, -1);
    if (factor == 1) { // key < r - l
      difference.rest.add += strict ? 0 : 1;
      span.upper.push_back(difference.rest);
      return true;
    }
    if (factor == -1) { // l - r < key
      difference.rest.add += strict ? 1 : 0;
      span.lower.push_back(difference.rest);
      return true;
    }
    return false;
  }

  bool readComparison(Value condition, KeySpan &span) {
    auto compare = condition.getDefiningOp<arith::CmpIOp>();
    if (!compare || !compare.getLhs().getType().isInteger(32))
      return false;
    Value l = compare.getLhs(), r = compare.getRhs();
    switch (compare.getPredicate()) {
    case arith::CmpIPredicate::slt:
      return addOrder(l, r, true, span);
    case arith::CmpIPredicate::sle:
      return addOrder(l, r, false, span);
    case arith::CmpIPredicate::sgt:
      return addOrder(r, l, true, span);
    case arith::CmpIPredicate::sge:
      return addOrder(r, l, false, span);
    case arith::CmpIPredicate::eq:
      return addOrder(l, r, false, span) && addOrder(r, l, false, span);
    default:
      return false;
    }
  }

  static KeySpans intersection(const KeySpans &left, const KeySpans &right) {
    KeySpans result;
    result.exact = left.exact && right.exact;
    for (const KeySpan &a : left.spans)
      for (const KeySpan &b : right.spans) {
        KeySpan &both = result.spans.emplace_back(a);
        both.lower.append(b.lower);
        both.upper.append(b.upper);
        both.conditions.append(b.conditions);
      }
    return result;
  }

  static KeySpans limited(KeySpans result) {
    if (result.spans.size() > kMaxSpans)
      result = {{KeySpan()}, false};
    return result;
  }

  Value key;
  llvm::DenseSet<Value> varying;
};
} // namespace

KeySpans spansOfMask(Region &mask) {
  if (mask.empty())
    return {{KeySpan()}, true};
  return MaskReader(mask.front()).read(mask.front().getTerminator()->getOperand(0));
}

Operation *findCapture(Region &region) {
  Operation *found = nullptr;
  region.walk([&](Operation *op) {
    for (OpOperand &operand : op->getOpOperands()) {
      bool isTensor = isa<ElementOp>(op) && operand.getOperandNumber() == 0;
      if (operand.get().getParentRegion() != &region && !isTensor &&
          !operand.get().getDefiningOp<arith::ConstantOp>())
        found = op;
    }
  });
  return found;
}

RegionCode::RegionCode(Emitter &e, Region &region, const CapturedTensors &captured)
    : e(e), block(&region.front()), captured(captured), varying(findVarying(*block)) {}

void RegionCode::begin(const RegionRow &row) {
  uniforms.clear();
  Value arguments[] = {{}, row.queryHead, row.kvHead, row.position, {}, row.slot, row.row};
  for (auto [argument, value] : llvm::zip(block->getArguments(), arguments))
    if (value)
      uniforms.map(argument, value);
  auto bringConstants = [&](Operation &op) {
    for (Value operand : op.getOperands())
      if (auto constant = operand.getDefiningOp<arith::ConstantOp>();
          constant && !uniforms.contains(operand) && !isa<ShapedType>(operand.getType()))
        e.clone(*constant, uniforms);
  };
  for (Operation &op : *block) {
    bringConstants(op); // of the region or, where nothing has moved them into it, from outside
    if (op.getNumResults() == 0 || varying.contains(op.getResult(0)) || isa<arith::ConstantOp>(op))
      continue;
    if (auto element = dyn_cast<ElementOp>(op))
      uniforms.map(element.getResult(), emitElement(element));
    else
      e.clone(op, uniforms);
  }
}

Value RegionCode::bound(const KeyBound &bound) {
  Value sum = e.cI64(bound.add);
  for (Value value : bound.plus)
    sum = e.add(sum, e.extendS(uniforms.lookup(value), e.i64()));
  for (Value value : bound.minus)
    sum = e.sub(sum, e.extendS(uniforms.lookup(value), e.i64()));
  return sum;
}

Value RegionCode::vectorOf(Value value) {
  if (!vectors.contains(value))
    vectors.map(value, e.splat(uniforms.lookup(value), e.vec(value.getType(), kLanes)));
  return vectors.lookup(value);
}

Value RegionCode::emit(Value score, Value first) {
  vectors.clear();
  firstKey = first;
  llvm::SmallVector<int32_t> numbers;
  for (int i = 0; i < kLanes; ++i)
    numbers.push_back(i);
  auto type = e.vec(e.i32(), kLanes);
  Value lane = e.create<arith::ConstantOp>(DenseElementsAttr::get(type, ArrayRef<int32_t>(numbers)));
  vectors.map(block->getArgument(kScore), score);
  vectors.map(block->getArgument(kKvPosition), e.add(e.splat(first, type), lane));
  for (Operation &op : block->without_terminator()) {
    if (!varying.contains(op.getResult(0)))
      continue;
    if (auto element = dyn_cast<ElementOp>(op)) {
      vectors.map(element.getResult(), emitElement(element));
      continue;
    }
    for (Value operand : op.getOperands())
      vectorOf(operand);
    // Arith and math ops are elementwise: the same op on vectors.
    Operation *vector = e.clone(op, vectors);
    for (Value result : vector->getResults())
      result.setType(VectorType::get({kLanes}, result.getType()));
  }
  return vectorOf(block->getTerminator()->getOperand(0));
}

Value RegionCode::sizeOf(ElementOp op, unsigned dimension) {
  int64_t size = shapeOf(op.getTensor().getType())[dimension];
  return ShapedType::isDynamic(size) ? captured.rows : e.cI64(size);
}

/// Address of the constant's numbers, which lie beside the code.
static Value constantData(Emitter &e, DenseElementsAttr numbers) {
  auto module = e.getInsertionBlock()->getParentOp()->getParentOfType<ModuleOp>();
  unsigned count = llvm::range_size(module.getOps<LLVM::GlobalOp>());
  std::string name = "constant." + std::to_string(count);
  auto flat = numbers.reshape(RankedTensorType::get({numbers.getNumElements()}, numbers.getElementType()));
  OpBuilder builder = OpBuilder::atBlockBegin(module.getBody());
  auto type = LLVM::LLVMArrayType::get(numbers.getElementType(), numbers.getNumElements());
  auto global = builder.create<LLVM::GlobalOp>(e.getLoc(), type, /*isConstant=*/true, LLVM::Linkage::Internal,
                                               name, flat, /*alignment=*/64);
  return e.create<LLVM::AddressOfOp>(global);
}

static Value gather(Emitter &e, VectorType type, Value base, Value elements) {
  Type pointers = LLVM::getFixedVectorType(e.ptrType(), type.getNumElements());
  Value addresses =
      e.create<LLVM::GEPOp>(pointers, type.getElementType(), base, ArrayRef<LLVM::GEPArg>{elements});
  Value all = e.constantInt(type.clone(e.getI1Type()), 1);
  Value zeros = e.create<arith::ConstantOp>(cast<TypedAttr>(e.getZeroAttr(type)));
  return e.create<LLVM::masked_gather>(type, addresses, all, zeros, /*alignment=*/4);
}

Value RegionCode::addressOf(ElementOp op) {
  if (Value address = captured.addresses.lookup(op.getTensor()))
    return address;
  // A constant: numbers beside the code.
  auto constant = op.getTensor().getDefiningOp<arith::ConstantOp>();
  return constantData(e, cast<DenseElementsAttr>(constant.getValue()));
}

/// `index` inside [0, size); i64.
Value RegionCode::clampIndex(Value index, Value size) {
  return e.maxS(e.minS(e.extendS(index, e.i64()), e.add(size, -1)), e.cI64(0));
}

/// The value at the first key, if that of each other key is one more than that of the key before; or null.
Value RegionCode::contiguousStart(Value value) {
  if (value == block->getArgument(kKvPosition))
    return firstKey;
  Operation *op = value.getDefiningOp();
  if (!isa_and_nonnull<arith::AddIOp, arith::SubIOp>(op))
    return {};
  Value a = op->getOperand(0), b = op->getOperand(1);
  if (isa<arith::AddIOp>(op) && !varying.contains(a))
    std::swap(a, b);
  if (varying.contains(b))
    return {};
  Value start = contiguousStart(a);
  if (!start)
    return {};
  return isa<arith::AddIOp>(op) ? e.add(start, uniforms.lookup(b)) : e.sub(start, uniforms.lookup(b));
}

Value RegionCode::emitElement(ElementOp op) {
  Type type = op.getType();
  unsigned rank = op.getIndices().size();
  bool isVector = varying.contains(op.getResult());
  VectorType offsets = e.vec(e.i32(), kLanes);
  // What is the same for all keys in one number; the others on the lanes.
  Value place = e.cI64(0), lanePlace, stride = e.cI64(1), start;
  bool othersUniform = true;
  for (unsigned i = rank; i-- > 0;) {
    Value index = op.getIndices()[i], size = sizeOf(op, i);
    if (!varying.contains(index)) {
      place = e.add(place, e.mul(clampIndex(uniforms.lookup(index), size), stride));
    } else {
      if (i == rank - 1)
        start = contiguousStart(index);
      else
        othersUniform = false;
      Value last = e.splat(e.truncate(e.add(size, -1), e.i32()), offsets);
      Value clamped = e.maxS(e.minS(vectorOf(index), last), e.constantInt(offsets, 0));
      Value scaled = e.mul(clamped, e.splat(e.truncate(stride, e.i32()), offsets));
      lanePlace = lanePlace ? e.add(lanePlace, scaled) : scaled;
    }
    stride = e.mul(stride, size);
  }
  Value base = e.at(addressOf(op), e.mul(place, 4));
  if (!isVector)
    return e.load(type, base);
  VectorType result = e.vec(type, kLanes);
  if (!start || !othersUniform)
    return gather(e, result, base, lanePlace);
  Value first = e.extendS(start, e.i64());
  Value inside = e.create<arith::AndIOp>(
      e.create<arith::CmpIOp>(arith::CmpIPredicate::sge, first, e.cI64(0)),
      e.create<arith::CmpIOp>(arith::CmpIPredicate::sle, e.add(first, kLanes), sizeOf(op, rank - 1)));
  return e.ifValues(
      inside, [&]() -> Values { return {e.load(result, e.at(base, e.mul(first, 4)))}; },
      [&]() -> Values { return {gather(e, result, base, lanePlace)}; })[0];
}

} // namespace heddle::cpu

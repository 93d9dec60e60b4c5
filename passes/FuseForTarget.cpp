// Nodes are what fusion moves as a whole: a product with its epilogue, an attention with its reshapes, or one
// row-wise op. Nodes are scheduled, then join groups, and each group becomes a kernel. Groups are in an order
// that respects every dependency.
#include "mlir/IR/IRMapping.h"
#include "mlir/Transforms/RegionUtils.h"
#include "passes/Decisions.h"
#include "passes/KernelNames.h"
#include "passes/Passes.h"
#include "passes/RowDims.h"
#include "passes/TargetDescription.h"
#include <set>

namespace mlir::heddle {
#define GEN_PASS_DEF_FUSEFORTARGETPASS
#include "passes/Passes.h.inc"
} // namespace mlir::heddle

using namespace mlir;
using namespace mlir::heddle;

namespace {

/// Stays in the function: its results are operands of kernels.
bool isContext(Operation *op) {
  return isa<GetParamOp, GetCacheOp>(op) || op->hasTrait<OpTrait::ConstantLike>();
}

bool isRowsOp(Operation *op) {
  return isa<EmbeddingOp, GatherRowsOp, RmsNormOp, LayerNormOp, L2NormalizeOp, RopeOp, CacheAppendOp,
             ReshapeOp, QuantizeOp, DequantizeOp, PoolRowsOp, SelectBlocksOp, MergeChunksOp, HeadGateOp,
             MaskHeadsOp, SkippedSumOp, ElementwiseOpInterface>(op);
}

/// Whether `op`, computing row i, reads row i of this operand and no other row.
bool readsOwnRow(OpOperand &operand) {
  return !isa<PoolRowsOp>(operand.getOwner()) &&
         llvm::is_contained(rowOperands(operand.getOwner()), operand.get());
}

struct Dependency {
  unsigned node;
  bool ownRow; // row i needs row i only, so both can be in one rows kernel
};

struct Node {
  Family family;
  StringRef rows;
  SmallVector<Operation *, 2> ops;
  SmallVector<Dependency, 4> needs;
  SmallVector<unsigned, 4> neededBy;
  unsigned group = 0;
};

struct Group {
  Family family;
  StringRef rows;
  SmallVector<Operation *> ops;
  DenseSet<Value> values; // that have rows, read or made
  int64_t rowBytes = 0;   // of `values`, for one row
};

class Fusion {
public:
  Fusion(func::FuncOp function, const TargetDescription &target, RowDims &rows, KernelNames &names,
         Decisions &decisions)
      : function(function), body(function.getBody().front()), target(target), rows(rows), names(names),
        decisions(decisions) {}

  LogicalResult run() {
    sinkConstants();
    if (failed(check()))
      return failure();
    findFreeReshapes();
    makeNodes();
    linkNodes();
    for (unsigned node : schedule())
      join(node);
    if (target.chipBytes)
      chain();
    for (const Group &group : groups)
      outline(group);
    finish();
    return success();
  }

private:
  void sinkConstants();
  LogicalResult check();
  void findFreeReshapes();
  void makeNodes();
  void growContraction(Node &node);
  SmallVector<Operation *> secondProduct(Value value, LinearOp first);
  void linkNodes();
  std::vector<unsigned> schedule();
  void join(unsigned number);
  Group *findRowsGroup(const Node &node, unsigned earliest);
  int64_t newRowBytes(const Group &group, Operation *op, SmallVectorImpl<Value> &values);
  void chain();
  bool canFollow(const Group &group, const Group &next);
  int64_t liveBytes(ArrayRef<Operation *> ops);
  void outline(const Group &group);
  bool isReadOutside(Value value, unsigned group);
  void finish();

  Value base(Value value) {
    while (Operation *op = value.getDefiningOp()) {
      if (!freeReshapes.contains(op))
        break;
      value = op->getOperand(0);
    }
    return value;
  }
  /// Bytes that a value moves when one kernel writes it and another reads it, at the bound.
  int64_t traffic(Value value) { return 2 * bytesOf(value.getType(), rows.bounds(rows.of(value)).max); }

  func::FuncOp function;
  Block &body;
  const TargetDescription &target;
  RowDims &rows;
  KernelNames &names;
  Decisions &decisions;

  DenseSet<Operation *> freeReshapes; // cloned into the kernels that read them
  std::vector<Node> nodes;
  DenseMap<Operation *, unsigned> nodeOf;
  std::vector<Group> groups;
  llvm::StringMap<SmallVector<unsigned>> rowsGroups; // ascending, by rows
  DenseMap<Value, Value> results;                    // value -> launch result
};

/// Removes what nobody reads, and moves constants (which canonicalization hoists) back into the regions of
/// attention.
void Fusion::sinkConstants() {
  for (Operation &op : body)
    for (Region &region : op.getRegions()) {
      if (region.empty())
        continue;
      DenseMap<Operation *, Operation *> clones;
      visitUsedValuesDefinedAbove(region, region, [&](OpOperand *use) {
        Operation *constant = use->get().getDefiningOp();
        if (!constant || !constant->hasTrait<OpTrait::ConstantLike>())
          return;
        Operation *&clone = clones[constant];
        if (!clone) {
          clone = constant->clone();
          region.front().push_front(clone);
        }
        use->set(clone->getResult(cast<OpResult>(use->get()).getResultNumber()));
      });
    }
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(body)))
    if (isOpTriviallyDead(&op))
      op.erase();
}

LogicalResult Fusion::check() {
  for (Operation &op : body.without_terminator())
    if (!isContext(&op) && !isRowsOp(&op) && !isa<LinearOp, ScoringOpInterface>(op))
      return op.emitOpError() << "cannot be part of a kernel of target '" << target.name << "'";
    else if (!isContext(&op) && rows.of(&op).empty())
      return op.emitOpError() << "expected rows that follow from its operands, but they have none";
  // Two handles could be of one cache, so order is kept by its name.
  for (BlockArgument argument : body.getArguments())
    if (isa<KvCacheType>(argument.getType()))
      return function.emitOpError() << "expected caches to come from 'heddle.get_cache', but found argument "
                                    << argument.getArgNumber();
  for (auto [number, value] : llvm::enumerate(body.getTerminator()->getOperands())) {
    Operation *maker = value.getDefiningOp();
    if (!maker || isContext(maker))
      return function.emitOpError()
             << "expected result " << number
             << " to be computed or an f32 tensor, but found an argument, parameter or constant of type "
             << value.getType();
  }
  return success();
}

/// A reshape costs nothing in the kernels that read it, except where they cannot hold one: before products
/// and where other rows are read, which want a tensor in memory, and as a result of the function.
void Fusion::findFreeReshapes() {
  auto wantsMemory = [](OpOperand &use) {
    return isa<LinearOp, func::ReturnOp>(use.getOwner()) || (isRowsOp(use.getOwner()) && !readsOwnRow(use));
  };
  for (Operation &op : llvm::reverse(body)) {
    auto reshape = dyn_cast<ReshapeOp>(op);
    if (!reshape)
      continue;
    // One that only follows an attention goes into its kernel.
    auto attention = reshape.getInput().getDefiningOp<AttentionOp>();
    if (attention && attention->hasOneUse())
      continue;
    if (llvm::none_of(reshape->getUses(), wantsMemory))
      freeReshapes.insert(reshape);
  }
}

void Fusion::makeNodes() {
  for (Operation &op : body.without_terminator()) {
    if (isContext(&op) || freeReshapes.contains(&op) || nodeOf.contains(&op))
      continue;
    Node node{isa<LinearOp>(op)             ? Family::Contraction
              : isa<ScoringOpInterface>(op) ? Family::Attention
                                            : Family::Rows,
              rows.of(&op),
              {&op},
              {},
              {}};
    if (isa<LinearOp>(op))
      growContraction(node);
    if (isa<AttentionOp>(op) && op.hasOneUse() && isa<ReshapeOp>(*op.user_begin()) &&
        !freeReshapes.contains(*op.user_begin()))
      node.ops.push_back(*op.user_begin());
    for (Operation *member : node.ops)
      nodeOf[member] = nodes.size();
    nodes.push_back(std::move(node));
  }
}

/// Takes in the elementwise ops that follow a product, while no one else reads what lies between.
void Fusion::growContraction(Node &node) {
  auto first = cast<LinearOp>(node.ops[0]);
  SmallVector<Operation *> epilogue;
  int64_t products = 1;
  for (Value value = first.getResult();;) {
    Operation *next = *value.user_begin();
    if (!llvm::all_of(value.getUsers(), [&](Operation *user) { return user == next; })) {
      decisions.record(node.ops.back(), "keep",
                       "the result has several readers, so what follows stays apart");
      break;
    }
    if (!isa<ElementwiseOpInterface>(next) || nodeOf.contains(next))
      break;
    if (llvm::any_of(next->getOperands(), [&](Value operand) {
          return operand.getDefiningOp() && freeReshapes.contains(operand.getDefiningOp());
        })) {
      decisions.record(next, "keep", "reads a reshape, which a product's kernel cannot hold");
      break;
    }
    // A kernel reads its input as products want it, not element by element.
    if (llvm::is_contained(next->getOperands(), first.getInput())) {
      decisions.record(next, "keep", "reads the product's own input too");
      break;
    }
    for (Value other : next->getOperands()) {
      if (other == value || products == target.maxProducts)
        continue;
      SmallVector<Operation *> second = secondProduct(other, first);
      if (second.empty())
        continue;
      ++products;
      decisions.record(second[0], "fuse",
                       "two products of one input meet in one op: one kernel reads the input once",
                       traffic(other));
      node.ops.push_back(second[0]);
      epilogue.append(second.begin() + 1, second.end());
    }
    decisions.record(next, "fuse", "follows a product whose result has no other reader", traffic(value));
    epilogue.push_back(next);
    value = next->getResult(0);
  }
  llvm::sort(node.ops, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
  llvm::append_range(node.ops, epilogue);
}

/// A product and the ops of one operand that lead from it to `value`, if it can stand beside `first` and
/// nobody else reads it; else nothing.
SmallVector<Operation *> Fusion::secondProduct(Value value, LinearOp first) {
  SmallVector<Operation *> chain;
  while (Operation *op = value.getDefiningOp()) {
    if (!op->hasOneUse() || nodeOf.contains(op))
      return {};
    chain.push_back(op);
    if (auto linear = dyn_cast<LinearOp>(op)) {
      bool alike = linear.getInput() == first.getInput() &&
                   linear.getWeight().getType() == first.getWeight().getType() && !linear.getSelection() &&
                   !first.getSelection();
      if (!alike)
        return {};
      return {chain.rbegin(), chain.rend()};
    }
    if (!isa<ElementwiseOpInterface>(op) || op->getNumOperands() != 1)
      return {};
    value = op->getOperand(0);
  }
  return {};
}

void Fusion::linkNodes() {
  auto link = [&](unsigned from, unsigned to, bool ownRow) {
    nodes[to].needs.push_back({from, ownRow});
    nodes[from].neededBy.push_back(to);
  };
  struct CacheUse {
    std::optional<unsigned> writer;
    SmallVector<unsigned> readers; // since
  };
  DenseMap<Attribute, CacheUse> caches; // by symbol
  for (Operation &op : body.without_terminator()) {
    auto found = nodeOf.find(&op);
    if (found == nodeOf.end())
      continue;
    unsigned number = found->second;
    auto need = [&](Value value, bool ownRow) {
      Operation *maker = base(value).getDefiningOp();
      if (maker && !isContext(maker) && nodeOf.lookup(maker) != number)
        link(nodeOf.lookup(maker), number, ownRow);
    };
    for (OpOperand &operand : op.getOpOperands())
      need(operand.get(), readsOwnRow(operand));
    llvm::SetVector<Value> captured;
    getUsedValuesDefinedAbove(op.getRegions(), captured);
    for (Value value : captured)
      need(value, /*ownRow=*/false);
    for (Value operand : op.getOperands()) {
      auto get = operand.getDefiningOp<GetCacheOp>();
      if (!get)
        continue;
      CacheUse &use = caches[get.getCacheAttr()];
      if (use.writer)
        link(*use.writer, number, false);
      if (hasEffect<MemoryEffects::Write>(&op)) {
        for (unsigned reader : use.readers)
          link(reader, number, false);
        use.writer = number;
        use.readers.clear();
      } else {
        use.readers.push_back(number);
      }
    }
  }
}

/// Products and attention first, when they can: row-wise ops that became possible in the meantime then find
/// each other, and independent products stand together. Ties in order of the source.
std::vector<unsigned> Fusion::schedule() {
  std::vector<unsigned> order, missing;
  std::set<std::pair<bool, unsigned>> ready;
  auto release = [&](unsigned number) { ready.insert({nodes[number].family == Family::Rows, number}); };
  for (auto [number, node] : llvm::enumerate(nodes)) {
    missing.push_back(node.needs.size());
    if (node.needs.empty())
      release(number);
  }
  while (!ready.empty()) {
    unsigned number = ready.begin()->second;
    ready.erase(ready.begin());
    order.push_back(number);
    for (unsigned user : nodes[number].neededBy)
      if (--missing[user] == 0)
        release(user);
  }
  assert(order.size() == nodes.size() && "dependencies of nodes are acyclic");
  return order;
}

int64_t Fusion::newRowBytes(const Group &group, Operation *op, SmallVectorImpl<Value> &values) {
  int64_t bytes = 0;
  auto count = [&](Value value) {
    value = base(value);
    if (rows.of(value).empty() || rows.of(value) != group.rows || group.values.contains(value) ||
        llvm::is_contained(values, value))
      return;
    values.push_back(value);
    bytes += bytesOf(value.getType(), 1);
  };
  for (Value operand : op->getOperands())
    count(operand);
  for (Value result : op->getResults())
    count(result);
  return bytes;
}

/// The first group of row-wise ops that a node can join.
Group *Fusion::findRowsGroup(const Node &node, unsigned earliest) {
  auto &candidates = rowsGroups[node.rows];
  auto candidate = llvm::lower_bound(candidates, earliest);
  if (candidate == candidates.end())
    return nullptr;
  Group &group = groups[*candidate];
  Operation *op = node.ops[0];
  SmallVector<Value> values;
  int64_t bytes = newRowBytes(group, op, values);
  if (group.rowBytes + bytes > target.level2Bytes) {
    decisions.record(op, "keep",
                     "one row of the group would take " + Twine(group.rowBytes + bytes) +
                         " bytes, more than the private cache (" + Twine(target.level2Bytes) + ")");
    return nullptr;
  }
  int64_t saved = 0;
  for (Value operand : op->getOperands())
    if (Value value = base(operand); group.values.contains(value))
      saved += traffic(value) / 2;
  decisions.record(op, "fuse", "works on the same rows as the ops before it", saved);
  return &group;
}

void Fusion::join(unsigned number) {
  Node &node = nodes[number];
  unsigned earliest = 0;
  for (Dependency need : node.needs) {
    const Group &group = groups[nodes[need.node].group];
    bool together =
        need.ownRow && node.family == Family::Rows && group.family == Family::Rows && group.rows == node.rows;
    earliest = std::max(earliest, nodes[need.node].group + (together ? 0 : 1));
  }
  Group *group = node.family == Family::Rows ? findRowsGroup(node, earliest) : nullptr;
  if (!group) {
    if (node.family == Family::Rows)
      rowsGroups[node.rows].push_back(groups.size());
    groups.push_back({node.family, node.rows, {}, {}});
    group = &groups.back();
  }
  node.group = group - groups.data();
  llvm::append_range(group->ops, node.ops);
  if (node.family != Family::Rows)
    return;
  SmallVector<Value> values;
  group->rowBytes += newRowBytes(*group, node.ops[0], values);
  group->values.insert(values.begin(), values.end());
}

/// A tile of so many rows must stay on the chip for a chain to be worth its weights passing by again for
/// each.
static constexpr int64_t kChainRows = 64;

static bool makesGroups(Operation *op) {
  auto quantize = dyn_cast<QuantizeOp>(op);
  return quantize && cast<StoredType>(quantize.getType()).getEncoding().getFormat() == Format::ACT_I8_128;
}

/// Groups that follow one another and hand on rows become one kernel, so that the rows stay on the chip.
void Fusion::chain() {
  std::vector<Group> chained;
  SmallVector<unsigned> place; // of groups among the chained
  for (unsigned number = 0; number < groups.size(); ++number) {
    Group next = std::move(groups[number]);
    unsigned count = 1;
    // Codes that are made group by group are never whole where the product that reads them is, too.
    if (llvm::all_of(next.ops, makesGroups) && number + 1 < groups.size() &&
        canFollow(next, groups[number + 1])) {
      llvm::append_range(next.ops, groups[number + 1].ops);
      count = 2;
    }
    if (!chained.empty() && canFollow(chained.back(), next)) {
      Group &group = chained.back();
      SmallVector<Operation *> ops(group.ops);
      llvm::append_range(ops, next.ops);
      int64_t bytes = liveBytes(ops);
      if (bytes * kChainRows <= target.chipBytes) {
        decisions.record(next.ops[0], "fuse", "rows of the kernel before stay on the chip",
                         traffic(next.ops[0]->getOperand(0)));
        group.ops = std::move(ops);
        group.family = Family::Rows;
        place.append(count, place.back());
        number += count - 1;
        continue;
      }
      decisions.record(next.ops[0], "keep",
                       "one row of the kernel would take " + Twine(bytes) + " bytes of the chip, and " +
                           Twine(kChainRows) + " rows more than it has (" + Twine(target.chipBytes) + ")");
    }
    if (count == 2)
      next.ops.resize(next.ops.size() - groups[number + 1].ops.size());
    place.push_back(chained.size());
    chained.push_back(std::move(next));
  }
  groups = std::move(chained);
  for (Node &node : nodes)
    node.group = place[node.group];
}

/// Whether two groups hold only what chains hold, and the second reads its own row of the first.
bool Fusion::canFollow(const Group &group, const Group &next) {
  auto chains = [](Operation *op) {
    return isa<LinearOp, QuantizeOp, LayerNormOp, RmsNormOp>(op) || isa<ElementwiseOpInterface>(op);
  };
  if (group.rows != next.rows || !llvm::all_of(group.ops, chains) || !llvm::all_of(next.ops, chains))
    return false;
  DenseSet<Operation *> before(group.ops.begin(), group.ops.end());
  return llvm::all_of(next.ops, [&](Operation *op) {
    return llvm::all_of(op->getOpOperands(), [&](OpOperand &operand) {
      return !before.contains(base(operand.get()).getDefiningOp()) || readsOwnRow(operand);
    });
  });
}

/// The most bytes of one row that are on the chip at once: values that are read whole. What only epilogues
/// read is there for a step of columns, as is what becomes codes by groups of columns, or leaves.
int64_t Fusion::liveBytes(ArrayRef<Operation *> ops) {
  DenseMap<Operation *, size_t> order;
  for (auto [i, op] : llvm::enumerate(ops))
    order[op] = i;
  std::vector<int64_t> live(ops.size());
  DenseSet<Value> counted;
  auto isReadByGroups = [&](Value value, Operation *reader) {
    return makesGroups(reader) && order.contains(value.getDefiningOp()) &&
           llvm::all_of(reader->getUsers(), [&](Operation *user) { return order.contains(user); });
  };
  auto count = [&](Value value, size_t begin) {
    if (rows.of(value).empty() || !counted.insert(value).second)
      return;
    size_t last = begin;
    bool isWhole = false;
    for (Operation *reader : value.getUsers())
      if (auto found = order.find(reader); found != order.end()) {
        last = std::max(last, found->second);
        isWhole |= !isReadByGroups(value, reader) && !isa<ElementwiseOpInterface>(reader);
      }
    for (size_t i = begin; isWhole && i <= last; ++i)
      live[i] += bytesOf(value.getType(), 1);
  };
  for (auto [i, op] : llvm::enumerate(ops)) {
    for (Value operand : op->getOperands())
      count(base(operand), 0); // made outside
    for (Value result : op->getResults())
      count(result, i);
  }
  return live.empty() ? 0 : *llvm::max_element(live);
}

bool Fusion::isReadOutside(Value value, unsigned group) {
  return llvm::any_of(value.getUsers(), [&](Operation *user) {
    // A region's op stands for the attention around it.
    user = body.findAncestorOpInBlock(*user);
    if (freeReshapes.contains(user))
      return isReadOutside(user->getResult(0), group);
    auto node = nodeOf.find(user);
    return node == nodeOf.end() || nodes[node->second].group != group;
  });
}

void Fusion::outline(const Group &group) {
  unsigned number = &group - groups.data();
  MLIRContext *context = function.getContext();
  SmallVector<Location> locations;
  for (Operation *op : group.ops)
    if (!isa<ReshapeOp>(op) || group.ops.size() == 1)
      locations.push_back(op->getLoc());
  Location loc = FusedLoc::get(context, locations);

  OpBuilder builder(context);
  builder.setInsertionPointToEnd(function->getBlock());
  std::string name = names.unique(describeKernel(group.family, group.ops));
  auto kernel =
      builder.create<KernelOp>(loc, builder.getStringAttr(name), FamilyAttr::get(context, group.family),
                               builder.getStringAttr(target.name), builder.getDictionaryAttr({}));
  Block *block = builder.createBlock(&kernel.getBody());
  IRMapping inside;
  SmallVector<Value> inputs;
  std::function<void(Value)> bring = [&](Value value) {
    if (inside.contains(value))
      return;
    Operation *maker = value.getDefiningOp();
    if (maker && freeReshapes.contains(maker)) {
      bring(maker->getOperand(0));
      builder.clone(*maker, inside);
      return;
    }
    inputs.push_back(value);
    inside.map(value, block->addArgument(value.getType(), value.getLoc()));
  };
  for (Operation *op : group.ops) {
    for (Value operand : op->getOperands())
      bring(operand);
    llvm::SetVector<Value> captured;
    getUsedValuesDefinedAbove(op->getRegions(), captured);
    for (Value value : captured)
      bring(value);
    builder.clone(*op, inside);
  }
  SmallVector<Value> outputs, yields;
  for (Operation *op : group.ops)
    for (Value result : op->getResults())
      if (isReadOutside(result, number)) {
        outputs.push_back(result);
        yields.push_back(inside.lookup(result));
      }
  builder.create<YieldOp>(loc, yields);

  builder.setInsertionPoint(body.getTerminator());
  for (Value &input : inputs)
    input = results.contains(input) ? results.lookup(input) : input;
  auto launch =
      builder.create<LaunchOp>(loc, TypeRange(ValueRange(outputs)), FlatSymbolRefAttr::get(context, name),
                               inputs, builder.getStringAttr(group.rows), DenseI64ArrayAttr(), UnitAttr());
  for (auto [output, result] : llvm::zip(outputs, launch.getResults()))
    results[output] = result;
}

/// Points the function's results to launches and removes the ops that kernels now hold.
void Fusion::finish() {
  for (OpOperand &operand : body.getTerminator()->getOpOperands())
    operand.set(results.lookup(operand.get()));
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(body)))
    if (nodeOf.contains(&op) || freeReshapes.contains(&op))
      op.erase();
}

/// A kernel writes each result, so one that is an argument or another result too is copied: a reshape to its
/// own type.
void copyReturned(func::FuncOp function) {
  Operation *end = function.getBody().front().getTerminator();
  OpBuilder builder(end);
  DenseSet<Value> seen;
  for (OpOperand &operand : end->getOpOperands()) {
    Value value = operand.get();
    auto tensor = dyn_cast<RankedTensorType>(value.getType());
    bool copies = tensor && tensor.getRank() > 0 && tensor.getElementType().isF32();
    bool isComputed = value.getDefiningOp() && !isContext(value.getDefiningOp());
    if (copies && (!isComputed || !seen.insert(value).second))
      operand.set(builder.create<ReshapeOp>(isComputed ? value.getLoc() : end->getLoc(), tensor, value));
  }
}

struct FuseForTarget : mlir::heddle::impl::FuseForTargetPassBase<FuseForTarget> {
  using FuseForTargetPassBase::FuseForTargetPassBase;

  void runOnOperation() override {
    const TargetDescription *description = findTarget(target);
    if (!description) {
      getOperation().emitError() << "unknown target '" << target << "'; known targets: " << targetNames();
      return signalPassFailure();
    }
    Decisions decisions(getOperation(), getArgument());
    KernelNames names(getOperation());
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      // Functions of launches are done already, as after resuming from printed IR.
      if (function.isExternal() || !function.getBody().front().getOps<LaunchOp>().empty())
        continue;
      copyReturned(function);
      FailureOr<RowDims> rows = RowDims::compute(function);
      if (failed(rows) || failed(Fusion(function, *description, *rows, names, decisions).run()))
        return signalPassFailure();
    }
  }
};
} // namespace

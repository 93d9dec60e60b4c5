#include "passes/KernelNames.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::heddle;

/// Longer chains name their first words and how many follow.
static constexpr size_t kMaxWords = 8;

static int64_t innerSize(Type type) {
  int64_t size = 1;
  for (int64_t dim : shapeOf(type).drop_front())
    size *= dim;
  return size;
}

static std::string word(Operation *op) {
  return llvm::TypeSwitch<Operation *, std::string>(op)
      .Case<UnaryOp>([](UnaryOp unary) { return stringifyUnaryKind(unary.getKind()).str(); })
      .Case<BinaryOp>([](BinaryOp binary) { return stringifyBinaryKind(binary.getKind()).str(); })
      .Case<PoolRowsOp>([](PoolRowsOp pool) { return "pool_" + stringifyPoolKind(pool.getKind()).str(); })
      .Case<QuantizeOp>([](QuantizeOp quantize) {
        return "quantize_" +
               stringifyFormat(cast<StoredType>(quantize.getType()).getEncoding().getFormat()).str();
      })
      .Case<EmbeddingOp>([](EmbeddingOp embedding) {
        auto stored = dyn_cast<StoredType>(embedding.getTable().getType());
        return "embedding" +
               (stored ? "_" + stringifyFormat(stored.getEncoding().getFormat()).str() : std::string());
      })
      .Default([](Operation *other) { return other->getName().stripDialect().str(); });
}

static void appendWords(std::string &name, ArrayRef<Operation *> ops) {
  SmallVector<std::string> words;
  for (Operation *op : ops)
    if (!isa<ReshapeOp, LinearOp, AttentionOp>(op))
      words.push_back(word(op));
  for (size_t i = 0; i < words.size(); ++i) {
    if (i == kMaxWords && words.size() > kMaxWords + 1) {
      name += "_and_" + std::to_string(words.size() - kMaxWords) + "_more";
      return;
    }
    name += (name.empty() ? "" : "_") + words[i];
  }
}

static std::string describeLinear(LinearOp linear) {
  auto weight = cast<StoredType>(linear.getWeight().getType());
  std::string name = "linear_" + stringifyFormat(weight.getEncoding().getFormat()).str();
  if (auto stored = dyn_cast<StoredType>(linear.getInput().getType()))
    name += "_" + stringifyFormat(stored.getEncoding().getFormat()).drop_front(strlen("act_")).str();
  name += "_" + std::to_string(weight.getShape()[0]) + "x" + std::to_string(weight.getShape()[1]);
  return name + (linear.getBias() ? "_bias" : "") +
         (linear.getSelected() ? "_selected_" + stringifySelected(*linear.getSelected()).str() : "");
}

std::string mlir::heddle::describeKernel(Family family, ArrayRef<Operation *> ops) {
  std::string name;
  switch (family) {
  case Family::Contraction:
    name = describeLinear(cast<LinearOp>(*llvm::find_if(ops, llvm::IsaPred<LinearOp>)));
    appendWords(name, ops);
    return name;
  case Family::Attention: {
    auto scoring = cast<ScoringOpInterface>(*llvm::find_if(ops, llvm::IsaPred<ScoringOpInterface>));
    auto query = shapeOf(scoring.getQuery().getType());
    return (isa<TopKOp>(scoring) ? "top_k_" : "attention_") + std::to_string(query[1]) + "x" +
           std::to_string(scoring.kvHeads()) + "x" + std::to_string(query[2]);
  }
  case Family::Rows: {
    if (int64_t products = llvm::count_if(ops, llvm::IsaPred<LinearOp>))
      name = "products_" + std::to_string(products);
    appendWords(name, ops);
    int64_t widest = 0;
    for (Operation *op : ops)
      for (Value value : op->getNumResults() ? ValueRange(op->getResults()) : ValueRange(op->getOperands()))
        if (isa<RankedTensorType, StoredType>(value.getType()))
          widest = std::max(widest, innerSize(value.getType()));
    return (name.empty() ? "reshape" : name) + "_" + std::to_string(widest);
  }
  }
  llvm_unreachable("unknown family");
}

KernelNames::KernelNames(ModuleOp module) {
  for (Operation &op : module.getOps())
    if (auto symbol = op.getAttrOfType<StringAttr>(SymbolTable::getSymbolAttrName()))
      taken.try_emplace(symbol.getValue(), 0);
}

std::string KernelNames::unique(std::string name) {
  auto [entry, isNew] = taken.try_emplace(name, 0);
  while (!isNew) {
    std::string numbered = name + "_" + std::to_string(++entry->second);
    if (taken.try_emplace(numbered, 0).second)
      return numbered;
  }
  return name;
}

#include "codegen/package/KernelTable.h"
#include "codegen/KernelOperands.h"
#include "codegen/RowValues.h"
#include "codegen/package/Program.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle {
namespace {

bool hasRows(Type type) {
  return isa<RankedTensorType, StoredType>(type) && !shapeOf(type).empty() &&
         ShapedType::isDynamic(shapeOf(type).front());
}

/// Whether `value` is a table of which its users read one row for each row that they compute.
bool isLookedUp(Value value) {
  return !value.use_empty() && llvm::all_of(value.getUses(), [&](OpOperand &use) {
    return (isa<EmbeddingOp>(use.getOwner()) && use.getOperandNumber() == 0) ||
           (isa<RopeOp>(use.getOwner()) && use.getOperandNumber() == 1);
  });
}

/// Arithmetic on one element, roughly: what matters is the order of magnitude beside products.
int64_t opsPerElement(Operation *op) {
  return llvm::TypeSwitch<Operation *, int64_t>(op)
      .Case<RmsNormOp, L2NormalizeOp, RopeOp>([](auto) { return 4; })
      .Case<LayerNormOp, UnaryOp>([](auto) { return 8; })
      .Case<QuantizeOp>([](auto) { return 3; })
      .Case<ReshapeOp, EmbeddingOp, GatherRowsOp>([](auto) { return 0; })
      .Default([](auto) { return 1; });
}

const char *arithmeticOf(Format activations) {
  switch (activations) {
  case Format::ACT_I8:
  case Format::ACT_I8_ROW:
  case Format::ACT_I8_128:
    return "i8";
  case Format::ACT_I16:
    return "i16";
  case Format::ACT_BF16:
    return "bf16";
  default:
    return "f32";
  }
}

void addArgument(Value argument, KernelCost &cost) {
  Type type = argument.getType();
  if (auto cache = dyn_cast<KvCacheType>(type)) {
    for (Operation *user : argument.getUsers())
      (isa<CacheAppendOp>(user) ? cost.bytesPerRow : cost.cacheBytesPerToken) += cache.tokenBytes();
  } else if (hasRows(type)) {
    cost.bytesPerRow += valueBytes(type, 1);
  } else if (isa<RankedTensorType, StoredType>(type)) {
    int64_t bytes = valueBytes(type, 1);
    if (isLookedUp(argument) && shapeOf(type).size() > 1)
      cost.bytesPerRow += bytes / std::max<int64_t>(shapeOf(type).front(), 1);
    else
      cost.weightBytes += bytes;
  }
}
} // namespace

KernelCost kernelCost(KernelOp kernel) {
  KernelCost cost;
  Block &body = kernel.getBody().front();
  for (BlockArgument argument : body.getArguments())
    addArgument(argument, cost);
  for (Value result : body.getTerminator()->getOperands())
    cost.bytesPerRow += hasRows(result.getType()) ? valueBytes(result.getType(), 1) : 0;
  for (Operation &op : body.without_terminator()) {
    if (auto linear = dyn_cast<LinearOp>(op)) {
      auto weight = shapeOf(linear.getWeight().getType());
      cost.multiplyAdds += weight[0] * weight[1];
      if (auto stored = dyn_cast<StoredType>(linear.getInput().getType()))
        cost.arithmetic = arithmeticOf(stored.getEncoding().getFormat());
    } else if (auto attention = dyn_cast<AttentionOp>(op)) {
      auto query = shapeOf(attention.getQuery().getType());
      cost.multiplyAddsPerToken += query[1] * (query[2] + attention.valueDim());
    } else if (op.getNumResults() == 1 && hasRows(op.getResult(0).getType())) {
      cost.elementOps += opsPerElement(&op) * rowColumns(op.getResult(0).getType());
    }
  }
  return cost;
}

llvm::json::Array kernelsJson(ModuleOp module) {
  llvm::StringMap<llvm::StringRef> rows = launchRows(module);
  llvm::json::Array array;
  for (auto kernel : module.getOps<KernelOp>()) {
    KernelCost cost = kernelCost(kernel);
    llvm::json::Array ops;
    for (Operation &op : kernel.getBody().front().without_terminator())
      ops.push_back(op.getName().stripDialect());
    array.push_back(llvm::json::Object{{"name", kernel.getSymName()},
                                       {"family", stringifyFamily(kernel.getFamily())},
                                       {"target", kernel.getTarget()},
                                       {"rows", rows.lookup(kernel.getSymName())},
                                       {"ops", std::move(ops)},
                                       {"weight_bytes", cost.weightBytes},
                                       {"bytes_per_row", cost.bytesPerRow},
                                       {"cache_bytes_per_token", cost.cacheBytesPerToken},
                                       {"multiply_adds_per_row", cost.multiplyAdds},
                                       {"multiply_adds_per_row_and_token", cost.multiplyAddsPerToken},
                                       {"element_ops_per_row", cost.elementOps},
                                       {"arithmetic", cost.arithmetic}});
  }
  return array;
}

} // namespace heddle

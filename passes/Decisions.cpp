#include "passes/Decisions.h"
#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace mlir::heddle;

Decisions::Decisions(ModuleOp module, StringRef pass)
    : module(module), pass(StringAttr::get(module.getContext(), pass)) {}

Decisions::~Decisions() {
  if (records.empty())
    return;
  SmallVector<Attribute> all;
  if (auto earlier = module->getAttrOfType<ArrayAttr>(kDecisionsAttr))
    llvm::append_range(all, earlier);
  llvm::append_range(all, records);
  module->setAttr(kDecisionsAttr, ArrayAttr::get(module.getContext(), all));
}

void Decisions::record(Location at, StringRef kind, const Twine &reason, int64_t cost) {
  Builder b(module.getContext());
  records.push_back(b.getDictionaryAttr(
      {b.getNamedAttr("at", LocationAttr(at)), b.getNamedAttr("cost", b.getI64IntegerAttr(cost)),
       b.getNamedAttr("kind", b.getStringAttr(kind)), b.getNamedAttr("pass", pass),
       b.getNamedAttr("reason", b.getStringAttr(reason))}));
}

SmallVector<Decision> mlir::heddle::decisionsOf(ModuleOp module) {
  SmallVector<Decision> decisions;
  auto records = module->getAttrOfType<ArrayAttr>(kDecisionsAttr);
  if (!records)
    return decisions;
  for (Attribute attr : records) {
    // Text may hold anything under this name; what is not a decision is not one.
    auto record = dyn_cast<DictionaryAttr>(attr);
    auto text = [&](StringRef key) { return record ? record.getAs<StringAttr>(key) : StringAttr(); };
    auto at = record ? record.getAs<LocationAttr>("at") : LocationAttr();
    auto cost = record ? record.getAs<IntegerAttr>("cost") : IntegerAttr();
    if (at && cost && cost.getType().isInteger(64) && text("pass") && text("kind") && text("reason"))
      decisions.push_back({text("pass"), text("kind"), text("reason"), cost.getInt(), Location(at)});
  }
  return decisions;
}

void mlir::heddle::printDecisions(ModuleOp module, llvm::json::OStream &json) {
  json.array([&] {
    for (const Decision &decision : decisionsOf(module))
      json.object([&] {
        json.attribute("cost", decision.cost);
        json.attribute("kind", llvm::json::fixUTF8(decision.kind));
        json.attribute("pass", llvm::json::fixUTF8(decision.pass));
        json.attribute("reason", llvm::json::fixUTF8(decision.reason));
        json.attribute("source", llvm::json::fixUTF8(sourceNames(decision.at)));
      });
  });
}

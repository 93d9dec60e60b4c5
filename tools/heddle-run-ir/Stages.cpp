#include "tools/heddle-run-ir/Stages.h"
#include "codegen/Pipelines.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassInstrumentation.h"
#include "mlir/Pass/PassManager.h"

using namespace mlir;
using namespace mlir::heddle;
using namespace mlir::heddle::interpreter;

namespace heddle::run_ir {

llvm::Expected<std::vector<Calls>> readCalls(ModuleOp module) {
  std::vector<Calls> all;
  for (auto function : module.getOps<func::FuncOp>()) {
    auto examples = function->getAttrOfType<ArrayAttr>(kExampleAttr);
    if (!examples)
      continue;
    Calls calls{function.getName().str(), {}};
    for (Attribute example : examples) {
      auto entries = dyn_cast<DictionaryAttr>(example);
      auto inputs = entries ? entries.getAs<ArrayAttr>("inputs") : ArrayAttr();
      if (!inputs || inputs.size() != function.getNumArguments())
        return llvm::createStringError("expected an input for each argument of '" + calls.function + "'");
      auto &data = calls.inputs.emplace_back();
      for (auto [input, type] : llvm::zip(inputs, function.getArgumentTypes())) {
        auto elements = dyn_cast<ElementsAttr>(input);
        auto datum = elements ? datumOf(elements) : std::nullopt;
        if (!datum || !datum->fits(type))
          return llvm::createStringError("expected inputs of '" + calls.function + "' to fit its arguments");
        data.push_back(*datum);
      }
    }
    all.push_back(std::move(calls));
  }
  if (all.empty())
    return llvm::createStringError("expected functions with 'heddle.example', but found none");
  return all;
}

llvm::Expected<Results> runAll(Backend &backend, ArrayRef<Calls> all) {
  Results results;
  for (const Calls &calls : all) {
    backend.reset();
    for (const auto &inputs : calls.inputs) {
      auto outputs = backend.run(calls.function, inputs);
      if (!outputs)
        return outputs.takeError();
      results.push_back(std::move(*outputs));
    }
  }
  return results;
}

static double toleranceOf(const Results &results, size_t call, size_t result, size_t element) {
  const Numbers *numbers = results[call][result].numbers();
  return numbers ? numbers->toleranceAt(element) : 0;
}

std::string disagreement(const Results &found, const Results &expected, ArrayRef<Results> others,
                         size_t *failed) {
  auto valueOf = [](const Results &results, size_t call, size_t result, size_t element) {
    const Numbers *numbers = results[call][result].numbers();
    return numbers ? numbers->data[element] : 0;
  };
  for (size_t call = 0; call < expected.size(); ++call) {
    Agreement agreement = compare(found[call], expected[call], [&](size_t result, size_t element) {
      double spread = 0;
      for (const Results &other : others)
        spread = std::max(spread, std::abs(valueOf(other, call, result, element) -
                                           valueOf(expected, call, result, element)));
      return toleranceOf(expected, call, result, element) + toleranceOf(found, call, result, element) +
             2 * spread;
    });
    if (!agreement.disagreement.empty()) {
      if (failed)
        *failed = call;
      return "call " + std::to_string(call) + ": " + agreement.disagreement;
    }
  }
  return "";
}

static Attribute constantOf(const Datum &datum, Builder builder) {
  if (const Numbers *numbers = datum.numbers()) {
    std::vector<float> values(numbers->data.begin(), numbers->data.end());
    return DenseElementsAttr::get(RankedTensorType::get(numbers->shape, builder.getF32Type()),
                                  ArrayRef(values));
  }
  const Integers *integers = datum.integers();
  std::vector<int32_t> values(integers->data.begin(), integers->data.end());
  return DenseElementsAttr::get(RankedTensorType::get(integers->shape, builder.getI32Type()),
                                ArrayRef(values));
}

void setExpected(ModuleOp module, ArrayRef<Calls> all, const Results &results) {
  Builder builder(module.getContext());
  auto next = results.begin();
  for (const Calls &calls : all) {
    auto function = module.lookupSymbol<func::FuncOp>(calls.function);
    SmallVector<Attribute> examples;
    for (auto call : function->getAttrOfType<ArrayAttr>(kExampleAttr).getAsRange<DictionaryAttr>()) {
      SmallVector<Attribute> expected;
      for (const Datum &datum : *next++)
        expected.push_back(constantOf(datum, builder));
      NamedAttrList entries(call);
      entries.set("expected", builder.getArrayAttr(expected));
      examples.push_back(entries.getDictionary(module.getContext()));
    }
    function->setAttr(kExampleAttr, builder.getArrayAttr(examples));
  }
}

static size_t quantizeOps(ModuleOp module) {
  size_t count = 0;
  module->walk([&](QuantizeOp) { ++count; });
  return count;
}

bool addsRounding(ModuleOp before, ModuleOp after) {
  // Kernels share what they hold; no pass below model level rounds.
  return quantizeOps(after) != quantizeOps(before) && after.getOps<KernelOp>().empty();
}

OwningOpRef<ModuleOp> withoutRounding(ModuleOp module) {
  OwningOpRef<ModuleOp> copy(cast<ModuleOp>(module->clone()));
  SmallVector<Operation *> removed;
  copy->walk([&](Operation *op) {
    if (auto quantize = dyn_cast<QuantizeOp>(op)) {
      quantize.getResult().replaceAllUsesWith(quantize.getInput());
      removed.push_back(op);
    } else if (auto dequantize = dyn_cast<DequantizeOp>(op);
               dequantize && dequantize.getInput().getType() == dequantize.getType()) {
      dequantize.getResult().replaceAllUsesWith(dequantize.getInput());
      removed.push_back(op);
    }
  });
  for (Operation *op : llvm::reverse(removed))
    op->erase();
  return copy;
}

/// Examples and files are most of a module's text, and no pass's business.
static OwningOpRef<ModuleOp> copyWithoutExamples(ModuleOp module) {
  OwningOpRef<ModuleOp> copy(cast<ModuleOp>(module->clone()));
  copy->getOperation()->removeAttr(kFilesAttr);
  for (auto function : copy->getOps<func::FuncOp>())
    function->removeAttr(kExampleAttr);
  return copy;
}

namespace {
struct Snapshots : PassInstrumentation {
  Snapshots(std::vector<Stage> &stages, std::string &failed, llvm::function_ref<void(StringRef)> beforePass)
      : stages(stages), failed(failed), beforePass(beforePass) {}
  void runBeforePass(Pass *pass, Operation *) override {
    if (beforePass)
      beforePass(pass->getArgument());
  }
  void runAfterPass(Pass *pass, Operation *op) override {
    auto module = dyn_cast<ModuleOp>(op);
    if (module && !module->getParentOp() && !same(*stages.back().module, module))
      stages.push_back({pass->getArgument().str(), copyWithoutExamples(module)});
  }
  void runAfterPassFailed(Pass *pass, Operation *) override {
    if (failed.empty())
      failed = pass->getArgument().str();
  }
  static bool same(ModuleOp before, ModuleOp after) {
    return OperationEquivalence::isEquivalentTo(before, after, OperationEquivalence::IgnoreLocations);
  }
  std::vector<Stage> &stages;
  std::string &failed;
  llvm::function_ref<void(StringRef)> beforePass;
};
} // namespace

std::vector<Stage> stagesOf(ModuleOp module, const CompileOptions &options, std::string &failed,
                            llvm::function_ref<void(StringRef)> beforePass) {
  std::vector<Stage> stages;
  stages.push_back({"", copyWithoutExamples(module)});
  auto lowered = copyWithoutExamples(module);
  PassManager passes(module.getContext(), "builtin.module");
  passes.addInstrumentation(std::make_unique<Snapshots>(stages, failed, beforePass));
  addPipeline(passes, options);
  if (mlir::failed(passes.run(*lowered)) && failed.empty())
    failed = "the pass manager";
  return stages;
}

} // namespace heddle::run_ir

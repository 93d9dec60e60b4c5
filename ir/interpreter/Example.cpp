#include "ir/interpreter/Example.h"
#include "ir/interpreter/Context.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/Format.h"

using namespace mlir;
using namespace mlir::heddle;
using namespace mlir::heddle::interpreter;

static llvm::Expected<SmallVector<Datum>> readData(func::FuncOp function, DictionaryAttr call, StringRef key,
                                                   TypeRange types) {
  auto list = dyn_cast_or_null<ArrayAttr>(call.get(key));
  if (!list || list.size() != types.size())
    return fail(function, "expected '" + key + "' of an example of '" + function.getName() +
                              "' to be an array of " + Twine(types.size()) + " constants");
  SmallVector<Datum> data;
  for (auto [i, attribute, type] : llvm::enumerate(list, types)) {
    auto elements = dyn_cast<ElementsAttr>(attribute);
    std::optional<Datum> datum = elements ? datumOf(elements) : std::nullopt;
    if (!datum || !datum->fits(type)) {
      std::string text;
      llvm::raw_string_ostream(text) << type;
      return fail(function, "expected constant " + Twine(i) + " of '" + key + "' of '" + function.getName() +
                                "' to be " + text + ", but found " +
                                (datum ? datum->describe() : "another attribute"));
    }
    data.push_back(*datum);
  }
  return data;
}

llvm::Expected<std::vector<Example>> interpreter::readExamples(ModuleOp module) {
  std::vector<Example> examples;
  for (auto function : module.getOps<func::FuncOp>()) {
    Attribute attribute = function->getAttr(kExampleAttr);
    if (!attribute)
      continue;
    Example example{function.getName().str(), "", {}};
    if (auto reason = function->getAttrOfType<StringAttr>(kSkipCompiledAttr))
      example.skipCompiled = reason.str();
    auto calls = dyn_cast<ArrayAttr>(attribute);
    if (!calls || calls.empty())
      return fail(function, "expected '" + Twine(kExampleAttr) + "' to be an array of calls");
    for (Attribute entry : calls) {
      auto call = dyn_cast<DictionaryAttr>(entry);
      if (!call)
        return fail(function, "expected a call of '" + Twine(kExampleAttr) +
                                  "' to be {inputs = [...], expected = [...]}");
      auto inputs = readData(function, call, "inputs", function.getArgumentTypes());
      if (!inputs)
        return inputs.takeError();
      auto expected = readData(function, call, "expected", function.getResultTypes());
      if (!expected)
        return expected.takeError();
      example.calls.push_back({std::move(*inputs), std::move(*expected)});
    }
    examples.push_back(std::move(example));
  }
  return examples;
}

llvm::Expected<ExampleFiles> ExampleFiles::read(ModuleOp module) {
  ExampleFiles result;
  auto list = module->getAttrOfType<ArrayAttr>(kFilesAttr);
  for (Attribute attribute : list ? list.getValue() : ArrayRef<Attribute>()) {
    auto elements = dyn_cast<DenseIntElementsAttr>(attribute);
    if (!elements || !elements.getElementType().isInteger(8))
      return fail(module, "expected '" + Twine(kFilesAttr) + "' to hold constants of type 'tensor<...xi8>'");
    std::vector<uint8_t> bytes;
    for (const APInt &byte : elements)
      bytes.push_back(static_cast<uint8_t>(byte.getZExtValue()));
    result.files.push_back(std::move(bytes));
  }
  return result;
}

llvm::Expected<ArrayRef<uint8_t>> ExampleFiles::bytes(int64_t file, uint64_t offset, uint64_t size) const {
  if (file < 0 || size_t(file) >= files.size())
    return llvm::createStringError("expected a file from 0 to " + Twine(int64_t(files.size()) - 1) +
                                   ", but found " + Twine(file));
  ArrayRef<uint8_t> content = files[file];
  if (offset > content.size() || size > content.size() - offset)
    return llvm::createStringError("expected " + Twine(size) + " bytes at " + Twine(offset) + " of file " +
                                   Twine(file) + ", but it has " + Twine(content.size()));
  return content.slice(offset, size);
}

/// "[1, 3]" of a row-major element.
static std::string place(ArrayRef<int64_t> shape, size_t index) {
  std::string text;
  for (int64_t size : llvm::reverse(shape)) {
    text = std::to_string(index % size) + (text.empty() ? "" : ", ") + text;
    index /= size;
  }
  return "[" + text + "]";
}

Agreement interpreter::compare(ArrayRef<Datum> found, ArrayRef<Datum> expected,
                               llvm::function_ref<double(size_t, size_t)> tolerance) {
  Agreement agreement;
  llvm::raw_string_ostream os(agreement.disagreement);
  if (found.size() != expected.size()) {
    os << "expected " << expected.size() << " results, but found " << found.size();
    return agreement;
  }
  for (size_t r = 0; r < found.size(); ++r) {
    const Numbers *f = found[r].numbers(), *e = expected[r].numbers();
    const Integers *fi = found[r].integers(), *ei = expected[r].integers();
    if (found[r].shape() != expected[r].shape() || bool(f) != bool(e) || bool(fi) != bool(ei) ||
        (!f && !fi)) {
      os << "result " << r << ": expected " << expected[r].describe() << ", but found "
         << found[r].describe();
      return agreement;
    }
    size_t count = f ? f->data.size() : fi->data.size();
    for (size_t i = 0; i < count; ++i) {
      ++agreement.compared;
      if (fi) {
        if (fi->data[i] == ei->data[i])
          continue;
        os << "result " << r << " " << place(fi->shape, i) << ": expected " << ei->data[i] << ", but found "
           << fi->data[i];
        return agreement;
      }
      double allowed = tolerance(r, i);
      // A tolerance that is not finite says that nothing is known: no agreement but equality.
      if (!::heddle::agrees(f->data[i], e->data[i], std::isfinite(allowed) ? allowed : 0)) {
        os << "result " << r << " " << place(f->shape, i) << ": expected " << llvm::format("%.9g", e->data[i])
           << ", but found " << llvm::format("%.9g", f->data[i]) << " (tolerance "
           << llvm::format("%.3g", allowed) << ")";
        return agreement;
      }
      double deviation = std::abs(f->data[i] - e->data[i]);
      if (std::isfinite(deviation) && allowed > 0)
        agreement.worst = std::max(agreement.worst, deviation / allowed);
    }
  }
  return agreement;
}

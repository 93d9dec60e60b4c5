// Examples as compiled code: each function becomes an artifact of one entry, which the runtime runs.
#include "codegen/Compiler.h"
#include "heddle/cuda_sim.h"
#include "heddle/npu_sim.h"
#include "heddle/runtime.h"
#include "ir/Entries.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/SymbolTable.h"
#include "tools/heddle-run-ir/Backend.h"
#include "tools/heddle-run-ir/GuardedMemory.h"
#include "llvm/Support/FileSystem.h"

using namespace heddle;
using namespace heddle::run_ir;
using namespace mlir::heddle::interpreter;

namespace {

template <typename T> T sized() {
  T value{};
  value.struct_size = sizeof(T);
  return value;
}

llvm::Error check(heddle_status status, const heddle_error &error) {
  if (status == HEDDLE_OK)
    return llvm::Error::success();
  return llvm::createStringError(llvm::Twine(heddle_status_name(status)) + ": " + error.message);
}

/// The module with `function` and what it needs alone.
mlir::OwningOpRef<mlir::ModuleOp> extract(mlir::ModuleOp module, llvm::StringRef function) {
  mlir::OwningOpRef<mlir::ModuleOp> copy(mlir::cast<mlir::ModuleOp>(module->clone()));
  for (auto other : llvm::make_early_inc_range(copy->getOps<mlir::func::FuncOp>()))
    if (other.getName() != function)
      other.erase();
  bool erased = true;
  while (erased) { // recipes use parameters in turn
    erased = false;
    for (mlir::Operation &op : llvm::make_early_inc_range(*copy->getBody()))
      if (!mlir::isa<mlir::func::FuncOp>(op) && mlir::isa<mlir::SymbolOpInterface>(op) &&
          mlir::SymbolTable::symbolKnownUseEmpty(&op, *copy)) {
        op.erase();
        erased = true;
      }
  }
  return copy;
}

/// The runtime asks `step` for logits: as many columns as there are tokens. Examples have as many tokens as
/// columns, or fewer.
void setVocabulary(mlir::func::FuncOp function) {
  auto module = function->getParentOfType<mlir::ModuleOp>();
  mlir::NamedAttrList facts(module->getAttrOfType<mlir::DictionaryAttr>(mlir::heddle::kModelAttr));
  auto type = mlir::dyn_cast<mlir::RankedTensorType>(function.getResultTypes()[0]);
  if (type && type.getRank() == 2)
    facts.set("vocabulary", mlir::Builder(module).getI64IntegerAttr(type.getDimSize(1)));
  module->setAttr(mlir::heddle::kModelAttr, facts.getDictionary(module.getContext()));
}

/// One function, compiled, with a session of it.
class CompiledFunction {
public:
  static llvm::Expected<std::unique_ptr<CompiledFunction>> make(mlir::ModuleOp module, llvm::StringRef name,
                                                                const ParameterSource &parameters,
                                                                const CompileOptions &options,
                                                                const heddle_driver *driver) {
    auto result = std::unique_ptr<CompiledFunction>(new CompiledFunction);
    llvm::StringRef target = options.target;
    result->driver = driver                       ? driver
                     : target == "cuda"           ? heddle_driver_cuda_sim()
                     : target.starts_with("npu:") ? heddle_driver_npu_sim()
                                                  : nullptr;
    auto copy = extract(module, name);
    auto function = copy->lookupSymbol<mlir::func::FuncOp>(name);
    if (!function)
      return llvm::createStringError("expected a function '" + name + "', but found none");
    if (!function->hasAttr(mlir::heddle::kEntryAttr))
      function->setAttr(mlir::heddle::kEntryAttr, mlir::StringAttr::get(module.getContext(), name));
    if (mlir::heddle::entryKind(function) == mlir::heddle::EntryKind::Step)
      setVocabulary(function);
    llvm::SmallString<128> path;
    if (std::error_code code = llvm::sys::fs::createTemporaryFile("example", "heddle", path))
      return llvm::errorCodeToError(code);
    auto digest = compileToArtifact(*copy, parameters, options, path);
    if (!digest) {
      llvm::sys::fs::remove(path);
      return digest.takeError();
    }
    llvm::Error opened = result->open(path.c_str());
    llvm::sys::fs::remove(path);
    if (opened)
      return std::move(opened);
    return std::move(result);
  }

  ~CompiledFunction() {
    heddle_session_destroy(session);
    if (heddle_model_close(model, nullptr) != HEDDLE_OK)
      llvm::report_fatal_error("a model without sessions was not closed");
  }

  llvm::Expected<llvm::SmallVector<Datum>> run(llvm::ArrayRef<Datum> inputs) {
    std::vector<GuardedMemory> buffers;
    for (auto [i, input] : llvm::enumerate(inputs))
      if (llvm::Error failed = bind(i, input, buffers))
        return std::move(failed);
    for (uint32_t i = 0; i < entry.output_count; ++i)
      if (llvm::Error failed = bindOutput(entry.input_count + i, buffers))
        return std::move(failed);
    if (entry.kind == HEDDLE_ENTRY_STEP)
      if (llvm::Error failed = rewind(*inputs[1].integers(), *inputs[2].integers()))
        return std::move(failed);
    if (llvm::Error failed = check(heddle_session_run(session, nullptr, &error), error))
      return std::move(failed);
    llvm::SmallVector<Datum> outputs;
    for (uint32_t i = 0; i < entry.output_count; ++i) {
      auto output = read(i);
      if (!output)
        return output.takeError();
      size_t bytes = elementCount(output->shape()).value_or(0) * 4;
      ptrdiff_t written = buffers[entry.input_count + i].firstWritten(bytes);
      if (written != ptrdiff_t(bytes))
        return llvm::createStringError("output " + llvm::Twine(i) + ": byte " + llvm::Twine(written) +
                                       " was written, but it has " + llvm::Twine(bytes));
      outputs.push_back(std::move(*output));
    }
    return outputs;
  }

private:
  CompiledFunction() = default;

  llvm::Error open(const char *path) {
    auto source = sized<heddle_source>();
    source.kind = HEDDLE_SOURCE_PATH;
    source.path = path;
    auto options = sized<heddle_model_options>();
    options.trust = HEDDLE_TRUST_EMBEDDER_VOUCHES; // this program has just written it
    options.driver = driver;
    if (llvm::Error failed = check(heddle_model_open(&source, &options, &model, &error), error))
      return failed;
    if (llvm::Error failed = check(heddle_model_get_info(model, &info, &error), error))
      return failed;
    if (llvm::Error failed = check(heddle_model_entry_at(model, 0, &entry, &error), error))
      return failed;
    auto session_options = sized<heddle_session_options>();
    session_options.sequences = info.max_sequences;
    return check(heddle_session_create(model, &session_options, &session, &error), error);
  }

  llvm::Error bind(uint32_t index, const Datum &input, std::vector<GuardedMemory> &buffers) {
    auto io = sized<heddle_io_info>();
    if (llvm::Error failed = check(heddle_model_entry_io(model, nullptr, index, &io, &error), error))
      return failed;
    if (io.dtype != (input.numbers() ? HEDDLE_DTYPE_F32 : HEDDLE_DTYPE_I32))
      return llvm::createStringError("input '" + llvm::Twine(io.name) + "': expected f32 or i32 to be bound");
    size_t count = elementCount(input.shape()).value_or(0);
    GuardedMemory &buffer = buffers.emplace_back(count * 4);
    for (size_t i = 0; i < count; ++i)
      if (input.numbers())
        reinterpret_cast<float *>(buffer.data())[i] = input.numbers()->data[i];
      else
        reinterpret_cast<int32_t *>(buffer.data())[i] = input.integers()->data[i];
    auto view = sized<heddle_view>();
    view.data = buffer.data();
    view.size_bytes = buffer.size();
    view.dtype = io.dtype;
    view.rank = input.shape().size();
    llvm::copy(input.shape(), view.dimension);
    return check(heddle_session_bind(session, nullptr, index, &view, &error), error);
  }

  /// An output has memory for its largest shape.
  llvm::Error bindOutput(uint32_t index, std::vector<GuardedMemory> &buffers) {
    auto io = sized<heddle_io_info>();
    if (llvm::Error failed = check(heddle_model_entry_io(model, nullptr, index, &io, &error), error))
      return failed;
    auto view = sized<heddle_view>();
    view.dtype = io.dtype;
    view.rank = io.rank;
    size_t count = 1;
    for (uint32_t i = 0; i < io.rank; ++i)
      count *= view.dimension[i] = io.dimension[i].maximum;
    GuardedMemory &buffer = buffers.emplace_back(count * 4);
    view.data = buffer.data();
    view.size_bytes = buffer.size();
    return check(heddle_session_bind(session, nullptr, index, &view, &error), error);
  }

  /// An example may go back to an earlier position of a slot; the runtime asks to say so first.
  llvm::Error rewind(const Integers &slots, const Integers &positions) {
    for (size_t i = 0; i < slots.data.size(); ++i) {
      bool starts = i == 0 || slots.data[i] != slots.data[i - 1];
      if (starts && positions.data[i] < heddle_sequence_length(session, slots.data[i]))
        if (llvm::Error failed =
                check(heddle_sequence_trim(session, slots.data[i], positions.data[i], &error), error))
          return failed;
    }
    return llvm::Error::success();
  }

  llvm::Expected<Datum> read(uint32_t index) {
    auto view = sized<heddle_view>();
    if (llvm::Error failed = check(heddle_session_output(session, nullptr, index, &view, &error), error))
      return std::move(failed);
    Shape shape(view.dimension, view.dimension + view.rank);
    size_t count = elementCount(shape).value_or(0);
    if (view.dtype == HEDDLE_DTYPE_F32) {
      auto *data = static_cast<const float *>(view.data);
      return Datum(Numbers{shape, std::vector<double>(data, data + count), {}, {}});
    }
    if (view.dtype == HEDDLE_DTYPE_I32) {
      auto *data = static_cast<const int32_t *>(view.data);
      return Datum(Integers{shape, std::vector<int64_t>(data, data + count), {}});
    }
    return llvm::createStringError("output " + llvm::Twine(index) + ": expected f32 or i32");
  }

  heddle_error error = sized<heddle_error>();
  const heddle_driver *driver = nullptr; // the CPU's
  heddle_model *model = nullptr;
  heddle_session *session = nullptr;
  heddle_model_info info = sized<heddle_model_info>();
  heddle_entry_info entry = sized<heddle_entry_info>();
};

class CpuBackend : public Backend {
public:
  CpuBackend(mlir::ModuleOp module, const CompileOptions &options, const ParameterSource &parameters,
             const heddle_driver *driver)
      : module(module), options(options), parameters(parameters), driver(driver) {}

  llvm::Expected<llvm::SmallVector<Datum>> run(llvm::StringRef function,
                                               llvm::ArrayRef<Datum> inputs) override {
    auto &compiled = functions[function];
    if (!compiled) {
      auto made = CompiledFunction::make(module, function, parameters, options, driver);
      if (!made)
        return made.takeError();
      compiled = std::move(*made);
    }
    return compiled->run(inputs);
  }

  void reset() override { functions.clear(); }

private:
  mlir::ModuleOp module;
  CompileOptions options;
  const ParameterSource &parameters;
  const heddle_driver *driver;
  llvm::StringMap<std::unique_ptr<CompiledFunction>> functions;
};
} // namespace

std::unique_ptr<Backend> heddle::run_ir::cpuBackend(mlir::ModuleOp module, const CompileOptions &options,
                                                    const ParameterSource &parameters,
                                                    const heddle_driver *driver) {
  return std::make_unique<CpuBackend>(module, options, parameters, driver);
}

#include "frontends/gguf/GgufImport.h"

#include "frontends/common/InputError.h"
#include "frontends/gguf/GgufConfig.h"
#include "frontends/gguf/GgufTokenizer.h"
#include "mlir/IR/Verifier.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Path.h"

using llvm::StringRef;
using llvm::Twine;

namespace heddle::gguf {

/// What a GGUF file calls the tensor of a role: roles are its names, mostly without ".weight".
static std::string tensorName(const std::string &role) {
  bool isWhole = StringRef(role).ends_with(".bias") || StringRef(role).ends_with(".weight");
  return isWhole ? role : role + ".weight";
}

static llvm::Error listed(const File &file, llvm::ArrayRef<std::string> things, StringRef heading) {
  constexpr size_t most = 20;
  std::string message = (file.name() + ": " + heading).str();
  for (const std::string &thing : things.take_front(most))
    message += "\n  " + thing;
  if (things.size() > most)
    message += "\n  and " + std::to_string(things.size() - most) + " more";
  return invalidInput(message);
}

static llvm::Error refuseUnsupported(const File &file, llvm::ArrayRef<std::string> things) {
  if (things.size() == 1)
    return unsupportedInput(file.name() + ": is not supported: " + things.front());
  return unsupportedInput(file.name() + ": is not supported, for " + Twine(things.size()) + " reasons:\n  " +
                          llvm::join(things, "\n  "));
}

/// Finds the tensor of each role; complains about all that are missing, have another shape, or have no role.
static llvm::Expected<ParameterTable> findParameters(const File &file, llvm::ArrayRef<ParameterSpec> specs,
                                                     StringRef architecture) {
  ParameterTable table;
  llvm::StringSet<> used;
  std::vector<std::string> wrong;
  for (const ParameterSpec &spec : specs) {
    std::string name = tensorName(spec.role);
    const Tensor *tensor = file.findTensor(name);
    if (!tensor) {
      if (!spec.optional)
        wrong.push_back("tensor '" + name + "' is missing, expected shape " + describeShape(spec.shape));
      continue;
    }
    used.insert(name);
    if (llvm::ArrayRef<int64_t>(tensor->shape) != llvm::ArrayRef<int64_t>(spec.shape))
      wrong.push_back("tensor '" + name + "' has shape " + describeShape(tensor->shape) + ", expected " +
                      describeShape(spec.shape));
    table[spec.role] = {tensor->format, tensor->file, tensor->offset, name};
  }
  if (!wrong.empty())
    return listed(file, wrong, "the tensors do not fit the metadata:");
  std::vector<std::string> extra;
  for (const Tensor &tensor : file.tensors())
    if (!used.contains(tensor.name))
      extra.push_back("tensor " + quoted(tensor.name) + " of shape " + describeShape(tensor.shape));
  if (extra.empty())
    return table;
  // Leaving a tensor out would give other numbers than the model's authors meant.
  std::string first = extra.front();
  return unsupportedInput(file.name() + ": is not supported: " + Twine(extra.size()) +
                          " tensors have no place in architecture '" + architecture + "'; the first is " +
                          first);
}

static llvm::Expected<ModelBounds> chooseBounds(const File &file, int64_t contextLength,
                                                const ImportOptions &options) {
  constexpr int64_t usualContext = 4096, mostSlots = 4096, mostRows = 65536;
  auto within = [&](StringRef what, int64_t value, int64_t least, int64_t most) -> llvm::Error {
    if (value >= least && value <= most)
      return llvm::Error::success();
    return unsupportedInput(file.name() + ": " + Twine(value) + " " + what + " are asked for, expected " +
                            Twine(least) + " to " + Twine(most));
  };
  if (llvm::Error error = within("sequences of a session", options.maxSlots, 1, mostSlots))
    return error;
  if (llvm::Error error = within("rows of one call", options.maxRows, 1, mostRows))
    return error;
  if (options.maxContext < 0)
    return within("positions of a sequence", options.maxContext, 1, contextLength);
  if (options.maxContext > contextLength)
    return unsupportedInput(file.name() + ": a context of " + Twine(options.maxContext) +
                            " is asked for, expected at most the model's own (" + Twine(contextLength) + ")");
  int64_t context = options.maxContext ? options.maxContext : std::min(contextLength, usualContext);
  return ModelBounds{context, options.maxSlots, std::min(options.maxRows, context * options.maxSlots)};
}

static std::string modelName(const File &file, StringRef path) {
  llvm::Expected<std::optional<StringRef>> name = file.stringValue("general.name");
  if (!name)
    llvm::consumeError(name.takeError()); // a name of another type is as good as none
  else if (*name && !(*name)->empty())
    return escaped(**name);
  return escaped(llvm::sys::path::stem(path));
}

static mlir::DictionaryAttr describeModel(mlir::MLIRContext &context, const ModelFacts &facts) {
  mlir::Builder b(&context);
  return b.getDictionaryAttr({b.getNamedAttr("name", b.getStringAttr(facts.name)),
                              b.getNamedAttr("architecture", b.getStringAttr(facts.architecture)),
                              b.getNamedAttr("vocabulary", b.getI64IntegerAttr(facts.vocabulary)),
                              b.getNamedAttr("context_length", b.getI64IntegerAttr(facts.contextLength)),
                              b.getNamedAttr("max_context", b.getI64IntegerAttr(facts.maxContext)),
                              b.getNamedAttr("max_slots", b.getI64IntegerAttr(facts.maxSlots)),
                              b.getNamedAttr("max_rows", b.getI64IntegerAttr(facts.maxRows))});
}

llvm::Expected<ImportedModel> importGguf(mlir::MLIRContext &context, std::shared_ptr<InputFile> first,
                                         StringRef path, const ImportOptions &options) {
  llvm::Expected<File> file =
      File::read(std::move(first), path, {options.memoryLimit, options.allowedFolders});
  if (!file)
    return file.takeError();
  std::vector<std::string> unsupported;
  llvm::Expected<ModelConfig> config = readConfig(*file, unsupported);
  if (!config)
    return config.takeError();
  llvm::append_range(unsupported, file->unsupported());
  if (!unsupported.empty())
    return refuseUnsupported(*file, unsupported);

  ImportedModel model;
  model.facts.architecture = (**file->stringValue("general.architecture")).str();
  model.facts.name = modelName(*file, path);
  const auto *decoder = std::get_if<DecoderConfig>(&*config);
  const auto *encoder = std::get_if<EncoderConfig>(&*config);
  llvm::Expected<ParameterTable> parameters = findParameters(
      *file, decoder ? decoderParameters(*decoder) : encoderParameters(*encoder), model.facts.architecture);
  if (!parameters)
    return parameters.takeError();
  llvm::Expected<std::optional<TokenizerMetadata>> tokenizer = readTokenizer(*file);
  if (!tokenizer)
    return tokenizer.takeError();
  model.tokenizer = std::move(*tokenizer);
  model.facts.entry = decoder ? "step" : "encode";
  model.facts.vocabulary = decoder ? decoder->vocabulary : encoder->vocabulary;
  model.facts.contextLength = decoder ? decoder->contextLength : encoder->contextLength;
  llvm::Expected<ModelBounds> bounds = chooseBounds(*file, model.facts.contextLength, options);
  if (!bounds)
    return bounds.takeError();
  model.facts.maxContext = bounds->context;
  model.facts.maxSlots = bounds->slots;
  model.facts.maxRows = bounds->rows;

  auto location = mlir::NameLoc::get(mlir::StringAttr::get(&context, file->name()));
  model.module = mlir::ModuleOp::create(location);
  model.module.get()->setAttr(mlir::heddle::kModelAttr, describeModel(context, model.facts));
  if (decoder)
    buildDecoder(*model.module, *decoder, *bounds, *parameters);
  else
    buildEncoder(*model.module, *encoder, *bounds, *parameters);
  model.files = std::make_shared<ModelFiles>(file->files());
  if (mlir::failed(mlir::verify(*model.module)))
    return llvm::createStringError(file->name() + ": the graph that the frontend built is not valid IR");
  return model;
}

} // namespace heddle::gguf

#include "tools/heddle/ProgramTables.h"
#include "tools/heddle/QuantizationTable.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"
#include <cstdio>
#include <map>

namespace heddle::cli {

namespace {
const char *kindWord(heddle_entry_kind kind) {
  return kind == HEDDLE_ENTRY_STEP ? "text" : kind == HEDDLE_ENTRY_ENCODE ? "embedding" : "tensors";
}

std::string dimensionText(const heddle_dimension &dimension) {
  if (dimension.minimum == dimension.maximum)
    return std::to_string(dimension.minimum);
  return std::to_string(dimension.minimum) + ".." + std::to_string(dimension.maximum);
}

const char *typeWord(heddle_dtype type) {
  static const std::map<heddle_dtype, const char *> names = {
      {HEDDLE_DTYPE_F32, "f32"}, {HEDDLE_DTYPE_F16, "f16"}, {HEDDLE_DTYPE_BF16, "bf16"},
      {HEDDLE_DTYPE_I32, "i32"}, {HEDDLE_DTYPE_I64, "i64"}, {HEDDLE_DTYPE_I8, "i8"},
      {HEDDLE_DTYPE_U8, "u8"}};
  auto found = names.find(type);
  return found == names.end() ? "unknown" : found->second;
}

llvm::json::Object describe(const heddle_model *model, const std::string &file) {
  heddle_model_info info = modelInfo(model);
  llvm::json::Array entries, members;
  for (uint32_t index = 0; index < info.entry_count; ++index) {
    auto entry = sized<heddle_entry_info>();
    call(file, heddle_model_entry_at, model, index, &entry);
    llvm::json::Array ios;
    for (uint32_t io = 0; io < entry.input_count + entry.output_count; ++io) {
      auto facts = sized<heddle_io_info>();
      call(file, heddle_model_entry_io, model, entry.name, io, &facts);
      llvm::json::Array shape;
      for (uint32_t axis = 0; axis < facts.rank; ++axis)
        shape.push_back(dimensionText(facts.dimension[axis]));
      ios.push_back(llvm::json::Object{{"name", facts.name},
                                       {"direction", facts.is_output ? "output" : "input"},
                                       {"element", typeWord(facts.dtype)},
                                       {"shape", std::move(shape)}});
    }
    entries.push_back(llvm::json::Object{
        {"name", entry.name}, {"kind", kindWord(entry.kind)}, {"tensors", std::move(ios)}});
  }
  for (uint32_t index = 0; index < info.member_count; ++index) {
    auto member = sized<heddle_member_info>();
    call(file, heddle_model_member, model, index, &member);
    members.push_back(llvm::json::Object{{"name", member.name},
                                         {"size_bytes", static_cast<int64_t>(member.size)},
                                         {"sha256", hex(member.digest, 32)}});
  }
  llvm::json::Object out{{"digest", "sha256:" + hex(info.digest, 32)},
                         {"entries", std::move(entries)},
                         {"members", std::move(members)},
                         {"max_chunk_tokens", info.max_rows},
                         {"max_context_tokens", info.max_context},
                         {"max_sequences", info.max_sequences},
                         {"vocabulary_tokens", info.vocabulary},
                         {"manifest", readManifest(model, file)}};
  llvm::json::Array targets;
  for (const ArtifactTarget &target : artifactTargets(model, file)) {
    auto bytesOf = [&](llvm::ArrayRef<std::string> names) {
      uint64_t bytes = 0;
      for (const std::string &name : names) {
        auto member = sized<heddle_member_info>();
        call(file, heddle_model_find_member, model, name.c_str(), &member);
        bytes += member.size;
      }
      return static_cast<int64_t>(bytes);
    };
    targets.push_back(llvm::json::Object{{"name", target.name},
                                         {"program_bytes", bytesOf(target.program)},
                                         {"code_bytes", bytesOf(target.codes)},
                                         {"weight_bytes", bytesOf(target.weights)},
                                         {"code_members", llvm::json::Array(target.codes)},
                                         {"weight_members", llvm::json::Array(target.weights)}});
  }
  out["targets"] = std::move(targets);
  auto memory = sized<heddle_memory>();
  call(file, heddle_model_memory, model, nullptr, &memory);
  out["memory"] =
      llvm::json::Object{{"session_bytes", static_cast<int64_t>(memory.total_bytes)},
                         {"arena_bytes", static_cast<int64_t>(memory.arena_bytes)},
                         {"inputs_and_outputs_bytes", static_cast<int64_t>(memory.io_bytes)},
                         {"cache_bytes_per_sequence", static_cast<int64_t>(memory.bytes_per_sequence)}};
  return out;
}

// Everything that tells two artifacts apart, a line each.
void flatten(const llvm::json::Value &value, const std::string &path,
             std::map<std::string, std::string> &lines) {
  if (const auto *object = value.getAsObject()) {
    for (const auto &[key, child] : *object)
      flatten(child, path.empty() ? key.str() : path + "." + key.str(), lines);
  } else if (const auto *array = value.getAsArray()) {
    for (size_t index = 0; index < array->size(); ++index) {
      const auto *object = (*array)[index].getAsObject();
      auto name = object ? object->getString("name") : std::nullopt;
      flatten((*array)[index], path + "[" + (name ? name->str() : std::to_string(index)) + "]", lines);
    }
  } else {
    lines[path] = llvm::formatv("{0}", value).str();
  }
}

int diff(const std::string &first, const std::string &second) {
  std::map<std::string, std::string> lines[2];
  const std::string *files[] = {&first, &second};
  for (int side = 0; side < 2; ++side) {
    ModelPtr model = openForInspection(*files[side]);
    flatten(describe(model.get(), *files[side]), "", lines[side]);
  }
  bool same = true;
  for (int side = 0; side < 2; ++side)
    for (const auto &[path, value] : lines[side]) {
      auto other = lines[1 - side].find(path);
      bool missing = other == lines[1 - side].end();
      if (missing || (side == 0 && other->second != value)) {
        same = false;
        std::printf("%c %s: %s\n", side ? '+' : '-', printable(path).c_str(), printable(value).c_str());
        if (!missing)
          std::printf("+ %s: %s\n", printable(path).c_str(), printable(other->second).c_str());
      }
    }
  return same ? ExitOk : ExitMismatch;
}

// A scalar or list of scalars of the manifest as words.
std::string words(const llvm::json::Value &value) {
  if (auto string = value.getAsString())
    return printable(string->str());
  if (const auto *array = value.getAsArray()) {
    std::string out;
    for (const llvm::json::Value &item : *array)
      out += (out.empty() ? "" : ", ") + words(item);
    return out;
  }
  if (const auto *object = value.getAsObject()) {
    std::string out;
    std::map<std::string, const llvm::json::Value *> sorted; // a json::Object has no order
    for (const auto &[key, item] : *object)
      sorted[key.str()] = &item;
    for (const auto &[key, item] : sorted)
      out += (out.empty() ? "" : ", ") + printable(key) + " " + words(*item);
    return out;
  }
  return llvm::formatv("{0}", value).str();
}

void printText(const llvm::json::Object &facts, const std::string &file) {
  std::printf("%s\n  digest       %s\n", printable(file).c_str(), facts.getString("digest")->str().c_str());
  for (const char *key : {"model", "sources", "targets", "precision", "format"})
    if (const llvm::json::Value *value = facts.getObject("manifest")->get(key))
      std::printf("  %-12s %s\n", key, words(*value).c_str());
  auto memory = [&](const char *key) {
    return formatBytes(static_cast<uint64_t>(*facts.getObject("memory")->getInteger(key)));
  };
  std::printf(
      "  memory       %s for a session of one sequence (cache %s, activations %s, inputs and outputs %s),\n"
      "               besides the weights and the scratch of each thread\n",
      memory("session_bytes").c_str(), memory("cache_bytes_per_sequence").c_str(),
      memory("arena_bytes").c_str(), memory("inputs_and_outputs_bytes").c_str());
  for (const llvm::json::Value &target : *facts.getArray("targets")) {
    const llvm::json::Object &object = *target.getAsObject();
    auto size = [&](const char *key) { return formatBytes(static_cast<uint64_t>(*object.getInteger(key))); };
    std::printf("target %-12s code %s, tables %s, weights %s (%s)\n",
                printable(object.getString("name")->str()).c_str(), size("code_bytes").c_str(),
                size("program_bytes").c_str(), size("weight_bytes").c_str(),
                words(*object.get("weight_members")).c_str());
  }
  for (const llvm::json::Value &entry : *facts.getArray("entries")) {
    const llvm::json::Object &object = *entry.getAsObject();
    std::printf("entry %s (%s)\n", printable(object.getString("name")->str()).c_str(),
                object.getString("kind")->str().c_str());
    for (const llvm::json::Value &io : *object.getArray("tensors")) {
      const llvm::json::Object &tensor = *io.getAsObject();
      std::string shape;
      for (const llvm::json::Value &size : *tensor.getArray("shape"))
        shape += size.getAsString()->str() + " x ";
      std::printf("  %-6s %-12s %s%s\n", tensor.getString("direction")->str().c_str(),
                  printable(tensor.getString("name")->str()).c_str(), shape.c_str(),
                  tensor.getString("element")->str().c_str());
    }
  }
  std::printf("members\n");
  for (const llvm::json::Value &member : *facts.getArray("members")) {
    const llvm::json::Object &object = *member.getAsObject();
    std::printf("  %-28s %12s  %s\n", printable(object.getString("name")->str()).c_str(),
                formatBytes(static_cast<uint64_t>(*object.getInteger("size_bytes"))).c_str(),
                object.getString("sha256")->str().c_str());
  }
  std::printf("%s", quantizationTable(*facts.getObject("manifest")).c_str());
}
} // namespace

void addInspect(CLI::App &app, Action &action) {
  struct Options {
    std::vector<std::string> files;
    bool diff = false;
    Format format = Format::Text;
  };
  auto *verb =
      app.add_subcommand("inspect", "Show what a compiled model is; runs nothing of it, reads no weights");
  auto options = std::make_shared<Options>();
  verb->add_option("file", options->files, "Compiled model (.heddle); two with --diff")
      ->required()
      ->option_text("FILE...");
  verb->add_flag("--diff", options->diff, "Show how two compiled models differ; exit 1 when they do");
  addFormatOption(*verb, options->format);
  verb->callback([&action, options] {
    action = [options] {
      if (options->files.size() != (options->diff ? 2u : 1u))
        fail(ExitUsage,
             options->diff ? "inspect --diff takes two files" : "inspect takes one file, or two with --diff");
      if (options->diff)
        return diff(options->files[0], options->files[1]);
      ModelPtr model = openForInspection(options->files[0]);
      llvm::json::Object facts = describe(model.get(), options->files[0]);
      if (options->format == Format::Json)
        llvm::outs() << llvm::formatv("{0:2}\n", llvm::json::Value(std::move(facts)));
      else
        printText(facts, options->files[0]);
      return static_cast<int>(ExitOk);
    };
  });
}

} // namespace heddle::cli

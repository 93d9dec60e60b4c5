#include "tools/heddle/ProgramTables.h"
#include "llvm/Support/Error.h"

namespace heddle::cli {

ProgramTables::ProgramTables(const heddle_model *model, const std::string &file, const std::string &program)
    : bytes(readMember(model, program.c_str()).value_or("")) {
  if (bytes.size() < sizeof(heddle_program_header))
    fail(ExitInvalidFile, printable(file) + ": " + printable(program) + " is damaged");
}

llvm::json::Object readManifest(const heddle_model *model, const std::string &file) {
  auto value = llvm::json::parse(readMember(model, "manifest.json").value_or("{}"));
  if (value && value->getAsObject())
    return std::move(*value->getAsObject());
  fail(ExitInvalidFile, printable(file) + ": manifest.json: " +
                            (value ? "expected an object" : llvm::toString(value.takeError())));
}

std::vector<ArtifactTarget> artifactTargets(const heddle_model *model, const std::string &file) {
  auto bad = [&]() { fail(ExitInvalidFile, printable(file) + ": the manifest's targets are damaged"); };
  llvm::json::Object manifest = readManifest(model, file);
  const llvm::json::Array *list = manifest.getArray("targets");
  if (!list)
    bad();
  std::vector<ArtifactTarget> targets;
  for (const llvm::json::Value &value : *list) {
    const llvm::json::Object *facts = value.getAsObject();
    if (!facts || !facts->getString("name"))
      bad();
    ArtifactTarget target;
    target.device = target.name = facts->getString("name")->str();
    if (auto machine = facts->getString("machine"))
      target.name += ":" + machine->str();
    if (const llvm::json::Array *levels = facts->getArray("levels"))
      for (const llvm::json::Value &level : *levels)
        target.levels.push_back(level.getAsString().value_or("").str());
    target.program = facts->getString("program").value_or("program.bin").str();
    llvm::StringRef suffix = target.program;
    if (!suffix.consume_front("program") || !suffix.consume_back(".bin"))
      bad();
    target.suffix = suffix.str();
    ProgramTables program(model, file, target.program);
    for (const heddle_code &code : program.codes())
      target.codes.push_back(program.string(code.member));
    for (uint32_t member : program.weights())
      target.weights.push_back(program.string(member));
    target.weightBytes = program.header().weights_size;
    targets.push_back(std::move(target));
  }
  return targets;
}

} // namespace heddle::cli

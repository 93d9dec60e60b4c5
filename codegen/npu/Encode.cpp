#include "codegen/npu/Kernel.h"
#include "ir/SourceNames.h"
#include "llvm/ADT/StringMap.h"
#include <cstring>

using namespace mlir;
using mlir::heddle::sourceNames;

namespace heddle::npu {
namespace {

heddle_npu_command commandOf(Operation *op) {
  heddle_npu_command command{};
  auto number = [&](StringRef name) { return uint8_t(op->getAttrOfType<IntegerAttr>(name).getInt()); };
  command.opcode = mlir::npu::commandInfo(op)->opcode;
  command.function = number("function");
  command.types = number("types");
  command.modes = number("modes");
  auto registers = op->getAttrOfType<DenseI8ArrayAttr>("registers");
  auto immediates = op->getAttrOfType<DenseI32ArrayAttr>("immediates");
  for (int i = 0; i < registers.size(); ++i) {
    command.registers[i] = uint8_t(registers[i]);
    command.immediates[i] = immediates[i];
  }
  return command;
}

class Strings {
public:
  uint32_t add(StringRef text) {
    auto [place, fresh] = places.try_emplace(text, bytes.size());
    if (fresh)
      bytes.append(text.data(), text.size()).push_back('\0');
    return place->second;
  }
  std::string bytes;

private:
  llvm::StringMap<uint32_t> places;
};

} // namespace

std::string encode(ModuleOp out, const Machine &machine) {
  std::vector<heddle_npu_function> functions;
  std::vector<heddle_npu_command> commands;
  std::vector<heddle_npu_source> sources;
  std::string data;
  Strings strings;
  for (auto function : out.getOps<mlir::npu::FunctionOp>()) {
    heddle_npu_function record{};
    record.name = strings.add(function.getSymName());
    record.first_command = commands.size();
    record.operand_count = function.getOperands();
    record.data_offset = data.size();
    if (auto bytes = function.getData())
      data.append(reinterpret_cast<const char *>(bytes->data()), bytes->size());
    record.data_bytes = data.size() - record.data_offset;
    std::optional<Location> source;
    for (Operation &op : function.getBody().front()) {
      if (source != op.getLoc()) {
        source = op.getLoc();
        sources.push_back({uint32_t(commands.size()), strings.add(sourceNames(op.getLoc()))});
      }
      commands.push_back(commandOf(&op));
    }
    record.command_count = commands.size() - record.first_command;
    functions.push_back(record);
  }
  heddle_npu_header header{};
  std::memcpy(header.magic, HEDDLE_NPU_MAGIC, sizeof header.magic);
  header.machine = machine.id;
  std::string bytes(sizeof header, '\0');
  auto append = [&](heddle_span &span, const auto &table) {
    bytes.resize((bytes.size() + 7) / 8 * 8, '\0');
    span = {bytes.size(), table.size()};
    bytes.append(reinterpret_cast<const char *>(table.data()), table.size() * sizeof(table[0]));
  };
  append(header.functions, functions);
  append(header.commands, commands);
  append(header.sources, sources);
  append(header.data, data);
  append(header.strings, strings.bytes);
  bytes.resize((bytes.size() + 7) / 8 * 8, '\0');
  header.file_size = bytes.size();
  std::memcpy(bytes.data(), &header, sizeof header);
  return bytes;
}

} // namespace heddle::npu

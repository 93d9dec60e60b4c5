#include "tools/heddle/ProgramTables.h"

namespace heddle::cli {

ProgramTables::ProgramTables(const heddle_model *model, const std::string &file)
    : bytes(readMember(model, "program.bin").value_or("")) {
  if (bytes.size() < sizeof(heddle_program_header))
    fail(ExitInvalidFile, printable(file) + ": program.bin is damaged");
}

} // namespace heddle::cli

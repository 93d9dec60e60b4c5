// What goes wrong with a user's file: one error class that carries the exit code of the command line.
#pragma once
#include "llvm/Support/Error.h"
#include <string>

namespace heddle {

/// The values are the exit codes of docs: invalid file, unsupported feature, resource limit, input/output.
enum class InputFault { Invalid = 3, Unsupported = 4, ResourceLimit = 5, InputOutput = 74 };

class InputError : public llvm::ErrorInfo<InputError> {
public:
  static char ID;

  InputError(InputFault fault, std::string text) : fault(fault), text(std::move(text)) {}

  int exitCode() const { return static_cast<int>(fault); }
  void log(llvm::raw_ostream &os) const override { os << text; }
  std::error_code convertToErrorCode() const override;

private:
  InputFault fault;
  std::string text;
};

llvm::Error invalidInput(const llvm::Twine &message);
llvm::Error unsupportedInput(const llvm::Twine &message);
llvm::Error overLimit(const llvm::Twine &message);
/// Appends the system's text for `code` (an errno value).
llvm::Error inputOutputError(const llvm::Twine &message, int code);

/// The message and exit code of `error`, which is consumed; 70 (internal) for errors of another class, 0 for
/// success.
struct Failure {
  int exitCode;
  std::string message;
};
Failure takeFailure(llvm::Error error);

/// `name`, safe for a terminal and a log: control characters, bidirectional overrides and bytes that are not
/// UTF-8 become \x escapes, long names are cut.
std::string escaped(llvm::StringRef name);
/// The same in single quotes.
std::string quoted(llvm::StringRef name);

} // namespace heddle

#include "frontends/common/InputError.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/ConvertUTF.h"
#include <cstring>

namespace heddle {

char InputError::ID;

std::error_code InputError::convertToErrorCode() const { return llvm::inconvertibleErrorCode(); }

llvm::Error invalidInput(const llvm::Twine &message) {
  return llvm::make_error<InputError>(InputFault::Invalid, message.str());
}

llvm::Error unsupportedInput(const llvm::Twine &message) {
  return llvm::make_error<InputError>(InputFault::Unsupported, message.str());
}

llvm::Error overLimit(const llvm::Twine &message) {
  return llvm::make_error<InputError>(InputFault::ResourceLimit, message.str());
}

llvm::Error inputOutputError(const llvm::Twine &message, int code) {
  return llvm::make_error<InputError>(InputFault::InputOutput, (message + ": " + std::strerror(code)).str());
}

Failure takeFailure(llvm::Error error) {
  Failure failure{0, {}};
  // Of several errors the first decides the code; all are in the message, one a line.
  auto add = [&](int exitCode, const std::string &message) {
    failure.exitCode = failure.exitCode ? failure.exitCode : exitCode;
    failure.message += (failure.message.empty() ? "" : "\n") + message;
  };
  llvm::handleAllErrors(
      std::move(error), [&](const InputError &input) { add(input.exitCode(), input.message()); },
      [&](const llvm::ErrorInfoBase &other) { add(70, other.message()); });
  return failure;
}

/// Characters that would change how the text around them is shown.
static bool isInvisible(llvm::UTF32 code) {
  return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x61c ||
         (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
         (code >= 0x2060 && code <= 0x206f) || code == 0xfeff;
}

std::string escaped(llvm::StringRef name) {
  constexpr size_t longest = 96;
  std::string text;
  const auto *at = reinterpret_cast<const llvm::UTF8 *>(name.begin());
  const auto *end = reinterpret_cast<const llvm::UTF8 *>(name.end());
  while (at != end) {
    if (text.size() > longest) {
      text += "...";
      break;
    }
    llvm::UTF32 code;
    const llvm::UTF8 *start = at;
    bool valid = llvm::convertUTF8Sequence(&at, end, &code, llvm::strictConversion) == llvm::conversionOK;
    if (!valid)
      at = start + 1;
    if (valid && !isInvisible(code) && code != '\\') {
      text.append(reinterpret_cast<const char *>(start), at - start);
      continue;
    }
    for (; start != at; ++start)
      text += {'\\', 'x', llvm::hexdigit(*start >> 4, true), llvm::hexdigit(*start & 15, true)};
  }
  return text;
}

std::string quoted(llvm::StringRef name) { return "'" + escaped(name) + "'"; }

} // namespace heddle

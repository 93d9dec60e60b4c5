// pack-text MODEL.gguf OUT [CHAT_TEMPLATE]: writes the member text.bin of a model, for tests of the text
// library.
#include "frontends/common/InputError.h"
#include "frontends/gguf/GgufTokenizer.h"
#include "llvm/Support/raw_ostream.h"

using namespace heddle;

static int fail(llvm::Error error) {
  Failure failure = takeFailure(std::move(error));
  llvm::errs() << "pack-text: " << failure.message << "\n";
  return failure.exitCode;
}

int main(int argc, char **argv) {
  if (argc < 3 || argc > 4) {
    llvm::errs() << "usage: pack-text MODEL.gguf OUT [CHAT_TEMPLATE]\n";
    return 2;
  }
  auto file = gguf::File::open(argv[1]);
  if (!file)
    return fail(file.takeError());
  auto metadata = gguf::readTokenizer(*file);
  if (!metadata)
    return fail(metadata.takeError());
  if (!*metadata)
    return fail(unsupportedInput("the file has no tokenizer"));
  TextOptions options;
  if (argc == 4)
    options.chatTemplate = argv[3];
  auto member = writeTextMember(**metadata, options);
  if (!member)
    return fail(member.takeError());
  for (const std::string &warning : member->warnings)
    llvm::errs() << "pack-text: " << warning << "\n";
  std::error_code code;
  llvm::raw_fd_ostream out(argv[2], code);
  if (code)
    return fail(inputOutputError(argv[2], code.value()));
  out << member->bytes;
  return 0;
}

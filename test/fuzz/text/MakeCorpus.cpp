// text-corpus FOLDER: writes a small text.bin of each kind, with a text behind it, as seeds for text-fuzz.
#include "frontends/common/InputError.h"
#include "frontends/common/TextMetadata.h"
#include "llvm/Support/raw_ostream.h"
#include <deque>

using namespace heddle;

int main(int argc, char **argv) {
  if (argc != 2) {
    llvm::errs() << "usage: text-corpus FOLDER\n";
    return 2;
  }
  const std::string input = "ab <|im_end|> d\xc3\xa9j\xc3\xa0 12\n\n  \xe6\x97\xa5 \xff unable AB 's";
  for (const char *model : {"gpt2", "llama", "bert"}) {
    TokenizerMetadata meta;
    std::deque<std::string> strings;
    auto add = [&](std::string token, int32_t type) {
      meta.tokens.push_back(strings.emplace_back(std::move(token)));
      meta.types.push_back(type);
      meta.scores.push_back(-float(meta.tokens.size()));
    };
    meta.model = model;
    meta.preTokenizer = "deepseek-v3";
    meta.chatTemplate = "<|im_start|>";
    for (const char *control : {"<|im_start|>", "<|im_end|>", "[CLS]", "[SEP]", "[UNK]"})
      add(control, 3);
    meta.bos = 0, meta.eos = 1, meta.cls = 2, meta.sep = 3, meta.unk = 4;
    add("\n\n", 4);
    for (char c = '!'; c <= '~'; ++c)
      add(std::string(1, c), 1);
    for (const char *token : {"ab", "un", "able", "\xe2\x96\x81",
                              "\xe2\x96\x81"
                              "ab",
                              "\xe2\x96\x81un"})
      add(token, 1);
    meta.merges = {"a b", "u n"};
    auto member = writeTextMember(meta);
    if (!member) {
      llvm::errs() << takeFailure(member.takeError()).message << "\n";
      return 1;
    }
    std::error_code code;
    llvm::raw_fd_ostream out(std::string(argv[1]) + "/" + model, code);
    if (code)
      return 74;
    std::string text = input;
    text.resize(64, ' ');
    out << member->bytes << text;
  }
  return 0;
}

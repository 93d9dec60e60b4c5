// The compiler's writer of text.bin: what it refuses and what it records.
#include "TestVocabulary.h"
#include "heddle/text_format.h"

using namespace heddle::test;
using Catch::Matchers::Contains;
using Catch::Matchers::Equals;

TEST_CASE("an unknown tokenizer model is named") {
  Vocabulary v = bytePairVocabulary();
  v.model = "t5";
  auto failure = refusal(v);
  CHECK(failure.exitCode == 4);
  CHECK_THAT(failure.message,
             Equals("tokenizer model 't5' is not supported; known models: 'gpt2' (byte-level BPE), "
                    "'llama' (SentencePiece BPE), 'bert' (WordPiece)"));
}

TEST_CASE("an unknown pre-tokenizer is named, with what to do") {
  Vocabulary v = bytePairVocabulary();
  v.preTokenizer = "tekken";
  auto failure = refusal(v);
  CHECK(failure.exitCode == 4);
  CHECK_THAT(failure.message,
             Contains("pre-tokenizer 'tekken' is not supported; known ones: 'default', 'gpt-2'"));
  CHECK_THAT(failure.message, Contains("set tokenizer.ggml.pre"));
}

TEST_CASE("a missing pre-tokenizer is a warning") {
  Vocabulary v = bytePairVocabulary();
  v.preTokenizer = "";
  auto member = pack(v);
  REQUIRE(member.warnings.size() == 1);
  CHECK_THAT(member.warnings[0], Contains("names no pre-tokenizer"));
}

TEST_CASE("all wrong things are named at once") {
  Vocabulary v = bytePairVocabulary();
  v.bos = 5000;
  v.addEos = true;
  v.merges.push_back("no merge");
  auto failure = refusal(v, "mistral");
  CHECK(failure.exitCode == 3);
  CHECK_THAT(failure.message, Contains("tokenizer.ggml.bos_token_id is 5000, but there are 257 tokens"));
  CHECK_THAT(failure.message, Contains("tokenizer.ggml.add_eos_token is true, but there is no eos_token_id"));
  CHECK_THAT(failure.message, Contains("unknown chat template 'mistral'; known ones: none, chatml, gemma"));
  CHECK_THAT(failure.message,
             Contains("1 merges are not two tokens that make a third, the first of them 'no merge'"));
}

TEST_CASE("tables of different lengths are refused") {
  Vocabulary v = bytePairVocabulary();
  v.types.pop_back();
  CHECK_THAT(refusal(v).message, Equals("tokenizer.ggml.token_type has 256 elements for 257 tokens"));
  v = sentencePieceVocabulary({"a"});
  v.scores.clear();
  CHECK_THAT(refusal(v).message, Equals("tokenizer.ggml.scores has 0 elements for 260 tokens"));
  v.scores.assign(v.tokens.size(), NAN);
  CHECK_THAT(refusal(v).message, Equals("tokenizer.ggml.scores has no number for token 0"));
  v.tokens.clear();
  CHECK_THAT(refusal(v).message, Contains("tokens in tokenizer.ggml.tokens, found 0"));
}

TEST_CASE("equal tokens are refused") {
  Vocabulary v = bytePairVocabulary();
  v.add("a\x1b[0m");
  v.add("a\x1b[0m");
  CHECK_THAT(refusal(v).message, Equals("tokens 257 and 258 are both 'a\\x1b[0m'"));
}

TEST_CASE("a byte-level vocabulary needs merges") {
  Vocabulary v = bytePairVocabulary();
  v.merges.clear();
  CHECK_THAT(refusal(v).message, Equals("expected merges in tokenizer.ggml.merges, found none"));
}

TEST_CASE("a WordPiece vocabulary needs its special tokens") {
  Vocabulary v;
  v.model = "bert";
  v.add("▁a");
  CHECK_THAT(refusal(v).message, Contains("needs cls_token_id, seperator_token_id and unknown_token_id"));
}

TEST_CASE("empty tokens get a name") {
  Vocabulary v = bytePairVocabulary();
  v.add("");
  Opened model(v);
  size_t size;
  CHECK(std::string(heddle_text_token(model.text, 257, &size, nullptr), size) == "[EMPTY_257]");
}

TEST_CASE("an unknown chat template is a warning") {
  Vocabulary v = bytePairVocabulary();
  v.chatTemplate = "{{ '[INST]' }}";
  auto member = pack(v);
  CHECK(member.chatTemplate == "none");
  REQUIRE(member.warnings.size() == 1);
  CHECK_THAT(member.warnings[0], Contains("chats are off; choose one with --chat-template: none, chatml"));
}

TEST_CASE("a chat template needs its tokens") {
  Vocabulary v = bytePairVocabulary();
  CHECK_THAT(refusal(v, "chatml").message, Equals("chat template 'chatml' needs the tokens '<|im_start|>', "
                                                  "'<|im_end|>', which this model does not have"));
  v.chatTemplate = "<|im_start|>";
  auto member = pack(v);
  CHECK(member.chatTemplate == "none");
  CHECK(member.warnings.size() == 1);
  v.add("<|im_start|>", 3);
  v.add("<|im_end|>", 3);
  CHECK(pack(v).chatTemplate == "chatml");
  CHECK(pack(v, "none").chatTemplate == "none");
}

TEST_CASE("equal metadata gives equal bytes") {
  CHECK(pack(bytePairVocabulary({{"a", "b"}})).bytes == pack(bytePairVocabulary({{"a", "b"}})).bytes);
}

TEST_CASE("stop tokens are known by name, and control tokens whatever their type") {
  Vocabulary v = bytePairVocabulary();
  v.add("<|endoftext|>", 1);
  v.add("</s>", 4);
  Opened model(v);
  CHECK(heddle_text_is_stop(model.text, 257));
  CHECK_FALSE(heddle_text_is_stop(model.text, 258));
  CHECK(model.encode("<|endoftext|></s>").size() == 17);
  CHECK(model.encode("<|endoftext|></s>", HEDDLE_TEXT_PARSE_SPECIAL) == std::vector<int32_t>{257, 258});
}

// Text to ids, for the three kinds of tokenizers.
#include "TestVocabulary.h"
#include <chrono>

using namespace heddle::test;
using Ids = std::vector<int32_t>;

namespace {
double secondsOf(const Opened &model, const std::string &text) {
  auto start = std::chrono::steady_clock::now();
  model.encode(text);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}
} // namespace

TEST_CASE("byte pairs merge by rank, the leftmost first") {
  Opened model(bytePairVocabulary({{"a", "b"}, {"b", "c"}, {"ab", "c"}, {"a", "a"}}));
  CHECK(model.encode("abc") == Ids{258});
  CHECK(model.encode("bcab") == Ids{257, 256});
  CHECK(model.encode("aaa") == Ids{259, 'a'});
  CHECK(model.encode("aab") == Ids{'a', 256}); // "ab" has the lower rank
}

TEST_CASE("byte pairs do not cross pieces") {
  auto vocabulary = bytePairVocabulary({{"a", "1"}, {"1", "2"}, {"Ġ", "a"}});
  Opened gpt2(vocabulary);
  CHECK(gpt2.encode("a12 a") == Ids{'a', 257, 258});
  vocabulary.preTokenizer = "smollm";
  CHECK(Opened(vocabulary).encode("a12 a") == Ids{'a', '1', '2', 258});
}

TEST_CASE("each pre-tokenizer splits by its own rule") {
  // With all pairs of these characters as merges, the pieces show in the ids.
  auto pieces = [](const char *split, const std::string &text) {
    Vocabulary v = bytePairVocabulary({{"1", "2"},
                                       {"12", "3"},
                                       {"123", "4"},
                                       {"!", "Ċ"},
                                       {"'", "S"},
                                       {"!", "a"},
                                       {"Ġ", "Ġ"},
                                       {"ĠĠ", "Ġ"},
                                       {"Ġ", "!"},
                                       {"Ġ", "a"}});
    v.preTokenizer = split;
    v.addBos = false;
    Opened model(v);
    std::string out;
    for (int32_t id : model.encode(text))
      out += "|" + model.decode({id}, HEDDLE_TEXT_RAW_BYTES);
    return out;
  };
  CHECK(pieces("gpt-2", "1234 !\n   a'S") == "|1234| !|\n|  | a|'|S");
  CHECK(pieces("smollm", "1234 !\n   a'S") == "|1|2|3|4| !|\n|  | a|'|S");
  CHECK(pieces("llama-bpe", "1234!\n   a'S") == "|123|4|!\n|  | a|'S");
  CHECK(pieces("qwen2", "1234!\n   a'S") == "|1|2|3|4|!\n|  | a|'S");
  CHECK(pieces("deepseek-v3", "1234!\n   a'S!a") == "|123|4|!\n|  | a|'S|!a");
  CHECK(pieces("default", "1234!\n   a") == "|123|4|!|\n|  | a");
}

TEST_CASE("invalid UTF-8 becomes U+FFFD in byte pairs and stays bytes in SentencePiece") {
  Opened bytes(bytePairVocabulary());
  CHECK(bytes.encode("\xff") == Ids{0xef, 0xbf, 0xbd});
  CHECK(bytes.encode("\xe2\x96") == Ids{0xef, 0xbf, 0xbd, 0xef, 0xbf, 0xbd});
  CHECK(bytes.encode("\xf5\x80\x80\x80").size() == 12); // above U+10FFFF
  Vocabulary v = sentencePieceVocabulary({"a"});
  v.addSpacePrefix = false;
  CHECK(Opened(v).encode("\xff"
                         "a") == Ids{3 + 0xff, 3 + 'a'}); // taken for the start of a longer character
  CHECK(Opened(v).encode("a\x80") == Ids{259, 3 + 0x80});
}

TEST_CASE("NUL bytes are text") {
  Opened model(bytePairVocabulary());
  CHECK(model.encode(std::string("a\0b", 3)) == Ids{'a', 0, 'b'});
  CHECK(model.decode({'a', 0, 'b'}) == std::string("a\0b", 3));
}

TEST_CASE("control tokens are found only where they are parsed") {
  Opened model(bytePairVocabulary({}, {"<|x|>", "<|xy|>", "<|x|><|x|>"}));
  CHECK(model.encode("a<|x|>", 0).size() == 6);
  CHECK(model.encode("a<|x|>b", HEDDLE_TEXT_PARSE_SPECIAL) == Ids{'a', 257, 'b'});
  CHECK(model.encode("<|x|><|x|><|x|>", HEDDLE_TEXT_PARSE_SPECIAL) == Ids{259, 257});
  CHECK(model.encode("<|x<|xy|>", HEDDLE_TEXT_PARSE_SPECIAL) == Ids{'<', '|', 'x', 258});
}

TEST_CASE("user-defined tokens are always found, the longest first everywhere") {
  Vocabulary v = bytePairVocabulary();
  v.add("--", 4);    // 257
  v.add("-----", 4); // 258
  v.add("-+-+", 4);  // 259
  Opened model(v);
  CHECK(model.encode("----") == Ids{257, 257});
  CHECK(model.encode("a--------b") == Ids{'a', 258, 257, '-', 'b'});
  CHECK(model.encode("--+-+") == Ids{'-', 259}); // the longer one wins although it begins later
}

TEST_CASE("a vocabulary adds its own ids around a text") {
  Vocabulary v = bytePairVocabulary({}, {"<s>", "</s>"});
  v.bos = 257, v.eos = 258, v.addBos = true, v.addEos = true;
  CHECK(Opened(v).encode("a", HEDDLE_TEXT_ENCODE_SPECIAL) == Ids{257, 'a', 258});
  CHECK(Opened(v).encode("", HEDDLE_TEXT_ENCODE_SPECIAL) == Ids{257, 258});
  CHECK(Opened(v).encode("a") == Ids{'a'});
}

TEST_CASE("a piece that is a token is taken whole with llama-bpe") {
  Vocabulary v = bytePairVocabulary({{"a", "b"}});
  v.add("abc"); // no merges lead to it
  v.preTokenizer = "llama-bpe";
  v.addBos = false;
  CHECK(Opened(v).encode("abc") == Ids{257});
  v.preTokenizer = "gpt-2";
  CHECK(Opened(v).encode("abc") == Ids{256, 'c'});
}

TEST_CASE("SentencePiece merges by score and falls back to bytes") {
  Vocabulary v =
      sentencePieceVocabulary({"he", "el", "llo", "ll", "h", "e", "l", "o", "▁", "▁he", "hell", "hello"});
  v.addSpacePrefix = false;
  Opened model(v);
  auto id = [&](const char *token) { return model.find(token); };
  CHECK(model.encode("hello") == Ids{id("hello")});
  CHECK(model.encode("ell") == Ids{id("el"), id("l")}); // "el" before "ll"
  CHECK(model.encode("hé") == Ids{id("h"), 3 + 0xc3, 3 + 0xa9});
  CHECK(model.encode(" he") == Ids{id("▁he")});
  CHECK(model.decode(model.encode(" hello hé\n")) == " hello hé\n");
}

TEST_CASE("SentencePiece puts a space before the first word and takes it away again") {
  Opened model(sentencePieceVocabulary({"▁", "a", "▁a"}));
  CHECK(model.encode("a a") == Ids{261, 261});
  CHECK(model.decode({261, 261}) == "a a");
  CHECK(model.encode("") == Ids{});
}

TEST_CASE("SentencePiece is not cut where a token spans a space") {
  Vocabulary v = sentencePieceVocabulary({"a▁b", "▁b", "a", "b", "▁"});
  v.addSpacePrefix = false;
  Opened model(v);
  CHECK(model.encode("a b") == Ids{model.find("a▁b")});
  CHECK(model.encode("b b") == Ids{model.find("b"), model.find("▁b")});
}

TEST_CASE("WordPiece takes the longest pieces from the left") {
  Opened model(wordPieceVocabulary({"▁un", "▁una", "able", "aff", "▁a", "▁!", "▁中", "▁u"}));
  auto id = [&](const char *token) { return model.find(token); };
  CHECK(model.encode("unaffable") == Ids{1}); // "una" first, and nothing continues with "ff"
  CHECK(model.encode("UNABLE", 0) == Ids{1});
  CHECK(model.encode("unaff") == Ids{1});
  CHECK(model.encode("a!中a") == Ids{id("a"), id("!"), id("中"), id("a")});
  CHECK(model.encode("uaff") == Ids{id("u"), id("##aff")});
  CHECK(model.encode("a", HEDDLE_TEXT_ENCODE_SPECIAL) == Ids{2, id("a"), 3});
  CHECK(model.encode("[SEP]", HEDDLE_TEXT_PARSE_SPECIAL) == Ids{3});
  CHECK(model.encode("[SEP]") == Ids{1, 1, 1});
}

TEST_CASE("WordPiece folds case and accents") {
  Vocabulary v = wordPieceVocabulary({"▁uber", "▁cafe", "▁Über", "▁über", "▁k"});
  Opened folding(v);
  auto only = [](const Opened &m, const char *token) { return Ids{m.find(token)}; };
  CHECK(folding.encode("Über") == only(folding, "uber"));
  CHECK(folding.encode("CAFE\u0301") == only(folding, "cafe"));
  CHECK(folding.encode("K") == only(folding, "k")); // the Kelvin sign
  CHECK(folding.encode("ca\u200bfe\u0000") == only(folding, "cafe"));
  v.stripAccents = false;
  Opened lower(v);
  CHECK(lower.encode("ÜBER") == only(lower, "über"));
  v.lowerCase = false;
  Opened cased(v);
  CHECK(cased.encode("Über") == only(cased, "Über"));
}

TEST_CASE("WordPiece gives up on words of more than 100 characters") {
  Opened model(wordPieceVocabulary({"▁a", "a"}));
  CHECK(model.encode(std::string(100, 'a')).size() == 100);
  CHECK(model.encode(std::string(101, 'a')) == Ids{1});
}

TEST_CASE("a small buffer gets the first ids and the number of all") {
  Opened model(bytePairVocabulary());
  int32_t ids[2] = {-7, -7};
  size_t count = 0;
  CHECK(heddle_text_encode(model.text, "abc", 3, 0, ids, 1, &count) == HEDDLE_TEXT_BUFFER_TOO_SMALL);
  CHECK(count == 3);
  CHECK(ids[0] == 'a');
  CHECK(ids[1] == -7);
  CHECK(heddle_text_encode(model.text, nullptr, 1, 0, ids, 1, &count) == HEDDLE_TEXT_INVALID_ARGUMENT);
  CHECK(heddle_text_encode(model.text, "a", 1, 64, ids, 1, &count) == HEDDLE_TEXT_INVALID_ARGUMENT);
  CHECK(heddle_text_encode(model.text, "a", 1, 0, ids, 1, nullptr) == HEDDLE_TEXT_INVALID_ARGUMENT);
}

TEST_CASE("long pieces take no quadratic time") {
  std::string run(400000, 'a'), mixed;
  for (size_t i = 0; i < run.size(); ++i)
    mixed += "ab"[i * i % 7 % 2];
  Opened bytes(bytePairVocabulary({{"a", "a"}, {"aa", "aa"}, {"aaaa", "aaaa"}, {"a", "b"}, {"b", "a"}}));
  Vocabulary v = sentencePieceVocabulary({"a", "b", "aa", "aaaa", "aaaaaaaa", "ab", "ba"});
  v.add("aaa", 4);
  Opened pieces(v);
  Opened words(wordPieceVocabulary({"▁a", "a"}));
  for (const std::string &text : {run, mixed, std::string(400000, ' '), std::string(400000, '\n')}) {
    CHECK(secondsOf(bytes, text) < 5);
    CHECK(secondsOf(pieces, text) < 5);
    CHECK(secondsOf(words, text) < 5);
  }
}

// Ids to text, token look-up, stop strings.
#include "TestVocabulary.h"
#include <random>

using namespace heddle::test;

namespace {
std::string feedAll(heddle_text_stops *stops, const std::string &text, size_t step, int &matched) {
  std::string out;
  matched = -1;
  for (size_t at = 0; at < text.size() && matched < 0; at += step) {
    std::string piece = text.substr(at, step);
    std::string buffer(heddle_text_stops_held(stops) + piece.size(), '\0');
    size_t size = 0;
    REQUIRE(heddle_text_stops_feed(stops, piece.data(), piece.size(), buffer.data(), buffer.size(), &size,
                                   &matched) == HEDDLE_TEXT_OK);
    out.append(buffer.data(), size);
  }
  std::string rest(heddle_text_stops_held(stops), '\0');
  size_t size = 0;
  REQUIRE(heddle_text_stops_end(stops, rest.data(), rest.size(), &size) == HEDDLE_TEXT_OK);
  return out.append(rest.data(), size);
}

heddle_text_stops *createStops(const std::vector<std::string> &strings) {
  std::vector<const char *> pointers;
  std::vector<size_t> sizes;
  for (const std::string &string : strings) {
    pointers.push_back(string.data());
    sizes.push_back(string.size());
  }
  heddle_text_stops *stops = nullptr;
  REQUIRE(heddle_text_stops_create(pointers.data(), sizes.data(), strings.size(), &stops) == HEDDLE_TEXT_OK);
  return stops;
}
} // namespace

TEST_CASE("a character is held back until it is complete") {
  Opened model(bytePairVocabulary());
  heddle_text_decoder decoder;
  heddle_text_decoder_start(&decoder, model.text, 0);
  char out[16];
  size_t size = 99;
  for (uint8_t byte : {0xf0, 0x9f, 0x98}) {
    CHECK(heddle_text_decode(&decoder, byte, out, sizeof out, &size) == HEDDLE_TEXT_OK);
    CHECK(size == 0);
  }
  heddle_text_decoder copy = decoder;
  CHECK(heddle_text_decode(&decoder, 0x80, out, 3, &size) == HEDDLE_TEXT_BUFFER_TOO_SMALL);
  CHECK(size == 4);
  CHECK(heddle_text_decode(&decoder, 0x80, out, sizeof out, &size) == HEDDLE_TEXT_OK);
  CHECK(std::string(out, size) == "😀");
  CHECK(heddle_text_decode_end(&copy, out, sizeof out, &size) == HEDDLE_TEXT_OK);
  CHECK(std::string(out, size) == "\ufffd");
}

TEST_CASE("what is no UTF-8 is replaced, a character at a time") {
  Opened model(bytePairVocabulary());
  CHECK(model.decode({0x80, 'a'}) == "\ufffd"
                                     "a");
  CHECK(model.decode({0xe2, 0x96, 'a'}) == "\ufffd"
                                           "a");
  CHECK(model.decode({0xe2, 0xe2, 0x96, 0x81}) == "\ufffd\u2581");
  CHECK(model.decode({0xed, 0xa0, 0x80}) == "\ufffd\ufffd\ufffd"); // a surrogate
  CHECK(model.decode({0xc0, 0x80}) == "\ufffd\ufffd");             // overlong
  CHECK(model.decode({0xf4, 0x90}) == "\ufffd\ufffd");             // above U+10FFFF
  CHECK(model.decode({0x80, 0xe2}, HEDDLE_TEXT_RAW_BYTES) == "\x80\xe2");
}

TEST_CASE("control tokens are skipped or shown") {
  Opened model(bytePairVocabulary({}, {"<|x|>"}));
  CHECK(model.decode({'a', 257, 'b'}) == "ab");
  CHECK(model.decode({'a', 257, 'b'}, HEDDLE_TEXT_SHOW_SPECIAL) == "a<|x|>b");
}

TEST_CASE("words are put together again") {
  Opened model(wordPieceVocabulary({"▁un", "able", "▁!"}));
  CHECK(model.decode({2, 5, 6, 7, 3}) == "unable !");
  CHECK(model.decode({2, 5, 3}, HEDDLE_TEXT_SHOW_SPECIAL) == "[CLS] un [SEP]");
}

TEST_CASE("decoding checks its arguments") {
  Opened model(bytePairVocabulary());
  heddle_text_decoder decoder;
  CHECK(heddle_text_decoder_start(&decoder, model.text, 32) == HEDDLE_TEXT_INVALID_ARGUMENT);
  REQUIRE(heddle_text_decoder_start(&decoder, model.text, 0) == HEDDLE_TEXT_OK);
  char out[16];
  size_t size;
  CHECK(heddle_text_decode(&decoder, -1, out, sizeof out, &size) == HEDDLE_TEXT_INVALID_ARGUMENT);
  CHECK(heddle_text_decode(&decoder, 257, out, sizeof out, &size) == HEDDLE_TEXT_INVALID_ARGUMENT);
  CHECK(heddle_text_decode(nullptr, 0, out, sizeof out, &size) == HEDDLE_TEXT_INVALID_ARGUMENT);
}

TEST_CASE("tokens are looked up by id and by text") {
  Vocabulary v = bytePairVocabulary({{"Ġ", "a"}}, {"<|im_end|>", "<|endoftext|>"});
  v.eos = 258;
  Opened model(v);
  size_t size;
  uint32_t type;
  CHECK(std::string(heddle_text_token(model.text, 256, &size, &type), 2) == " a");
  CHECK(size == 2);
  CHECK(type == HEDDLE_TEXT_TOKEN_NORMAL);
  CHECK(heddle_text_token(model.text, 259, &size, &type) == nullptr);
  CHECK(heddle_text_token(model.text, -1, &size, &type) == nullptr);
  CHECK(model.find(" a") == 256);
  CHECK(model.find("<|im_end|>") == 257);
  CHECK(model.find("no such token") == -1);
  heddle_text_info info = {};
  CHECK(heddle_text_get_info(model.text, &info) == HEDDLE_TEXT_INVALID_ARGUMENT);
  info.struct_size = sizeof info;
  REQUIRE(heddle_text_get_info(model.text, &info) == HEDDLE_TEXT_OK);
  CHECK(info.token_count == 259);
  CHECK(info.eos == 258);
  CHECK(info.eot == 257);
  CHECK(heddle_text_is_stop(model.text, 257));
  CHECK(heddle_text_is_stop(model.text, 258));
  CHECK_FALSE(heddle_text_is_stop(model.text, 'a'));
}

TEST_CASE("a stop string ends the stream before itself, however the stream is cut") {
  for (size_t step : {1, 2, 3, 100}) {
    int matched;
    heddle_text_stops *stops = createStops({"\nUser:", "aab", "b<end>"});
    CHECK(feedAll(stops, "Hello\nUse me\nUser: no", step, matched) == "Hello\nUse me");
    CHECK(matched == 0);
    CHECK(feedAll(stops, "aaaab", step, matched) == "aa");
    CHECK(matched == 1);
    CHECK(feedAll(stops, "aaa b<end", step, matched) == "aaa b<end");
    CHECK(matched == -1);
    heddle_text_stops_destroy(stops);
  }
}

TEST_CASE("stop strings agree with a plain search") {
  std::mt19937 random(5);
  auto word = [&](size_t size) {
    std::string text;
    while (text.size() < size)
      text += "ab"[random() % 2];
    return text;
  };
  for (int round = 0; round < 2000; ++round) {
    std::vector<std::string> strings;
    for (size_t i = 0; i < 1 + random() % 3; ++i)
      strings.push_back(word(1 + random() % 6));
    std::string text = word(random() % 40);
    size_t end = std::string::npos, begin = std::string::npos;
    for (const std::string &string : strings)
      if (size_t at = text.find(string); at != std::string::npos) {
        size_t stop = at + string.size();
        if (stop < end || (stop == end && at < begin)) {
          end = stop;
          begin = at;
        }
      }
    heddle_text_stops *stops = createStops(strings);
    int matched;
    CHECK(feedAll(stops, text, 1 + random() % 5, matched) == text.substr(0, begin));
    CHECK((matched >= 0) == (begin != std::string::npos));
    heddle_text_stops_destroy(stops);
  }
}

TEST_CASE("stop strings check their arguments") {
  heddle_text_stops *stops = nullptr;
  const char *empty = "";
  size_t zero = 0;
  CHECK(heddle_text_stops_create(&empty, &zero, 1, &stops) == HEDDLE_TEXT_INVALID_ARGUMENT);
  CHECK(stops == nullptr);
  stops = createStops({"xyz"});
  CHECK(heddle_text_stops_held(stops) == 2);
  char out[2];
  size_t size;
  int matched;
  CHECK(heddle_text_stops_feed(stops, "abc", 3, out, sizeof out, &size, &matched) ==
        HEDDLE_TEXT_BUFFER_TOO_SMALL);
  CHECK(size == 3);
  heddle_text_stops_destroy(stops);
  heddle_text_stops_destroy(nullptr);
}

// text.bin with damaged bytes: it is refused with a message, or whatever it holds is used without harm. Run
// under AddressSanitizer this finds every read outside of the member.
#include "TestVocabulary.h"
#include "heddle/text_format.h"
#include <cstddef>
#include <random>

using namespace heddle::test;

namespace {

/// Uses everything that a member offers; returns false where it was refused.
bool use(const std::string &bytes, std::string &message) {
  AlignedBytes data(bytes);
  heddle_text *text = reinterpret_cast<heddle_text *>(1);
  char buffer[256] = "";
  heddle_text_status status = heddle_text_open(data.data(), data.size(), &text, buffer, sizeof buffer);
  message = buffer;
  if (status != HEDDLE_TEXT_OK) {
    CHECK(text == nullptr);
    CHECK(!message.empty());
    return false;
  }
  heddle_text_info info = {};
  info.struct_size = sizeof info;
  heddle_text_get_info(text, &info);
  std::vector<char> piece(info.max_piece_bytes);
  std::vector<int32_t> ids(4096);
  size_t count, size;
  const std::string input = "Hello wörld 123 <|x|>\n\n  日本 e\u0301 \xff\xf0\x9f \u2581 ab ab unable";
  for (uint32_t flags = 0; flags < 4; ++flags) {
    heddle_text_encode(text, input.data(), input.size(), flags, ids.data(), ids.size(), &count);
    heddle_text_decoder decoder;
    heddle_text_decoder_start(&decoder, text, flags);
    for (size_t i = 0; i < std::min(count, ids.size()); ++i) {
      CHECK(ids[i] >= 0);
      CHECK(ids[i] < int64_t(info.token_count));
      CHECK(heddle_text_decode(&decoder, ids[i], piece.data(), piece.size(), &size) == HEDDLE_TEXT_OK);
    }
  }
  for (int32_t id : {info.bos, info.eos, info.unk, info.pad})
    heddle_text_token(text, id, &size, nullptr);
  heddle_text_message chat = {"user", 4, "ab", 2};
  heddle_text_encode_chat(text, &chat, 1, 1, ids.data(), ids.size(), &count, nullptr, 0);
  heddle_text_close(text);
  return true;
}

std::vector<std::string> members() {
  auto bytePair =
      bytePairVocabulary({{"a", "b"}, {"l", "l"}, {"Ġ", "ab"}}, {"<|x|>", "<|im_start|>", "<|im_end|>"});
  bytePair.chatTemplate = "<|im_start|>";
  bytePair.bos = 260, bytePair.addBos = true;
  return {pack(bytePair).bytes, pack(sentencePieceVocabulary({"▁", "ab", "▁ab", "l", "o"})).bytes,
          pack(wordPieceVocabulary({"▁un", "able", "▁ab", "▁!"})).bytes};
}

template <typename T> std::string with(std::string bytes, size_t offset, T value) {
  memcpy(bytes.data() + offset, &value, sizeof value);
  return bytes;
}
#define FIELD(name) offsetof(heddle_text_header, name)
#define COUNT(name) (offsetof(heddle_text_header, name) + offsetof(heddle_text_span, count))

} // namespace

TEST_CASE("each damage has its message") {
  std::string good = members()[0], message;
  REQUIRE(use(good, message));
  heddle_text_header header;
  memcpy(&header, good.data(), sizeof header);
  auto refused = [&](const std::string &bytes) {
    CHECK_FALSE(use(bytes, message));
    return message;
  };
  CHECK(refused("") == "text.bin: the member does not begin with 'HDLTEXT1'");
  CHECK(refused(with(good, 0, 'X')) == "text.bin: the member does not begin with 'HDLTEXT1'");
  CHECK(refused(with(good, FIELD(version), 2u)) ==
        "text.bin: expected version 1, found 2; compile the model again or update the runtime");
  CHECK(use(good + std::string(255, 'x'), message)); // an artifact rounds its members up
  CHECK(refused(good + std::string(256, 'x')) ==
        "text.bin: the member has another size than its header says");
  CHECK(refused(with(good, FIELD(kind), 9u)) == "text.bin: the member has an unknown kind");
  CHECK(refused(with(good, FIELD(split), 99u)) == "text.bin: the member has an unknown pre-tokenizer");
  CHECK(refused(with(good, FIELD(split), 0u)) == "text.bin: the member has an unknown pre-tokenizer");
  CHECK(refused(with(good, FIELD(flags), 1u << 30)) == "text.bin: the member has unknown flags");
  CHECK(refused(with(good, FIELD(chat_template), 99u)) ==
        "text.bin: the member has an unknown chat template");
  CHECK(refused(with(good, FIELD(token_count), 0u)) == "text.bin: the member has no tokens, or too many");
  CHECK(refused(with(good, FIELD(max_token_bytes), ~0u)) ==
        "text.bin: the member has tokens that are too long");
  CHECK(refused(with(good, FIELD(max_token_bytes), 1u)) ==
        "text.bin: the member has token texts out of order, or too long");
  CHECK(refused(with(good, FIELD(bos), 100000)) == "text.bin: the member names a token out of range");
  CHECK(refused(with(good, FIELD(bos), -2)) == "text.bin: the member names a token out of range");
  CHECK(refused(with(good, FIELD(byte_tokens), 1 << 20)) ==
        "text.bin: the member names a token out of range");
  CHECK(refused(with(good, FIELD(ascii_fold), uint8_t(0x80))) ==
        "text.bin: the member folds ASCII to other bytes");
  CHECK(refused(with(good, FIELD(text), ~0ull)) == "text.bin: the member has token texts past its end");
  CHECK(refused(with(good, FIELD(text), header.text.offset + 1)) ==
        "text.bin: the member has token texts past its end");
  CHECK(refused(with(good, COUNT(offsets), ~0ull)) == "text.bin: the member has token offsets past its end");
  CHECK(refused(with(good, COUNT(types), 1ull)) ==
        "text.bin: the member has token tables of different sizes");
  CHECK(refused(with(good, COUNT(text), 1ull)) == "text.bin: the member has token texts out of range");
  CHECK(refused(with(good, header.types.offset, uint8_t(0xff))) ==
        "text.bin: the member has an unknown token type");
  CHECK(refused(with(good, COUNT(token_slots), 3ull)) ==
        "text.bin: the member has a hash table whose size is no power of two");
  CHECK(refused(with(good, COUNT(pair_slots), 0ull)) ==
        "text.bin: the member has a hash table whose size is no power of two");
  CHECK(refused(with(good, COUNT(pair_slots), 1ull << 60)) ==
        "text.bin: the member has its merge table past its end");
  CHECK(refused(with(good, header.special.offset, 1u << 20)) ==
        "text.bin: the member has a special token out of range");
  CHECK(refused(with(good, header.special.offset, uint32_t('z'))) ==
        "text.bin: the member has special tokens out of order");
  CHECK(refused(with(good, header.stops.offset, -1)) == "text.bin: the member has a stop token out of range");
  CHECK(refused(with(good, COUNT(class_index), 5ull)) ==
        "text.bin: the member has too few character classes");
  CHECK(refused(with(good, header.class_index.offset, uint16_t(0xffff))) ==
        "text.bin: the member has a page of character classes out of range");

  std::string full = good;
  for (uint64_t i = 0; i < header.token_slots.count; ++i)
    full = with(full, header.token_slots.offset + 8 * i + 4, 1u);
  CHECK(refused(full) == "text.bin: the member has a token table that is too full");
  full = good;
  for (uint64_t i = 0; i < header.pair_slots.count; ++i)
    full = with(full, header.pair_slots.offset + 16 * i + 12, 1u);
  CHECK(refused(full) == "text.bin: the member has a merge table that is too full");

  std::string words = members()[2];
  memcpy(&header, words.data(), sizeof header);
  CHECK(refused(with(words, header.folds.offset, ~0u)) ==
        "text.bin: the member has character folds out of order");
  CHECK(refused(with(words, header.folds.offset + 8, 0x110000u)) ==
        "text.bin: the member folds to what is no character");
  std::string pieces = members()[1];
  memcpy(&header, pieces.data(), sizeof header);
  CHECK(refused(with(pieces, header.scores.offset, 0x7fc00000u)) ==
        "text.bin: the member has a score that is not a number");
}

TEST_CASE("memory that is not aligned is refused") {
  std::string good = members()[0];
  AlignedBytes shifted("x" + good);
  heddle_text *text;
  char message[128];
  CHECK(heddle_text_open(static_cast<const char *>(shifted.data()) + 1, good.size(), &text, message,
                         sizeof message) == HEDDLE_TEXT_INVALID_ARGUMENT);
  CHECK(std::string(message) == "expected 'text.bin' to be aligned to 8 bytes");
  CHECK(heddle_text_open(nullptr, 0, &text, nullptr, 0) == HEDDLE_TEXT_INVALID_ARGUMENT);
  CHECK(heddle_text_open(shifted.data(), 1, nullptr, nullptr, 0) == HEDDLE_TEXT_INVALID_ARGUMENT);
}

TEST_CASE("a member cut anywhere is refused") {
  for (const std::string &good : members()) {
    std::string message;
    for (size_t size = 0; size < good.size(); size += size < 4096 ? 7 : 997) {
      // Without its last bytes, which the header counts, and with a header that counts what is left.
      CHECK_FALSE(use(good.substr(0, size), message));
      if (size > FIELD(file_size) + 8)
        CHECK_FALSE(use(with(good.substr(0, size), FIELD(file_size), uint64_t(size)), message));
    }
  }
}

TEST_CASE("random damage does no harm") {
  std::mt19937 random(11);
  for (const std::string &good : members()) {
    size_t used = 0;
    for (int round = 0; round < 3000; ++round) {
      std::string bytes = good, message;
      size_t limit = round % 2 ? bytes.size() : sizeof(heddle_text_header);
      for (unsigned i = 0; i < 1 + random() % 4; ++i) {
        size_t at = 12 + random() % (limit - 12);
        if (at >= FIELD(file_size) && at < FIELD(file_size) + 8)
          continue;
        bytes[at] = random() % 3 ? char(random()) : random() % 2 ? '\xff' : '\0';
      }
      used += use(bytes, message);
    }
    CHECK(used > 100); // the damage was not all refused, so that the rest was really used
  }
}

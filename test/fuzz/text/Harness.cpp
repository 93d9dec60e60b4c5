// Fuzzes the reader of text.bin and everything that works on what it accepts. The input's last 64 bytes are
// the text.
#include "heddle/text_format.h"
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

static void encodeAndDecode(const heddle_text *text, const heddle_text_info &info, const char *input,
                            size_t size) {
  std::vector<int32_t> ids(size * 4 + 64);
  std::vector<char> piece(info.max_piece_bytes);
  for (uint32_t flags = 0; flags < 4; ++flags) {
    size_t count = 0, written = 0;
    heddle_text_encode(text, input, size, flags, ids.data(), ids.size(), &count);
    heddle_text_decoder decoder;
    heddle_text_decoder_start(&decoder, text, flags);
    for (size_t i = 0; i < std::min(count, ids.size()); ++i)
      if (heddle_text_decode(&decoder, ids[i], piece.data(), piece.size(), &written) != HEDDLE_TEXT_OK)
        abort(); // ids are in range, and the buffer is of the promised size
    heddle_text_decode_end(&decoder, piece.data(), piece.size(), &written);
  }
  heddle_text_message chat[] = {{"system", 6, input, size / 2}, {"user", 4, input, size}};
  size_t count;
  heddle_text_encode_chat(text, chat, 2, HEDDLE_TEXT_CHAT_GENERATE, ids.data(), ids.size(), &count, nullptr,
                          0);
  heddle_text_find(text, input, size);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  size_t inputSize = std::min<size_t>(size, 64), memberSize = size - inputSize;
  std::unique_ptr<uint64_t[]> words(new uint64_t[memberSize / 8 + 1]);
  std::memcpy(words.get(), data, memberSize);
  // Nearly every change would fail on the size alone.
  if (memberSize >= sizeof(heddle_text_header))
    reinterpret_cast<heddle_text_header *>(words.get())->file_size = memberSize;
  // An allocation of exactly the member's size lets AddressSanitizer see a read past its end.
  void *member = nullptr;
  if (posix_memalign(&member, 8, memberSize ? memberSize : 1) != 0)
    return 0;
  std::memcpy(member, words.get(), memberSize);
  heddle_text *text = nullptr;
  if (heddle_text_open(member, memberSize, &text, nullptr, 0) == HEDDLE_TEXT_OK) {
    heddle_text_info info = {};
    info.struct_size = sizeof info;
    heddle_text_get_info(text, &info);
    encodeAndDecode(text, info, reinterpret_cast<const char *>(data) + memberSize, inputSize);
  }
  heddle_text_close(text);
  free(member);
  return 0;
}

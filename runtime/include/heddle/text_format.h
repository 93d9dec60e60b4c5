// text.bin: the member of an artifact that turns text into token ids and back.
//
// Shared by the compiler (frontends/common/TextMetadata.cpp writes it) and the text library (runtime/text
// reads it in place): plain C11, little-endian, no pointers. A table is found through a `heddle_text_span`: a
// byte offset from the start of the file, a multiple of 8, and a count of elements. Everything that needs
// work (hash tables, character classes, decoded token texts) is done by the compiler; the reader only
// validates.
#ifndef HEDDLE_TEXT_FORMAT_H
#define HEDDLE_TEXT_FORMAT_H
#include <heddle/text.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HEDDLE_TEXT_MAGIC "HDLTEXT1" // 8 bytes, no terminator
#define HEDDLE_TEXT_VERSION 1u

typedef enum {                // how byte-level BPE cuts text into pieces; docs/text.md has the patterns
  HEDDLE_TEXT_SPLIT_NONE = 0, // the other kinds
  HEDDLE_TEXT_SPLIT_DEFAULT = 1,
  HEDDLE_TEXT_SPLIT_GPT2 = 2,
  HEDDLE_TEXT_SPLIT_DIGITS = 3, // single digits, then as GPT-2: SmolLM, StarCoder, Command R
  HEDDLE_TEXT_SPLIT_LLAMA3 = 4,
  HEDDLE_TEXT_SPLIT_QWEN2 = 5,
  HEDDLE_TEXT_SPLIT_DEEPSEEK3 = 6,
  HEDDLE_TEXT_SPLIT_COUNT = 7
} heddle_text_split;

enum { // heddle_text_header.flags
  HEDDLE_TEXT_ADD_BOS = 1,
  HEDDLE_TEXT_ADD_EOS = 2,
  HEDDLE_TEXT_SPACE_PREFIX = 4,   // SentencePiece: a space before the first word
  HEDDLE_TEXT_IGNORE_MERGES = 8,  // byte-level BPE: a piece that is a token is taken whole
  HEDDLE_TEXT_STRIP_ACCENTS = 16, // WordPiece: decompose, then drop marks
  HEDDLE_TEXT_KNOWN_FLAGS = 31
};

enum { // a byte of the types table: a HEDDLE_TEXT_TOKEN_* type in the low bits
  HEDDLE_TEXT_TOKEN_TYPE_MASK = 7,
  HEDDLE_TEXT_TOKEN_PARSED_ONLY = 8 // found in text only where special tokens are parsed
};

enum { // character classes of byte-level BPE
  HEDDLE_TEXT_OTHER = 0,
  HEDDLE_TEXT_LETTER = 1,
  HEDDLE_TEXT_NUMBER = 2,
  HEDDLE_TEXT_PUNCTUATION = 3,
  HEDDLE_TEXT_SYMBOL = 4,
  HEDDLE_TEXT_MARK = 5,
  HEDDLE_TEXT_SPACE = 6
};
enum { // character classes of WordPiece
  HEDDLE_TEXT_WORD = 0,
  HEDDLE_TEXT_WORD_DROPPED = 1,
  HEDDLE_TEXT_WORD_SPACE = 2,
  HEDDLE_TEXT_WORD_PUNCTUATION = 3, // a word of its own
  HEDDLE_TEXT_WORD_IDEOGRAPH = 4,   // a word of its own
  HEDDLE_TEXT_WORD_MARK = 5         // dropped when accents are stripped
};
#define HEDDLE_TEXT_CLASS_PAGE                                                                               \
  256u // code points in a page of classes, two to a byte, the lower code point low
#define HEDDLE_TEXT_CLASS_PAGES 4352u // pages in 0..U+10FFFF

typedef struct heddle_text_span {
  uint64_t offset, count;
} heddle_text_span;

// Open addressing with linear probing from `heddle_text_hash(...) & (count - 1)`; counts are powers of two or
// 0.
typedef struct heddle_text_token_slot {
  uint32_t hash; // of the token's text
  uint32_t id1;  // id + 1; 0: empty
} heddle_text_token_slot;

typedef struct heddle_text_pair_slot {
  uint32_t left, right; // ids
  uint32_t rank;        // lower merges first
  uint32_t result1;     // id + 1; 0: empty
} heddle_text_pair_slot;

typedef struct heddle_text_fold { // what WordPiece replaces a code point by; ascending code points above 0x7F
  uint32_t code_point, count;
  uint32_t text[4];
} heddle_text_fold;

typedef struct heddle_text_header {
  char magic[8];
  uint32_t version, kind;
  uint64_t file_size;
  uint32_t split, flags, chat_template, token_count;
  int32_t bos, eos, eot, unk, sep, cls, pad, mask; // -1: none
  uint32_t max_token_bytes;
  uint32_t max_word_characters; // WordPiece: longer words are unknown
  heddle_text_span text;        // u8: token texts as pieces of text; SentencePiece has U+2581 for a space,
                                //     WordPiece "##" before continuations
  heddle_text_span offsets;     // u32[token_count + 1] into `text`
  heddle_text_span types;       // u8[token_count]
  heddle_text_span scores;      // f32[token_count]: SentencePiece
  heddle_text_span token_slots; // heddle_text_token_slot
  heddle_text_span pair_slots;  // heddle_text_pair_slot: byte-level BPE
  heddle_text_span special; // u32: ids of tokens that are found in text before all else, ascending by text
  heddle_text_span stops;   // u32: ids that end generation
  heddle_text_span default_system; // u8: system text where a chat has none
  heddle_text_span class_index;    // u16[HEDDLE_TEXT_CLASS_PAGES]: number of the page
  heddle_text_span class_pages;    // u8[][HEDDLE_TEXT_CLASS_PAGE / 2]
  heddle_text_span folds;          // heddle_text_fold: WordPiece
  int32_t byte_tokens[256];        // id for a single byte, or -1
  uint8_t ascii_fold[128];         // WordPiece: lower case of ASCII
  uint8_t
      joined_after[256]; // SentencePiece: 1 where some token has U+2581 after this byte, so that text must
                         //     not be cut there
} heddle_text_header;

// 32-bit FNV-1a over the bytes, then mixed. `hash` chains prefixes; start with HEDDLE_TEXT_HASH_START.
#define HEDDLE_TEXT_HASH_START 2166136261u
static inline uint32_t heddle_text_hash_byte(uint32_t hash, uint8_t byte) {
  return (hash ^ byte) * 16777619u;
}
static inline uint32_t heddle_text_hash_end(uint32_t hash) {
  hash = (hash ^ (hash >> 16)) * 0x85ebca6bu;
  hash = (hash ^ (hash >> 13)) * 0xc2b2ae35u;
  return hash ^ (hash >> 16);
}
static inline uint32_t heddle_text_hash_pair(uint32_t left, uint32_t right) {
  return heddle_text_hash_end(left * 0x9e3779b1u ^ (right + 0x7f4a7c15u) * 0x85ebca77u);
}

#ifdef __cplusplus
}
#endif
#endif

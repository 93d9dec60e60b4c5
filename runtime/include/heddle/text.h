// Text for compiled models: token ids and back, chats, stop strings, sampling.
//
// A library of its own (heddle_text), independent of the runtime: C11, libc alone, no globals, no locale,
// prints nothing and never aborts. A `heddle_text` is immutable: any number of threads may use it at once.
// Decoders, stop matchers and samplers belong to one thread at a time.
//
// Text is UTF-8 with an explicit size and may hold NUL bytes. In text to encode, a byte that starts no UTF-8
// sequence counts as U+FFFD for byte-level BPE and WordPiece and as itself for SentencePiece, as in
// llama.cpp.
//
// Pointers may be NULL only where it says so. `message` (NULL allowed) receives one NUL-terminated sentence
// when a call fails, cut at `message_size` bytes.
#ifndef HEDDLE_TEXT_H
#define HEDDLE_TEXT_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define HEDDLE_TEXT_API __attribute__((visibility("default")))
#else
#define HEDDLE_TEXT_API
#endif

typedef enum heddle_text_status { // values are never reused
  HEDDLE_TEXT_OK = 0,
  HEDDLE_TEXT_INVALID_ARGUMENT = 1,
  HEDDLE_TEXT_CORRUPT = 2,     // the member `text.bin` is damaged
  HEDDLE_TEXT_UNSUPPORTED = 3, // this model, or this version of the library, has no such thing
  HEDDLE_TEXT_OUT_OF_MEMORY = 4,
  HEDDLE_TEXT_BUFFER_TOO_SMALL = 5 // the size that is needed has been stored
} heddle_text_status;

// ---------------------------------------------------------------------------------------------------------------
// Vocabulary

typedef struct heddle_text heddle_text;

typedef enum {                    // values are never reused
  HEDDLE_TEXT_BYTE_PAIR = 1,      // byte-level BPE: GPT-2, Llama 3, Qwen, DeepSeek
  HEDDLE_TEXT_SENTENCE_PIECE = 2, // BPE by scores over characters: Llama 2, Gemma
  HEDDLE_TEXT_WORD_PIECE = 3      // BERT
} heddle_text_kind;

typedef enum {
  HEDDLE_TEXT_CHAT_NONE = 0,
  HEDDLE_TEXT_CHAT_CHATML = 1,
  HEDDLE_TEXT_CHAT_GEMMA = 2,
  HEDDLE_TEXT_CHAT_LLAMA3 = 3,
  HEDDLE_TEXT_CHAT_DEEPSEEK = 4,     // V2.5, V3
  HEDDLE_TEXT_CHAT_DEEPSEEK_V31 = 5, // V3.1 and V3.2: "</think>" after the assistant's mark
  HEDDLE_TEXT_CHAT_COUNT = 6
} heddle_text_chat_template;

typedef enum { // GGUF's numbers
  HEDDLE_TEXT_TOKEN_UNDEFINED = 0,
  HEDDLE_TEXT_TOKEN_NORMAL = 1,
  HEDDLE_TEXT_TOKEN_UNKNOWN = 2,
  HEDDLE_TEXT_TOKEN_CONTROL = 3,
  HEDDLE_TEXT_TOKEN_USER_DEFINED = 4,
  HEDDLE_TEXT_TOKEN_UNUSED = 5,
  HEDDLE_TEXT_TOKEN_BYTE = 6
} heddle_text_token_type;

typedef struct heddle_text_info {
  size_t struct_size; // set by the caller to sizeof(heddle_text_info)
  uint32_t kind;      // heddle_text_kind
  uint32_t token_count;
  int32_t bos, eos, eot, unk, sep, cls, pad, mask; // -1: none
  uint32_t adds_bos, adds_eos;                     // what HEDDLE_TEXT_ENCODE_SPECIAL does
  uint32_t chat_template;                          // heddle_text_chat_template; 0: none
  uint32_t max_piece_bytes; // a buffer of this size is enough for every call of heddle_text_decode
} heddle_text_info;

// Reads the member `text.bin` in place: `data`, aligned to 8 bytes, must outlive `*out_text`. All of it is
// validated. On failure `*out_text` is NULL.
HEDDLE_TEXT_API heddle_text_status heddle_text_open(const void *data, size_t size, heddle_text **out_text,
                                                    char *message, size_t message_size);

// Frees `text` but not its data. NULL is allowed.
HEDDLE_TEXT_API void heddle_text_close(heddle_text *text);

HEDDLE_TEXT_API heddle_text_status heddle_text_get_info(const heddle_text *text, heddle_text_info *info);

// The text of a token as the vocabulary has it, without NUL, valid as long as the data; NULL for an id out of
// range. `out_type` (NULL allowed) receives its heddle_text_token_type.
HEDDLE_TEXT_API const char *heddle_text_token(const heddle_text *text, int32_t id, size_t *out_size,
                                              uint32_t *out_type);

// The id of the token with this text, or -1.
HEDDLE_TEXT_API int32_t heddle_text_find(const heddle_text *text, const char *token, size_t size);

// The ids that end generation, valid as long as the data.
HEDDLE_TEXT_API const int32_t *heddle_text_stop_tokens(const heddle_text *text, size_t *out_count);
HEDDLE_TEXT_API int heddle_text_is_stop(const heddle_text *text, int32_t id);

// ---------------------------------------------------------------------------------------------------------------
// Text to ids

enum {
  HEDDLE_TEXT_ENCODE_SPECIAL =
      1, // add the ids that the model wants around a text: BOS, EOS, or [CLS] and [SEP]
  HEDDLE_TEXT_PARSE_SPECIAL =
      2 // text such as "<|im_end|>" yields the control token; never for text of a user
};

// Writes at most `capacity` ids to `ids` and the number that the text has to `*out_count`; BUFFER_TOO_SMALL
// when that is more. `ids` may be NULL with capacity 0. Takes memory proportional to `size` during the call.
HEDDLE_TEXT_API heddle_text_status heddle_text_encode(const heddle_text *text, const char *utf8, size_t size,
                                                      uint32_t flags, int32_t *ids, size_t capacity,
                                                      size_t *out_count);

// ---------------------------------------------------------------------------------------------------------------
// Ids to text

enum {
  HEDDLE_TEXT_SHOW_SPECIAL = 1, // control and unknown tokens appear as their names; else they are skipped
  HEDDLE_TEXT_RAW_BYTES = 2 // bytes as they are; else output is valid UTF-8: a character is held back until
                            // it is complete, and what cannot be part of one becomes U+FFFD
};

// One stream of ids. The caller owns it; copy it to continue from here twice. Fields are private.
typedef struct heddle_text_decoder {
  const heddle_text *text;
  uint32_t flags;
  uint8_t pending[4], pending_size, started, reserved[2];
} heddle_text_decoder;

HEDDLE_TEXT_API heddle_text_status heddle_text_decoder_start(heddle_text_decoder *decoder,
                                                             const heddle_text *text, uint32_t flags);

// Writes what `id` completes. On BUFFER_TOO_SMALL the decoder is as before and `*out_size` says what is
// needed.
HEDDLE_TEXT_API heddle_text_status heddle_text_decode(heddle_text_decoder *decoder, int32_t id, char *out,
                                                      size_t capacity, size_t *out_size);

// Ends the stream: an incomplete character becomes U+FFFD. 3 bytes are enough.
HEDDLE_TEXT_API heddle_text_status heddle_text_decode_end(heddle_text_decoder *decoder, char *out,
                                                          size_t capacity, size_t *out_size);

// ---------------------------------------------------------------------------------------------------------------
// Chats

typedef struct heddle_text_message { // UTF-8, not NUL-terminated
  const char *role;
  size_t role_size;
  const char *content;
  size_t content_size;
} heddle_text_message;

enum {
  HEDDLE_TEXT_CHAT_GENERATE = 1 // end with what opens the assistant's answer
};

// Formats a chat by the template that the compiler recorded and encodes it. Only the template's own words
// yield control tokens; roles and contents never do. UNSUPPORTED when the model has no known template;
// INVALID_ARGUMENT for roles that the template does not take (Gemma and DeepSeek: an optional system message,
// then user and assistant in turn). The rest is as heddle_text_encode().
HEDDLE_TEXT_API heddle_text_status heddle_text_encode_chat(const heddle_text *text,
                                                           const heddle_text_message *messages,
                                                           size_t message_count, uint32_t flags, int32_t *ids,
                                                           size_t capacity, size_t *out_count, char *message,
                                                           size_t message_size);

// "chatml", "gemma", ...; NULL for a number that names none.
HEDDLE_TEXT_API const char *heddle_text_chat_template_name(uint32_t chat_template);

// ---------------------------------------------------------------------------------------------------------------
// Stop strings in a stream

typedef struct heddle_text_stops heddle_text_stops;

// Copies `count` strings, none of them empty. On failure `*out_stops` is NULL.
HEDDLE_TEXT_API heddle_text_status heddle_text_stops_create(const char *const *strings, const size_t *sizes,
                                                            size_t count, heddle_text_stops **out_stops);
HEDDLE_TEXT_API void heddle_text_stops_destroy(heddle_text_stops *stops); // NULL is allowed
HEDDLE_TEXT_API void heddle_text_stops_reset(heddle_text_stops *stops);

// What can be held back at most: `capacity` below must be at least this plus `size`.
HEDDLE_TEXT_API size_t heddle_text_stops_held(const heddle_text_stops *stops);

// Takes a piece of the stream and writes what is certain to come before any stop string. `*out_matched` is
// the number of the string that was found, or -1; the earliest to end wins, the longest among those. Nothing
// that follows a match is written, then or later.
HEDDLE_TEXT_API heddle_text_status heddle_text_stops_feed(heddle_text_stops *stops, const char *piece,
                                                          size_t size, char *out, size_t capacity,
                                                          size_t *out_size, int *out_matched);

// Ends the stream: writes what was held back.
HEDDLE_TEXT_API heddle_text_status heddle_text_stops_end(heddle_text_stops *stops, char *out, size_t capacity,
                                                         size_t *out_size);

// ---------------------------------------------------------------------------------------------------------------
// Sampling

typedef struct heddle_sampler heddle_sampler;

// Zero means off for every field. In this order: repetition penalty, top-k, top-p, min-p, temperature; the
// choice is by the probabilities that are left. The same options, seed and logits give the same ids on every
// machine.
typedef struct heddle_sampler_options {
  size_t struct_size;         // set by the caller to sizeof(heddle_sampler_options)
  float temperature;          // 0: greedy, the lowest id of the largest logit
  uint32_t top_k;             // keep the k most likely
  float top_p;                // then the fewest whose probabilities reach p, 0 < p <= 1
  float min_p;                // then those with at least this share of the largest probability, 0 <= p <= 1
  float repetition_penalty;   // of ids among the last accepted: a positive logit is divided by it, others
                              // multiplied
  uint32_t repetition_window; // how many accepted ids count; 0: 64
  uint64_t seed;
} heddle_sampler_options;

// All memory for logits of `vocabulary` entries is taken here. On failure `*out_sampler` is NULL.
HEDDLE_TEXT_API heddle_text_status heddle_sampler_create(const heddle_sampler_options *options,
                                                         uint32_t vocabulary, heddle_sampler **out_sampler,
                                                         char *message, size_t message_size);
HEDDLE_TEXT_API void heddle_sampler_destroy(heddle_sampler *sampler); // NULL is allowed

// Picks an id below the vocabulary from its logits, which stay as they are. Always defined: NaN counts as the
// smallest logit, infinities as the largest and smallest finite ones. Allocates nothing.
HEDDLE_TEXT_API int32_t heddle_sampler_sample(heddle_sampler *sampler, const float *logits);

// Tells the penalty which id came next, also for the ids of a prompt. Ids out of range are ignored.
HEDDLE_TEXT_API void heddle_sampler_accept(heddle_sampler *sampler, int32_t id);

// Back to the state after creation with this seed.
HEDDLE_TEXT_API void heddle_sampler_reset(heddle_sampler *sampler, uint64_t seed);

#ifdef __cplusplus
}
#endif
#endif

// Chats as the models were trained on them. The templates are written out here; which one a model has was
// decided when it was compiled. Only these literals may yield control tokens.
#include "Text.h"

namespace heddle::text {
namespace {

bool is(const char *role, const heddle_text_message &message) {
  return strlen(role) == message.role_size && memcmp(role, message.role, message.role_size) == 0;
}

Bytes contentOf(const heddle_text_message &message) {
  return {reinterpret_cast<const uint8_t *>(message.content), message.content_size};
}

/// Without white space at both ends.
Bytes trimmed(Bytes text) {
  auto space = [](uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
  while (text.size && space(text.data[0]))
    ++text.data, --text.size;
  while (text.size && space(text.data[text.size - 1]))
    --text.size;
  return text;
}

/// The text of a chat, and which parts of it are the template's own.
class Chat {
public:
  void literal(const char *words) {
    size_t size = strlen(words), begin = text.size();
    good = good && text.append(reinterpret_cast<const uint8_t *>(words), size) &&
           regions.push({begin, begin + size});
  }
  void content(Bytes words) { good = good && text.append(words.data, words.size); }

  bool good = true;
  Array<uint8_t> text;
  Array<Region> regions;
};

void chatml(const heddle_text &model, Chat &chat, const heddle_text_message *messages, size_t count,
            bool generate) {
  if (model.header->default_system.count && !(count && is("system", messages[0]))) {
    chat.literal("<|im_start|>system\n");
    chat.content({model.defaultSystem, model.header->default_system.count});
    chat.literal("<|im_end|>\n");
  }
  for (size_t i = 0; i < count; ++i) {
    chat.literal("<|im_start|>");
    chat.content({reinterpret_cast<const uint8_t *>(messages[i].role), messages[i].role_size});
    chat.literal("\n");
    chat.content(contentOf(messages[i]));
    chat.literal("<|im_end|>\n");
  }
  if (generate)
    chat.literal("<|im_start|>assistant\n");
}

void llama3(Chat &chat, const heddle_text_message *messages, size_t count, bool generate) {
  for (size_t i = 0; i < count; ++i) {
    chat.literal("<|start_header_id|>");
    chat.content({reinterpret_cast<const uint8_t *>(messages[i].role), messages[i].role_size});
    chat.literal("<|end_header_id|>\n\n");
    chat.content(trimmed(contentOf(messages[i])));
    chat.literal("<|eot_id|>");
  }
  if (generate)
    chat.literal("<|start_header_id|>assistant<|end_header_id|>\n\n");
}

// The templates below take an optional system message and then user and assistant in turn.

void gemma(Chat &chat, const heddle_text_message *messages, size_t count, bool generate) {
  bool system = count && is("system", messages[0]);
  for (size_t i = system; i < count; ++i) {
    bool user = (i - system) % 2 == 0;
    chat.literal(user ? "<start_of_turn>user\n" : "<start_of_turn>model\n");
    if (system && i == 1) { // Gemma has no system turn: its text opens the first user turn
      chat.content(contentOf(messages[0]));
      chat.literal("\n\n");
    }
    chat.content(trimmed(contentOf(messages[i])));
    chat.literal("<end_of_turn>\n");
  }
  if (generate)
    chat.literal("<start_of_turn>model\n");
}

void deepseek(Chat &chat, const heddle_text_message *messages, size_t count, bool generate,
              const char *assistant) {
  bool system = count && is("system", messages[0]);
  if (system)
    chat.content(contentOf(messages[0]));
  for (size_t i = system; i < count; ++i) {
    bool user = (i - system) % 2 == 0;
    chat.literal(user ? "<｜User｜>" : assistant);
    chat.content(contentOf(messages[i]));
    if (!user)
      chat.literal("<｜end▁of▁sentence｜>");
  }
  if (generate)
    chat.literal(assistant);
}

/// The first message whose role does not fit "system? (user assistant)*", or `count`.
size_t firstOutOfTurn(const heddle_text_message *messages, size_t count) {
  size_t system = count && is("system", messages[0]);
  for (size_t i = system; i < count; ++i)
    if (!is((i - system) % 2 == 0 ? "user" : "assistant", messages[i]))
      return i;
  return count;
}

const char *const Names[HEDDLE_TEXT_CHAT_COUNT] = {"none",    "chatml",   "gemma",
                                                   "llama-3", "deepseek", "deepseek-v3.1"};

} // namespace
} // namespace heddle::text

using namespace heddle::text;

const char *heddle_text_chat_template_name(uint32_t chat_template) {
  return chat_template < HEDDLE_TEXT_CHAT_COUNT ? Names[chat_template] : nullptr;
}

heddle_text_status heddle_text_encode_chat(const heddle_text *text, const heddle_text_message *messages,
                                           size_t message_count, uint32_t flags, int32_t *ids,
                                           size_t capacity, size_t *out_count, char *message,
                                           size_t message_size) {
  if (!text || (!messages && message_count) || (!ids && capacity) || !out_count ||
      flags & ~uint32_t(HEDDLE_TEXT_CHAT_GENERATE))
    return fail(HEDDLE_TEXT_INVALID_ARGUMENT, message, message_size,
                "expected a model, messages, ids and known flags");
  *out_count = 0;
  for (size_t i = 0; i < message_count; ++i)
    if (!messages[i].role || (!messages[i].content && messages[i].content_size))
      return fail(HEDDLE_TEXT_INVALID_ARGUMENT, message, message_size,
                  "message %zu has no role or no content", i);
  uint32_t kind = text->header->chat_template;
  if (kind == HEDDLE_TEXT_CHAT_NONE)
    return fail(HEDDLE_TEXT_UNSUPPORTED, message, message_size,
                "the model was compiled without a known chat template; compile it with --chat-template NAME");
  bool alternates = kind != HEDDLE_TEXT_CHAT_CHATML && kind != HEDDLE_TEXT_CHAT_LLAMA3;
  size_t wrong = alternates ? firstOutOfTurn(messages, message_count) : message_count;
  if (wrong < message_count) {
    int shown = messages[wrong].role_size < 32 ? int(messages[wrong].role_size) : 32;
    return fail(
        HEDDLE_TEXT_INVALID_ARGUMENT, message, message_size,
        "chat template '%s' takes an optional 'system' message, then 'user' and 'assistant' in turn, but "
        "message %zu is of '%.*s'",
        Names[kind], wrong, shown, messages[wrong].role);
  }

  Chat chat;
  bool generate = flags & HEDDLE_TEXT_CHAT_GENERATE;
  switch (kind) {
  case HEDDLE_TEXT_CHAT_CHATML:
    chatml(*text, chat, messages, message_count, generate);
    break;
  case HEDDLE_TEXT_CHAT_GEMMA:
    gemma(chat, messages, message_count, generate);
    break;
  case HEDDLE_TEXT_CHAT_LLAMA3:
    llama3(chat, messages, message_count, generate);
    break;
  case HEDDLE_TEXT_CHAT_DEEPSEEK:
    deepseek(chat, messages, message_count, generate, "<｜Assistant｜>");
    break;
  default:
    deepseek(chat, messages, message_count, generate, "<｜Assistant｜></think>");
    break;
  }
  // All templates but ChatML begin with BOS themselves; with ChatML the model's own setting decides.
  Ids out = {ids, capacity};
  if (text->header->bos >= 0 &&
      (kind != HEDDLE_TEXT_CHAT_CHATML || text->header->flags & HEDDLE_TEXT_ADD_BOS))
    out.add(text->header->bos);
  if (!chat.good || !encode(*text, {chat.text.data(), chat.text.size()}, chat.regions.data(),
                            chat.regions.size(), false, out))
    return fail(HEDDLE_TEXT_OUT_OF_MEMORY, message, message_size, "no memory for the chat");
  *out_count = out.count;
  return out.status();
}

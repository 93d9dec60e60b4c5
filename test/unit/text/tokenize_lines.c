// tokenize_lines TEXT_BIN FLAGS < lines > ids: encodes each line of standard input, in which "\\", "\n", "\r"
// and "\0" are written as escapes, and prints a JSON array of its ids, a tab, and the text that they decode
// to, escaped again. FLAGS are added up: 1 add special ids, 2 parse special tokens, 4 show special tokens, 8
// ids alone.
//
// Includes heddle/text.h as C11, so that the header stays C.
#define _POSIX_C_SOURCE 200809L
#include <heddle/text.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *need(void *memory) {
  if (!memory) {
    fputs("tokenize_lines: no memory\n", stderr);
    exit(5);
  }
  return memory;
}

static size_t unescape(char *line, size_t size) {
  size_t out = 0;
  for (size_t i = 0; i < size; ++i) {
    char c = line[i];
    if (c == '\\' && i + 1 < size) {
      c = line[++i];
      c = c == 'n' ? '\n' : c == 'r' ? '\r' : c == '0' ? '\0' : c;
    }
    line[out++] = c;
  }
  return out;
}

static void print_escaped(const char *text, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    switch (text[i]) {
    case '\\':
      fputs("\\\\", stdout);
      break;
    case '\n':
      fputs("\\n", stdout);
      break;
    case '\r':
      fputs("\\r", stdout);
      break;
    case '\0':
      fputs("\\0", stdout);
      break;
    default:
      putchar(text[i]);
    }
  }
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fputs("usage: tokenize_lines TEXT_BIN FLAGS < lines\n", stderr);
    return 2;
  }
  unsigned flags = (unsigned)atoi(argv[2]);
  FILE *file = fopen(argv[1], "rb");
  if (!file) {
    perror(argv[1]);
    return 74;
  }
  fseek(file, 0, SEEK_END);
  size_t size = (size_t)ftell(file);
  rewind(file);
  void *data = need(malloc(size + 1));
  if (fread(data, 1, size, file) != size) {
    perror(argv[1]);
    return 74;
  }
  fclose(file);

  char message[256];
  heddle_text *text;
  if (heddle_text_open(data, size, &text, message, sizeof message) != HEDDLE_TEXT_OK) {
    fprintf(stderr, "tokenize_lines: %s\n", message);
    return 3;
  }
  heddle_text_info info = {.struct_size = sizeof info};
  if (heddle_text_get_info(text, &info) != HEDDLE_TEXT_OK)
    return 70;
  char *piece = need(malloc(info.max_piece_bytes));

  char *line = NULL;
  size_t room = 0, capacity = 0;
  int32_t *ids = NULL;
  ssize_t got;
  while ((got = getline(&line, &room, stdin)) > 0) {
    size_t length = unescape(line, (size_t)(line[got - 1] == '\n' ? got - 1 : got)), count;
    heddle_text_status status = heddle_text_encode(text, line, length, flags & 3, ids, capacity, &count);
    if (status == HEDDLE_TEXT_BUFFER_TOO_SMALL) {
      capacity = count;
      ids = need(realloc(ids, capacity * sizeof *ids));
      status = heddle_text_encode(text, line, length, flags & 3, ids, capacity, &count);
    }
    if (status != HEDDLE_TEXT_OK) {
      fprintf(stderr, "tokenize_lines: status %d\n", (int)status);
      return 70;
    }
    putchar('[');
    for (size_t i = 0; i < count; ++i)
      printf(i ? ",%d" : "%d", (int)ids[i]);
    putchar(']');
    if (!(flags & 8)) {
      putchar('\t');
      heddle_text_decoder decoder;
      heddle_text_decoder_start(&decoder, text, flags & 4 ? HEDDLE_TEXT_SHOW_SPECIAL : 0);
      size_t written;
      for (size_t i = 0; i < count; ++i) {
        if (heddle_text_decode(&decoder, ids[i], piece, info.max_piece_bytes, &written) != HEDDLE_TEXT_OK)
          return 70;
        print_escaped(piece, written);
      }
      if (heddle_text_decode_end(&decoder, piece, info.max_piece_bytes, &written) != HEDDLE_TEXT_OK)
        return 70;
      print_escaped(piece, written);
    }
    putchar('\n');
  }
  free(line);
  free(ids);
  free(piece);
  heddle_text_close(text);
  free(data);
  return 0;
}

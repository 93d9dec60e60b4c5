#include "core/Pages.h"
#include "core/Sha256.h"

namespace heddle::runtime {

// A saved sequence: this header, then for each page in order the page of each cache, then the SHA-256 of all that.
struct SavedHeader {
  char magic[8];
  uint8_t digest[32]; // of the artifact's manifest
  uint32_t length;
  uint32_t caches;
};
static constexpr char savedMagic[8] = {'H', 'D', 'L', 'S', 'E', 'Q', '0', '1'};

static uint32_t pagesFor(uint32_t tokens) { return divideUp(tokens, HEDDLE_PAGE_TOKENS); }

void Pages::setUp() {
  freeCount = pageCount;
  for (uint32_t i = 0; i < pageCount; ++i)
    freePages[i] = pageCount - 1 - i; // the lowest number is taken first
}

int32_t Pages::take() {
  int32_t page = freePages[--freeCount];
  users[page] = 1;
  return page;
}

void Pages::release(int32_t page) {
  if (--users[page] == 0)
    freePages[freeCount++] = page;
}

heddle_status Pages::copyShared(int32_t &page, heddle_error *error) {
  if (users[page] == 1)
    return HEDDLE_OK;
  int32_t fresh = take();
  for (uint64_t i = 0; i < model->program.header->caches.count; ++i) {
    uint64_t bytes = model->program.caches[i].page_bytes;
    if (heddle_status status = model->driver->copy(model->device, &caches[i], fresh * bytes, &caches[i], page * bytes,
                                                   bytes, error)) {
      release(fresh);
      return status;
    }
  }
  release(page);
  page = fresh;
  return HEDDLE_OK;
}

heddle_status Pages::addPage(uint32_t slot, heddle_error *error) {
  int32_t page = take();
  // Kernels never use what lies past a sequence's length; zeros make that hold even for products with NaN, and keep
  // what an earlier sequence left out of reach.
  for (uint64_t i = 0; i < model->program.header->caches.count; ++i) {
    uint64_t bytes = model->program.caches[i].page_bytes;
    if (heddle_status status = model->driver->zero(model->device, &caches[i], page * bytes, bytes, error)) {
      release(page);
      return status;
    }
  }
  row(slot)[slots[slot].pages++] = page;
  return HEDDLE_OK;
}

heddle_status Pages::extend(uint32_t slot, uint32_t rows, heddle_error *error) {
  Slot &to = slots[slot];
  if (to.length % HEDDLE_PAGE_TOKENS)
    HEDDLE_TRY(copyShared(row(slot)[to.pages - 1], error));
  while (to.pages < pagesFor(to.length + rows))
    HEDDLE_TRY(addPage(slot, error));
  return HEDDLE_OK;
}

void Pages::trim(uint32_t slot, uint32_t length) {
  Slot &to = slots[slot];
  to.length = length;
  while (to.pages > pagesFor(length)) {
    int32_t &page = row(slot)[--to.pages];
    release(page);
    page = 0;
  }
}

void Pages::fork(uint32_t from, uint32_t to) {
  if (from == to)
    return;
  trim(to, 0);
  for (uint32_t i = 0; i < slots[from].pages; ++i) {
    row(to)[i] = row(from)[i];
    ++users[row(from)[i]];
  }
  slots[to].pages = slots[from].pages;
  slots[to].length = slots[from].length;
}

/// Zeroes what lies past `tokens` in the staged page: it may belong to another sequence.
void Pages::clearTail(const heddle_cache &cache, uint32_t tokens) {
  constexpr uint32_t lanes = 16; // tokens side by side in the keys
  uint16_t *keys = reinterpret_cast<uint16_t *>(staging);
  for (uint32_t head = 0; head < cache.heads; ++head) {
    for (uint32_t group = tokens / lanes; group < HEDDLE_PAGE_TOKENS / lanes; ++group) {
      uint32_t keep = tokens > group * lanes ? tokens - group * lanes : 0;
      for (uint32_t d = 0; d < cache.key_dim; ++d)
        memset(keys + (group * cache.key_dim + d) * lanes + keep, 0, (lanes - keep) * 2);
    }
    keys += HEDDLE_PAGE_TOKENS * cache.key_dim;
  }
  uint16_t *values = keys;
  for (uint32_t head = 0; head < cache.heads; ++head, values += HEDDLE_PAGE_TOKENS * cache.value_dim)
    memset(values + tokens * cache.value_dim, 0, (HEDDLE_PAGE_TOKENS - tokens) * cache.value_dim * 2);
}

static const uint8_t *manifestDigest(const heddle_model &model) {
  return model.archive.members[model.archive.count - 1].digest;
}

heddle_status Pages::save(uint32_t slot, heddle_write_fn write, void *context, heddle_error *error) {
  const heddle_program &program = model->program;
  const Slot &from = slots[slot];
  Sha256 hash;
  auto put = [&](const void *data, size_t size) {
    hash.update(data, size);
    return write(context, data, size) == 0
               ? HEDDLE_OK
               : fail(error, HEDDLE_IO_ERROR, "the callback could not write the saved sequence");
  };
  SavedHeader header;
  memcpy(header.magic, savedMagic, sizeof(savedMagic));
  memcpy(header.digest, manifestDigest(*model), sizeof(header.digest));
  header.length = from.length;
  header.caches = program.header->caches.count;
  HEDDLE_TRY(put(&header, sizeof(header)));
  for (uint32_t p = 0; p < from.pages; ++p)
    for (uint32_t i = 0; i < header.caches; ++i) {
      const heddle_cache &cache = program.caches[i];
      heddle_buffer to = {staging, 0, cache.page_bytes};
      HEDDLE_TRY(model->driver->copy(model->device, &to, 0, &caches[i], row(slot)[p] * cache.page_bytes,
                                     cache.page_bytes, error));
      uint32_t tokens = from.length - p * HEDDLE_PAGE_TOKENS;
      if (tokens < HEDDLE_PAGE_TOKENS)
        clearTail(cache, tokens);
      HEDDLE_TRY(put(staging, cache.page_bytes));
    }
  uint8_t digest[32];
  hash.finish(digest);
  return put(digest, sizeof(digest));
}

heddle_status Pages::restore(uint32_t slot, heddle_read_fn read, void *readContext, heddle_error *error) {
  const heddle_program &program = model->program;
  auto get = [&](void *data, size_t size) {
    return read(readContext, data, size) == 0
               ? HEDDLE_OK
               : fail(error, HEDDLE_IO_ERROR, "the callback could not read the saved sequence");
  };
  trim(slot, 0);
  SavedHeader header;
  HEDDLE_TRY(get(&header, sizeof(header)));
  if (memcmp(header.magic, savedMagic, sizeof(savedMagic)) != 0)
    return fail(error, HEDDLE_INVALID_FILE, "saved sequence: expected it to start with 'HDLSEQ01'");
  if (memcmp(header.digest, manifestDigest(*model), sizeof(header.digest)) != 0 ||
      header.caches != program.header->caches.count)
    return fail(error, HEDDLE_INVALID_FILE, "saved sequence: it belongs to another artifact");
  if (header.length > context)
    return fail(error, HEDDLE_RESOURCE_LIMIT,
                "saved sequence: it has %u tokens, but the session's sequences hold %u", header.length, context);
  Sha256 hash;
  hash.update(&header, sizeof(header));
  for (uint32_t p = 0; p < pagesFor(header.length); ++p) {
    HEDDLE_TRY(addPage(slot, error));
    for (uint32_t i = 0; i < header.caches; ++i) {
      uint64_t bytes = program.caches[i].page_bytes;
      HEDDLE_TRY(get(staging, bytes));
      hash.update(staging, bytes);
      heddle_buffer from = {staging, 0, bytes};
      HEDDLE_TRY(model->driver->copy(model->device, &caches[i], row(slot)[p] * bytes, &from, 0, bytes, error));
    }
  }
  uint8_t expected[32], digest[32];
  HEDDLE_TRY(get(expected, sizeof(expected)));
  hash.finish(digest);
  if (memcmp(expected, digest, sizeof(digest)) != 0)
    return fail(error, HEDDLE_INVALID_FILE, "saved sequence: its bytes do not have the SHA-256 at its end");
  slots[slot].length = header.length;
  return HEDDLE_OK;
}

} // namespace heddle::runtime

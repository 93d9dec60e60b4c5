#include "core/Session.h"
#include "core/Sha256.h"

namespace heddle::runtime {

// A saved sequence: this header, then for each page in order the page of each cache, then the SHA-256 of all
// that.
struct SavedHeader {
  char magic[8];
  uint8_t digest[32]; // of the artifact's manifest
  uint32_t length;
  uint32_t caches;
};
static constexpr char savedMagic[8] = {'H', 'D', 'L', 'S', 'E', 'Q', '0', '1'};

static uint32_t pagesFor(uint32_t tokens) { return divideUp(tokens, HEDDLE_PAGE_TOKENS); }

void Pages::setUp(const heddle_session &session) {
  model = session.model;
  caches = session.caches;
  context = session.context;
  tableStride = pagesPerSlot(model->program);
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

heddle_status Pages::copyPage(const heddle_buffer &to, int32_t toPage, const heddle_buffer &from,
                              int32_t fromPage, uint64_t bytes, heddle_error *error) {
  return model->driver->copy(model->device, &to, toPage * bytes, &from, fromPage * bytes, bytes, error);
}

heddle_status Pages::copyShared(int32_t &page, heddle_error *error) {
  if (users[page] == 1)
    return HEDDLE_OK;
  int32_t fresh = take();
  for (uint64_t i = 0; i < cacheCount(); ++i)
    if (heddle_status status =
            copyPage(caches[i], fresh, caches[i], page, model->program.caches[i].page_bytes, error)) {
      release(fresh);
      return status;
    }
  release(page);
  page = fresh;
  return HEDDLE_OK;
}

heddle_status Pages::addPage(uint32_t slot, heddle_error *error) {
  int32_t page = take();
  // Kernels never use what lies past a sequence's length; zeros make that hold even for products with NaN,
  // and keep what an earlier sequence left out of reach.
  for (uint64_t i = 0; i < cacheCount(); ++i) {
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
  const uint32_t bytes = dtypeBytes(cache.dtype), scales = bytes == 1 ? 2 : 0;
  uint8_t *at = staging;
  for (uint32_t group = 0; group < cache.heads * HEDDLE_PAGE_TOKENS / lanes; ++group) {
    const uint32_t first = group * lanes % HEDDLE_PAGE_TOKENS;
    const uint32_t keep = tokens < first ? 0 : tokens - first < lanes ? tokens - first : lanes;
    for (uint32_t row = 0; row < cache.key_dim + scales; ++row) {
      const uint32_t size = row < cache.key_dim ? bytes : sizeof(float);
      memset(at + keep * size, 0, (lanes - keep) * size);
      at += lanes * size;
    }
  }
  const uint64_t row = static_cast<uint64_t>(cache.value_dim) * bytes;
  for (uint32_t head = 0; head < cache.heads; ++head, at += HEDDLE_PAGE_TOKENS * row)
    memset(at + tokens * row, 0, (HEDDLE_PAGE_TOKENS - tokens) * row);
}

namespace {

/// The callback's end of a saved sequence, and the hash of what went through it.
struct Stream {
  heddle_write_fn write;
  heddle_read_fn read;
  void *context;
  heddle_error *error;
  Sha256 hash;

  [[gnu::noinline]] heddle_status transfer(void *data, size_t size) {
    if (write)
      hash.update(data, size);
    if ((write ? write(context, data, size) : read(context, data, size)) != 0)
      return fail(error, HEDDLE_IO_ERROR, "the callback could not %s the saved sequence",
                  write ? "write" : "read");
    if (!write)
      hash.update(data, size);
    return HEDDLE_OK;
  }
};

} // namespace

static SavedHeader makeHeader(const heddle_model &model, uint32_t length) {
  SavedHeader header;
  memcpy(header.magic, savedMagic, sizeof(savedMagic));
  memcpy(header.digest, model.archive.members[model.archive.count - 1].digest, sizeof(header.digest));
  header.length = length;
  header.caches = model.program.header->caches.count;
  return header;
}

heddle_status Pages::save(uint32_t slot, heddle_write_fn write, void *writeContext, heddle_error *error) {
  const Slot &from = slots[slot];
  Stream stream{write, nullptr, writeContext, error, {}};
  SavedHeader header = makeHeader(*model, from.length);
  HEDDLE_TRY(stream.transfer(&header, sizeof(header)));
  for (uint32_t p = 0; p < from.pages; ++p)
    for (uint64_t i = 0; i < cacheCount(); ++i) {
      const heddle_cache &cache = model->program.caches[i];
      heddle_buffer to = {staging, reinterpret_cast<uintptr_t>(staging), cache.page_bytes};
      HEDDLE_TRY(copyPage(to, 0, caches[i], row(slot)[p], cache.page_bytes, error));
      uint32_t tokens = from.length - p * HEDDLE_PAGE_TOKENS;
      if (tokens < HEDDLE_PAGE_TOKENS)
        clearTail(cache, tokens);
      HEDDLE_TRY(stream.transfer(staging, cache.page_bytes));
    }
  uint8_t digest[32];
  stream.hash.finish(digest);
  return stream.transfer(digest, sizeof(digest));
}

heddle_status Pages::restore(uint32_t slot, heddle_read_fn read, void *readContext, heddle_error *error) {
  Stream stream{nullptr, read, readContext, error, {}};
  trim(slot, 0);
  SavedHeader header;
  HEDDLE_TRY(stream.transfer(&header, sizeof(header)));
  SavedHeader expected = makeHeader(*model, header.length);
  if (memcmp(&header, &expected, sizeof(header)) != 0)
    return fail(error, HEDDLE_INVALID_FILE, "saved sequence: it is damaged, or belongs to another artifact");
  if (header.length > context)
    return fail(error, HEDDLE_RESOURCE_LIMIT,
                "saved sequence: it has %u tokens, but the session's sequences hold %u", header.length,
                context);
  for (uint32_t p = 0; p < pagesFor(header.length); ++p) {
    HEDDLE_TRY(addPage(slot, error));
    for (uint64_t i = 0; i < cacheCount(); ++i) {
      uint64_t bytes = model->program.caches[i].page_bytes;
      heddle_buffer from = {staging, reinterpret_cast<uintptr_t>(staging), bytes};
      HEDDLE_TRY(stream.transfer(staging, bytes));
      HEDDLE_TRY(copyPage(caches[i], row(slot)[p], from, 0, bytes, error));
    }
  }
  uint8_t stored[32], digest[32];
  stream.hash.finish(digest);
  HEDDLE_TRY(stream.transfer(stored, sizeof(stored)));
  if (memcmp(stored, digest, sizeof(digest)) != 0)
    return fail(error, HEDDLE_INVALID_FILE, "saved sequence: its bytes do not have the SHA-256 at its end");
  slots[slot].length = header.length;
  return HEDDLE_OK;
}

} // namespace heddle::runtime

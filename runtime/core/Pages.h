// The KV caches' pages: one numbering for all layers, a page table row per sequence, pages shared after a
// fork until one of the sequences writes to them.
#pragma once
#include "core/Model.h"

namespace heddle::runtime {

struct Slot {
  uint32_t length; // tokens
  uint32_t pages;  // table entries in use
  uint32_t seen;   // number of the last step that had rows of it
};

class Pages {
public:
  // Placed by the session, which owns the memory.
  Slot *slots;
  int32_t *table;  // [max_slots][pages of the artifact's context], also read by kernels
  uint32_t *users; // per page: table entries that name it
  int32_t *freePages;
  uint8_t *staging; // one page of any cache
  uint32_t pageCount;

  /// After everything else of the session is set up.
  void setUp(const heddle_session &session);
  /// Makes room for `rows` more tokens in pages that only `slot` uses. There is always one: a sequence owns a
  /// page for each page of its context, and sharing only saves some.
  heddle_status extend(uint32_t slot, uint32_t rows, heddle_error *error);
  /// Forgets the tokens from `length` on, and the room behind.
  void trim(uint32_t slot, uint32_t length);
  void fork(uint32_t from, uint32_t to);
  heddle_status save(uint32_t slot, heddle_write_fn write, void *context, heddle_error *error);
  heddle_status restore(uint32_t slot, heddle_read_fn read, void *context, heddle_error *error);

private:
  const heddle_model *model;
  const heddle_buffer *caches;
  uint32_t context, tableStride, freeCount;

  int32_t *row(uint32_t slot) { return table + static_cast<uint64_t>(slot) * tableStride; }
  uint64_t cacheCount() const { return model->program.header->caches.count; }
  int32_t take();
  void release(int32_t page);
  heddle_status copyPage(const heddle_buffer &to, int32_t toPage, const heddle_buffer &from, int32_t fromPage,
                         uint64_t bytes, heddle_error *error);
  heddle_status copyShared(int32_t &page, heddle_error *error);
  heddle_status addPage(uint32_t slot, heddle_error *error);
  void clearTail(const heddle_cache &cache, uint32_t tokens);
};

} // namespace heddle::runtime

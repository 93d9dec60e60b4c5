#include "core/Session.h"
#include <inttypes.h>
#include <stddef.h>

using namespace heddle::runtime;

namespace {

constexpr uint64_t maxSessionBytes = 1ull << 47;

/// Lays out a block piece by piece. Sizes add up without overflow: each is capped.
class Block {
public:
  uint64_t bytes = 0;
  uint64_t take(uint64_t size, uint64_t alignment = 64) {
    uint64_t offset = alignUp(bytes, alignment);
    bytes = smaller(offset + smaller(size, maxSessionBytes), maxSessionBytes);
    return offset;
  }
};

heddle_status resolveOptions(const heddle_model &model, const heddle_session_options *options,
                             heddle_session_options &out, heddle_error *error) {
  if (!model.module)
    return fail(error, HEDDLE_NOT_TRUSTED, "the model was opened to be inspected only, so it cannot run");
  out = {};
  if (options)
    HEDDLE_TRY(readStruct(out, options, "options", error));
  const heddle_program_header &header = *model.program.header;
  if (!out.sequences)
    out.sequences = 1;
  if (!out.context)
    out.context = header.max_context;
  if (!out.rows)
    out.rows = header.max_rows;
  if (!out.wanted)
    out.wanted = smaller(header.max_wanted, out.rows);
  auto check = [&](uint32_t value, uint32_t most, const char *name) {
    if (value <= most)
      return HEDDLE_OK;
    return fail(error, HEDDLE_RESOURCE_LIMIT,
                "options->%s is %u, but the model was compiled for at most %u; compile it with a larger bound", name,
                value, most);
  };
  HEDDLE_TRY(check(out.sequences, header.max_slots, "sequences"));
  HEDDLE_TRY(check(out.context, header.max_context, "context"));
  HEDDLE_TRY(check(out.rows, header.max_rows, "rows"));
  HEDDLE_TRY(check(out.wanted, smaller(header.max_wanted, out.rows), "wanted"));
  return HEDDLE_OK;
}

/// Walks over all inputs and outputs that need memory of the session.
template <typename Visit> void forEachOwnIo(const heddle_model &model, const int64_t *dims, Visit visit) {
  const heddle_program &program = model.program;
  for (uint32_t e = 0; e < program.header->entries.count; ++e) {
    const heddle_entry &entry = program.entries[e];
    for (uint32_t i = 0; i < entry.io_count; ++i) {
      const heddle_io &io = program.ios[entry.first_io + i];
      // On devices that see the caller's memory, inputs of tensor entries are used where they are bound.
      if (entry.kind != HEDDLE_ENTRY_TENSORS || io.is_output || !model.unified)
        visit(e, i, ioBytes(io, dims));
    }
  }
}

/// Everything a session needs, once with `session` NULL to count, and once to place it into the two blocks.
heddle_status layOut(const heddle_model &model, const heddle_session_options &options, SessionLayout &out,
                     heddle_session *session, heddle_error *error) {
  const heddle_program &program = model.program;
  const heddle_program_header &header = *program.header;
  out = {};
  out.sequences = options.sequences;
  out.context = alignUp(options.context, HEDDLE_PAGE_TOKENS);
  out.rows = options.rows;
  out.wanted = options.wanted;
  out.threads = options.team ? heddle_team_threads(options.team) : 1;
  bool hasCache = header.caches.count != 0;
  uint64_t slotPages = hasCache ? out.context / HEDDLE_PAGE_TOKENS : 0, pages = slotPages * out.sequences;
  int64_t dims[HEDDLE_DIM_COUNT] = {out.rows, out.wanted, out.rows};

  Block device, host;
  host.take(sizeof(heddle_session));
  auto at = [](const heddle_buffer &block, uint64_t offset, uint64_t size) {
    return heddle_buffer{block.host ? static_cast<char *>(block.host) + offset : nullptr, block.address + offset,
                         size};
  };
  char *base = reinterpret_cast<char *>(session);
  auto mirror = [&](const heddle_buffer &buffer, uint64_t size) -> void * {
    if (model.unified)
      return buffer.host;
    uint64_t offset = host.take(size);
    return session ? base + offset : nullptr;
  };
  auto place = [&](auto *&pointer, uint64_t count) {
    uint64_t offset = host.take(count * sizeof(*pointer));
    if (session)
      pointer = reinterpret_cast<decltype(+pointer)>(base + offset);
  };
  heddle_session nowhere = {};
  heddle_session &to = session ? *session : nowhere;

  // Device memory.
  for (uint64_t i = 0; i < header.variants.count; ++i)
    if (program.variants[i].min_rows <= out.rows)
      out.arenaBytes = larger(out.arenaBytes, program.variants[i].arena_bytes);
  out.arena = device.take(out.arenaBytes);
  place(to.caches, header.caches.count);
  uint64_t largestPage = 0;
  for (uint64_t i = 0; i < header.caches.count; ++i) {
    uint64_t bytes, pageBytes = program.caches[i].page_bytes;
    if (!multiply(pages, pageBytes, bytes))
      bytes = maxSessionBytes;
    largestPage = larger(largestPage, pageBytes);
    uint64_t offset = device.take(bytes);
    out.cacheBytes = smaller(out.cacheBytes + bytes, maxSessionBytes);
    if (session)
      session->caches[i] = at(session->device, offset, bytes);
  }
  out.tableBytes = hasCache ? static_cast<uint64_t>(header.max_slots) * pagesPerSlot(program) * sizeof(int32_t) : 0;
  out.pageTable = device.take(out.tableBytes);
  out.workBytes = out.rows * sizeof(heddle_work);
  out.work = device.take(out.workBytes);
  to.pageTable = at(to.device, out.pageTable, out.tableBytes);
  to.pages.table = static_cast<int32_t *>(mirror(to.pageTable, out.tableBytes));
  to.work = at(to.device, out.work, out.workBytes);
  to.hostWork = static_cast<heddle_work *>(mirror(to.work, out.workBytes));

  // Inputs and outputs.
  place(to.entries, header.entries.count);
  for (uint64_t e = 0; e < header.entries.count; ++e) {
    IoState *ios = nullptr;
    heddle_buffer *buffers = nullptr;
    place(ios, program.entries[e].io_count);
    place(buffers, program.entries[e].io_count);
    if (session) {
      session->entries[e].ios = ios;
      session->entries[e].buffers = buffers;
    }
  }
  forEachOwnIo(model, dims, [&](uint32_t e, uint32_t i, uint64_t bytes) {
    uint64_t offset = device.take(bytes);
    out.ioBytes = smaller(out.ioBytes + bytes, maxSessionBytes);
    heddle_buffer own = at(to.device, offset, bytes);
    void *copy = mirror(own, bytes);
    if (!session)
      return;
    session->entries[e].ios[i].own = own;
    session->entries[e].ios[i].mirror = copy;
    session->entries[e].buffers[i] = own;
  });

  // Book-keeping.
  place(to.pages.slots, out.sequences);
  place(to.pages.users, pages);
  place(to.pages.freePages, pages);
  place(to.pages.staging, largestPage);
  out.planBytes = model.driver->plan_bytes(model.module, out.threads);
  out.planOffset = host.take(out.planBytes);
  out.deviceBytes = device.bytes;
  out.hostBytes = host.bytes;
  if (out.deviceBytes >= maxSessionBytes || out.hostBytes >= maxSessionBytes)
    return fail(error, HEDDLE_RESOURCE_LIMIT,
                "a session with %u sequences of %u tokens needs more memory than any machine has", out.sequences,
                out.context);
  to.pages.pageCount = pages;
  to.pages.slotCount = out.sequences;
  to.pages.context = out.context;
  to.pages.tableStride = pagesPerSlot(program);
  return HEDDLE_OK;
}

heddle_status setUpSession(heddle_session &session, const heddle_session_options &options, heddle_error *error) {
  heddle_model &model = *session.model;
  HEDDLE_TRY(model.driver->allocate(model.device, session.layout.deviceBytes, &session.device, error));
  HEDDLE_TRY(layOut(model, options, session.layout, &session, error));
  const SessionLayout &layout = session.layout;
  session.pages.model = &model;
  session.pages.caches = session.caches;
  session.pages.setUp();
  if (layout.tableBytes) {
    memset(session.pages.table, 0, layout.tableBytes);
    HEDDLE_TRY(model.driver->zero(model.device, &session.pageTable, 0, layout.tableBytes, error));
  }
  heddle_bindings bindings = {};
  bindings.struct_size = sizeof(bindings);
  bindings.arena = {session.device.host, session.device.address, layout.arenaBytes}; // it is the block's first piece
  bindings.page_table = session.pageTable;
  bindings.work = session.work;
  bindings.weights = model.weights;
  bindings.caches = session.caches;
  bindings.team = session.team;
  bindings.memory = reinterpret_cast<char *>(&session) + layout.planOffset;
  return model.driver->prepare(model.module, &bindings, &session.plan, error);
}

void destroySession(heddle_session *session) {
  heddle_model &model = *session->model;
  if (session->plan)
    model.driver->unprepare(session->plan);
  if (session->device.size)
    model.driver->release(model.device, &session->device);
  if (session->team)
    releaseTeam(session->team);
  model.memory.release(session, session->layout.hostBytes);
  __atomic_fetch_sub(&model.sessions, 1, __ATOMIC_RELEASE);
}

/// The size of dimension `i` in a run with `dims`.
int64_t dimension(const heddle_io &io, uint32_t i, const int64_t *dims) {
  return io.dim[i] >= 0 ? io.dim[i] : dims[io.dim_id[i]];
}

heddle_status checkView(const heddle_model &model, const heddle_io &io, const heddle_view &view,
                        const SessionLayout &layout, heddle_error *error) {
  const char *name = model.string(io.name);
  int64_t bounds[HEDDLE_DIM_COUNT] = {layout.rows, layout.wanted, layout.rows};
  if (!view.data)
    return fail(error, HEDDLE_INVALID_ARGUMENT, "expected view->data for '%s', but found NULL", name);
  if (static_cast<uint32_t>(view.dtype) != io.dtype || view.rank != io.rank)
    return fail(error, HEDDLE_INVALID_ARGUMENT,
                "expected '%s' to have element type %u and rank %u, but found element type %d and rank %u", name,
                io.dtype, io.rank, static_cast<int>(view.dtype), view.rank);
  if (reinterpret_cast<uintptr_t>(view.data) % 64)
    return fail(error, HEDDLE_INVALID_ARGUMENT, "expected the memory of '%s' to be 64-byte aligned", name);
  bool strided = false;
  for (uint32_t i = 0; i < HEDDLE_MAX_RANK; ++i)
    strided |= view.stride[i] != 0;
  int64_t bytes = dtypeBytes(io.dtype);
  for (uint32_t i = io.rank; i-- > 0;) {
    int64_t most = dimension(io, i, bounds), size = view.dimension[i];
    if (size < 0 || size > most || (io.dim[i] >= 0 && size != most))
      return fail(error, HEDDLE_INVALID_ARGUMENT, "expected dimension %u of '%s' to be %s%" PRId64 ", but found %" PRId64,
                  i, name, io.dim[i] >= 0 ? "" : "at most ", most, size);
    if (strided && view.stride[i] != bytes && size > 1)
      return fail(error, HEDDLE_INVALID_ARGUMENT,
                  "expected '%s' to be dense and row-major, with stride %" PRId64 " in dimension %u, but found %" PRId64,
                  name, bytes, i, view.stride[i]);
    bytes *= size; // at most ioBytes() at the bounds, which is checked
  }
  if (static_cast<uint64_t>(bytes) > view.size_bytes)
    return fail(error, HEDDLE_INVALID_ARGUMENT, "'%s' needs %" PRId64 " bytes, but view->size_bytes is %" PRIu64, name,
                bytes, view.size_bytes);
  return HEDDLE_OK;
}

} // namespace

extern "C" {

heddle_status heddle_model_memory(const heddle_model *model, const heddle_session_options *options,
                                  heddle_memory *out_memory, heddle_error *error) {
  heddle_session_options resolved;
  SessionLayout layout;
  HEDDLE_TRY(resolveOptions(*model, options, resolved, error));
  HEDDLE_TRY(layOut(*model, resolved, layout, nullptr, error));
  heddle_memory memory = {};
  memory.total_bytes = layout.deviceBytes + layout.hostBytes;
  memory.arena_bytes = layout.arenaBytes;
  memory.cache_bytes = layout.cacheBytes;
  memory.scratch_bytes = layout.planBytes;
  memory.io_bytes = layout.ioBytes;
  memory.table_bytes = memory.total_bytes - layout.arenaBytes - layout.cacheBytes - layout.planBytes - layout.ioBytes;
  memory.bytes_per_sequence = layout.cacheBytes / layout.sequences;
  return writeStruct(out_memory, memory, "out_memory", error);
}

heddle_status heddle_session_create(heddle_model *model, const heddle_session_options *options,
                                    heddle_session **out_session, heddle_error *error) {
  if (!out_session)
    return fail(error, HEDDLE_INVALID_ARGUMENT, "expected 'out_session', but found NULL");
  *out_session = nullptr;
  heddle_session_options resolved;
  SessionLayout layout;
  HEDDLE_TRY(resolveOptions(*model, options, resolved, error));
  HEDDLE_TRY(layOut(*model, resolved, layout, nullptr, error));
  void *block = model->memory.allocate(layout.hostBytes, 64);
  if (!block)
    return failAllocation(model->memory, layout.hostBytes, "a session", error);
  memset(block, 0, layout.hostBytes);
  heddle_session *session = static_cast<heddle_session *>(block);
  session->model = model;
  session->layout = layout;
  session->team = resolved.team;
  if (resolved.team)
    retainTeam(resolved.team);
  __atomic_fetch_add(&model->sessions, 1, __ATOMIC_RELAXED);
  if (heddle_status status = setUpSession(*session, resolved, error)) {
    destroySession(session);
    return status;
  }
  *out_session = session;
  return HEDDLE_OK;
}

void heddle_session_destroy(heddle_session *session) {
  if (session)
    destroySession(session);
}

heddle_status heddle_session_bind(heddle_session *session, const char *entry, uint32_t io, const heddle_view *view,
                                  heddle_error *error) {
  const heddle_model &model = *session->model;
  uint32_t index;
  HEDDLE_TRY(findEntry(model, entry, index, error));
  const heddle_entry &record = model.program.entries[index];
  if (io >= record.io_count)
    return fail(error, HEDDLE_INVALID_ARGUMENT, "entry '%s' has %u inputs and outputs, so none has number %u",
                model.string(record.name), record.io_count, io);
  const heddle_io &description = model.program.ios[record.first_io + io];
  heddle_view checked = {};
  if (view) {
    HEDDLE_TRY(readStruct(checked, view, "view", error));
    HEDDLE_TRY(checkView(model, description, checked, session->layout, error));
  } else if (!description.is_output) {
    return fail(error, HEDDLE_INVALID_ARGUMENT, "expected 'view' for input '%s', but found NULL",
                model.string(description.name));
  }
  EntryState &state = session->entries[index];
  state.ios[io].bound = checked;
  state.buffers[io] = state.ios[io].own;
  // Text inputs are copied and checked before they are used; the rest is used in place where the device can.
  if (view && model.unified && (description.is_output || record.kind == HEDDLE_ENTRY_TENSORS))
    state.buffers[io] = {checked.data, reinterpret_cast<uintptr_t>(checked.data), checked.size_bytes};
  if (description.is_output)
    state.hasRun = false; // its result is not there any more
  return HEDDLE_OK;
}

heddle_status heddle_session_output(heddle_session *session, const char *entry, uint32_t output, heddle_view *out_view,
                                    heddle_error *error) {
  const heddle_model &model = *session->model;
  uint32_t index;
  HEDDLE_TRY(findEntry(model, entry, index, error));
  const heddle_entry &record = model.program.entries[index];
  uint32_t inputs = inputCount(model.program, record);
  if (output >= record.io_count - inputs)
    return fail(error, HEDDLE_INVALID_ARGUMENT, "entry '%s' has %u outputs, so none has number %u",
                model.string(record.name), record.io_count - inputs, output);
  EntryState &state = session->entries[index];
  if (!state.hasRun)
    return fail(error, HEDDLE_INVALID_ARGUMENT, "entry '%s' has no result: it did not run, or its last run failed",
                model.string(record.name));
  const heddle_io &io = model.program.ios[record.first_io + inputs + output];
  const IoState &memory = state.ios[inputs + output];
  heddle_view view = {};
  view.data = memory.bound.data ? memory.bound.data : memory.mirror;
  view.dtype = static_cast<heddle_dtype>(io.dtype);
  view.rank = io.rank;
  view.size_bytes = dtypeBytes(io.dtype);
  for (uint32_t i = io.rank; i-- > 0;) {
    view.dimension[i] = dimension(io, i, state.dims);
    view.stride[i] = view.size_bytes;
    view.size_bytes *= view.dimension[i];
  }
  return writeStruct(out_view, view, "out_view", error);
}

void heddle_session_cancel(heddle_session *session) { __atomic_store_n(&session->cancel, 1, __ATOMIC_RELEASE); }

static heddle_status checkSlot(const heddle_session &session, uint32_t slot, heddle_error *error) {
  if (!session.pages.pageCount)
    return fail(error, HEDDLE_INVALID_ARGUMENT, "the model keeps no sequences");
  if (slot >= session.layout.sequences)
    return fail(error, HEDDLE_INVALID_ARGUMENT, "the session has %u sequences, so none has number %u",
                session.layout.sequences, slot);
  return HEDDLE_OK;
}

uint32_t heddle_sequence_length(const heddle_session *session, uint32_t slot) {
  return slot < session->layout.sequences ? session->pages.slots[slot].length : 0;
}

heddle_status heddle_sequence_fork(heddle_session *session, uint32_t from, uint32_t to, heddle_error *error) {
  HEDDLE_TRY(checkSlot(*session, from, error));
  HEDDLE_TRY(checkSlot(*session, to, error));
  session->pages.fork(from, to);
  return HEDDLE_OK;
}

heddle_status heddle_sequence_trim(heddle_session *session, uint32_t slot, uint32_t length, heddle_error *error) {
  HEDDLE_TRY(checkSlot(*session, slot, error));
  uint32_t now = session->pages.slots[slot].length;
  if (length > now)
    return fail(error, HEDDLE_INVALID_ARGUMENT, "sequence %u has %u tokens, so it cannot be trimmed to %u", slot, now,
                length);
  session->pages.trim(slot, length);
  return HEDDLE_OK;
}

heddle_status heddle_sequence_clear(heddle_session *session, uint32_t slot, heddle_error *error) {
  return heddle_sequence_trim(session, slot, 0, error);
}

heddle_status heddle_session_save(heddle_session *session, uint32_t slot, heddle_write_fn write, void *context,
                                  heddle_error *error) {
  HEDDLE_TRY(checkSlot(*session, slot, error));
  if (!write)
    return fail(error, HEDDLE_INVALID_ARGUMENT, "expected 'write', but found NULL");
  return session->pages.save(slot, write, context, error);
}

heddle_status heddle_session_restore(heddle_session *session, uint32_t slot, heddle_read_fn read, void *context,
                                     heddle_error *error) {
  HEDDLE_TRY(checkSlot(*session, slot, error));
  if (!read)
    return fail(error, HEDDLE_INVALID_ARGUMENT, "expected 'read', but found NULL");
  heddle_status status = session->pages.restore(slot, read, context, error);
  if (status)
    session->pages.trim(slot, 0);
  return status;
}
}

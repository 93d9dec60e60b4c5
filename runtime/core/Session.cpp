#include "core/Session.h"
#include <inttypes.h>

using namespace heddle::runtime;

namespace {

constexpr uint64_t maxSessionBytes = 1ull << 47;

/// Lays out a block piece by piece; without a base it only counts. Sizes add up without overflow: each is
/// capped.
class Block {
public:
  explicit Block(void *base) : base(reinterpret_cast<uintptr_t>(base)) {}

  uint64_t takeBytes(uint64_t size) {
    uint64_t offset = bytes;
    bytes = smaller(bytes + alignUp(smaller(size, maxSessionBytes), 64), maxSessionBytes);
    return offset;
  }
  template <typename T> void take(T *&out, uint64_t count) {
    out = reinterpret_cast<T *>(base + takeBytes(count * sizeof(T)));
  }

  uint64_t bytes = 0;

private:
  uintptr_t base;
};

heddle_status resolveOption(uint32_t &value, uint32_t most, uint32_t fallback, const char *name,
                            heddle_error *error) {
  if (!value)
    value = fallback;
  if (value <= most)
    return HEDDLE_OK;
  return fail(error, HEDDLE_RESOURCE_LIMIT, "options->%s is %u, but the model is compiled for at most %u",
              name, value, most);
}

/// Fills the session's bounds.
heddle_status resolveOptions(const heddle_model &model, const heddle_session_options *options,
                             heddle_session &out, heddle_error *error) {
  heddle_session_options given = {};
  if (options)
    HEDDLE_TRY(readStruct(given, options, "options", error));
  const heddle_program_header &header = *model.program.header;
  HEDDLE_TRY(resolveOption(given.sequences, header.max_slots, 1, "sequences", error));
  HEDDLE_TRY(resolveOption(given.context, header.max_context, header.max_context, "context", error));
  HEDDLE_TRY(resolveOption(given.rows, header.max_rows, header.max_rows, "rows", error));
  uint32_t wanted = smaller(header.max_wanted, given.rows);
  HEDDLE_TRY(resolveOption(given.wanted, wanted, wanted, "wanted", error));
  out.team = given.team;
  out.sequences = given.sequences;
  out.context = alignUp(given.context, HEDDLE_PAGE_TOKENS);
  out.rows = given.rows;
  out.wanted = given.wanted;
  return HEDDLE_OK;
}

/// Places everything that the session needs into its blocks. With `inPlace` they exist and `to` is in the
/// second one.
heddle_status layOut(const heddle_model &model, heddle_session &to, bool inPlace, heddle_error *error) {
  const heddle_program &program = model.program;
  const heddle_program_header &header = *program.header;
  Block device(nullptr), host(inPlace ? &to : nullptr);
  host.takeBytes(sizeof(heddle_session));

  to.arenaBytes = 0;
  for (uint64_t i = 0; i < header.variants.count; ++i)
    if (program.variants[i].min_rows <= to.rows)
      to.arenaBytes = larger(to.arenaBytes, program.variants[i].arena_bytes);
  device.takeBytes(to.arenaBytes);
  uint64_t pages =
      header.caches.count ? static_cast<uint64_t>(to.context) / HEDDLE_PAGE_TOKENS * to.sequences : 0;
  uint64_t largestPage = 0;
  host.take(to.caches, header.caches.count);
  for (uint64_t i = 0; i < header.caches.count; ++i) {
    uint64_t pageBytes = program.caches[i].page_bytes, size = pages * pageBytes,
             offset = device.takeBytes(size);
    largestPage = larger(largestPage, pageBytes);
    if (inPlace)
      to.caches[i] = {to.device.host ? static_cast<char *>(to.device.host) + offset : nullptr,
                      to.device.address + offset, size};
  }
  to.cacheBytes = device.bytes - to.arenaBytes;

  to.pages.pageCount = pages;
  host.take(to.pages.slots, to.sequences);
  host.take(to.pages.users, pages);
  host.take(to.pages.freePages, pages);
  host.take(to.pages.staging, largestPage);
  uint64_t table = pages ? static_cast<uint64_t>(header.max_slots) * pagesPerSlot(program) : 0;
  host.take(to.pages.table, table);
  to.pageTable = {to.pages.table, reinterpret_cast<uintptr_t>(to.pages.table), table * sizeof(int32_t)};
  heddle_work *work;
  host.take(work, to.rows);
  to.work = {work, reinterpret_cast<uintptr_t>(work), to.rows * sizeof(heddle_work)};

  host.take(to.entries, header.entries.count);
  for (uint64_t e = 0; e < header.entries.count; ++e) {
    EntryState state = {};
    host.take(state.ios, program.entries[e].io_count);
    host.take(state.buffers, program.entries[e].io_count);
    if (inPlace)
      to.entries[e] = state;
  }
  to.bookBytes = host.bytes;

  int64_t dims[HEDDLE_DIM_COUNT] = {to.rows, to.wanted, to.rows};
  for (uint64_t e = 0; e < header.entries.count; ++e) {
    const heddle_entry &entry = program.entries[e];
    for (uint32_t i = 0; i < entry.io_count; ++i) {
      const heddle_io &io = program.ios[entry.first_io + i];
      if (entry.kind == HEDDLE_ENTRY_TENSORS && !io.is_output)
        continue; // used where it is bound
      uint64_t size = ioBytes(io, dims);
      char *own;
      host.take(own, size);
      if (inPlace) {
        IoState &state = to.entries[e].ios[i];
        state.own = {own, reinterpret_cast<uintptr_t>(own), size};
        to.entries[e].buffers[i] = state.own;
      }
    }
  }
  to.ioBytes = host.bytes - to.bookBytes;
  to.planBytes =
      !model.module ? 0 : model.driver->plan_bytes(model.module, to.team ? heddle_team_threads(to.team) : 1);
  char *plan;
  host.take(plan, to.planBytes);
  to.planMemory = plan;
  to.deviceBytes = device.bytes;
  to.hostBytes = host.bytes;
  if (to.deviceBytes + to.hostBytes >= maxSessionBytes)
    return fail(error, HEDDLE_RESOURCE_LIMIT,
                "%u sequences of %u tokens need more memory than any machine has", to.sequences, to.context);
  return HEDDLE_OK;
}

heddle_status setUpSession(heddle_session &session, heddle_error *error) {
  heddle_model &model = *session.model;
  if (session.deviceBytes)
    HEDDLE_TRY(model.driver->allocate(model.device, session.deviceBytes, &session.device, error));
  HEDDLE_TRY(layOut(model, session, true, error));
  session.pages.setUp(session);
  heddle_buffer arena = session.device; // its first piece
  arena.size = session.arenaBytes;
  heddle_bindings bindings = {sizeof(bindings), arena,          model.weights, session.pageTable,
                              session.work,     session.caches, session.team,  session.planMemory,
                              session.rows,     session.wanted};
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
  model.memory.release(session, session->hostBytes);
  __atomic_fetch_sub(&model.sessions, 1, __ATOMIC_RELEASE);
}

/// The size of dimension `i` in a run with `dims`.
int64_t dimension(const heddle_io &io, uint32_t i, const int64_t *dims) {
  return io.dim[i] >= 0 ? io.dim[i] : dims[io.dim_id[i]];
}

heddle_status checkView(const heddle_session &session, const heddle_io &io, const heddle_view &view,
                        heddle_error *error) {
  const char *name = session.model->string(io.name);
  int64_t bounds[HEDDLE_DIM_COUNT] = {session.rows, session.wanted, session.rows};
  if (static_cast<uint32_t>(view.dtype) != io.dtype || view.rank != io.rank)
    return fail(error, HEDDLE_INVALID_ARGUMENT,
                "expected '%s' to have element type %u and rank %u, but found %u and %u", name, io.dtype,
                io.rank, static_cast<uint32_t>(view.dtype), view.rank);
  if (!view.data || reinterpret_cast<uintptr_t>(view.data) % 64)
    return fail(error, HEDDLE_INVALID_ARGUMENT, "expected the memory of '%s' to be 64-byte aligned", name);
  bool strided = false;
  for (int64_t stride : view.stride)
    strided |= stride != 0;
  int64_t bytes = dtypeBytes(io.dtype);
  for (uint32_t i = io.rank; i-- > 0;) {
    int64_t most = dimension(io, i, bounds), size = view.dimension[i];
    if (size < 0 || size > most || (io.dim[i] >= 0 && size != most))
      return fail(error, HEDDLE_INVALID_ARGUMENT,
                  "expected dimension %u of '%s' to be %s%" PRId64 ", but found %" PRId64, i, name,
                  io.dim[i] >= 0 ? "" : "at most ", most, size);
    if (strided && view.stride[i] != bytes && size > 1)
      return fail(error, HEDDLE_INVALID_ARGUMENT, "expected '%s' to be dense and row-major", name);
    bytes *= size; // at most ioBytes() at the bounds, which is checked
  }
  if (static_cast<uint64_t>(bytes) > view.size_bytes)
    return fail(error, HEDDLE_INVALID_ARGUMENT,
                "'%s' needs %" PRId64 " bytes, but view->size_bytes is %" PRIu64, name, bytes,
                view.size_bytes);
  return HEDDLE_OK;
}

/// Input or output `io` of the entry; numbers of outputs count from its first output.
heddle_status findIo(const heddle_session &session, const char *name, uint32_t io, bool isOutput,
                     uint32_t &entry, uint32_t &number, heddle_error *error) {
  const heddle_model &model = *session.model;
  HEDDLE_TRY(findEntry(model, name, entry, error));
  const heddle_entry &record = model.program.entries[entry];
  uint32_t first = isOutput ? inputCount(model.program, record) : 0;
  if (io >= record.io_count - first)
    return fail(error, HEDDLE_INVALID_ARGUMENT, "entry '%s' has no input or output number %u",
                model.string(record.name), io);
  number = first + io;
  return HEDDLE_OK;
}

} // namespace

extern "C" {

heddle_status heddle_model_memory(const heddle_model *model, const heddle_session_options *options,
                                  heddle_memory *out_memory, heddle_error *error) {
  heddle_session session = {};
  HEDDLE_TRY(resolveOptions(*model, options, session, error));
  HEDDLE_TRY(layOut(*model, session, false, error));
  heddle_memory memory = {};
  memory.total_bytes = session.deviceBytes + session.hostBytes;
  memory.arena_bytes = session.arenaBytes;
  memory.cache_bytes = session.cacheBytes;
  memory.scratch_bytes = session.planBytes;
  memory.io_bytes = session.ioBytes;
  memory.table_bytes =
      memory.total_bytes - session.arenaBytes - session.cacheBytes - session.planBytes - session.ioBytes;
  memory.bytes_per_sequence = session.cacheBytes / session.sequences;
  return writeStruct(out_memory, memory, "out_memory", error);
}

heddle_status heddle_session_create(heddle_model *model, const heddle_session_options *options,
                                    heddle_session **out_session, heddle_error *error) {
  *out_session = nullptr;
  if (!model->module)
    return fail(error, HEDDLE_NOT_TRUSTED, "the model was opened to be inspected only, so it cannot run");
  heddle_session counted = {};
  HEDDLE_TRY(resolveOptions(*model, options, counted, error));
  HEDDLE_TRY(layOut(*model, counted, false, error));
  heddle_session *session = static_cast<heddle_session *>(model->memory.allocate(counted.hostBytes, 64));
  if (!session)
    return failAllocation(model->memory, counted.hostBytes, error);
  memset(static_cast<void *>(session), 0,
         counted.bookBytes); // large outputs stay untouched until they are written
  *session = counted;
  session->model = model;
  if (session->team)
    retainTeam(session->team);
  __atomic_fetch_add(&model->sessions, 1, __ATOMIC_RELAXED);
  if (heddle_status status = setUpSession(*session, error)) {
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

heddle_status heddle_session_bind(heddle_session *session, const char *entry, uint32_t io,
                                  const heddle_view *view, heddle_error *error) {
  const heddle_program &program = session->model->program;
  uint32_t index, number;
  HEDDLE_TRY(findIo(*session, entry, io, false, index, number, error));
  const heddle_entry &record = program.entries[index];
  const heddle_io &description = program.ios[record.first_io + io];
  EntryState &state = session->entries[index];
  heddle_view checked = {};
  if (view || !description.is_output) {
    HEDDLE_TRY(readStruct(checked, view, "view", error));
    HEDDLE_TRY(checkView(*session, description, checked, error));
  }
  state.ios[io].bound = checked;
  // A text entry's rows are copied and checked at each run; the rest is used in place.
  if (description.is_output || record.kind == HEDDLE_ENTRY_TENSORS ||
      io > 3u - (record.kind == HEDDLE_ENTRY_ENCODE)) {
    heddle_buffer bound = {checked.data, reinterpret_cast<uintptr_t>(checked.data), checked.size_bytes};
    state.buffers[io] = view ? bound : state.ios[io].own;
  }
  if (description.is_output)
    state.hasRun = false; // its result is not there any more
  return HEDDLE_OK;
}

heddle_status heddle_session_output(heddle_session *session, const char *entry, uint32_t output,
                                    heddle_view *out_view, heddle_error *error) {
  const heddle_program &program = session->model->program;
  uint32_t index, number;
  HEDDLE_TRY(findIo(*session, entry, output, true, index, number, error));
  const heddle_entry &record = program.entries[index];
  EntryState &state = session->entries[index];
  if (!state.hasRun)
    return fail(error, HEDDLE_INVALID_ARGUMENT,
                "entry '%s' has no result: it did not run, or its last run failed",
                session->model->string(record.name));
  const heddle_io &io = program.ios[record.first_io + number];
  heddle_view view = {};
  view.data = state.buffers[number].host;
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

void heddle_session_cancel(heddle_session *session) {
  __atomic_store_n(&session->cancel, 1, __ATOMIC_RELEASE);
}

static heddle_status checkSlot(const heddle_session &session, uint32_t slot, heddle_error *error) {
  uint32_t count = session.pages.pageCount ? session.sequences : 0;
  if (slot >= count)
    return fail(error, HEDDLE_INVALID_ARGUMENT, "the session keeps %u sequences, so none has number %u",
                count, slot);
  return HEDDLE_OK;
}

uint32_t heddle_sequence_length(const heddle_session *session, uint32_t slot) {
  return slot < session->sequences ? session->pages.slots[slot].length : 0;
}

heddle_status heddle_sequence_fork(heddle_session *session, uint32_t from, uint32_t to, heddle_error *error) {
  HEDDLE_TRY(checkSlot(*session, from, error));
  HEDDLE_TRY(checkSlot(*session, to, error));
  session->pages.fork(from, to);
  return HEDDLE_OK;
}

heddle_status heddle_sequence_trim(heddle_session *session, uint32_t slot, uint32_t length,
                                   heddle_error *error) {
  HEDDLE_TRY(checkSlot(*session, slot, error));
  uint32_t now = session->pages.slots[slot].length;
  if (length > now)
    return fail(error, HEDDLE_INVALID_ARGUMENT, "sequence %u has %u tokens, so it cannot be trimmed to %u",
                slot, now, length);
  session->pages.trim(slot, length);
  return HEDDLE_OK;
}

heddle_status heddle_sequence_clear(heddle_session *session, uint32_t slot, heddle_error *error) {
  return heddle_sequence_trim(session, slot, 0, error);
}

heddle_status heddle_session_save(heddle_session *session, uint32_t slot, heddle_write_fn write,
                                  void *context, heddle_error *error) {
  HEDDLE_TRY(checkSlot(*session, slot, error));
  return session->pages.save(slot, write, context, error);
}

heddle_status heddle_session_restore(heddle_session *session, uint32_t slot, heddle_read_fn read,
                                     void *context, heddle_error *error) {
  HEDDLE_TRY(checkSlot(*session, slot, error));
  heddle_status status = session->pages.restore(slot, read, context, error);
  if (status)
    session->pages.trim(slot, 0);
  return status;
}
}

// run() and step(): checks first, then room in the caches, then the kernels. No allocation, no system call but futex.
#include "core/Session.h"
#include <inttypes.h>

using namespace heddle::runtime;

namespace {

enum TextInput { Tokens, Slots, Positions, Wanted };

/// One call of run() or step().
class Run {
public:
  Run(heddle_session &session, uint32_t index, heddle_error *error)
      : session(session), model(*session.model), program(model.program), index(index),
        entry(program.entries[index]), state(session.entries[index]), inputs(inputCount(program, entry)),
        error(error) {}

  heddle_status tensors();
  heddle_status text(const heddle_step &step);

private:
  heddle_session &session;
  const heddle_model &model;
  const heddle_program &program;
  uint32_t index;
  const heddle_entry &entry;
  EntryState &state;
  uint32_t inputs;
  heddle_error *error;
  const heddle_variant *variant = nullptr;
  int64_t dims[HEDDLE_DIM_COUNT] = {};

  [[nodiscard]] const char *name() const { return model.string(entry.name); }
  int32_t *input(TextInput which) const { return static_cast<int32_t *>(state.ios[which].mirror); }
  heddle_status copyText(const heddle_step &step);
  heddle_status checkStep();
  heddle_status checkTexts();
  heddle_status checkWanted();
  heddle_status makeWork();
  heddle_status extendSequences();
  void forgetExtensions();
  heddle_status checkOutputs();
  heddle_status execute();

  void chooseVariant() {
    variant = &program.variants[entry.first_variant];
    while (dims[HEDDLE_DIM_ROWS] > variant->max_rows)
      ++variant;
  }
  heddle_status upload(const heddle_buffer &to, const void *from, uint64_t bytes) {
    if (model.unified || !bytes)
      return HEDDLE_OK;
    heddle_buffer host = {const_cast<void *>(from), 0, bytes};
    return model.driver->copy(model.device, &to, 0, &host, 0, bytes, error);
  }
};

/// Copies before checking, so that what is checked is what runs.
heddle_status Run::copyText(const heddle_step &step) {
  if (step.count == 0 || step.count > session.layout.rows)
    return fail(error, HEDDLE_RESOURCE_LIMIT, "expected 1 to %u rows in one run, but found %u", session.layout.rows,
                step.count);
  if (!step.tokens || !step.slots || !step.positions || (step.wanted_count && !step.wanted))
    return fail(error, HEDDLE_INVALID_ARGUMENT, "expected tokens, slots, positions and wanted rows, but found NULL");
  if (step.wanted_count > session.layout.wanted)
    return fail(error, HEDDLE_RESOURCE_LIMIT, "expected at most %u wanted rows, but found %u", session.layout.wanted,
                step.wanted_count);
  if (step.wanted_count && entry.kind != HEDDLE_ENTRY_STEP)
    return fail(error, HEDDLE_INVALID_ARGUMENT, "entry '%s' has no wanted rows", name());
  dims[HEDDLE_DIM_ROWS] = step.count;
  dims[HEDDLE_DIM_WANTED] = step.wanted_count;
  size_t bytes = step.count * sizeof(int32_t);
  memcpy(input(Tokens), step.tokens, bytes);
  memcpy(input(Slots), step.slots, bytes);
  memcpy(input(Positions), step.positions, bytes);
  if (step.wanted_count)
    memcpy(input(Wanted), step.wanted, step.wanted_count * sizeof(int32_t));
  for (uint32_t i = 0; i < step.count; ++i)
    if (static_cast<uint32_t>(input(Tokens)[i]) >= program.header->vocabulary)
      return fail(error, HEDDLE_INVALID_ARGUMENT, "row %u: expected a token id below %u, but found %d", i,
                  program.header->vocabulary, input(Tokens)[i]);
  return HEDDLE_OK;
}

/// The rows of each sequence are contiguous and continue it.
heddle_status Run::checkStep() {
  uint32_t rows = dims[HEDDLE_DIM_ROWS];
  const int32_t *slots = input(Slots), *positions = input(Positions);
  if (++session.stepNumber == 0) { // wrapped around: old marks could look like new ones
    for (uint32_t i = 0; i < session.layout.sequences; ++i)
      session.pages.slots[i].seen = 0;
    session.stepNumber = 1;
  }
  for (uint32_t i = 0; i < rows; ++i) {
    if (static_cast<uint32_t>(slots[i]) >= session.layout.sequences)
      return fail(error, HEDDLE_INVALID_ARGUMENT, "row %u: expected a sequence below %u, but found %d", i,
                  session.layout.sequences, slots[i]);
    Slot &slot = session.pages.slots[slots[i]];
    bool starts = i == 0 || slots[i] != slots[i - 1];
    if (starts && slot.seen == session.stepNumber)
      return fail(error, HEDDLE_INVALID_ARGUMENT, "row %u: the rows of sequence %d are not contiguous", i, slots[i]);
    slot.seen = session.stepNumber;
    int64_t expected = starts ? slot.length : static_cast<int64_t>(positions[i - 1]) + 1;
    if (positions[i] != expected)
      return fail(error, HEDDLE_INVALID_ARGUMENT,
                  "row %u: expected position %" PRId64 " of sequence %d, but found %d", i, expected, slots[i],
                  positions[i]);
    if (expected >= session.layout.context)
      return fail(error, HEDDLE_RESOURCE_LIMIT, "row %u: sequence %d is full; it holds %u tokens", i, slots[i],
                  session.layout.context);
  }
  return checkWanted();
}

heddle_status Run::checkWanted() {
  const int32_t *wanted = input(Wanted);
  for (int64_t i = 0; i < dims[HEDDLE_DIM_WANTED]; ++i)
    if (wanted[i] < 0 || wanted[i] >= dims[HEDDLE_DIM_ROWS] || (i && wanted[i] <= wanted[i - 1]))
      return fail(error, HEDDLE_INVALID_ARGUMENT,
                  "expected the wanted rows to ascend and to be below %" PRId64 ", but found %d at %" PRId64,
                  dims[HEDDLE_DIM_ROWS], wanted[i], i);
  return HEDDLE_OK;
}

/// Texts are numbered in order, and the positions of each count from 0.
heddle_status Run::checkTexts() {
  const int32_t *texts = input(Slots), *positions = input(Positions);
  uint32_t longest = program.header->max_context ? program.header->max_context : program.header->max_rows;
  int64_t count = 0;
  for (int64_t i = 0; i < dims[HEDDLE_DIM_ROWS]; ++i) {
    bool starts = i == 0 || texts[i] != texts[i - 1];
    if (starts ? texts[i] != count++ : texts[i] != count - 1)
      return fail(error, HEDDLE_INVALID_ARGUMENT, "row %" PRId64 ": expected text %" PRId64 ", but found %d", i,
                  count - 1, texts[i]);
    int32_t expected = starts ? 0 : positions[i - 1] + 1; // below the number of rows
    if (positions[i] != expected)
      return fail(error, HEDDLE_INVALID_ARGUMENT, "row %" PRId64 ": expected position %d of text %d, but found %d", i,
                  expected, texts[i], positions[i]);
    if (static_cast<uint32_t>(expected) >= longest)
      return fail(error, HEDDLE_RESOURCE_LIMIT, "row %" PRId64 ": text %d is longer than %u tokens", i, texts[i],
                  longest);
  }
  if (count > session.layout.wanted)
    return fail(error, HEDDLE_RESOURCE_LIMIT, "expected at most %u texts in one run, but found %" PRId64,
                session.layout.wanted, count);
  dims[HEDDLE_DIM_WANTED] = count;
  return HEDDLE_OK;
}

heddle_status Run::makeWork() {
  uint32_t rows = dims[HEDDLE_DIM_ROWS], count = 0;
  const int32_t *slots = input(Slots), *positions = input(Positions);
  if (!variant->work_rows)
    return HEDDLE_OK;
  for (uint32_t first = 0, end; first < rows; first = end) {
    for (end = first + 1; end < rows && slots[end] == slots[first];)
      ++end;
    for (uint32_t row = first; row < end; row += variant->work_rows) {
      heddle_work &work = session.hostWork[count++];
      work = {};
      work.row_begin = row;
      work.row_count = smaller(variant->work_rows, end - row);
      work.slot = slots[row];
      work.position = positions[row];
      work.first_row = first;
      work.slot_rows = end - first;
    }
  }
  dims[HEDDLE_DIM_WORK] = count;
  return upload(session.work, session.hostWork, count * sizeof(heddle_work));
}

heddle_status Run::extendSequences() {
  uint32_t rows = dims[HEDDLE_DIM_ROWS];
  const int32_t *slots = input(Slots);
  for (uint32_t first = 0, end; first < rows; first = end) {
    for (end = first + 1; end < rows && slots[end] == slots[first];)
      ++end;
    HEDDLE_TRY(session.pages.extend(slots[first], end - first, error));
  }
  return upload(session.pageTable, session.pages.table, session.layout.tableBytes);
}

void Run::forgetExtensions() {
  for (int64_t i = 0; i < dims[HEDDLE_DIM_ROWS]; ++i) {
    uint32_t slot = input(Slots)[i];
    session.pages.trim(slot, session.pages.slots[slot].length);
  }
}

/// Memory that the caller bound to outputs has room for the actual shape.
heddle_status Run::checkOutputs() {
  for (uint32_t i = inputs; i < entry.io_count; ++i) {
    const heddle_view &bound = state.ios[i].bound;
    uint64_t bytes = ioBytes(program.ios[entry.first_io + i], dims);
    if (bound.data && bound.size_bytes < bytes)
      return fail(error, HEDDLE_INVALID_ARGUMENT,
                  "output '%s' of this run takes %" PRIu64 " bytes, but %" PRIu64 " are bound",
                  model.string(program.ios[entry.first_io + i].name), bytes, bound.size_bytes);
  }
  return HEDDLE_OK;
}

heddle_status Run::execute() {
  heddle_submission submission = {sizeof(submission),
                                  index,
                                  static_cast<uint32_t>(variant - program.variants),
                                  dims,
                                  state.buffers,
                                  &session.cancel};
  HEDDLE_TRY(model.driver->submit(session.plan, &submission, error));
  HEDDLE_TRY(model.driver->wait(session.plan, error));
  for (uint32_t i = inputs; i < entry.io_count && !model.unified; ++i) {
    IoState &io = state.ios[i];
    uint64_t bytes = ioBytes(program.ios[entry.first_io + i], dims);
    heddle_buffer to = {io.bound.data ? io.bound.data : io.mirror, 0, bytes};
    if (bytes)
      HEDDLE_TRY(model.driver->copy(model.device, &to, 0, &io.own, 0, bytes, error));
  }
  return HEDDLE_OK;
}

heddle_status Run::text(const heddle_step &step) {
  state.hasRun = false;
  HEDDLE_TRY(copyText(step));
  HEDDLE_TRY(entry.kind == HEDDLE_ENTRY_STEP ? checkStep() : checkTexts());
  HEDDLE_TRY(checkOutputs());
  chooseVariant();
  HEDDLE_TRY(makeWork());
  for (uint32_t i = 0; i < inputs; ++i)
    HEDDLE_TRY(upload(state.ios[i].own, state.ios[i].mirror, ioBytes(program.ios[entry.first_io + i], dims)));

  heddle_status status = HEDDLE_OK;
  if (entry.kind == HEDDLE_ENTRY_STEP)
    status = extendSequences();
  if (!status)
    status = execute();
  // A cancel that comes after the last kernel still counts: it is not left over for the next run.
  if (__atomic_exchange_n(&session.cancel, 0, __ATOMIC_ACQ_REL) && !status)
    status = HEDDLE_CANCELLED;
  if (entry.kind == HEDDLE_ENTRY_STEP) {
    if (status) {
      forgetExtensions();
    } else {
      for (int64_t i = 0; i < dims[HEDDLE_DIM_ROWS]; ++i)
        session.pages.slots[input(Slots)[i]].length = input(Positions)[i] + 1;
    }
  }
  if (status == HEDDLE_CANCELLED)
    return fail(error, HEDDLE_CANCELLED, "the run of entry '%s' was cancelled", name());
  if (!status) {
    memcpy(state.dims, dims, sizeof(dims));
    state.hasRun = true;
  }
  return status;
}

heddle_status Run::tensors() {
  state.hasRun = false;
  dims[HEDDLE_DIM_ROWS] = dims[HEDDLE_DIM_WANTED] = -1;
  for (uint32_t i = 0; i < inputs; ++i) {
    const heddle_io &io = program.ios[entry.first_io + i];
    const heddle_view &bound = state.ios[i].bound;
    if (!bound.data)
      return fail(error, HEDDLE_INVALID_ARGUMENT, "expected input '%s' of entry '%s' to be bound", model.string(io.name),
                  name());
    for (uint32_t d = 0; d < io.rank; ++d) {
      if (io.dim_id[d] < 0)
        continue;
      int64_t &dim = dims[io.dim_id[d]];
      if (dim >= 0 && dim != bound.dimension[d])
        return fail(error, HEDDLE_INVALID_ARGUMENT,
                    "expected dimension %u of input '%s' to be %" PRId64 " as in the inputs before, but found %" PRId64,
                    d, model.string(io.name), dim, bound.dimension[d]);
      dim = bound.dimension[d];
    }
  }
  if (dims[HEDDLE_DIM_ROWS] == 0)
    return fail(error, HEDDLE_INVALID_ARGUMENT, "expected at least 1 row, but found 0");
  if (dims[HEDDLE_DIM_ROWS] < 0) // all static
    dims[HEDDLE_DIM_ROWS] = 1;
  if (dims[HEDDLE_DIM_WANTED] < 0)
    dims[HEDDLE_DIM_WANTED] = 0;
  HEDDLE_TRY(checkOutputs());
  chooseVariant();
  for (uint32_t i = 0; i < inputs; ++i)
    HEDDLE_TRY(upload(state.ios[i].own, state.ios[i].bound.data, ioBytes(program.ios[entry.first_io + i], dims)));
  heddle_status status = execute();
  if (__atomic_exchange_n(&session.cancel, 0, __ATOMIC_ACQ_REL) && !status)
    status = HEDDLE_CANCELLED;
  if (status == HEDDLE_CANCELLED)
    return fail(error, HEDDLE_CANCELLED, "the run of entry '%s' was cancelled", name());
  if (!status) {
    memcpy(state.dims, dims, sizeof(dims));
    state.hasRun = true;
  }
  return status;
}

} // namespace

extern "C" {

heddle_status heddle_session_step(heddle_session *session, const char *entry, const heddle_step *step,
                                  heddle_error *error) {
  uint32_t index;
  heddle_step given;
  HEDDLE_TRY(findEntry(*session->model, entry, index, error));
  HEDDLE_TRY(readStruct(given, step, "step", error));
  if (session->model->program.entries[index].kind == HEDDLE_ENTRY_TENSORS)
    return fail(error, HEDDLE_INVALID_ARGUMENT, "entry '%s' takes tensors, not text; bind them and call run",
                session->model->string(session->model->program.entries[index].name));
  return Run(*session, index, error).text(given);
}

heddle_status heddle_session_run(heddle_session *session, const char *entry, heddle_error *error) {
  uint32_t index;
  HEDDLE_TRY(findEntry(*session->model, entry, index, error));
  const heddle_entry &record = session->model->program.entries[index];
  if (record.kind == HEDDLE_ENTRY_TENSORS)
    return Run(*session, index, error).tensors();
  const IoState *ios = session->entries[index].ios;
  auto data = [&](uint32_t input) { return static_cast<const int32_t *>(ios[input].bound.data); };
  heddle_step step = {};
  step.tokens = data(Tokens);
  step.slots = data(Slots);
  step.positions = data(Positions);
  step.count = ios[Tokens].bound.dimension[0];
  if (ios[Slots].bound.dimension[0] != step.count || ios[Positions].bound.dimension[0] != step.count)
    return fail(error, HEDDLE_INVALID_ARGUMENT, "expected tokens, slots and positions of the same length to be bound");
  if (record.kind == HEDDLE_ENTRY_STEP) {
    step.wanted = data(Wanted);
    step.wanted_count = ios[Wanted].bound.dimension[0];
  }
  return Run(*session, index, error).text(step);
}
}

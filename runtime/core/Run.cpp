// run() and step(): checks first, then room in the caches, then the kernels. No allocation, no system call
// but futex.
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
        entry(program.entries[index]), state(session.entries[index]), error(error) {}

  heddle_status tensors();
  heddle_status text(const heddle_step &step);

private:
  heddle_session &session;
  const heddle_model &model;
  const heddle_program &program;
  uint32_t index;
  const heddle_entry &entry;
  EntryState &state;
  heddle_error *error;
  int64_t dims[HEDDLE_DIM_COUNT] = {};

  int32_t *input(TextInput which) const { return static_cast<int32_t *>(state.ios[which].own.host); }
  uint32_t rows() const { return dims[HEDDLE_DIM_ROWS]; }
  /// The row after `first` and the others of its sequence.
  uint32_t endOfSequence(uint32_t first) const {
    uint32_t end = first + 1;
    while (end < rows() && input(Slots)[end] == input(Slots)[first])
      ++end;
    return end;
  }
  heddle_status copyText(const heddle_step &step);
  heddle_status checkStep();
  heddle_status checkTexts();
  heddle_status checkBuffers();
  void makeWork(uint32_t workRows);
  heddle_status extendSequences();
  heddle_status execute();
};

/// Copies before checking, so that what is checked is what runs.
heddle_status Run::copyText(const heddle_step &step) {
  if (step.count == 0 || step.count > session.rows || step.wanted_count > session.wanted)
    return fail(error, HEDDLE_RESOURCE_LIMIT,
                "expected 1 to %u rows in one run and at most %u wanted ones, but found %u and %u",
                session.rows, session.wanted, step.count, step.wanted_count);
  if (!step.tokens || !step.slots || !step.positions || (step.wanted_count && !step.wanted))
    return fail(error, HEDDLE_INVALID_ARGUMENT,
                "expected tokens, slots, positions and wanted rows, but found NULL");
  if (step.wanted_count && entry.kind != HEDDLE_ENTRY_STEP)
    return fail(error, HEDDLE_INVALID_ARGUMENT, "an entry that encodes texts has no wanted rows");
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
  const int32_t *slots = input(Slots), *positions = input(Positions), *wanted = input(Wanted);
  if (++session.stepNumber == 0) { // wrapped around: old marks could look like new ones
    for (uint32_t i = 0; i < session.sequences; ++i)
      session.pages.slots[i].seen = 0;
    session.stepNumber = 1;
  }
  for (uint32_t i = 0; i < rows(); ++i) {
    if (static_cast<uint32_t>(slots[i]) >= session.sequences)
      return fail(error, HEDDLE_INVALID_ARGUMENT, "row %u: expected a sequence below %u, but found %d", i,
                  session.sequences, slots[i]);
    Slot &slot = session.pages.slots[slots[i]];
    bool starts = i == 0 || slots[i] != slots[i - 1];
    if (starts && slot.seen == session.stepNumber)
      return fail(error, HEDDLE_INVALID_ARGUMENT, "row %u: the rows of sequence %d are not contiguous", i,
                  slots[i]);
    slot.seen = session.stepNumber;
    // Positions before are below the context, so this does not overflow.
    uint32_t expected = starts ? slot.length : positions[i - 1] + 1;
    if (static_cast<uint32_t>(positions[i]) != expected)
      return fail(error, HEDDLE_INVALID_ARGUMENT, "row %u: expected position %u of sequence %d, but found %d",
                  i, expected, slots[i], positions[i]);
    if (expected >= session.context)
      return fail(error, HEDDLE_RESOURCE_LIMIT, "row %u: sequence %d is full; it holds %u tokens", i,
                  slots[i], session.context);
  }
  for (int64_t i = 0; i < dims[HEDDLE_DIM_WANTED]; ++i)
    if (static_cast<uint32_t>(wanted[i]) >= rows() || (i && wanted[i] <= wanted[i - 1]))
      return fail(error, HEDDLE_INVALID_ARGUMENT, "expected the wanted rows to ascend below %u, but found %d",
                  rows(), wanted[i]);
  return HEDDLE_OK;
}

/// Texts are numbered in order, and the positions of each count from 0.
heddle_status Run::checkTexts() {
  const int32_t *texts = input(Slots), *positions = input(Positions);
  int32_t longest = program.header->max_context ? program.header->max_context : program.header->max_rows;
  int32_t count = 0;
  for (uint32_t i = 0; i < rows(); ++i) {
    bool starts = i == 0 || texts[i] != texts[i - 1];
    count += starts;
    int32_t expected = starts ? 0 : positions[i - 1] + 1; // below the number of rows
    if (texts[i] != count - 1 || positions[i] != expected)
      return fail(error, HEDDLE_INVALID_ARGUMENT,
                  "row %u: expected text %d, position %d, but found text %d, position %d", i, count - 1,
                  expected, texts[i], positions[i]);
    if (expected >= longest)
      return fail(error, HEDDLE_RESOURCE_LIMIT, "row %u: text %d is longer than %d tokens", i, texts[i],
                  longest);
  }
  if (static_cast<uint32_t>(count) > session.wanted)
    return fail(error, HEDDLE_RESOURCE_LIMIT, "expected at most %u texts in one run, but found %d",
                session.wanted, count);
  dims[HEDDLE_DIM_WANTED] = count;
  return HEDDLE_OK;
}

/// Memory that the caller bound has room for the actual shape.
heddle_status Run::checkBuffers() {
  for (uint32_t i = 0; i < entry.io_count; ++i) {
    const heddle_io &io = program.ios[entry.first_io + i];
    uint64_t bytes = ioBytes(io, dims);
    if (state.buffers[i].size < bytes)
      return fail(error, HEDDLE_INVALID_ARGUMENT,
                  "'%s' of this run takes %" PRIu64 " bytes, but %" PRIu64 " are bound",
                  model.string(io.name), bytes, state.buffers[i].size);
  }
  return HEDDLE_OK;
}

void Run::makeWork(uint32_t workRows) {
  heddle_work *work = static_cast<heddle_work *>(session.work.host);
  for (uint32_t first = 0, end; workRows && first < rows(); first = end) {
    end = endOfSequence(first);
    for (uint32_t row = first; row < end; row += workRows) {
      uint32_t count = smaller(workRows, end - row);
      *work++ = {static_cast<int32_t>(row),
                 static_cast<int32_t>(count),
                 input(Slots)[row],
                 input(Positions)[row],
                 static_cast<int32_t>(first),
                 static_cast<int32_t>(end - first),
                 {0, 0}};
      ++dims[HEDDLE_DIM_WORK];
    }
  }
}

heddle_status Run::extendSequences() {
  for (uint32_t first = 0, end; first < rows(); first = end) {
    end = endOfSequence(first);
    HEDDLE_TRY(session.pages.extend(input(Slots)[first], end - first, error));
  }
  return HEDDLE_OK;
}

/// The kernels. Sequences end up longer if and only if all goes well.
heddle_status Run::execute() {
  bool isStep = entry.kind == HEDDLE_ENTRY_STEP;
  HEDDLE_TRY(checkBuffers());
  uint32_t variant = entry.first_variant;
  while (dims[HEDDLE_DIM_ROWS] > program.variants[variant].max_rows)
    ++variant;
  makeWork(program.variants[variant].work_rows);
  heddle_submission submission = {sizeof(submission), index, variant, dims, state.buffers, &session.cancel};
  heddle_status status = isStep ? extendSequences() : HEDDLE_OK;
  if (!status)
    status = model.driver->submit(session.plan, &submission, error);
  if (!status)
    status = model.driver->wait(session.plan, error);
  // A cancel that comes after the last kernel still counts: it is not left over for the next run.
  if (__atomic_exchange_n(&session.cancel, 0, __ATOMIC_ACQ_REL) && !status)
    status = HEDDLE_CANCELLED;
  for (uint32_t i = 0; isStep && i < rows(); ++i) {
    uint32_t slot = input(Slots)[i];
    if (status)
      session.pages.trim(slot, session.pages.slots[slot].length);
    else
      session.pages.slots[slot].length = input(Positions)[i] + 1;
  }
  if (status == HEDDLE_CANCELLED)
    return fail(error, status, "the run was cancelled");
  memcpy(state.dims, dims, sizeof(dims));
  state.hasRun = !status;
  return status;
}

heddle_status Run::text(const heddle_step &step) {
  state.hasRun = false;
  HEDDLE_TRY(copyText(step));
  HEDDLE_TRY(entry.kind == HEDDLE_ENTRY_STEP ? checkStep() : checkTexts());
  return execute();
}

heddle_status Run::tensors() {
  state.hasRun = false;
  int64_t known[] = {-1, -1};
  for (uint32_t i = 0; i < entry.io_count; ++i) {
    const heddle_io &io = program.ios[entry.first_io + i];
    const heddle_view &bound = state.ios[i].bound;
    if (io.is_output)
      break;
    if (!bound.data)
      return fail(error, HEDDLE_INVALID_ARGUMENT, "expected input '%s' to be bound", model.string(io.name));
    for (uint32_t d = 0; d < io.rank; ++d) {
      if (io.dim_id[d] < 0)
        continue;
      int64_t &dim = known[io.dim_id[d]], size = bound.dimension[d];
      if ((dim >= 0 && dim != size) || size == 0)
        return fail(
            error, HEDDLE_INVALID_ARGUMENT,
            "expected dimension %u of '%s' to be as in the inputs before, and not 0, but found %" PRId64, d,
            model.string(io.name), size);
      dim = size;
    }
  }
  dims[HEDDLE_DIM_ROWS] = larger<int64_t>(known[HEDDLE_DIM_ROWS], 1); // 1 when all is static
  dims[HEDDLE_DIM_WANTED] = larger<int64_t>(known[HEDDLE_DIM_WANTED], 0);
  return execute();
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
    return fail(error, HEDDLE_INVALID_ARGUMENT, "the entry takes tensors, not text; bind them and call run");
  return Run(*session, index, error).text(given);
}

heddle_status heddle_session_run(heddle_session *session, const char *entry, heddle_error *error) {
  uint32_t index;
  HEDDLE_TRY(findEntry(*session->model, entry, index, error));
  const heddle_entry &record = session->model->program.entries[index];
  Run run(*session, index, error);
  if (record.kind == HEDDLE_ENTRY_TENSORS)
    return run.tensors();
  const IoState *ios = session->entries[index].ios;
  auto ids = [&](TextInput input) { return static_cast<const int32_t *>(ios[input].bound.data); };
  auto count = [&](TextInput input) { return static_cast<uint32_t>(ios[input].bound.dimension[0]); };
  if (count(Slots) != count(Tokens) || count(Positions) != count(Tokens))
    return fail(error, HEDDLE_INVALID_ARGUMENT,
                "expected tokens, slots and positions of one length to be bound");
  heddle_step step = {sizeof(step), ids(Tokens), ids(Slots), ids(Positions), count(Tokens), 0, nullptr};
  if (record.kind == HEDDLE_ENTRY_STEP) {
    step.wanted = ids(Wanted);
    step.wanted_count = count(Wanted);
  }
  return run.text(step);
}
}

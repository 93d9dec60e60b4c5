// Kernels of the toy models that the runtime's tests run, compiled into an ELF image of the form that
// codegen/cpu links. Like all kernels they import nothing.
#include <heddle/program.h>
#include <stddef.h>

#define KERNEL __attribute__((visibility("default"), used)) void
#define ARGUMENTS void *const *operands, const int64_t *dims, void *scratch, int64_t begin, int64_t end

enum { Heads = 2, KeyDim = 4, ValueDim = 4, Vocabulary = 100, Width = 4, MaxPages = 4 };

// operands: tokens, slots, positions, page table, cache. Item: a row. Stores token + head at the row's
// position.
KERNEL append(ARGUMENTS) {
  const int32_t *tokens = operands[0], *slots = operands[1], *positions = operands[2], *pages = operands[3];
  uint16_t *cache = operands[4];
  for (int64_t row = begin; row < end; ++row) {
    int32_t page = pages[slots[row] * MaxPages + positions[row] / HEDDLE_PAGE_TOKENS];
    int32_t token = positions[row] % HEDDLE_PAGE_TOKENS;
    uint16_t *base = cache + (size_t)page * HEDDLE_PAGE_TOKENS * Heads * (KeyDim + ValueDim);
    uint16_t *values = base + Heads * HEDDLE_PAGE_TOKENS * KeyDim;
    for (int head = 0; head < Heads; ++head)
      for (int d = 0; d < ValueDim; ++d) {
        base[((head * (HEDDLE_PAGE_TOKENS / 16) + token / 16) * KeyDim + d) * 16 + token % 16] = tokens[row];
        values[(head * HEDDLE_PAGE_TOKENS + token) * ValueDim + d] = tokens[row] + head;
      }
  }
}

// operands: work, page table, cache, sums f32 [rows][heads]. Item: (work, head). Sums the values up to each
// row, and checks that the keys hold the same tokens.
KERNEL attend(ARGUMENTS) {
  const heddle_work *works = operands[0];
  const int32_t *pages = operands[1];
  const uint16_t *cache = operands[2];
  float *sums = operands[3];
  for (int64_t item = begin; item < end; ++item) {
    const heddle_work *work = &works[item / Heads];
    int64_t head = item % Heads;
    for (int32_t row = 0; row < work->row_count; ++row) {
      float sum = 0;
      for (int32_t t = 0; t <= work->position + row; ++t) {
        int32_t page = pages[work->slot * MaxPages + t / HEDDLE_PAGE_TOKENS], token = t % HEDDLE_PAGE_TOKENS;
        const uint16_t *base = cache + (size_t)page * HEDDLE_PAGE_TOKENS * Heads * (KeyDim + ValueDim);
        const uint16_t *values = base + Heads * HEDDLE_PAGE_TOKENS * KeyDim;
        uint16_t value = values[(head * HEDDLE_PAGE_TOKENS + token) * ValueDim];
        uint16_t key = base[((head * (HEDDLE_PAGE_TOKENS / 16) + token / 16) * KeyDim + 1) * 16 + token % 16];
        sum += value == key + head ? value : 1e9f;
      }
      sums[(work->row_begin + row) * Heads + head] = sum;
    }
  }
}

// operands: sums, wanted, weights f32 [vocabulary], logits. Item: a wanted row.
KERNEL head(ARGUMENTS) {
  const float *sums = operands[0], *weights = operands[2];
  const int32_t *wanted = operands[1];
  float *logits = operands[3];
  for (int64_t i = begin; i < end; ++i)
    for (int v = 0; v < Vocabulary; ++v)
      logits[i * Vocabulary + v] = (sums[wanted[i] * Heads] + sums[wanted[i] * Heads + 1]) * weights[v];
}

// operands: work, tokens, positions, embeddings f32 [texts][width]. Item: a work record; each text is one.
KERNEL pool(ARGUMENTS) {
  const heddle_work *works = operands[0];
  const int32_t *tokens = operands[1], *positions = operands[2];
  float *embeddings = operands[3];
  for (int64_t item = begin; item < end; ++item) {
    const heddle_work *work = &works[item];
    float sum = 0, positionSum = 0;
    for (int32_t row = 0; row < work->row_count; ++row) {
      sum += tokens[work->row_begin + row];
      positionSum += positions[work->row_begin + row];
    }
    float *to = embeddings + (size_t)work->slot * Width;
    to[0] = sum;
    to[1] = positionSum;
    to[2] = work->slot_rows;
    to[3] = work->first_row;
  }
}

// operands: x f32 [rows][width], y f32 [rows][width]. Item: a row. y = 2 x, through the worker's scratch.
KERNEL scale(ARGUMENTS) {
  const float *x = operands[0];
  float *y = operands[1], *kept = scratch;
  for (int64_t row = begin; row < end; ++row) {
    for (int d = 0; d < Width; ++d)
      kept[d] = x[row * Width + d];
    for (int d = 0; d < Width; ++d)
      y[row * Width + d] = 2 * kept[d] + ((uintptr_t)scratch % 64 ? 1e9f : 0);
  }
}

// operands: control u32 [8], in the memory of the caller. Item 0 only: tells that it is running, and waits.
KERNEL gate(ARGUMENTS) {
  volatile uint32_t *control = operands[0];
  control[1] = 1;
  while (control[0] == 0)
    __builtin_ia32_pause();
}

// operands: control, results i32 [1]. Stores the floating-point state, and counts its calls in control[2].
KERNEL observe(ARGUMENTS) {
  volatile uint32_t *control = operands[0];
  int32_t *result = operands[1];
  control[2] = control[2] + 1;
  result[0] = __builtin_ia32_stmxcsr();
}

// operands: counts i32 [items]. After each barrier every item must be what the launch before made it; items
// are visited by different workers each time because each launch writes the mirrored item.
KERNEL relay(ARGUMENTS) {
  const int32_t *from = operands[0];
  int32_t *to = operands[1];
  int64_t items = dims[HEDDLE_DIM_ROWS];
  for (int64_t i = begin; i < end; ++i)
    to[i] = from[items - 1 - i] + 1;
}

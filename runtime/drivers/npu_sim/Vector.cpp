#include "drivers/npu_sim/Arithmetic.h"
#include "drivers/npu_sim/Units.h"
#include <algorithm>
#include <cstring>

namespace heddle::npu_sim {

namespace {

int64_t load(const std::byte *from, int type, int64_t i) {
  switch (type) {
  case HEDDLE_NPU_S8:
    return static_cast<int8_t>(from[i]);
  case HEDDLE_NPU_S16: {
    int16_t x;
    std::memcpy(&x, from + 2 * i, 2);
    return x;
  }
  }
  int32_t x;
  std::memcpy(&x, from + 4 * i, 4);
  return x;
}

void store(std::byte *to, int type, int64_t i, int64_t value) {
  int64_t x = clampTo(value, 8 << type);
  std::memcpy(to + (i << type), &x, sizeOfType(type)); // little-endian
}

/// An operand of a command: where its rows lie, and how they are read.
struct Operand {
  Context &context;
  const char *name;
  int64_t address, stride;
  int type;
  int64_t rows, columns;

  /// `typeIndex` below 0: the command has no type for it, it is of type `untyped`.
  Operand(const Resolved &c, Context &context, int field, int typeIndex, int64_t rows, int64_t columns,
          int untyped = HEDDLE_NPU_S32)
      : context(context), name(c.info->fields[field]), address(c[field]), stride(c[field + 1]),
        type(typeIndex < 0 ? untyped : c.types >> (2 * typeIndex) & 3), rows(rows), columns(columns) {
    checkAligned(address, stride, rows, sizeOfType(type), name);
  }

  void read(int64_t r, std::vector<int64_t> &out) const {
    const std::byte *from = context.chip.read(context.who, address + r * stride, columns << type);
    for (int64_t i = 0; i < columns; ++i)
      out[i] = load(from, type, i);
  }
  void write(int64_t r, const std::vector<int64_t> &values) const {
    std::byte *to = context.chip.write(context.who, address + r * stride, columns << type);
    for (int64_t i = 0; i < columns; ++i)
      store(to, type, i, values[i]);
  }
  /// After all rows were accessed, so that they are known to exist.
  void noteBanks() const {
    context.noteBanks(address, address + (rows - 1) * stride + (columns << type) - 1);
  }
};

struct Extent {
  int64_t rows, columns;
};

/// The fields `rows` and `cols`, wherever a command has them.
Extent extentOf(const Resolved &c) {
  for (int i = 0; i + 1 < c.info->field_count; ++i)
    if (c.info->kinds[i] == HEDDLE_NPU_KIND_COUNT && c.info->kinds[i + 1] == HEDDLE_NPU_KIND_COUNT)
      return {c[i], c[i + 1]};
  return {0, 0};
}

/// Rows in ascending order: `compute(r, a)` turns the row of `a` into that of `dst`.
template <typename Compute> void mapRows(const Operand &dst, const Operand &a, Compute compute) {
  std::vector<int64_t> row(std::max(dst.columns, a.columns));
  for (int64_t r = 0; r < dst.rows; ++r) {
    a.read(r, row);
    compute(r, row);
    dst.write(r, row);
  }
  a.noteBanks();
  dst.noteBanks();
}

int64_t binary(int function, int64_t a, int64_t b, int shift) {
  switch (function) {
  case HEDDLE_NPU_BINARY_FUNCTION_ADD:
    return roundingShift(a + b, shift);
  case HEDDLE_NPU_BINARY_FUNCTION_SUB:
    return roundingShift(a - b, shift);
  case HEDDLE_NPU_BINARY_FUNCTION_MUL:
    return roundingShift(a * b, shift);
  case HEDDLE_NPU_BINARY_FUNCTION_MIN:
    return roundingShift(std::min(a, b), shift);
  case HEDDLE_NPU_BINARY_FUNCTION_MAX:
    return roundingShift(std::max(a, b), shift);
  case HEDDLE_NPU_BINARY_FUNCTION_DIV:
    return divide(a, b, shift);
  case HEDDLE_NPU_BINARY_FUNCTION_EQ:
    return a == b;
  }
  return a < b;
}

void fill(const Resolved &c, Context &context, Extent extent) {
  Operand dst(c, context, HEDDLE_NPU_VEC_FILL_FIELD_DST, 0, extent.rows, extent.columns);
  std::vector<int64_t> row(extent.columns, c[HEDDLE_NPU_VEC_FILL_FIELD_VALUE]);
  for (int64_t r = 0; r < extent.rows; ++r)
    dst.write(r, row);
  dst.noteBanks();
}

void binaryTiles(const Resolved &c, Context &context, Extent extent) {
  int shift = c[HEDDLE_NPU_VEC_BINARY_FIELD_SHIFT];
  if (c.function == HEDDLE_NPU_BINARY_FUNCTION_DIV && shift > 31)
    throw Failure{Problem::Kind::BadValue,
                  "expected 'shift' from 0 to 31 for div, but found " + std::to_string(shift)};
  Operand dst(c, context, HEDDLE_NPU_VEC_BINARY_FIELD_DST, 0, extent.rows, extent.columns);
  Operand a(c, context, HEDDLE_NPU_VEC_BINARY_FIELD_A, 1, extent.rows, extent.columns);
  std::vector<int64_t> other(extent.columns);
  if (c.modes & HEDDLE_NPU_VEC_BINARY_B_SCALAR) {
    int64_t b = c[HEDDLE_NPU_VEC_BINARY_FIELD_B];
    mapRows(dst, a, [&](int64_t, std::vector<int64_t> &row) {
      for (int64_t i = 0; i < extent.columns; ++i)
        row[i] = binary(c.function, row[i], b, shift);
    });
    return;
  }
  bool perRow = c.modes & HEDDLE_NPU_VEC_BINARY_B_PER_ROW;
  Operand b(c, context, HEDDLE_NPU_VEC_BINARY_FIELD_B, 2, extent.rows, perRow ? 1 : extent.columns);
  mapRows(dst, a, [&](int64_t r, std::vector<int64_t> &row) {
    b.read(r, other);
    for (int64_t i = 0; i < extent.columns; ++i)
      row[i] = binary(c.function, row[i], other[perRow ? 0 : i], shift);
  });
  b.noteBanks();
}

void select(const Resolved &c, Context &context, Extent extent) {
  Operand dst(c, context, HEDDLE_NPU_VEC_SELECT_FIELD_DST, 0, extent.rows, extent.columns);
  Operand a(c, context, HEDDLE_NPU_VEC_SELECT_FIELD_A, 1, extent.rows, extent.columns);
  bool perRow = c.modes & HEDDLE_NPU_VEC_SELECT_B_PER_ROW;
  Operand b(c, context, HEDDLE_NPU_VEC_SELECT_FIELD_B, 2, extent.rows, perRow ? 1 : extent.columns);
  std::vector<int64_t> chosen(extent.columns);
  mapRows(dst, a, [&](int64_t r, std::vector<int64_t> &row) {
    b.read(r, chosen);
    for (int64_t i = 0; i < extent.columns; ++i)
      if (chosen[perRow ? 0 : i] == 0)
        row[i] = c[HEDDLE_NPU_VEC_SELECT_FIELD_VALUE];
  });
  b.noteBanks();
}

void requantize(const Resolved &c, Context &context, Extent extent) {
  Operand dst(c, context, HEDDLE_NPU_VEC_REQUANT_FIELD_DST, 0, extent.rows, extent.columns);
  Operand a(c, context, HEDDLE_NPU_VEC_REQUANT_FIELD_A, 1, extent.rows, extent.columns);
  bool perRow = c.modes & HEDDLE_NPU_VEC_REQUANT_PER_ROW;
  int64_t records = c[HEDDLE_NPU_VEC_REQUANT_FIELD_RECORDS], zero = c[HEDDLE_NPU_VEC_REQUANT_FIELD_ZERO];
  checkAligned(records, 0, 1, 4, "records");
  auto apply = [&](const std::byte *record, int64_t x) {
    int64_t bias = load(record, HEDDLE_NPU_S32, 0), multiplier = load(record, HEDDLE_NPU_S32, 1);
    int shift = std::min<int64_t>(load(record, HEDDLE_NPU_S32, 2) & 63, 62);
    return roundingShift(clampTo(x + bias, 32) * multiplier, shift) + zero;
  };
  mapRows(dst, a, [&](int64_t r, std::vector<int64_t> &row) {
    const std::byte *table = perRow ? context.chip.read(context.who, records + 12 * r, 12)
                                    : context.chip.read(context.who, records, 12 * extent.columns);
    for (int64_t i = 0; i < extent.columns; ++i)
      row[i] = apply(table + (perRow ? 0 : 12 * i), row[i]);
  });
  context.noteBanks(records, records + 12 * (perRow ? extent.rows : extent.columns) - 1);
}

void reduce(const Resolved &c, Context &context, Extent extent) {
  Operand dst(c, context, HEDDLE_NPU_VEC_REDUCE_FIELD_DST, 0, extent.rows, 1);
  Operand a(c, context, HEDDLE_NPU_VEC_REDUCE_FIELD_A, 1, extent.rows, extent.columns);
  int shift = c[HEDDLE_NPU_VEC_REDUCE_FIELD_SHIFT];
  mapRows(dst, a, [&](int64_t, std::vector<int64_t> &row) {
    uint64_t sum = 0;
    int64_t largest = INT64_MIN;
    for (int64_t i = 0; i < extent.columns; ++i) {
      int64_t x = row[i], size = x < 0 ? -x : x;
      sum += c.function == HEDDLE_NPU_REDUCE_FUNCTION_SUM ? x : x * x;
      largest = std::max(largest, c.function == HEDDLE_NPU_REDUCE_FUNCTION_MAX ? x : size);
    }
    bool sums =
        c.function == HEDDLE_NPU_REDUCE_FUNCTION_SUM || c.function == HEDDLE_NPU_REDUCE_FUNCTION_SUM_SQUARES;
    row[0] = roundingShift(sums ? static_cast<int64_t>(sum) : largest, shift);
  });
}

void lookUp(const Resolved &c, Context &context, Extent extent) {
  Operand dst(c, context, HEDDLE_NPU_VEC_LOOKUP_FIELD_DST, 0, extent.rows, extent.columns);
  Operand a(c, context, HEDDLE_NPU_VEC_LOOKUP_FIELD_A, 1, extent.rows, extent.columns);
  int64_t address = c[HEDDLE_NPU_VEC_LOOKUP_FIELD_TABLE], bytes = 256 << dst.type;
  checkAligned(address, 0, 1, sizeOfType(dst.type), "table");
  mapRows(dst, a, [&](int64_t, std::vector<int64_t> &row) {
    const std::byte *table = context.chip.read(context.who, address, bytes);
    for (int64_t i = 0; i < extent.columns; ++i) {
      if (a.type == HEDDLE_NPU_S8) {
        row[i] = load(table, dst.type, row[i] + 128);
        continue;
      }
      int64_t u = row[i] + 32768, place = u >> 8, weight = u & 255;
      int64_t here = load(table, dst.type, place),
              next = load(table, dst.type, std::min<int64_t>(place + 1, 255));
      row[i] = here + roundingShift((next - here) * weight, 8);
    }
  });
  context.noteBanks(address, address + bytes - 1);
}

void applyFunction(const Resolved &c, Context &context, Extent extent) {
  constexpr int64_t (*functions[])(int64_t, int) = {exponential, gelu, silu, reciprocalRoot};
  Operand dst(c, context, HEDDLE_NPU_VEC_FUNCTION_FIELD_DST, 0, extent.rows, extent.columns);
  Operand a(c, context, HEDDLE_NPU_VEC_FUNCTION_FIELD_A, -1, extent.rows, extent.columns);
  int shift = c[HEDDLE_NPU_VEC_FUNCTION_FIELD_SHIFT];
  mapRows(dst, a, [&](int64_t, std::vector<int64_t> &row) {
    for (int64_t i = 0; i < extent.columns; ++i)
      row[i] = functions[c.function](row[i], shift);
  });
}

/// Numbers as bits of the size of `type`: s32 stands for f32, s16 for f16.
int64_t fromBits(int type, int64_t bits, int exponent) {
  if (type == HEDDLE_NPU_S16)
    return fromHalf(static_cast<uint16_t>(bits), exponent);
  int32_t low = static_cast<int32_t>(bits);
  float number;
  std::memcpy(&number, &low, 4);
  return fromFloat(number, exponent);
}
int64_t toBits(int type, int64_t x, int exponent) {
  if (type == HEDDLE_NPU_S16)
    return static_cast<int16_t>(toHalf(x, exponent));
  float number = toFloat(x, exponent);
  int32_t bits;
  std::memcpy(&bits, &number, 4);
  return bits;
}

void convert(const Resolved &c, Context &context, Extent extent) {
  uint8_t opcode = c.info->opcode;
  bool toInteger = opcode == HEDDLE_NPU_VEC_FROM_F32 || opcode == HEDDLE_NPU_VEC_FROM_F16;
  bool half = opcode == HEDDLE_NPU_VEC_FROM_F16 || opcode == HEDDLE_NPU_VEC_TO_F16;
  int floats = half ? HEDDLE_NPU_S16 : HEDDLE_NPU_S32;
  Operand dst(c, context, HEDDLE_NPU_VEC_TO_F32_FIELD_DST, toInteger ? 0 : -1, extent.rows, extent.columns,
              floats);
  Operand a(c, context, HEDDLE_NPU_VEC_TO_F32_FIELD_A, toInteger ? -1 : 0, extent.rows, extent.columns,
            floats);
  int exponent = c[HEDDLE_NPU_VEC_TO_F32_FIELD_EXPONENT];
  mapRows(dst, a, [&](int64_t, std::vector<int64_t> &row) {
    for (int64_t i = 0; i < extent.columns; ++i)
      row[i] = (toInteger ? fromBits : toBits)(floats, row[i], exponent);
  });
}

void execute(const Resolved &c, Context &context, Extent extent) {
  switch (c.info->opcode) {
  case HEDDLE_NPU_VEC_FILL:
    return fill(c, context, extent);
  case HEDDLE_NPU_VEC_BINARY:
    return binaryTiles(c, context, extent);
  case HEDDLE_NPU_VEC_REQUANT:
    return requantize(c, context, extent);
  case HEDDLE_NPU_VEC_REDUCE:
    return reduce(c, context, extent);
  case HEDDLE_NPU_VEC_LOOKUP:
    return lookUp(c, context, extent);
  case HEDDLE_NPU_VEC_FUNCTION:
    return applyFunction(c, context, extent);
  case HEDDLE_NPU_VEC_FROM_F32:
  case HEDDLE_NPU_VEC_TO_F32:
  case HEDDLE_NPU_VEC_FROM_F16:
  case HEDDLE_NPU_VEC_TO_F16:
    return convert(c, context, extent);
  case HEDDLE_NPU_VEC_SELECT:
    return select(c, context, extent);
  }
}

} // namespace

Duration executeVector(const Resolved &c, Context &context) {
  Extent extent = extentOf(c);
  if (extent.rows == 0 || extent.columns == 0)
    return {1};
  context.budget.take(extent.rows * (extent.columns + 256)); // a row of one element costs more than that
  execute(c, context, extent);
  bool divides = c.info->opcode == HEDDLE_NPU_VEC_BINARY && c.function == HEDDLE_NPU_BINARY_FUNCTION_DIV;
  return {8 + extent.rows * divideUp(extent.columns, context.machine.lanes) * (divides ? 8 : c.info->cost)};
}

} // namespace heddle::npu_sim

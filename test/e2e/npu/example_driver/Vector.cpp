#include "Machine.h"
#include <algorithm>
#include <cmath>
#include <cstring>

namespace example {

static void need(bool holds, const char *rule) {
  if (!holds)
    throw Stop{rule};
}

static int64_t shifted(int64_t x, int64_t s) {
  if (s == 0)
    return x;
  int64_t q = x >> s;
  uint64_t rest = static_cast<uint64_t>(x) << (64 - s); // the bits below, at the top
  uint64_t half = uint64_t{1} << 63;
  return q + (rest > half || (rest == half && q % 2 != 0));
}

static int64_t limited(int64_t x, int bits) {
  int64_t top = (int64_t{1} << (bits - 1)) - 1;
  return std::min(std::max(x, -top - 1), top);
}

static int64_t divided(int64_t a, int64_t b, int shift) {
  if (b == 0)
    return a == 0 ? 0 : a > 0 ? INT32_MAX : INT32_MIN;
  __int128 top = (a < 0 ? -static_cast<__int128>(a) : a) << shift, bottom = b < 0 ? -b : b; // sizes
  __int128 q = top / bottom, twice = top % bottom * 2;
  q += twice > bottom || (twice == bottom && q % 2 != 0);
  return static_cast<int64_t>((a < 0) == (b < 0) ? q : -q);
}

static int64_t entry(int function, int i) {
  double t = function == HEDDLE_NPU_TABLE_FUNCTION_GELU ? i / 32.0 : i / 16.0;
  switch (function) {
  case HEDDLE_NPU_TABLE_FUNCTION_EXP:
    return std::llround(std::pow(2.0, 30 - i / 256.0));
  case HEDDLE_NPU_TABLE_FUNCTION_GELU:
    return i == 256 ? 0 : std::llround(32768.0 * t * std::erfc(t / std::sqrt(2.0)));
  case HEDDLE_NPU_TABLE_FUNCTION_SILU:
    return i == 256 ? 0 : std::llround(65536.0 * t / (1 + std::exp(t)));
  }
  return std::llround(std::pow(2.0, 33) / std::sqrt(static_cast<double>(i))); // from 64 on
}

static int64_t between(int function, int64_t i, int64_t weight, int bits) {
  return entry(function, i) + shifted((entry(function, i + 1) - entry(function, i)) * weight, bits);
}

static int64_t applied(int function, int64_t a, int shift) {
  if (function == HEDDLE_NPU_TABLE_FUNCTION_EXP) {
    int64_t u = std::min<int64_t>(a > 0 ? 0 : -a, INT32_MAX) * 94548, i = u >> 24 & 255,
            n = (u >> 32) + shift;
    int64_t below = shifted((entry(function, i) - entry(function, i + 1)) * (u >> 16 & 255), 8);
    return n > 62 ? 0 : shifted(entry(function, i) - below, n);
  }
  if (function == HEDDLE_NPU_TABLE_FUNCTION_RSQRT) {
    if (a <= 0)
      return shifted(INT32_MAX, shift);
    int e = 0;
    while (a >> e >= 4)
      e += 2;
    uint64_t m = static_cast<uint64_t>(a) << (30 - e);
    int64_t i = m >> 24,
            below = shifted((entry(function, i) - entry(function, i + 1)) * (m >> 8 & 65535), 16);
    return shift + e / 2 > 62 ? 0 : shifted(entry(function, i) - below, shift + e / 2);
  }
  int bits = function == HEDDLE_NPU_TABLE_FUNCTION_GELU ? 11 : 12;
  int64_t t = std::min<int64_t>(std::abs(a), INT32_MAX), i = t >> bits;
  int64_t g = i > 255 ? 0 : between(function, i, t & ((1 << bits) - 1), bits);
  return shifted(std::max<int64_t>(a, 0) - g, shift);
}

static int64_t combined(int function, int64_t a, int64_t b, int64_t shift) {
  switch (function) {
  case HEDDLE_NPU_BINARY_FUNCTION_ADD:
    return shifted(a + b, shift);
  case HEDDLE_NPU_BINARY_FUNCTION_SUB:
    return shifted(a - b, shift);
  case HEDDLE_NPU_BINARY_FUNCTION_MUL:
    return shifted(a * b, shift);
  case HEDDLE_NPU_BINARY_FUNCTION_MIN:
    return shifted(std::min(a, b), shift);
  case HEDDLE_NPU_BINARY_FUNCTION_MAX:
    return shifted(std::max(a, b), shift);
  case HEDDLE_NPU_BINARY_FUNCTION_DIV:
    return divided(a, b, shift);
  case HEDDLE_NPU_BINARY_FUNCTION_EQ:
    return a == b;
  }
  return a < b;
}

static float asFloat(int64_t bits) {
  auto low = static_cast<int32_t>(bits);
  float x;
  std::memcpy(&x, &low, 4);
  return x;
}

static int64_t toInteger(float x, int exponent) {
  if (x != x)
    return 0;
  double scaled = std::rint(std::ldexp(static_cast<double>(x), exponent));
  return static_cast<int64_t>(std::clamp(scaled, -1e12, 1e12));
}

static int64_t toFloatBits(int64_t x, int exponent) {
  float number = static_cast<float>(std::ldexp(static_cast<double>(x), -exponent));
  int32_t bits;
  std::memcpy(&bits, &number, 4);
  return bits;
}

static float halfAsFloat(int64_t bits) {
  int e = bits >> 10 & 31, m = bits & 1023;
  float size =
      e == 31 ? (m ? NAN : INFINITY) : std::ldexp(static_cast<float>(e ? m + 1024 : m), (e ? e : 1) - 25);
  return bits & 0x8000 ? -size : size;
}

static int64_t toHalfBits(int64_t x, int exponent) {
  double size = std::ldexp(static_cast<double>(x < 0 ? -x : x), -exponent);
  int64_t bits = 0x7c00;
  if (size < 65520) { // what would round to less than the first number that is too large
    int e = size < 0x1p-14 ? -14 : std::ilogb(size);
    bits = ((e + 15) * 1024) + std::llrint(std::ldexp(size, 10 - e)) - 1024;
  }
  return x < 0 ? bits - 32768 : bits;
}

namespace {

/// Where the field `rows` stands, and the operands' types.
struct Layout {
  int rows, dstType, aType = HEDDLE_NPU_S32, bType = HEDDLE_NPU_S32;
};

Layout layoutOf(const heddle_npu_command &c) {
  int first = c.types & 3, second = c.types >> 2 & 3, third = c.types >> 4;
  switch (c.opcode) {
  case HEDDLE_NPU_VEC_FILL:
    return {HEDDLE_NPU_VEC_FILL_FIELD_ROWS, first};
  case HEDDLE_NPU_VEC_BINARY:
  case HEDDLE_NPU_VEC_SELECT:
    return {HEDDLE_NPU_VEC_BINARY_FIELD_ROWS, first, second, third};
  case HEDDLE_NPU_VEC_REQUANT:
    return {HEDDLE_NPU_VEC_REQUANT_FIELD_ROWS, first, second};
  case HEDDLE_NPU_VEC_LOOKUP:
    return {HEDDLE_NPU_VEC_LOOKUP_FIELD_ROWS, first, second};
  case HEDDLE_NPU_VEC_REDUCE:
    return {HEDDLE_NPU_VEC_REDUCE_FIELD_ROWS, first, second};
  case HEDDLE_NPU_VEC_TO_F32:
    return {HEDDLE_NPU_VEC_TO_F32_FIELD_ROWS, HEDDLE_NPU_S32, first};
  case HEDDLE_NPU_VEC_TO_F16:
    return {HEDDLE_NPU_VEC_TO_F16_FIELD_ROWS, HEDDLE_NPU_S16, first};
  case HEDDLE_NPU_VEC_FROM_F16:
    return {HEDDLE_NPU_VEC_FROM_F16_FIELD_ROWS, first, HEDDLE_NPU_S16};
  }
  return {HEDDLE_NPU_VEC_FUNCTION_FIELD_ROWS, first};
}

} // namespace

void Machine::vectorRow(const Issued &c, int64_t r, int64_t columns) {
  const heddle_npu_command &command = c.command;
  Layout layout = layoutOf(command);
  const auto &v = c.value;
  std::vector<int64_t> out;
  int64_t a = v[2] + r * v[3];
  if (command.opcode == HEDDLE_NPU_VEC_FILL)
    out.assign(columns, v[HEDDLE_NPU_VEC_FILL_FIELD_VALUE]);
  else
    onChip(a, columns << layout.aType);
  uint64_t sum = 0;
  int64_t largest = INT64_MIN;
  for (int64_t i = out.size(); i < columns; ++i) {
    int64_t x = element(a, i, layout.aType);
    switch (command.opcode) {
    case HEDDLE_NPU_VEC_BINARY: {
      int64_t place = command.modes & HEDDLE_NPU_VEC_BINARY_B_PER_ROW ? 0 : i;
      int64_t b = command.modes & HEDDLE_NPU_VEC_BINARY_B_SCALAR
                      ? v[4]
                      : element(v[4] + r * v[5], place, layout.bType);
      x = combined(command.function, x, b, v[8]);
      break;
    }
    case HEDDLE_NPU_VEC_SELECT:
      if (element(v[4] + r * v[5], command.modes ? 0 : i, layout.bType) == 0)
        x = v[8];
      break;
    case HEDDLE_NPU_VEC_REQUANT: {
      int64_t record = v[4] + 12 * (command.modes ? r : i);
      int64_t scaled = limited(x + element(record, 0, 2), 32) * element(record, 1, 2);
      x = shifted(scaled, std::min<int64_t>(element(record, 2, 2) & 63, 62)) + v[5];
      break;
    }
    case HEDDLE_NPU_VEC_LOOKUP: {
      onChip(v[4], 256 << layout.dstType);
      if (layout.aType == HEDDLE_NPU_S8) {
        x = element(v[4], x + 128, layout.dstType);
        break;
      }
      int64_t place = (x + 32768) / 256, here = element(v[4], place, layout.dstType);
      int64_t next = element(v[4], std::min<int64_t>(place + 1, 255), layout.dstType);
      x = here + shifted((next - here) * ((x + 32768) % 256), 8);
      break;
    }
    case HEDDLE_NPU_VEC_FUNCTION:
      x = applied(command.function, x, v[6]);
      break;
    case HEDDLE_NPU_VEC_FROM_F32:
      x = toInteger(asFloat(x), v[6]);
      break;
    case HEDDLE_NPU_VEC_TO_F32:
      x = toFloatBits(x, v[6]);
      break;
    case HEDDLE_NPU_VEC_FROM_F16:
      x = toInteger(halfAsFloat(x), v[6]);
      break;
    case HEDDLE_NPU_VEC_TO_F16:
      x = toHalfBits(x, v[6]);
      break;
    case HEDDLE_NPU_VEC_REDUCE:
      sum += command.function == HEDDLE_NPU_REDUCE_FUNCTION_SUM ? x : x * x;
      largest = std::max(largest, command.function == HEDDLE_NPU_REDUCE_FUNCTION_MAX ? x : std::abs(x));
      break;
    }
    out.push_back(x);
  }
  if (command.opcode == HEDDLE_NPU_VEC_REDUCE) {
    bool sums = command.function == HEDDLE_NPU_REDUCE_FUNCTION_SUM ||
                command.function == HEDDLE_NPU_REDUCE_FUNCTION_SUM_SQUARES;
    out = {shifted(sums ? static_cast<int64_t>(sum) : largest, v[6])};
  }
  unsigned char *to = onChip(v[0] + r * v[1], out.size() << layout.dstType);
  for (size_t i = 0; i < out.size(); ++i) {
    int64_t x = limited(out[i], 8 << layout.dstType);
    std::memcpy(to + (i << layout.dstType), &x, 1 << layout.dstType);
  }
}

void Machine::vector(const Issued &c) {
  Layout layout = layoutOf(c.command);
  const auto &v = c.value;
  int64_t rows = v[layout.rows], columns = v[layout.rows + 1];
  if (rows == 0 || columns == 0)
    return;
  auto aligned = [&](int64_t address, int64_t stride, int size) {
    need(address % size == 0 && (rows == 1 || stride % size == 0), "misaligned");
  };
  aligned(v[0], v[1], 1 << layout.dstType);
  if (c.command.opcode != HEDDLE_NPU_VEC_FILL)
    aligned(v[2], v[3], 1 << layout.aType);
  bool binary = c.command.opcode == HEDDLE_NPU_VEC_BINARY;
  if ((binary && !(c.command.modes & HEDDLE_NPU_VEC_BINARY_B_SCALAR)) ||
      c.command.opcode == HEDDLE_NPU_VEC_SELECT)
    aligned(v[4], v[5], 1 << layout.bType);
  if (c.command.opcode == HEDDLE_NPU_VEC_REQUANT)
    aligned(v[4], 0, 4);
  if (c.command.opcode == HEDDLE_NPU_VEC_LOOKUP)
    aligned(v[4], 0, 1 << layout.dstType);
  need(!binary || c.command.function != HEDDLE_NPU_BINARY_FUNCTION_DIV || v[8] <= 31, "shift of div");
  for (int64_t r = 0; r < rows; ++r)
    vectorRow(c, r, columns);
}

} // namespace example

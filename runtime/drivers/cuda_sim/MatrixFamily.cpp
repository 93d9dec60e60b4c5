// ldmatrix, movmatrix, mma: a warp as one worker on small matrices.
#include "drivers/cuda_sim/Half.h"
#include "drivers/cuda_sim/MemoryAccess.h"

namespace heddle::cuda_sim {

namespace {

/// Rows of 16 bytes, eight of them a matrix: lane l gives the address of row l % 8 of matrix l / 8, and
/// receives of each matrix two neighbours of row l / 4; transposed, of column l / 4. op: results, base; i.b:
/// transposed, i.c: Space
void loadMatrices(Warp &w, const Instruction &i) {
  uint64_t addresses[warpSize];
  std::byte *places[warpSize];
  unsigned count = i.vector;
  addressesOf(w, i.op[count], i.a, i.imm, addresses);
  w.active = count == 4 ? allLanes : (1u << (8 * count)) - 1;
  uint32_t needed = w.active;
  uint32_t found = locate(w, i, static_cast<Space>(i.c), addresses, 16, Access::Read, false, nullptr, places);
  w.active = allLanes;
  if (found != needed)
    return;
  for (unsigned matrix = 0; matrix < count; ++matrix) {
    uint16_t rows[8][8];
    for (unsigned row = 0; row < 8; ++row)
      std::memcpy(rows[row], places[matrix * 8 + row], 16);
    alignas(64) uint32_t out[warpSize];
    for (unsigned lane = 0; lane < warpSize; ++lane) {
      unsigned major = lane / 4, minor = lane % 4 * 2;
      uint16_t low = i.b ? rows[minor][major] : rows[major][minor];
      uint16_t high = i.b ? rows[minor + 1][major] : rows[major][minor + 1];
      out[lane] = uint32_t(high) << 16 | low;
    }
    writeLanes(w, i.op[matrix], out);
  }
}

void transposeMatrix(Warp &w, const Instruction &i) {
  uint16_t rows[8][8];
  const uint32_t *from = w.slot<uint32_t>(i.op[1]);
  for (unsigned lane = 0; lane < warpSize; ++lane)
    std::memcpy(&rows[lane / 4][lane % 4 * 2], &from[lane], 4);
  alignas(64) uint32_t out[warpSize];
  for (unsigned lane = 0; lane < warpSize; ++lane)
    out[lane] = uint32_t(rows[lane % 4 * 2 + 1][lane / 4]) << 16 | rows[lane % 4 * 2][lane / 4];
  writeLanes(w, i.op[0], out);
}

// ---------------------------------------------------------------------------------------------------------------
// mma. Of lane l, with group g = l / 4 and t = l % 4: register r of A holds, for n = 32 / bits, the elements
// k = (r / 2) * 4n + t * n ... + n - 1 of row g + 8 (r % 2); register r of B the same k of column g, with r
// for r / 2; C and D hold columns 2t and 2t + 1 of rows g and g + 8.

constexpr unsigned mostK = 64;

/// i.a, i.b: Type of A and B; i.c: accumulators of f16 (1: D, 2: C), 4: satfinite; i.d: k; i.vector: m
template <class V> V elementOf(Type type, uint32_t bits, unsigned index) {
  switch (type) {
  case Type::F16:
    return static_cast<V>(floatOf(half_t{uint16_t(bits >> (16 * index))}));
  case Type::BF16:
    return static_cast<V>(floatOf(bhalf_t{uint16_t(bits >> (16 * index))}));
  case Type::TF32:
    return static_cast<V>(std::bit_cast<float>(bits & ~0x1fffu));
  case Type::S8:
    return static_cast<V>(int8_t(bits >> (8 * index)));
  case Type::U8:
    return static_cast<V>(uint8_t(bits >> (8 * index)));
  case Type::S4:
    return static_cast<V>(int32_t(bits << (28 - 4 * index)) >> 28);
  default:
    return static_cast<V>(bits >> (4 * index) & 15);
  }
}

template <class V> struct Fragments {
  V a[16][mostK], b[mostK][8], c[16][8];

  /// Returns the first operand of C.
  unsigned load(const Warp &w, const Instruction &i, unsigned results) {
    Type typeA = static_cast<Type>(i.a), typeB = static_cast<Type>(i.b);
    unsigned perRegister = 32 / bitsOf(typeA), m = i.vector, k = i.d;
    unsigned registersA = m * k / perRegister / warpSize, registersB = 8 * k / perRegister / warpSize;
    for (unsigned r = 0; r < registersA; ++r) {
      const uint32_t *from = w.slot<uint32_t>(i.op[results + r]);
      for (unsigned lane = 0; lane < warpSize; ++lane)
        for (unsigned e = 0; e < perRegister; ++e) {
          unsigned row = lane / 4 + (m == 16 ? 8 * (r % 2) : 0);
          unsigned at = (m == 16 ? r / 2 : r) * 4 * perRegister + lane % 4 * perRegister + e;
          a[row][at] = elementOf<V>(typeA, from[lane], e);
        }
    }
    for (unsigned r = 0; r < registersB; ++r) {
      const uint32_t *from = w.slot<uint32_t>(i.op[results + registersA + r]);
      for (unsigned lane = 0; lane < warpSize; ++lane)
        for (unsigned e = 0; e < perRegister; ++e)
          b[r * 4 * perRegister + lane % 4 * perRegister + e][lane / 4] = elementOf<V>(typeB, from[lane], e);
    }
    return results + registersA + registersB;
  }

  void multiply(unsigned m, unsigned k) {
    for (unsigned row = 0; row < m; ++row)
      for (unsigned at = 0; at < k; ++at)
        for (unsigned column = 0; column < 8; ++column)
          c[row][column] += a[row][at] * b[at][column];
  }
};

void multiplyFloats(Warp &w, const Instruction &i) {
  Fragments<double> f;
  bool halfD = i.c & 1, halfC = i.c & 2;
  unsigned results = halfD ? 2 : 4, firstC = f.load(w, i, results);
  for (unsigned lane = 0; lane < warpSize; ++lane)
    for (unsigned e = 0; e < 4; ++e) {
      double &to = f.c[lane / 4 + 8 * (e / 2)][lane % 4 * 2 + e % 2];
      if (halfC)
        to = floatOf(half_t{uint16_t(w.slot<uint32_t>(i.op[firstC + e / 2])[lane] >> (16 * (e % 2)))});
      else
        to = w.slot<float>(i.op[firstC + e])[lane];
    }
  f.multiply(16, i.d);
  alignas(64) uint32_t out[4][warpSize] = {};
  for (unsigned lane = 0; lane < warpSize; ++lane)
    for (unsigned e = 0; e < 4; ++e) {
      double value = f.c[lane / 4 + 8 * (e / 2)][lane % 4 * 2 + e % 2];
      if (halfD)
        out[e / 2][lane] |= uint32_t(halfOf(value).bits) << (16 * (e % 2));
      else
        out[e][lane] = std::bit_cast<uint32_t>(canonical(static_cast<float>(value)));
    }
  for (unsigned r = 0; r < results; ++r)
    writeLanes(w, i.op[r], out[r]);
  w.block->counters.multiplyAdds += 16 * 8 * i.d;
}

void multiplyIntegers(Warp &w, const Instruction &i) {
  Fragments<int32_t> f;
  unsigned m = i.vector, results = m == 16 ? 4 : 2, firstC = f.load(w, i, results);
  bool saturates = i.c & 4;
  // Products of up to 64 elements fit 32 bits; the accumulator is added to their sum, where it may wrap or
  // saturate.
  std::memset(f.c, 0, sizeof(f.c));
  f.multiply(m, i.d);
  alignas(64) uint32_t out[4][warpSize];
  for (unsigned lane = 0; lane < warpSize; ++lane)
    for (unsigned e = 0; e < results; ++e) {
      int64_t sum = int64_t(f.c[lane / 4 + 8 * (e / 2)][lane % 4 * 2 + e % 2]) +
                    static_cast<int32_t>(w.slot<uint32_t>(i.op[firstC + e])[lane]);
      if (saturates)
        sum = sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : sum;
      out[e][lane] = static_cast<uint32_t>(sum);
    }
  for (unsigned r = 0; r < results; ++r)
    writeLanes(w, i.op[r], out[r]);
  w.block->counters.multiplyAdds += m * 8 * i.d;
}

/// m8n8k4 of f64: op: d0 d1 a b c0 c1
void multiplyDoubles(Warp &w, const Instruction &i) {
  const double *a = w.slot<double>(i.op[2]), *b = w.slot<double>(i.op[3]);
  alignas(64) uint64_t out[2][warpSize];
  for (unsigned lane = 0; lane < warpSize; ++lane)
    for (unsigned e = 0; e < 2; ++e) {
      unsigned column = lane % 4 * 2 + e;
      double sum = w.slot<double>(i.op[4 + e])[lane];
      for (unsigned k = 0; k < 4; ++k)
        sum = __builtin_fma(a[lane / 4 * 4 + k], b[column * 4 + k], sum);
      out[e][lane] = std::bit_cast<uint64_t>(sum);
    }
  writeLanes(w, i.op[0], out[0]);
  writeLanes(w, i.op[1], out[1]);
  w.block->counters.multiplyAdds += 8 * 8 * 4;
}

// ---------------------------------------------------------------------------------------------------------------
// Selection

void expectAligned(Selector &s) {
  if (!s.take("sync") || !s.take("aligned"))
    s.fail("expected .sync.aligned");
  s.out.control = Control::WarpSync;
}

const std::vector<Operand> &elementsOf(const Selector &s, size_t index, size_t count) {
  const Operand &operand = s.operand(index);
  if (operand.kind != Operand::Kind::Vector || operand.elements.size() != count)
    s.fail("operand " + std::to_string(index + 1) + " has to be " + std::to_string(count) +
           " registers in braces");
  return operand.elements;
}

void selectLoadMatrix(Selector &s) {
  s.out.cls = Class::MatrixLoad;
  expectAligned(s);
  std::string_view number = s.takeOneOf({"x1", "x2", "x4"});
  if (!s.take("m8n8") || number.empty())
    s.fail("expected .m8n8 and .x1, .x2 or .x4");
  s.out.b = s.take("trans");
  Space space = takeSpaceIfAny(s);
  if (s.takeType() != Type::B16)
    s.fail("expected .b16");
  size_t count = static_cast<size_t>(number[1] - '0');
  s.expectOperands(2, 2);
  if (count == 1 && s.operand(0).kind == Operand::Kind::Register)
    s.result(0, Type::B32);
  else
    for (const Operand &element : elementsOf(s, 0, count))
      s.result(element, Type::B32);
  s.address(s.operand(1), space);
  s.out.vector = static_cast<uint8_t>(count);
  s.out.c = static_cast<uint8_t>(space);
  s.out.execute = loadMatrices;
}

void selectMoveMatrix(Selector &s) {
  s.out.cls = Class::Exchange;
  expectAligned(s);
  if (!s.take("m8n8") || !s.take("trans") || s.takeType() != Type::B16)
    s.fail("expected .m8n8.trans.b16");
  s.resultAndSources(Type::B32, 1);
  s.out.execute = transposeMatrix;
}

struct Shape {
  std::string_view name;
  uint8_t m, k;
  Type elements[2]; // signed and unsigned, or only one
};
constexpr Shape shapes[] = {
    {"m16n8k8", 16, 8, {Type::F16, Type::None}},  {"m16n8k16", 16, 16, {Type::F16, Type::None}},
    {"m16n8k8", 16, 8, {Type::BF16, Type::None}}, {"m16n8k16", 16, 16, {Type::BF16, Type::None}},
    {"m16n8k4", 16, 4, {Type::TF32, Type::None}}, {"m16n8k8", 16, 8, {Type::TF32, Type::None}},
    {"m8n8k16", 8, 16, {Type::S8, Type::U8}},     {"m16n8k16", 16, 16, {Type::S8, Type::U8}},
    {"m16n8k32", 16, 32, {Type::S8, Type::U8}},   {"m8n8k32", 8, 32, {Type::S4, Type::U4}},
    {"m16n8k32", 16, 32, {Type::S4, Type::U4}},   {"m16n8k64", 16, 64, {Type::S4, Type::U4}},
};

void selectMultiply(Selector &s) {
  s.out.cls = Class::Matrix;
  expectAligned(s);
  std::string_view name = s.takeStartingWith("m16n8k");
  if (name.empty())
    name = s.takeStartingWith("m8n8k");
  if (!s.take("row") || !s.take("col"))
    s.fail("expected .row.col");
  s.out.c = s.take("satfinite") ? 4 : 0;
  s.expectOperands(4, 4);
  Type d = s.takeType(), a = s.takeType(), b = s.takeType(), c = s.takeType();
  if (name == "m8n8k4" && d == Type::F64 && a == Type::F64 && b == Type::F64 && c == Type::F64) {
    for (const Operand &element : elementsOf(s, 0, 2))
      s.result(element, Type::F64);
    for (size_t k = 1; k <= 2; ++k)
      s.source(elementsOf(s, k, 1)[0], Type::F64);
    for (const Operand &element : elementsOf(s, 3, 2))
      s.source(element, Type::F64);
    s.out.execute = multiplyDoubles;
    return;
  }
  const Shape *shape = nullptr;
  auto fits = [](const Shape &of, Type type) {
    return type != Type::None && (of.elements[0] == type || of.elements[1] == type);
  };
  for (const Shape &each : shapes)
    if (each.name == name && fits(each, a) && fits(each, b))
      shape = &each;
  if (!shape)
    s.fail("this combination of shape and types is not supported");
  bool isFloating = isFloat(a);
  if (isFloating ? (d != Type::F32 && d != Type::F16) || (c != Type::F32 && c != Type::F16) ||
                       (a != Type::F16 && (d != Type::F32 || c != Type::F32))
                 : d != Type::S32 || c != Type::S32)
    s.fail("this type of accumulator is not supported");
  s.out.a = static_cast<uint8_t>(a);
  s.out.b = static_cast<uint8_t>(b);
  s.out.c |= (d == Type::F16 ? 1 : 0) | (c == Type::F16 ? 2 : 0);
  s.out.d = shape->k;
  s.out.vector = shape->m;
  s.out.execute = isFloating ? multiplyFloats : multiplyIntegers;
  auto registersOf = [&](Type type, unsigned elements) {
    return elements * std::max(bitsOf(type), 4u) / 32 / warpSize;
  };
  for (const Operand &element : elementsOf(s, 0, registersOf(d, shape->m * 8u)))
    s.result(element, Type::B32);
  for (const Operand &element : elementsOf(s, 1, registersOf(a, unsigned(shape->m) * shape->k)))
    s.source(element, Type::B32);
  for (const Operand &element : elementsOf(s, 2, registersOf(b, 8u * shape->k)))
    s.source(element, Type::B32);
  for (const Operand &element : elementsOf(s, 3, registersOf(c, shape->m * 8u)))
    s.source(element, Type::B32);
}

} // namespace

std::vector<InstructionFamily> matrixFamily() {
  return {{"ldmatrix", selectLoadMatrix}, {"movmatrix", selectMoveMatrix}, {"mma", selectMultiply}};
}

} // namespace heddle::cuda_sim

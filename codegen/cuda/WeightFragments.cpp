#include "codegen/cuda/WeightFragments.h"

using namespace mlir;

namespace heddle::cuda {

static constexpr int kLow = 0x0f0f0f0f;

WeightFragments::WeightFragments(Emitter &e, StorageFormat format, int64_t columns, Value group, Value lane,
                                 Lanes lanes)
    : layout{schemeOf(format, columns)}, columns(columns), rows(lanes == Lanes::Mma ? 2 : 1),
      nextQuad(lanes == Lanes::Mma ? 32 : 64), nextNibble(lanes == Lanes::Mma ? 4 : 8), e(e), group(group) {
  Value row = lanes == Lanes::Mma ? e.shiftRightU(lane, 2) : e.bitAnd(lane, 15);
  Value quad = lanes == Lanes::Mma ? e.bitAnd(lane, 3) : e.shiftLeft(e.shiftRightU(lane, 4), 1);
  row4 = e.shiftLeft(row, 2);
  row2 = e.shiftLeft(row, 1);
  row1 = row;
  vector = e.shiftLeft(quad, 6);
  quad8 = e.shiftLeft(quad, 3);
  maskByte = e.shiftRightU(row, 1);
  maskShift = e.shiftLeft(e.bitAnd(row, 1), 2);
}

SmallVector<WeightFragments::Raw, 4> WeightFragments::load(Value chunk, int steps) {
  const BlockScheme &scheme = layout.scheme;
  SmallVector<Raw, 4> raws(steps);
  // The chunk's super-blocks, and where it begins in its (only) one if that is larger.
  const bool small = scheme.super == 32;
  const int64_t chunks = std::max(scheme.super / kChunk, 1); // of a super-block
  Value block = group, part;
  if (small)
    block = e.at(group, e.mul(e.wide(chunk), kChunk / 32 * layout.bytes()));
  else if (scheme.super < columns)
    block = e.at(group, e.mul(e.wide(e.divU(chunk, chunks)), layout.bytes()));
  if (!small && scheme.super > kChunk)
    part = scheme.super < columns ? e.remU(chunk, chunks) : chunk;
  auto inPart = [&](Value address, int64_t bytes) {
    return part ? e.at(address, e.mul(part, bytes)) : address;
  };
  auto word = [&](Value address, int64_t offset) { return e.load(e.i32(), e.at(address, offset), 4); };
  Value lane = e.at(block, e.add(vector, row4));
  Value low = inPart(lane, kChunk * 2 * scheme.lowBits);
  Value high2 = scheme.highBits == 2 ? inPart(e.at(lane, layout.high()), kChunk * 4) : Value();
  Value high1 = scheme.highBits == 1
                    ? inPart(e.at(e.at(block, e.add(quad8, maskByte)), layout.high()), kChunk * 2)
                    : Value();
  Value scales = e.at(block, row2);
  Value subs = scheme.subScales ? inPart(e.at(block, row1), kChunk / scheme.sub * 16) : Value();
  for (int step = 0; step < steps; ++step) {
    Raw &raw = raws[step];
    int64_t start = small ? step * layout.bytes() : 0; // of the step's super-block
    int run = small ? 0 : step;                        // of 32 columns, in the super-block
    if (scheme.lowBits == 2 && step % 2 == 1) {        // one load for 64 columns
      for (int i = 0; i < 2; ++i)
        raw.low[i] = raws[step - 1].low[i];
    } else if (scheme.lowBits == 2) {
      for (int i = 0; i < 2; ++i)
        raw.low[i] = word(low, run * 128 + i * nextQuad);
    } else if (scheme.lowBits == 4) {
      for (int i = 0; i < 2; ++i)
        raw.low[i] = word(low, start + run * 256 + i * nextQuad);
    } else {
      for (int i = 0; i < 4; ++i) // of the first 16 columns, then of the others
        raw.low[i] = word(low, start + run * 512 + i / 2 * 256 + i % 2 * nextQuad);
    }
    if (scheme.highBits == 2)
      for (int i = 0; i < 2; ++i)
        raw.high[i] = step % 2 == 1 ? raws[step - 1].high[i] : word(high2, run * 128 + i * nextQuad);
    if (scheme.highBits == 1)
      for (int i = 0; i < 4; ++i)
        raw.high[i] = e.load(e.i8(), e.at(high1, start + run * 64 + i / 2 * 32 + i % 2 * nextNibble));
    bool first = small || step == 0;
    for (int i = 0; i < rows; ++i) {
      raw.scale[i] =
          first ? e.load(e.f16(), e.at(scales, start + layout.scale() + i * 16), 2) : raws[0].scale[i];
      if (scheme.hasMin)
        raw.minimum[i] =
            first ? e.load(e.f16(), e.at(scales, start + layout.minimum() + i * 16), 2) : raws[0].minimum[i];
      for (int half = 0; half < halves() && scheme.subScales; ++half) {
        int64_t offset = (step * halves() + half) * 16 + i * 8;
        raw.subScale[i][half] = e.load(e.i8(), e.at(subs, layout.subScale() + offset));
        if (scheme.hasMin)
          raw.subMinimum[i][half] = e.load(e.i8(), e.at(subs, layout.subMinimum() + offset));
      }
    }
    raw.odd = step % 2;
  }
  return raws;
}

WeightFragments::Fragment WeightFragments::decode(const Raw &raw) {
  const BlockScheme &scheme = layout.scheme;
  Fragment fragment;
  for (int i = 0; i < 4; ++i) {
    Value &a = fragment.a[i];
    if (scheme.lowBits == 8)
      a = raw.low[i];
    else if (scheme.lowBits == 4)
      a = e.bitAnd(i < 2 ? raw.low[i] : e.shiftRightU(raw.low[i - 2], 4), kLow);
    else
      a = twoBits(raw.low[i % 2], raw.odd * 2 + i / 2);
    if (scheme.highBits == 2)
      a = e.bitOr(a, e.shiftLeft(twoBits(raw.high[i % 2], raw.odd * 2 + i / 2), scheme.lowBits));
    if (scheme.highBits == 1) { // four bits, one to each byte
      Value nibble = e.bitAnd(e.shiftRightU(e.extendU(raw.high[i], e.i32()), maskShift), 15);
      Value spread = e.bitAnd(e.mul(nibble, 0x00204081), 0x01010101);
      a = e.bitOr(a, e.shiftLeft(spread, scheme.lowBits));
    }
    // Bytes stay apart: code + 128 - zero is in 0..255, and flipping the top bit takes 128 away.
    if (scheme.zero != 0) {
      if (scheme.zero != 128)
        a = e.add(a, int32_t(0x01010101u * unsigned(128 - scheme.zero)));
      a = e.create<arith::XOrIOp>(a, e.cI32(int32_t(0x80808080u)));
    }
  }
  for (int row = 0; row < rows; ++row)
    for (int half = 0; half < halves(); ++half) {
      Value scale = e.toF32(raw.scale[row]);
      if (scheme.subScales)
        scale = e.mulF(scale, e.toF32(e.extendS(raw.subScale[row][half], e.i32())));
      fragment.scale[row][half] = scale;
      if (!scheme.hasMin)
        continue;
      Value minimum = e.toF32(raw.minimum[row]);
      if (scheme.subScales)
        minimum = e.mulF(minimum, e.toF32(e.extendU(raw.subMinimum[row][half], e.i32())));
      fragment.minimum[row][half] = minimum;
    }
  return fragment;
}

template <typename RawType, typename Visit> static void visit(RawType &raw, Visit apply) {
  for (auto &value : raw.low)
    apply(value);
  for (auto &value : raw.high)
    apply(value);
  for (int row = 0; row < 2; ++row) {
    apply(raw.scale[row]);
    apply(raw.minimum[row]);
    for (int half = 0; half < 2; ++half) {
      apply(raw.subScale[row][half]);
      apply(raw.subMinimum[row][half]);
    }
  }
}

Values WeightFragments::flatten(ArrayRef<Raw> raws) {
  Values values;
  for (const Raw &raw : raws)
    visit(raw, [&](Value value) {
      if (value)
        values.push_back(value);
    });
  return values;
}

SmallVector<WeightFragments::Raw, 4> WeightFragments::unflatten(ArrayRef<Raw> like, ValueRange values) {
  SmallVector<Raw, 4> raws(like);
  size_t next = 0;
  for (Raw &raw : raws)
    visit(raw, [&](Value &value) {
      if (value)
        value = values[next++];
    });
  return raws;
}

} // namespace heddle::cuda

// Chunks of attention that were computed apart become one row.
#include "codegen/cuda/RowsBuilder.h"
#include "heddle/program.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cuda {

// Each thread merges the chunks for its columns by itself: a chunk's sum and maximum are two numbers.
void RowsBuilder::emitMergeChunks(MergeChunksOp op) {
  auto shape = shapeOf(op.getChunks().getType());
  int64_t chunks = shape[2], width = shape[3] - 2;
  Value from = memory(op.getChunks());
  Value position = e.maxS(e.load(e.i32(), memory(op.getPositions()), 4), e.cI32(0));
  Value count = e.minS(e.add(e.divU(position, HEDDLE_CHUNK_TOKENS), 1), e.cI32(chunks));
  defer(op, [this, from, count, chunks, width](Value column) {
    Value head = e.divU(column, width), element = e.remU(column, width);
    Value parts = e.at(from, e.mul(head, chunks * (width + 2) * 4));
    Value zero = e.cF32(0);
    Values merged = e.forRange(
        e.cI32(0), count, e.cI32(1), {zero, e.cF32(-INFINITY), zero}, [&](Value chunk, ValueRange old) {
          Value part = e.at(parts, e.mul(chunk, (width + 2) * 4));
          Value sum = e.load(e.f32(), e.at(part, width * 4), 4);
          // A chunk that holds no key of the row sums up to 0; any key has a weight of 1 or is NaN.
          Value holds = e.create<arith::CmpFOp>(arith::CmpFPredicate::UNE, sum, zero);
          return e.ifValues(
              holds,
              [&] {
                Value maximum = e.load(e.f32(), e.at(part, width * 4 + 4), 4);
                Value isLarger = e.create<arith::CmpFOp>(arith::CmpFPredicate::OGT, maximum, old[1]);
                Value largest = e.select(isLarger, maximum, old[1]);
                auto factor = [&](Value x) -> Value { return e.create<math::ExpOp>(e.subF(x, largest)); };
                Value oldFactor = factor(old[1]), newFactor = factor(maximum);
                Value output = e.mulF(loadColumn(part, element), newFactor);
                return Values{e.fma(old[0], oldFactor, e.mulF(sum, newFactor)), largest,
                              e.fma(old[2], oldFactor, output)};
              },
              [&] { return Values(old); });
        });
    Value nothing = e.create<arith::CmpFOp>(arith::CmpFPredicate::OEQ, merged[0], zero);
    return e.select(nothing, zero, e.divF(merged[2], merged[0]));
  });
}

} // namespace heddle::cuda

// Chunks of attention that workers have computed apart become one row.
#include "codegen/cpu/AttentionScores.h"
#include "codegen/cpu/RowsBuilder.h"
#include "heddle/program.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cpu {

void RowsBuilder::emitMergeChunks(MergeChunksOp op) {
  auto shape = shapeOf(op.getChunks().getType());
  int64_t heads = shape[1], chunks = shape[2], width = shape[3] - 2;
  Value from = memory(op.getChunks()), to = destination(op.getResult());
  Value position = e.extendS(e.load(e.i32(), memory(op.getPositions())), e.i64());
  Value count = e.add(e.divU(e.maxS(position, e.cI64(0)), HEDDLE_CHUNK_TOKENS), 1);
  count = e.minS(count, e.cI64(chunks));
  e.forRange(0, heads, 1, [&](Value head) {
    Value parts = e.at(from, e.mul(head, chunks * shape[3] * 4)), target = e.at(to, e.mul(head, width * 4));
    forPieces(width, [&](Value offset, int lanes) {
      e.store(e.constant(e.vec(e.f32(), lanes), 0), e.at(target, e.mul(offset, 4)));
    });
    Values state = e.forRange(
        e.cI64(0), count, e.cI64(1), {e.cF32(0), e.cF32(-INFINITY)},
        [&](Value chunk, ValueRange old) -> Values {
          Value part = e.at(parts, e.mul(chunk, shape[3] * 4));
          ChunkSum next{e.load(e.f32(), e.at(part, width * 4)), e.load(e.f32(), e.at(part, width * 4 + 4))};
          // A chunk that holds no key of the row sums up to 0; any key has a weight of 1 or is NaN.
          Value holds = e.create<arith::CmpFOp>(arith::CmpFPredicate::UNE, next.sum, e.cF32(0));
          return e.ifValues(
              holds,
              [&]() -> Values {
                MergedSum merged = mergeChunk(e, {old[0], old[1]}, next);
                forPieces(width, [&](Value offset, int lanes) {
                  VectorType type = e.vec(e.f32(), lanes);
                  Value place = e.at(target, e.mul(offset, 4));
                  Value scaled = e.mulF(e.load(type, place), e.splat(merged.oldFactor, type));
                  e.store(e.fma(e.load(type, e.at(part, e.mul(offset, 4))), e.splat(merged.newFactor, type),
                                scaled),
                          place);
                });
                return {merged.total.sum, merged.total.maximum};
              },
              [&]() -> Values { return {old[0], old[1]}; });
        });
    Value factor = inverseSum(e, state[0]);
    forPieces(width, [&](Value offset, int lanes) {
      VectorType type = e.vec(e.f32(), lanes);
      Value place = e.at(target, e.mul(offset, 4));
      e.store(e.mulF(e.load(type, place), e.splat(factor, type)), place);
    });
  });
}

} // namespace heddle::cpu

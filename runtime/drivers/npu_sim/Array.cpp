#include "drivers/npu_sim/Units.h"
#include <algorithm>
#include <cstring>

namespace heddle::npu_sim {

namespace {

/// Reads `rows` runs of `size` bytes, one behind the other.
std::vector<int8_t> gather(Context &context, int64_t address, int64_t stride, int64_t rows, int64_t size) {
  std::vector<int8_t> out(rows * size);
  for (int64_t r = 0; r < rows; ++r)
    std::memcpy(out.data() + r * size, context.chip.read(context.who, address + r * stride, size), size);
  context.noteBanks(address, address + (rows - 1) * stride + size - 1);
  return out;
}

void checkPlace(Context &context, int64_t address, const char *field, bool accumulator) {
  if (context.chip.isAccumulator(address) != accumulator)
    throw Failure{Problem::Kind::BadValue, std::string("expected '") + field + "' in the " +
                                               (accumulator ? "accumulators" : "scratchpad")};
}

} // namespace

Duration executeArray(const Resolved &c, Context &context) {
  int64_t m = c[HEDDLE_NPU_MATMUL_FIELD_M], k = c[HEDDLE_NPU_MATMUL_FIELD_K],
          n = c[HEDDLE_NPU_MATMUL_FIELD_N];
  if (m == 0 || k == 0 || n == 0)
    return {1};
  context.budget.take(m * k * n + m * k); // strides of 0 read the same bytes again and again
  int64_t acc = c[HEDDLE_NPU_MATMUL_FIELD_ACC], accStride = c[HEDDLE_NPU_MATMUL_FIELD_ACC_STRIDE];
  int64_t a = c[HEDDLE_NPU_MATMUL_FIELD_A], w = c[HEDDLE_NPU_MATMUL_FIELD_W];
  bool accumulate = c.modes & HEDDLE_NPU_MATMUL_ACCUMULATE,
       transposed = c.modes & HEDDLE_NPU_MATMUL_TRANSPOSED;
  checkPlace(context, acc, "acc", true);
  checkPlace(context, a, "a", false);
  checkPlace(context, w, "w", false);
  checkAligned(acc, accStride, m, 4, "acc");

  std::vector<int8_t> weights = transposed ? gather(context, w, c[HEDDLE_NPU_MATMUL_FIELD_W_STRIDE], n, k)
                                           : gather(context, w, c[HEDDLE_NPU_MATMUL_FIELD_W_STRIDE], k, n);
  if (transposed) {
    std::vector<int8_t> turned(weights.size());
    for (int64_t i = 0; i < k; ++i)
      for (int64_t j = 0; j < n; ++j)
        turned[i * n + j] = weights[j * k + i];
    weights = std::move(turned);
  }
  std::vector<uint32_t> sums(m * n); // unsigned: sums wrap
  if (accumulate)
    for (int64_t r = 0; r < m; ++r)
      std::memcpy(&sums[r * n], context.chip.read(context.who, acc + r * accStride, n * 4), n * 4);
  int64_t aStride = c[HEDDLE_NPU_MATMUL_FIELD_A_STRIDE];
  for (int64_t r = 0; r < m; ++r) {
    auto row = reinterpret_cast<const int8_t *>(context.chip.read(context.who, a + r * aStride, k));
    uint32_t *sum = &sums[r * n];
    for (int64_t i = 0; i < k; ++i) {
      int32_t x = row[i];
      const int8_t *weight = &weights[i * n];
      for (int64_t j = 0; j < n; ++j)
        sum[j] += static_cast<uint32_t>(x * weight[j]);
    }
  }
  for (int64_t r = 0; r < m; ++r)
    std::memcpy(context.chip.write(context.who, acc + r * accStride, n * 4), &sums[r * n], n * 4);
  context.noteBanks(a, a + (m - 1) * aStride + k - 1);
  context.noteBanks(acc, acc + (m - 1) * accStride + n * 4 - 1);
  context.counts.multiplyAdds += m * k * n;
  return {divideUp(k, context.machine.array) * std::max<uint64_t>(m, context.machine.array)};
}

} // namespace heddle::npu_sim

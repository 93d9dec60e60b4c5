// Copies to shared memory in the background: by cooperative groups, and as a pipeline of two stages.
#include <cooperative_groups.h>
#include <cooperative_groups/memcpy_async.h>
#include <cuda_pipeline.h>
namespace cg = cooperative_groups;

extern "C" __global__ void async_copy(const float *x, float *y, int n) {
  extern __shared__ float tile[];
  cg::thread_block block = cg::this_thread_block();
  cg::memcpy_async(block, tile, x + blockIdx.x * n, sizeof(float) * n);
  cg::wait(block);
  for (int i = threadIdx.x; i < n; i += blockDim.x)
    y[blockIdx.x * n + i] = tile[n - 1 - i];
}

extern "C" __global__ void pipeline(const float4 *x, float4 *y, int tiles) {
  __shared__ float4 stages[2][128];
  int t = threadIdx.x;
  __pipeline_memcpy_async(&stages[0][t], &x[t], sizeof(float4));
  __pipeline_commit();
  float4 sum = {0, 0, 0, 0};
  for (int tile = 0; tile < tiles; ++tile) {
    if (tile + 1 < tiles)
      __pipeline_memcpy_async(&stages[(tile + 1) % 2][t], &x[(tile + 1) * 128 + t], sizeof(float4));
    __pipeline_commit();
    __pipeline_wait_prior(1);
    __syncthreads();
    float4 value = stages[tile % 2][127 - t];
    sum.x += value.x;
    sum.y += value.y;
    sum.z += value.z;
    sum.w += value.w;
    __syncthreads();
  }
  y[t] = sum;
}

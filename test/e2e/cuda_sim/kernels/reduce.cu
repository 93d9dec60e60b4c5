// Sums by shuffles, maxima by redux, a softmax of rows, a dot product of doubles.
#include <math.h>

extern "C" __global__ void warp_sum(const float *x, float *y, int n) {
  __shared__ float parts[32];
  float sum = 0;
  for (int i = threadIdx.x; i < n; i += blockDim.x)
    sum += x[i];
  for (int offset = 16; offset; offset /= 2)
    sum += __shfl_down_sync(~0u, sum, offset);
  if (threadIdx.x % 32 == 0)
    parts[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x < 32) {
    sum = threadIdx.x < blockDim.x / 32 ? parts[threadIdx.x] : 0;
    for (int offset = 16; offset; offset /= 2)
      sum += __shfl_xor_sync(~0u, sum, offset);
    if (threadIdx.x == 0)
      *y = sum;
  }
}

extern "C" __global__ void warp_integers(const int *x, int *y) {
  int value = x[blockIdx.x * 32 + threadIdx.x];
  int *row = y + blockIdx.x * 8;
  int largest = __reduce_max_sync(~0u, value), smallest = __reduce_min_sync(~0u, value);
  unsigned sum = __reduce_add_sync(~0u, (unsigned)value), bits = __reduce_xor_sync(~0u, (unsigned)value);
  unsigned odd = __ballot_sync(~0u, value & 1);
  unsigned same = __match_any_sync(~0u, value & 3);
  int all;
  __match_all_sync(~0u, value, &all);
  if (threadIdx.x == 0) {
    row[0] = largest;
    row[1] = smallest;
    row[2] = (int)sum;
    row[3] = (int)bits;
    row[4] = (int)odd;
    row[5] = (int)same;
    row[6] = all;
    row[7] = __popc(odd) * 1000 + __ffs(odd | 0x100) + __clz(sum | 1);
  }
}

extern "C" __global__ void softmax(const float *x, float *y, int columns) {
  const float *row = x + blockIdx.x * columns;
  float most = -INFINITY, sum = 0;
  for (int i = threadIdx.x; i < columns; i += 32)
    most = fmaxf(most, row[i]);
  for (int offset = 16; offset; offset /= 2)
    most = fmaxf(most, __shfl_xor_sync(~0u, most, offset));
  for (int i = threadIdx.x; i < columns; i += 32)
    sum += expf(row[i] - most);
  for (int offset = 16; offset; offset /= 2)
    sum += __shfl_xor_sync(~0u, sum, offset);
  for (int i = threadIdx.x; i < columns; i += 32)
    y[blockIdx.x * columns + i] = expf(row[i] - most) / sum;
}

extern "C" __global__ void dot64(const double *a, const double *b, double *y, int n) {
  double sum = 0;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
    sum += a[i] * b[i];
  atomicAdd(y, sum);
}

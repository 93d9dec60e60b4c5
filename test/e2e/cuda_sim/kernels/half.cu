// Pairs of f16 and bf16.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

extern "C" __global__ void axpy_half2(const half2 *x, half2 *y, float factor, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n)
    y[i] = __hfma2(__float2half2_rn(factor), x[i], y[i]);
}

extern "C" __global__ void norm_bf16(const __nv_bfloat16 *x, float *y, int columns) {
  float sum = 0;
  for (int i = threadIdx.x; i < columns; i += 32) {
    float value = __bfloat162float(x[blockIdx.x * columns + i]);
    sum += value * value;
  }
  for (int offset = 16; offset; offset /= 2)
    sum += __shfl_xor_sync(~0u, sum, offset);
  float scale = rsqrtf(sum / columns + 1e-5f);
  for (int i = threadIdx.x; i < columns; i += 32)
    y[blockIdx.x * columns + i] =
        __bfloat162float(__float2bfloat16(__bfloat162float(x[blockIdx.x * columns + i]) * scale));
}

extern "C" __global__ void half_functions(const half *x, float *y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n)
    return;
  half v = x[i];
  y[i * 4] = __half2float(hexp(v));
  y[i * 4 + 1] = __half2float(__hmul(v, v));
  y[i * 4 + 2] = (float)__half2int_rn(v);
  y[i * 4 + 3] = __half2float(__hmax(v, __float2half(0.5f)));
}

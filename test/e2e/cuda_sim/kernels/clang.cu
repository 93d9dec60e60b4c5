// For clang without the CUDA headers, so that it needs nothing of NVIDIA's: structs by value, calls with pointers to local
// memory, tables in constant memory, a switch. LLVM writes PTX in its own manner, optimized and not.
#define __constant__ __attribute__((constant))
#define __device__ __attribute__((device))
#define __global__ __attribute__((global))
#define __shared__ __attribute__((shared))

__constant__ int table[8] = {3, 1, 4, 1, 5, 9, 2, 6};

struct Parameters {
  int a[5];
  float f;
};

__device__ __attribute__((noinline)) int weighted(int *values, int count) {
  int sum = 0;
  for (int i = 0; i < count; ++i)
    sum += values[i] * table[i & 7];
  return sum;
}

extern "C" __global__ void mixed(const int *x, int *y, int n, Parameters parameters) {
  __shared__ int shared[256];
  int local[8], t = __nvvm_read_ptx_sreg_tid_x();
  for (int i = 0; i < 8; ++i)
    local[i] = x[(t + i) % n] + parameters.a[i % 5];
  shared[t] = weighted(local, 1 + t % 8);
  __syncthreads();
  int v = shared[255 - t];
  switch (t % 7) {
  case 0:
    v += 3;
    break;
  case 1:
    v *= 5;
    break;
  case 2:
    v = ~v;
    break;
  case 3:
    v -= 9;
    break;
  case 4:
    v ^= 77;
    break;
  case 5:
    v *= 2;
    break;
  default:
    v = -v;
  }
  v += __nvvm_shfl_sync_bfly_i32(~0u, v, 1, 31);
  y[__nvvm_read_ptx_sreg_ctaid_x() * 256 + t] = v + (int)__builtin_sqrtf(parameters.f);
}

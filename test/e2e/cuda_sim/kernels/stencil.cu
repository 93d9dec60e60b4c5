// A 1D convolution through shared memory with a halo, vector loads, and a producer and a consumer warp on named barriers.
extern "C" __global__ void stencil(const float *x, float *y, int n) {
  __shared__ float tile[128 + 8];
  int i = blockIdx.x * 128 + threadIdx.x;
  tile[threadIdx.x + 4] = i < n ? x[i] : 0;
  if (threadIdx.x < 4) {
    tile[threadIdx.x] = i >= 4 ? x[i - 4] : 0;
    tile[threadIdx.x + 132] = i + 128 < n ? x[i + 128] : 0;
  }
  __syncthreads();
  float sum = 0;
  for (int k = 0; k < 9; ++k)
    sum += tile[threadIdx.x + k] * (float)(k - 4);
  if (i < n)
    y[i] = sum;
}

extern "C" __global__ void vectors(const int4 *x, int4 *y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) {
    int4 v = x[i];
    y[i] = make_int4(v.w, v.z, v.y, v.x);
  }
}

extern "C" __global__ void producer_consumer(const int *x, int *y, int rounds) {
  __shared__ int slot[32];
  int lane = threadIdx.x % 32;
  if (threadIdx.x < 32) {
    for (int i = 0; i < rounds; ++i) {
      asm volatile("bar.sync 1, 64;" ::: "memory"); // the slot is free
      slot[lane] = x[i * 32 + lane];
      asm volatile("bar.arrive 2, 64;" ::: "memory"); // the slot is full
    }
  } else {
    for (int i = 0; i < rounds; ++i) {
      asm volatile("bar.arrive 1, 64;" ::: "memory");
      asm volatile("bar.sync 2, 64;" ::: "memory");
      y[i * 32 + lane] = slot[31 - lane] * 2;
    }
  }
}

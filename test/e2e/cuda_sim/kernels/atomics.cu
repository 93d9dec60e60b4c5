// Atomics of many kinds, a lock that lanes of one warp fight for, the last block that finishes.
struct Lock {
  int state;
};
__device__ Lock lock;
__device__ unsigned finished;

extern "C" __global__ void add_under_lock(int *sum, int rounds) {
  for (int i = 0; i < rounds; ++i) {
    bool done = false;
    while (!done) {
      if (atomicCAS(&lock.state, 0, 1) == 0) {
        __threadfence();
        *(volatile int *)sum = *(volatile int *)sum + 1;
        __threadfence();
        atomicExch(&lock.state, 0);
        done = true;
      }
    }
  }
}

// No lane leaves the loop before it has had the lock: with reconvergence after the loop only, it never ends.
extern "C" __global__ void spin_in_warp(int *sum) {
  while (atomicCAS(&lock.state, 0, 1) != 0)
    ;
  __threadfence();
  *(volatile int *)sum = *(volatile int *)sum + (int)threadIdx.x;
  __threadfence();
  atomicExch(&lock.state, 0);
}

extern "C" __global__ void kinds(unsigned *y, const unsigned *x, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n)
    return;
  atomicAdd(&y[0], x[i]);
  atomicMax(&y[1], x[i]);
  atomicMin(&y[2], x[i]);
  atomicXor(&y[3], x[i]);
  atomicOr(&y[4], 1u << (x[i] % 32));
  atomicInc(&y[5], 1000u);
  atomicAdd((float *)&y[6], 0.25f);
  atomicAdd((unsigned long long *)&y[8], 1ull << 20);
}

extern "C" __global__ void last_block(const float *x, float *parts, float *y, int n) {
  __shared__ float own[128];
  __shared__ bool isLast;
  int t = threadIdx.x, i = blockIdx.x * 128 + t;
  own[t] = i < n ? x[i] : 0;
  __syncthreads();
  for (int half = 64; half; half /= 2) {
    if (t < half)
      own[t] += own[t + half];
    __syncthreads();
  }
  if (t == 0) {
    parts[blockIdx.x] = own[0];
    __threadfence();
    isLast = atomicInc(&finished, gridDim.x - 1) == gridDim.x - 1;
  }
  __syncthreads();
  if (isLast && t == 0) {
    float sum = 0;
    for (int block = 0; block < gridDim.x; ++block)
      sum += *(volatile float *)&parts[block];
    *y = sum;
  }
}

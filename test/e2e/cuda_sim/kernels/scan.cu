// Inclusive scan of one block by two shared arrays in turn (Hillis and Steele).
extern "C" __global__ void scan(const int *x, int *y, int n) {
  __shared__ int sums[2][256];
  int t = threadIdx.x;
  int from = 0;
  sums[0][t] = t < n ? x[blockIdx.x * blockDim.x + t] : 0;
  __syncthreads();
  for (int distance = 1; distance < 256; distance *= 2) {
    int value = sums[from][t];
    if (t >= distance)
      value += sums[from][t - distance];
    sums[1 - from][t] = value;
    from = 1 - from;
    __syncthreads();
  }
  if (t < n)
    y[blockIdx.x * blockDim.x + t] = sums[from][t];
}

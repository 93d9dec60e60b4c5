// C = A B in tiles of 16 x 16 through shared memory.
extern "C" __global__ void sgemm(const float *a, const float *b, float *c, int m, int n, int k) {
  __shared__ float tileA[16][16], tileB[16][16];
  int tx = threadIdx.x, ty = threadIdx.y;
  int row = blockIdx.y * 16 + ty, column = blockIdx.x * 16 + tx;
  float sum = 0;
  for (int begin = 0; begin < k; begin += 16) {
    tileA[ty][tx] = row < m && begin + tx < k ? a[row * k + begin + tx] : 0;
    tileB[ty][tx] = begin + ty < k && column < n ? b[(begin + ty) * n + column] : 0;
    __syncthreads();
    for (int i = 0; i < 16; ++i)
      sum += tileA[ty][i] * tileB[i][tx];
    __syncthreads();
  }
  if (row < m && column < n)
    c[row * n + column] = sum;
}

// Algorithms of NVIDIA's CUB library, which comes with the compiler: other people's code at full size.
#include <cub/cub.cuh>

extern "C" __global__ void block_sort(const int *x, int *y) {
  using Sort = cub::BlockRadixSort<int, 128, 4>;
  __shared__ typename Sort::TempStorage storage;
  int values[4];
  cub::LoadDirectBlocked(threadIdx.x, x + blockIdx.x * 512, values);
  Sort(storage).Sort(values);
  cub::StoreDirectBlocked(threadIdx.x, y + blockIdx.x * 512, values);
}

extern "C" __global__ void block_scan(const int *x, int *y, int *total) {
  using Scan = cub::BlockScan<int, 128, cub::BLOCK_SCAN_WARP_SCANS>;
  using Load = cub::BlockLoad<int, 128, 4, cub::BLOCK_LOAD_WARP_TRANSPOSE>;
  using Store = cub::BlockStore<int, 128, 4, cub::BLOCK_STORE_TRANSPOSE>;
  __shared__ typename Scan::TempStorage scan;
  __shared__ typename Load::TempStorage load;
  __shared__ typename Store::TempStorage store;
  int values[4], sum;
  Load(load).Load(x + blockIdx.x * 512, values);
  Scan(scan).ExclusiveSum(values, values, sum);
  Store(store).Store(y + blockIdx.x * 512, values);
  if (threadIdx.x == 0)
    total[blockIdx.x] = sum;
}

extern "C" __global__ void block_histogram(const unsigned char *x, unsigned *bins) {
  using Histogram = cub::BlockHistogram<unsigned char, 128, 4, 64, cub::BLOCK_HISTO_SORT>;
  __shared__ typename Histogram::TempStorage storage;
  __shared__ unsigned own[64];
  unsigned char values[4];
  cub::LoadDirectStriped<128>(threadIdx.x, x, values);
  Histogram(storage).Histogram(values, own);
  __syncthreads();
  if (threadIdx.x < 64)
    bins[threadIdx.x] = own[threadIdx.x];
}

extern "C" __global__ void warp_sort(const float *x, float *y) {
  using Sort = cub::WarpMergeSort<float, 4, 32>;
  __shared__ typename Sort::TempStorage storage[2];
  float values[4];
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int i = 0; i < 4; ++i)
    values[i] = x[warp * 128 + lane * 4 + i];
  Sort(storage[warp]).Sort(values, [](float a, float b) { return a < b; });
  for (int i = 0; i < 4; ++i)
    y[warp * 128 + lane * 4 + i] = values[i];
}

// Divergence: nested loops of different lengths, a switch, calls, local arrays, tables in constant memory.
__constant__ int table[8] = {3, 1, 4, 1, 5, 9, 2, 6};
__device__ int counters[4] = {10, 20, 30, 40};

__device__ __noinline__ int collatz(unsigned x) {
  int steps = 0;
  while (x != 1 && steps < 1000) {
    x = x & 1 ? 3 * x + 1 : x / 2;
    ++steps;
  }
  return steps;
}

extern "C" __global__ void control(const unsigned *x, int *y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n)
    return;
  unsigned v = x[i];
  int local[16], out = collatz(v % 1000 + 1);
  for (int k = 0; k < 16; ++k)
    local[k] = k * (int)(v % 13);
  for (unsigned k = 0; k < v % 7; ++k) {
    if (v >> k & 1)
      continue;
    for (unsigned j = 0; j < (v >> 4) % 5; ++j) {
      out += local[(k + j * 3) & 15];
      if (out > 5000)
        break;
    }
  }
  switch (v % 6) {
  case 0:
    out += table[v % 8];
    break;
  case 1:
    out -= counters[v % 4];
    break;
  case 2:
    out *= 3;
    break;
  case 3:
    out ^= 0x55;
  case 4:
    out = ~out;
    break;
  default:
    out = out % 17;
  }
  y[i] = out;
}

extern "C" __global__ void integers(const int *a, const int *b, long long *y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n)
    return;
  int p = a[i], q = b[i] ? b[i] : 1;
  unsigned u = (unsigned)p, w = (unsigned)q;
  long long wide = (long long)p * q;
  y[i * 8] = p / q + (long long)(p % q) * 3;
  y[i * 8 + 1] = (long long)(u / w) - (u % w);
  y[i * 8 + 2] = wide / (q | 1) + __mulhi(p, q) + __umulhi(u, w);
  y[i * 8 + 3] = (long long)__funnelshift_l(u, w, p & 31) + __brev(u) + __popc(w);
  y[i * 8 + 4] = __byte_perm(u, w, 0x5140) + (long long)__dp4a(p, q, 7) + __sad(p, q, 3u);
  y[i * 8 + 5] = (unsigned long long)wide % (w | 1) + (wide >> (p & 63));
  y[i * 8 + 6] = (long long)(short)p * (signed char)q + (unsigned char)p + (long long)(float)p + (int)(q * 0.37f);
  y[i * 8 + 7] = __clzll(wide | 1) + __ffs(q) + (long long)rint((double)p / q) + llrintf((float)q * 0.5f);
}

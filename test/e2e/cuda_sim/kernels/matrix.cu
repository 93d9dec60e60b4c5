// A product by tensor cores: ldmatrix and mma.sync as inline PTX. C[m, n] = A[m, k] B[n, k]^T, 16 x 8 a warp.
#include <cuda_fp16.h>

extern "C" __global__ void mma_f16(const half *a, const half *b, float *c, int n, int k) {
  __shared__ __align__(16) half tileA[16 * 16], tileB[8 * 16];
  int lane = threadIdx.x, row = blockIdx.y * 16, column = blockIdx.x * 8;
  float d[4] = {0, 0, 0, 0};
  for (int begin = 0; begin < k; begin += 16) {
    int r = lane / 2, part = lane % 2 * 8;
    *(uint4 *)&tileA[r * 16 + part] = *(const uint4 *)&a[(row + r) * k + begin + part];
    if (lane < 16)
      *(uint4 *)&tileB[r * 16 + part] = *(const uint4 *)&b[(column + r) * k + begin + part];
    __syncwarp();
    unsigned ra[4], rb[2];
    unsigned addressA = (unsigned)__cvta_generic_to_shared(&tileA[lane % 16 * 16 + lane / 16 * 8]);
    unsigned addressB = (unsigned)__cvta_generic_to_shared(&tileB[lane % 8 * 16 + lane / 8 % 2 * 8]);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(ra[0]), "=r"(ra[1]), "=r"(ra[2]), "=r"(ra[3])
                 : "r"(addressA)
                 : "memory");
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(rb[0]), "=r"(rb[1])
                 : "r"(addressB)
                 : "memory");
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(ra[0]), "r"(ra[1]), "r"(ra[2]), "r"(ra[3]), "r"(rb[0]), "r"(rb[1]));
    __syncwarp();
  }
  int r = row + lane / 4, q = column + lane % 4 * 2;
  c[r * n + q] = d[0];
  c[r * n + q + 1] = d[1];
  c[(r + 8) * n + q] = d[2];
  c[(r + 8) * n + q + 1] = d[3];
}

extern "C" __global__ void mma_s8(const int *a, const int *b, int *c) { // 16 x 8 x 32
  int lane = threadIdx.x, g = lane / 4, t = lane % 4, d[4] = {0, 0, 0, 0};
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};"
               : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
               : "r"(a[g * 8 + t]), "r"(a[(g + 8) * 8 + t]), "r"(a[g * 8 + t + 4]), "r"(a[(g + 8) * 8 + t + 4]),
                 "r"(b[g * 8 + t]), "r"(b[g * 8 + t + 4]));
  c[g * 8 + 2 * t] = d[0];
  c[g * 8 + 2 * t + 1] = d[1];
  c[(g + 8) * 8 + 2 * t] = d[2];
  c[(g + 8) * 8 + 2 * t + 1] = d[3];
}

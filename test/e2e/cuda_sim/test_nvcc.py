"""Kernels that Heddle did not generate: CUDA C compiled by nvcc gives the right answers on the simulator."""

import unittest

import numpy

from e2e.cuda_sim.simulator import Out, find_nvcc, launch, ptx_of

i32, u32, f32 = numpy.int32, numpy.uint32, numpy.float32


class Nvcc(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        find_nvcc()

    def setUp(self):
        self.random = numpy.random.default_rng(7)

    def run_clean(self, source, kernel, *arguments, **options):
        result = launch(ptx_of(source), kernel, *arguments, **options)
        self.assertEqual([problem["text"] for problem in result.problems], [])
        self.counts = result.counts
        return result.outputs[0] if len(result.outputs) == 1 else result.outputs

    def test_scan(self):
        x = self.random.integers(-9, 9, (3, 256), i32)
        y = self.run_clean("scan", "scan", 3, 256, x, Out(x.shape, i32), i32(256))
        numpy.testing.assert_array_equal(y, numpy.cumsum(x, 1))

    def test_histogram(self):
        x = self.random.integers(0, 256, 10000).astype(numpy.uint8)
        y = self.run_clean("histogram", "histogram", 4, 256, x, Out(256, u32, 0), i32(x.size))
        numpy.testing.assert_array_equal(y, numpy.bincount(x, minlength=256))

    def test_transpose(self):
        x = self.random.standard_normal((70, 45)).astype(f32)
        for kernel, conflicts in (("transpose", False), ("transpose_conflicts", True)):
            y = self.run_clean("transpose", kernel, (2, 3), (32, 8), x, Out((45, 70), f32), i32(70), i32(45))
            numpy.testing.assert_array_equal(y, x.T)
            self.assertEqual(self.counts["shared_bank_conflicts"] > 0, conflicts)

    def test_coalescing_is_counted(self):
        x = self.random.standard_normal((64, 64)).astype(f32)
        self.run_clean("transpose", "transpose", (2, 2), (32, 8), x, Out((64, 64), f32), i32(64), i32(64))
        self.assertEqual(self.counts["global_load_requests"], 64 * 64 / 32)
        self.assertEqual(self.counts["global_load_sectors"], 64 * 64 / 8)
        self.assertEqual(self.counts["global_store_bytes"], 64 * 64 * 4)

    def test_sgemm(self):
        a, b = (self.random.standard_normal(shape).astype(f32) for shape in ((50, 37), (37, 41)))
        c = self.run_clean("sgemm", "sgemm", (3, 4), (16, 16), a, b, Out((50, 41), f32), i32(50), i32(41), i32(37))
        numpy.testing.assert_allclose(c, a @ b, rtol=1e-4, atol=1e-5)

    def test_warp_sum(self):
        x = self.random.standard_normal(1000).astype(f32)
        y = self.run_clean("reduce", "warp_sum", 1, 256, x, Out(1, f32), i32(x.size))
        numpy.testing.assert_allclose(y, x.sum(), rtol=1e-4)

    def test_warp_integers(self):
        x = self.random.integers(-1000, 1000, (4, 32), i32)
        x[3] = 5
        y = self.run_clean("reduce", "warp_integers", 4, 32, x, Out((4, 8), i32))
        for row, got in zip(x, y):
            bits = sum(int(v & 1) << lane for lane, v in enumerate(row))
            same = sum(int((v & 3) == (row[0] & 3)) << lane for lane, v in enumerate(row))
            total = int(row.astype(numpy.int64).sum()) & 0xffffffff
            expected = [row.max(), row.min(), total, numpy.bitwise_xor.reduce(row), bits, same, len(set(row)) == 1,
                        bits.bit_count() * 1000 + ((bits | 0x100) & -(bits | 0x100)).bit_length()
                        + 32 - (total | 1).bit_length()]
            self.assertEqual([int(v) & 0xffffffff for v in got], [int(v) & 0xffffffff for v in expected])

    def test_softmax(self):
        x = (self.random.standard_normal((5, 100)) * 4).astype(f32)
        y = self.run_clean("reduce", "softmax", 5, 32, x, Out(x.shape, f32), i32(100))
        e = numpy.exp(x - x.max(1, keepdims=True).astype(numpy.float64))
        numpy.testing.assert_allclose(y, e / e.sum(1, keepdims=True), rtol=3e-6)

    def test_double(self):
        a, b = self.random.standard_normal((2, 500))
        y = self.run_clean("reduce", "dot64", 2, 64, a, b, Out(1, numpy.float64, 0), i32(500))
        numpy.testing.assert_allclose(y, a @ b, rtol=1e-12)

    def test_half2(self):
        x, y = self.random.standard_normal((2, 256)).astype(numpy.float16)
        out = Out(256, numpy.float16, y)
        got = self.run_clean("half", "axpy_half2", 1, 128, x, out, f32(0.5), i32(128))
        numpy.testing.assert_array_equal(got, (x.astype(numpy.float64) * 0.5 + y).astype(numpy.float16))

    def test_bf16(self):
        x = self.random.standard_normal((3, 64)).astype(f32).view(u32) & 0xffff0000
        y = self.run_clean("half", "norm_bf16", 3, 32, (x >> 16).astype(numpy.uint16), Out(x.shape, f32), i32(64))
        v = x.view(f32).astype(numpy.float64)
        numpy.testing.assert_allclose(y, v / numpy.sqrt((v * v).mean(1, keepdims=True) + 1e-5), rtol=2 ** -8)
        self.assertTrue(((y.view(u32) & 0xffff) == 0).all())

    def test_half_functions(self):
        x = numpy.linspace(-4, 4, 77).astype(numpy.float16)
        y = self.run_clean("half", "half_functions", 3, 32, x, Out((77, 4), f32), i32(77))
        numpy.testing.assert_allclose(y[:, 0], numpy.exp(x.astype(f32)), rtol=2 ** -9)
        numpy.testing.assert_array_equal(y[:, 1], x * x)
        numpy.testing.assert_array_equal(y[:, 2], numpy.rint(x))
        numpy.testing.assert_array_equal(y[:, 3], numpy.maximum(x, numpy.float16(0.5)))

    def test_lock(self):
        y = self.run_clean("atomics", "add_under_lock", 3, 64, Out(1, i32, 0), i32(2))
        self.assertEqual(y[0], 3 * 64 * 2)

    def test_lanes_of_a_warp_that_spin_for_a_lock(self):
        y = self.run_clean("atomics", "spin_in_warp", 1, 64, Out(1, i32, 0))
        self.assertEqual(y[0], 64 * 63 // 2)

    def test_atomics(self):
        x = self.random.integers(0, 1 << 20, 300).astype(u32)
        start = numpy.array([0, 0, 0xffffffff, 0, 0, 0, 0, 0, 0, 0], u32)
        y = self.run_clean("atomics", "kinds", 3, 128, Out(10, u32, start), x, i32(300))
        bits = numpy.bitwise_or.reduce(numpy.uint32(1) << (x % 32))
        expected = [x.sum(dtype=u32), x.max(), x.min(), numpy.bitwise_xor.reduce(x), bits, 300,
                    f32(75).view(u32), 0, 300 << 20 & 0xffffffff, 300 << 20 >> 32]
        self.assertEqual(list(map(int, y)), list(map(int, expected)))

    def test_last_block(self):
        x = self.random.integers(0, 9, 1000).astype(f32)
        _, y = self.run_clean("atomics", "last_block", 8, 128, x, Out(8, f32), Out(1, f32), i32(1000))
        self.assertEqual(y[0], x.sum())

    def test_async_copies_of_cooperative_groups(self):
        x = self.random.standard_normal((3, 100)).astype(f32)
        y = self.run_clean("async", "async_copy", 3, 64, x, Out(x.shape, f32), i32(100), shared=400)
        numpy.testing.assert_array_equal(y, x[:, ::-1])
        self.assertGreater(self.counts["instructions_async_copy"], 0)

    def test_pipeline_of_async_copies(self):
        x = self.random.integers(0, 99, (5, 128, 4)).astype(f32)
        y = self.run_clean("async", "pipeline", 1, 128, x, Out((128, 4), f32), i32(5))
        numpy.testing.assert_array_equal(y, x.sum(0)[::-1])

    def test_mma_f16(self):
        a, b = (self.random.integers(-8, 8, shape).astype(numpy.float16) for shape in ((32, 48), (24, 48)))
        c = self.run_clean("matrix", "mma_f16", (3, 2), 32, a, b, Out((32, 24), f32), i32(24), i32(48))
        numpy.testing.assert_array_equal(c, a.astype(f32) @ b.T.astype(f32))
        self.assertEqual(self.counts["mma_multiply_adds"], 32 * 24 * 48)
        self.assertEqual(self.counts["instructions_mma"], 3 * 2 * 3)

    def test_mma_s8(self):
        a, b = (self.random.integers(-128, 128, shape).astype(numpy.int8) for shape in ((16, 32), (8, 32)))
        c = self.run_clean("matrix", "mma_s8", 1, 32, a.view(i32), b.view(i32), Out((16, 8), i32))
        numpy.testing.assert_array_equal(c, a.astype(i32) @ b.T.astype(i32))

    def test_control(self):
        table, counters = [3, 1, 4, 1, 5, 9, 2, 6], [10, 20, 30, 40]

        def wrap(v):
            return (v + 2 ** 31) % 2 ** 32 - 2 ** 31

        def expected(v):
            x, out = v % 1000 + 1, 0
            while x != 1 and out < 1000:
                x, out = 3 * x + 1 if x & 1 else x // 2, out + 1
            local = [k * (v % 13) for k in range(16)]
            for k in range(v % 7):
                if v >> k & 1:
                    continue
                for j in range((v >> 4) % 5):
                    out += local[k + j * 3 & 15]
                    if out > 5000:
                        break
            kind = v % 6
            return wrap([out + table[v % 8], out - counters[v % 4], out * 3, ~(out ^ 0x55), ~out, out % 17][kind])

        x = self.random.integers(0, 1 << 31, 200).astype(u32)
        y = self.run_clean("control", "control", 2, 128, x, Out(200, i32), i32(200))
        self.assertEqual(list(map(int, y)), [expected(int(v)) for v in x])

    def test_integers(self):
        a, b = self.random.integers(-(1 << 31), 1 << 31, (2, 300)).astype(i32)
        a[:5], b[:5] = [-(1 << 31), 0, -1, 1, 7], [-1, 0, 3, -7, 1 << 30]
        y = self.run_clean("control", "integers", 3, 128, a, b, Out((300, 8), numpy.int64), i32(300))
        for i in range(300):
            self.assertEqual(list(map(int, y[i])), integers(int(a[i]), int(b[i]) or 1), (a[i], b[i]))

    def test_cub_radix_sort(self):
        x = self.random.integers(-(1 << 31), 1 << 31, (2, 512)).astype(i32)
        y = self.run_clean("cub", "block_sort", 2, 128, x, Out(x.shape, i32))
        numpy.testing.assert_array_equal(y, numpy.sort(x))

    def test_cub_scan(self):
        x = self.random.integers(-99, 99, (2, 512), i32)
        y, total = self.run_clean("cub", "block_scan", 2, 128, x, Out(x.shape, i32), Out(2, i32))
        numpy.testing.assert_array_equal(y, numpy.cumsum(x, 1) - x)
        numpy.testing.assert_array_equal(total, x.sum(1))

    def test_cub_histogram(self):
        x = self.random.integers(0, 64, 512).astype(numpy.uint8)
        y = self.run_clean("cub", "block_histogram", 1, 128, x, Out(64, u32))
        numpy.testing.assert_array_equal(y, numpy.bincount(x, minlength=64))

    def test_cub_merge_sort(self):
        """It reads one key past the last, which it then does not use: the simulator says so, and the result is right."""
        x = self.random.standard_normal((2, 128)).astype(f32)
        result = launch(ptx_of("cub"), "warp_sort", 1, 64, x, Out(x.shape, f32))
        numpy.testing.assert_array_equal(result.outputs[0], numpy.sort(x))
        self.assertEqual([problem["kind"] for problem in result.problems], ["unwritten read"])

    def test_stencil(self):
        x = self.random.integers(-9, 9, 300).astype(f32)
        y = self.run_clean("stencil", "stencil", 3, 128, x, Out(300, f32), i32(300))
        padded = numpy.pad(x, 4)
        numpy.testing.assert_array_equal(y, sum(padded[k:k + 300] * (k - 4) for k in range(9)))

    def test_vectors(self):
        x = self.random.integers(-99, 99, (77, 4), i32)
        y = self.run_clean("stencil", "vectors", 3, 32, x, Out(x.shape, i32), i32(77))
        numpy.testing.assert_array_equal(y, x[:, ::-1])

    def test_named_barriers(self):
        x = self.random.integers(-99, 99, (9, 32), i32)
        y = self.run_clean("stencil", "producer_consumer", 1, 64, x, Out(x.shape, i32), i32(9))
        numpy.testing.assert_array_equal(y, x[:, ::-1] * 2)


def integers(p, q):
    """What the kernel `integers` computes, by Python's unbounded integers."""
    mask = 0xffffffff

    def signed(v, bits=32):
        return (v + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)

    def quotient(a, b):
        return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)

    u, w, wide = p & mask, q & mask, p * q
    bytes_of = [u >> 8 * k & 255 for k in range(4)] + [w >> 8 * k & 255 for k in range(4)]
    s8 = [signed(v, 8) for v in bytes_of]
    n = p & 31
    funnel = ((w << 32 | u) << n >> 32) & mask
    permuted = sum(bytes_of[0x5140 >> 4 * k & 7] << 8 * k for k in range(4))
    dot = signed(sum(x * y for x, y in zip(s8[:4], s8[4:])) + 7)
    sad = (abs(p - q) + 3) & mask
    reverse = int(f"{u:032b}"[::-1], 2)
    shift = p & 63
    p32 = f32(p)
    remainder = p - quotient(p, q) * q
    product = p * q >> 32
    clamped = min(max(int(numpy.trunc(f32(q) * f32(0.37))), -2 ** 31), 2 ** 31 - 1)
    leading = 64 - (wide & (1 << 64) - 1 | 1).bit_length()
    first = (q & -q).bit_length()
    last = leading + first + int(numpy.rint(numpy.float64(p) / numpy.float64(q))) + int(numpy.rint(f32(q) * f32(0.5)))
    out = [signed(quotient(p, q)) + (0 if (p, q) == (-2 ** 31, -1) else remainder * 3),
           u // w - u % w,
           quotient(wide, signed(w | 1)) + product + (u * w >> 32),
           funnel + reverse + w.bit_count(),
           permuted + dot + sad,
           signed((wide & (1 << 64) - 1) % (w | 1) + (wide >> shift), 64),
           signed(p & 0xffff, 16) * signed(q & 255, 8) + (p & 255) + int(p32) + clamped,
           last]
    return [signed(v, 64) for v in out]


if __name__ == "__main__":
    unittest.main()

"""A product written by hand, run by the simulator behind heddle/driver.h."""

import unittest

import numpy

from e2e.npu.cases import Buffer, Case, write_cases
from e2e.npu.machine import ACCUMULATORS, Reg, encode
from e2e.support import WORK, run


def gemm(m, k, n):
    """A s8 [m][k] in r8 by W s8 [k][n] in r9, s32 [m][n] in r10."""
    return [
        encode("dma_load", chip=0, chip_s1=k, dram=Reg(8), dram_s1=k, n0=k, n1=m, n2=1),
        encode("dma_load", chip=32768, chip_s1=n, dram=Reg(9), dram_s1=n, n0=n, n1=k, n2=1),
        encode("signal", "dma", semaphore=0, units=1),
        encode("wait", "array", semaphore=0, units=1),
        encode("matmul", acc=ACCUMULATORS, acc_stride=4 * n, a=0, a_stride=k, w=32768, w_stride=n, m=m, k=k, n=n),
        encode("signal", "array", semaphore=1, units=1),
        encode("wait", "dma", semaphore=1, units=1),
        encode("dma_store", chip=ACCUMULATORS, chip_s1=4 * n, dram=Reg(10), dram_s1=4 * n, n0=4 * n, n1=m, n2=1),
    ]


class Gemm(unittest.TestCase):
    def test_product(self):
        rng = numpy.random.default_rng(1)
        m, k, n = 40, 70, 20
        a, w = rng.integers(-128, 128, (m, k)).astype("i1"), rng.integers(-128, 128, (k, n)).astype("i1")
        buffers = [Buffer(a, False), Buffer(w, False), Buffer(numpy.zeros((m, n), "<i4"))]
        case = Case("gemm", "mobile", gemm(m, k, n), buffers).evaluate()
        product = a.astype("i4") @ w.astype("i4")
        numpy.testing.assert_array_equal(case.outputs[2].view("<i4").reshape(m, n), product)
        WORK.mkdir(parents=True, exist_ok=True)
        write_cases(WORK / "gemm.cases", [case])
        self.assertIn("1 passed, 0 failed on 'npu-sim'", run("heddle-npu-conformance", WORK / "gemm.cases").stdout)


if __name__ == "__main__":
    unittest.main()

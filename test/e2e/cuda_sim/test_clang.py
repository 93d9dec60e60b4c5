"""PTX as LLVM writes it, optimized and not, gives the right answer."""

import pathlib
import shutil
import subprocess
import tempfile
import unittest

import numpy

from e2e.cuda_sim.simulator import KERNELS, Out, Value, launch

i32 = numpy.int32


class Clang(unittest.TestCase):
    def test_mixed(self):
        clang = shutil.which("clang++-19") or shutil.which("clang++")
        if not clang:
            self.skipTest("no clang++-19")
        x = numpy.random.default_rng(3).integers(-99, 99, 100).astype(i32)
        a = numpy.array([4, -3, 2, 11, 0], i32)
        parameters = numpy.append(a, numpy.float32(50).view(i32)).astype(i32)
        table = [3, 1, 4, 1, 5, 9, 2, 6]
        shared = [sum((int(x[(t + i) % 100]) + int(a[i % 5])) * table[i] for i in range(1 + t % 8)) for t in range(256)]
        kinds = [lambda v: v + 3, lambda v: v * 5, lambda v: ~v, lambda v: v - 9, lambda v: v ^ 77, lambda v: v * 2,
                 lambda v: -v]
        v = [kinds[t % 7](shared[255 - t]) for t in range(256)]
        expected = [v[t] + v[t ^ 1] + 7 for t in range(256)]
        # Without a CUDA installation to ask, clang takes the oldest PTX, which has no shuffles.
        for level in ("-O0", "-O2"):
            with self.subTest(level), tempfile.TemporaryDirectory() as folder:
                ptx = pathlib.Path(folder) / "clang.ptx"
                subprocess.run([clang, "-x", "cuda", "--cuda-device-only", "--cuda-gpu-arch=sm_80", "-nocudainc",
                                "-nocudalib", "-Wno-unknown-cuda-version", "--cuda-feature=+ptx70", level,
                                "-gline-directives-only", "-S",
                                str(KERNELS / "clang.cu"), "-o", str(ptx)], check=True)
                result = launch(ptx.read_text(), "mixed", 2, 256, x, Out((2, 256), i32), i32(100), Value(parameters))
                self.assertEqual([problem["text"] for problem in result.problems], [])
                for row in result.outputs[0]:
                    self.assertEqual(list(map(int, row)), expected)


if __name__ == "__main__":
    unittest.main()

"""Random and NaN weights, with guard pages around all memory: kernels touch nothing that is not theirs."""

import pathlib
import unittest

from e2e import support
from e2e.models import make_tiny_gguf

# HEDDLE_CPU_* of heddle/program.h: AVX2 alone, with AVX-VNNI, AVX-512 with VNNI, and all that the host has.
LEVELS = {"v3": 1, "v3-vnni": 3, "v4-vnni": 1 | 4 | 8, "host": 0}
FLAGS = {"v3": {"avx2"}, "v3-vnni": {"avx_vnni"}, "v4-vnni": {"avx512_vnni"}, "host": set()}


def host_flags():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return set(line.split(":")[1].split())
    return set()


class Weights(unittest.TestCase):
    def check(self, name, *arguments):
        source = make_tiny_gguf.make(support.WORK / "weights" / f"{name}.gguf", *arguments)
        artifact = support.compile_once(source)
        flags = host_flags()
        for level, features in LEVELS.items():
            if not FLAGS[level] <= flags:
                continue
            for mode in ("random", "nan"):
                with self.subTest(level=level, mode=mode):
                    support.run("runtime-guarded", artifact, mode, features)


def add(name, *arguments):
    setattr(Weights, f"test_{name}", lambda self: self.check(name, *arguments))


for architecture in make_tiny_gguf.ARCHITECTURES:
    add(architecture, "--architecture", architecture)
# One of each kind of code: dense, with and without minimum, a high plane of one and two bits, sub-block scales.
for kind in "f16 q4_1 q5_0 q8_0 q2_k q3_k q4_k q6_k iq4_xs".split():
    add(f"llama_{kind}", "--format", kind, "--layers", "1")

if __name__ == "__main__":
    unittest.main()

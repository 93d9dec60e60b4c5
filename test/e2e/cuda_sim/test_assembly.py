"""PTX of whole models as ptxas takes it, from the first architecture to the latest: registers, memory that they spill to,
and instructions where they are meant to be. Dynamic shared memory is held by the compiler itself (codegen/cuda/Kernels.cpp)."""

import re
import subprocess
import tempfile
import unittest

from e2e.cuda_sim.simulator import find_tool
from e2e.models import make_minilm_gguf
from e2e.support import heddle, model

ARCHITECTURES = ("sm_80", "sm_90", "sm_120")
# Registers of a thread by the beginning of a kernel's name: two blocks of 128 threads fill a multiprocessor with 255.
REGISTERS = (("linear", 255), ("attention", 255), ("", 64))
# Bytes that ptxas stores and loads of registers that it moves to memory: none, but for three registers of attention with
# heads of 256 elements, whose sums alone take 128.
SPILLS = ((re.compile(r"attention_\d+x\d+x256"), 24), (re.compile(""), 0))
BLOCK_FORMAT = re.compile(r"linear_(i?q\d|int)")


def kernels(ptx):
    """{name: body} of the entries of PTX text."""
    parts = re.split(r"^\.visible \.entry (\w+)\(", ptx, flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2]))


def facts(ptx, architecture):
    """{kernel: (registers, bytes of spills, bytes of static shared memory)} as `ptxas -v` states them."""
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(ptx)
        file.flush()
        done = subprocess.run([find_tool("ptxas"), "-v", f"-arch={architecture}", file.name, "-o", "/dev/null"],
                              capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"ptxas for {architecture}: {done.stderr[-2000:]}")
    found, name, spilled = {}, None, 0
    for line in done.stderr.splitlines():
        if named := re.search(r"Function properties for (\w+)", line):
            name = named[1]
        elif stores := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line):
            spilled = int(stores[1]) + int(stores[2])
        elif used := re.search(r"Used (\d+) registers", line):
            shared = re.search(r"(\d+) bytes smem", line)
            found[name] = (int(used[1]), spilled, int(shared[1]) if shared else 0)
    return found


class Assembly(unittest.TestCase):
    def check(self, source, *flags):
        find_tool("ptxas")  # skips without it
        ptx = heddle("compile", source, "--target", "cuda", "--emit", "ptx", *flags).stdout
        entries = kernels(ptx)
        self.assertGreater(len(entries), 5)
        for name, body in entries.items():
            with self.subTest(name):
                self.check_instructions(name, body)
        for architecture in ARCHITECTURES:
            found = facts(ptx, architecture)
            self.assertEqual(set(found), set(entries))
            for name, (registers, spilled, shared) in found.items():
                with self.subTest(name, architecture=architecture):
                    most = next(most for pattern, most in SPILLS if pattern.match(name))
                    self.assertLessEqual(spilled, most, "bytes of registers moved to memory")
                    self.assertEqual(shared, 0, "all shared memory is dynamic")
                    most = next(most for prefix, most in REGISTERS if name.startswith(prefix))
                    self.assertLessEqual(registers, most)

    def check_instructions(self, name, body):
        def has(*words):
            self.assertEqual([word for word in words if word not in body], [], "instructions that are not there")

        if BLOCK_FORMAT.match(name):
            has("cp.async.cg.shared.global", "ldmatrix.sync.aligned.m8n8.x2", "dp4a.", "mma.sync.aligned.m16n8k")
        elif name.startswith("linear"):
            has("cp.async.cg.shared.global", "mma.sync.aligned.m16n8k16.row.col.f32.bf16")  # f32 is split by lanes
        elif name.startswith("attention") and "cp.async" in body:
            has("cp.async.cg.shared.global", "ldmatrix.sync.aligned.m8n8.x4.trans", "mma.sync.aligned.m16n8k16.row.col.f32.f16")
        elif name.startswith("attention"):
            self.assertEqual(re.findall(r"mma\.sync", body), [])  # without a cache: on f32 units
        else:
            self.assertEqual(re.findall(r"mma\.sync|ldmatrix|cp\.async", body), [])

    def test_smollm2(self):
        self.check(model("smollm2"))

    def test_smollm2_i8(self):
        self.check(model("smollm2"), "--activations", "i8")

    def test_gemma3(self):
        self.check(model("gemma3"))

    def test_minilm_f32(self):
        self.check(make_minilm_gguf.ensure("f32"))

    def test_minilm_f16(self):
        self.check(make_minilm_gguf.ensure("f16"))

    def test_minilm_q8_0(self):
        self.check(make_minilm_gguf.ensure("q8_0"))

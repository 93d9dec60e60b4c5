"""Correct kernels, broken in one place: the simulator names the place.

The mutants are wrong by construction: every one of them leaves its memory, reads what nobody wrote, or lets two threads
meet without order, and so is not a matter of the values that happen to be there. HEDDLE_MUTANT_SEED draws others.
"""

import os
import re
import unittest

import numpy

from e2e.cuda_sim.simulator import Out, find_nvcc, launch, ptx_of

COUNT = 100
NEEDED = 0.9  # of them reported, with the right line
i32, u32, f32 = numpy.int32, numpy.uint32, numpy.float32


def ramp(*shape, dtype=f32):
    return numpy.arange(numpy.prod(shape)).reshape(shape).astype(dtype)


# name: (source, kernel, grid, block, arguments, dynamic shared bytes)
RUNS = {
    "scan": ("scan", "scan", 2, 256, (ramp(2, 256, dtype=i32), Out((2, 256), i32), i32(256)), 0),
    "histogram": ("histogram", "histogram", 2, 256,
                  ((ramp(1000) * 7 % 256).astype(numpy.uint8), Out(256, u32, 0), i32(1000)), 0),
    "transpose": ("transpose", "transpose", (2, 3), (32, 8),
                  (ramp(70, 45), Out((45, 70), f32), i32(70), i32(45)), 0),
    "sgemm": ("sgemm", "sgemm", (3, 4), (16, 16),
              (ramp(50, 37), ramp(37, 41), Out((50, 41), f32), i32(50), i32(41), i32(37)), 0),
    "softmax": ("reduce", "softmax", 5, 32, (ramp(5, 100), Out((5, 100), f32), i32(100)), 0),
    "axpy_half2": ("half", "axpy_half2", 2, 128,
                   (ramp(400, dtype=numpy.float16), Out(400, numpy.float16, 1), f32(0.5), i32(200)), 0),
    "async_copy": ("async", "async_copy", 3, 64, (ramp(3, 100), Out((3, 100), f32), i32(100)), 400),
    "pipeline": ("async", "pipeline", 1, 128, (ramp(7, 128, 4), Out((128, 4), f32), i32(7)), 0),
    "mma_f16": ("matrix", "mma_f16", (3, 2), 32,
                (ramp(32, 112, dtype=numpy.float16), ramp(24, 112, dtype=numpy.float16), Out((32, 24), f32), i32(24),
                 i32(112)), 0),
    "stencil": ("stencil", "stencil", 3, 128, (ramp(300), Out(300, f32), i32(300)), 0),
    "vectors": ("stencil", "vectors", 3, 32, (ramp(77, 4, dtype=i32), Out((77, 4), i32), i32(77)), 0),
    "producer_consumer": ("stencil", "producer_consumer", 1, 64,
                          (ramp(9, 32, dtype=i32), Out((9, 32), i32), i32(9)), 0),
}

ACCESS = re.compile(r"^\s*(?:@!?%p\d+\s+)?(?:ld|st|atom|red|cp\.async\.c[ag]|ldmatrix)\b")
BYTES = {"8": 1, "16": 2, "32": 4, "64": 8}


class Mutant:
    """Text of a broken kernel; `accepts(problem, other line)` says whether a report names the right place."""

    def __init__(self, run, kind, line, text, accepts):
        self.run, self.kind, self.line, self.text, self.accepts = run, kind, line, text, accepts

    def __str__(self):
        return f"{self.run}: {self.kind} at line {self.line}"


def body_of(lines, kernel):
    """Numbers of the lines of a kernel, 1-based."""
    first = next(n for n, line in enumerate(lines, 1) if re.match(rf"\.visible \.entry {kernel}\(", line))
    last = next(n for n in range(first, len(lines) + 1) if lines[n - 1].startswith("}"))
    return range(first, last + 1)


def loops_of(lines, body):
    """(first, last) line of each loop: from a label to a branch back to it."""
    labels = {lines[n - 1].strip()[:-1]: n for n in body if re.match(r"^\$?\w+:$", lines[n - 1].strip())}
    out = []
    for n in body:
        found = re.search(r"\bbra(?:\.uni)?\s+([$\w]+);", lines[n - 1])
        if found and labels.get(found.group(1), n + 1) <= n:
            out.append((labels[found.group(1)], n))
    return out


def access_bytes(line):
    kind = re.search(r"\.[bfsu](8|16|32|64)\b", line)
    vector = re.search(r"\.v([24])\b", line)
    return BYTES[kind.group(1)] * (int(vector.group(1)) if vector else 1) if kind else 0


def tainted_accesses(lines, body, start):
    """Lines of accesses whose address depends on what line `start` computes."""
    tainted = {re.search(r"(%\w+)", lines[start - 1].strip().split(None, 1)[1]).group(1)}
    for _ in range(len(body)):
        before = len(tainted)
        for n in body:
            line = lines[n - 1].strip()
            if ACCESS.match(line) or "," not in line or line.startswith((".", "@", "//")):
                continue
            names = re.findall(r"%\w+", line)
            if set(names[1:]) & tainted:
                tainted.add(names[0])
        if len(tainted) == before:
            break
    return {n for n in body if ACCESS.match(lines[n - 1])
            and set(re.findall(r"%\w+", "".join(re.findall(r"\[[^\]]*\]", lines[n - 1])))) & tainted}


def mutants_of(run):
    source, kernel = RUNS[run][:2]
    lines = ptx_of(source).splitlines()
    body = body_of(lines, kernel)
    loops = loops_of(lines, body)

    def with_line(n, new):
        return "\n".join(lines[:n - 1] + [new] + lines[n:]) + "\n"

    def crosses(n):
        """Two accesses that line n kept apart: it is between them, or in a loop with both."""
        def accepts(problem, other):
            line = problem["line"]
            if problem["kind"] not in ("race", "pending copy", "unwritten read"):
                return False
            pair = (line, other or line)
            around = min(pair) < n < max(pair) or (other is None and n < line)
            return around or any(a <= n <= b and all(a <= p <= b for p in pair) for a, b in loops)
        return accepts

    def at(wanted, *kinds):
        return lambda problem, other: problem["line"] in wanted and problem["kind"] in kinds

    def make(n, kind, new, accepts):
        return Mutant(run, kind, n, with_line(n, new), accepts)

    shared_reads = {n for n in body if re.search(r"\b(ld|atom)\.shared|ldmatrix", lines[n - 1])}
    for n in body:
        line = lines[n - 1]
        if re.search(r"\b(bar\.sync|barrier\.sync|bar\.warp\.sync)\b", line) and "producer" not in run:
            yield make(n, "dropped barrier", "", crosses(n))
        if re.search(r"cp\.async\.wait_(group|all)", line):
            yield make(n, "dropped wait", "", at(shared_reads | copies(lines, body), "pending copy", "unwaited copy"))
        waits = re.search(r"cp\.async\.wait_group (\d+)", line)
        if waits:
            yield make(n, "wait for one group less", line.replace(waits.group(0), f"cp.async.wait_group "
                                                                  f"{int(waits.group(1)) + 1}"),
                       at(shared_reads | copies(lines, body), "pending copy", "unwaited copy"))
        memory = re.search(r"\b(ld|st)\.(global|shared)\S*\s", line)
        address = re.search(r"\[([^\]+]+)(?:\+(-?\d+))?\]", line)
        if memory and address:
            base, offset, size = address.group(1), int(address.group(2) or 0), access_bytes(line)

            def moved(by):
                return line.replace(address.group(0), f"[{base}+{offset + by}]")
            if size > 1:
                yield make(n, "misaligned access", moved(size // 2), at({n}, "misaligned"))
            if memory.group(2) == "global":
                yield make(n, "access past the end", moved(1 << 20), at({n}, "out of bounds"))
        if re.search(r"\bst\.shared", line) and run in ("sgemm", "transpose", "histogram"):
            yield make(n, "dropped store", "", at(shared_reads, "unwritten read"))
        wide = re.search(r"(mul\.wide\.[su]32\s+%rd\d+, %r\d+, )(2|4|8|16);", line)
        if wide and run in ("scan", "stencil", "vectors", "axpy_half2"):
            accesses = tainted_accesses(lines, body, n)
            yield make(n, "index scaled twice", line.replace(wide.group(0), f"{wide.group(1)}{2 * int(wide.group(2))};"),
                       at(accesses, "out of bounds"))
        if run == "transpose" and re.search(r"%tid\.[xy]", line):
            swapped = line.replace("%tid.x", "%tid.?").replace("%tid.y", "%tid.x").replace("%tid.?", "%tid.y")
            yield make(n, "swapped index", swapped,
                       at(tainted_accesses(lines, body, n), "out of bounds", "unwritten read", "race"))
        bound = re.search(r"setp\.ge\.s32(\s+%p\d+, %r\d+, %r\d+;)", line)
        if bound and run in ("vectors", "axpy_half2"):
            yield make(n, "off by one", line.replace("setp.ge", "setp.gt"),
                       at({m for m in body if re.search(r"\b(ld|st)\.global", lines[m - 1])}, "out of bounds"))


def copies(lines, body):
    return {n for n in body if "cp.async.c" in lines[n - 1] and "commit" not in lines[n - 1]}


class Mutants(unittest.TestCase):
    def test_mutants(self):
        find_nvcc()
        seed = int(os.environ.get("HEDDLE_MUTANT_SEED", "1"))
        print(f"seed {seed}")
        every = [mutant for run in RUNS for mutant in mutants_of(run)]
        self.assertGreaterEqual(len(every), COUNT)
        drawn = numpy.random.default_rng(seed).choice(len(every), COUNT, replace=False)
        missed = []
        for mutant in (every[i] for i in drawn):
            _, kernel, grid, block, arguments, shared = RUNS[mutant.run]
            result = launch(mutant.text, kernel, grid, block, *arguments, shared=shared,
                            options=("--step-limit", "10000000"))
            others = [re.search(r"\bline (\d+)\)", problem["text"]) for problem in result.problems]
            if not any(mutant.accepts(problem, int(other.group(1)) if other else None)
                       for problem, other in zip(result.problems, others)):
                missed.append(f"{mutant}: " + ("; ".join(p["text"] for p in result.problems) or "nothing reported"))
        print(f"{COUNT - len(missed)} of {COUNT} mutants reported with the right line (of {len(every)} in all)")
        self.assertLessEqual(len(missed), COUNT * (1 - NEEDED), "\n".join(missed))

    def test_the_kernels_are_clean(self):
        find_nvcc()
        for name, (source, kernel, grid, block, arguments, shared) in RUNS.items():
            with self.subTest(name):
                result = launch(ptx_of(source), kernel, grid, block, *arguments, shared=shared)
                self.assertEqual([problem["text"] for problem in result.problems], [])


if __name__ == "__main__":
    unittest.main()

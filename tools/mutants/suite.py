"""The test suite in pieces that run alone: each with its command, its time and the mutants it reaches."""

import dataclasses
import json
import os
import pathlib
import re
import resource
import signal
import subprocess
import sys
import time

PHASES = 4  # pieces under half a second, under four seconds, all others, and whole scenarios: the next only for what is left
UNIT_TESTS = ("codegen-cpu-test", "codegen-cuda-test", "codegen-rows-test", "gguf-test", "interpreter-test", "ir-test", "package-test")
SCENARIOS = ("e2e/attention/test_variants.py", "e2e/gating/test_head_gating.py", "e2e/passes/test_pipeline.py",
             "e2e/passes/test_random_graphs.py", "e2e/test_weights.py", "e2e/models/test_import.py",
             "e2e/interpreter/test_models.py", "e2e/test_bits.py", "e2e/test_compile.py", "e2e/test_levels.py",
             "e2e/test_quantize.py", "tools/test_devices.py", "tools/test_verify.py")
SEEDS_EACH, SEEDS = 10, 80  # random modules
MEMORY = 8 << 30


@dataclasses.dataclass
class Piece:
    name: str
    command: list
    last: bool = False  # a whole scenario
    file: str = ""  # IR with examples, for bisect
    seconds: float = 0
    reached: tuple = ()

    def phase(self):
        return 3 if self.last else 0 if self.seconds < 0.5 else 1 if self.seconds < 4 else 2


def lit_pieces(folder, build):
    for path in sorted((folder / "test").glob("**/*")):
        name = str(path.relative_to(folder / "test"))
        if path.suffix not in (".mlir", ".test") or name.split("/")[0] not in ("ir", "passes", "codegen", "tools", "e2e"):
            continue
        if name.startswith("e2e/attention/") or name == "tools/random-modules.test":
            continue  # test_variants.py and the seeds below run these
        lit = [sys.executable, "-c", "import lit.main; lit.main.main()", "-q", str(build / "test" / name)]
        text = path.read_text()
        alone = re.findall(r"^// RUN: (?:%if [\w-]+ %\{ )?(heddle-run-ir [^|]*?)(?: %\})?$", text, re.M)
        if len(alone) == text.count("RUN:"):  # each line by itself: a level's code is the long part
            for line in alone:
                words = line.replace("%S", str(path.parent)).replace("%s", str(path)).split()
                yield Piece(f"{name}: {line.replace(' %s', '')}", [str(build / "bin" / words[0]), *words[1:]], file=words[-1])
        else:
            yield Piece(name, lit, last="REQUIRES: model-" in text)


def pieces_of(folder, build):
    yield from lit_pieces(folder, build)
    for name in UNIT_TESTS:
        program = str(build / "bin" / name)
        listed = subprocess.run([program, "--list-test-names-only"], capture_output=True, text=True)
        for case in listed.stdout.splitlines():
            if case.strip():
                escaped = re.sub(r"([\\,\[*])", r"\\\1", case.strip())
                yield Piece(f"{name}: {case.strip()}", [program, "--abort", escaped], last=name == "codegen-cuda-test")
    for seed in range(1, SEEDS, SEEDS_EACH):
        yield Piece(f"random modules {seed} to {seed + SEEDS_EACH - 1}",
                    [str(build / "bin" / "heddle-random-modules"), "--seed", str(seed), "--count", str(SEEDS_EACH), "--levels", "one",
                     "--max-findings", "1", "--reduce-tests", "0"])
    for name in SCENARIOS:
        if (folder / "test" / name).exists():
            yield Piece(name, [sys.executable, "-m", "unittest", "-f", "-q", name.removesuffix(".py").replace("/", ".")], last=True)


def passes(piece, folder, build, timeout, mutant=0, reached=None):
    """Whether the piece passes with a mutant in effect."""
    environment = {**os.environ, "HEDDLE_BUILD": str(build), "HEDDLE_SOURCE": str(folder), "PYTHONPATH": str(folder / "test"),
                   "PATH": f"{build / 'bin'}:{os.environ['PATH']}", "PYTHONDONTWRITEBYTECODE": "1"}
    if mutant:
        environment["HEDDLE_MUTANT"] = str(mutant)
    if reached:
        environment["HEDDLE_MUTANT_REACHED"] = str(reached)

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    process = subprocess.Popen(piece.command, cwd=folder / "test", env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=limit)
    try:
        return process.wait(timeout) == 0
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False


def measure(piece, folder, build, places):
    """Runs a piece without a mutant: sets its time and what it reaches. False when it fails."""
    reached = folder / "reached.bin"
    reached.write_bytes(bytes(places + 1))
    start = time.monotonic()
    passed = passes(piece, folder, build, 1200, reached=reached)
    piece.seconds = round(time.monotonic() - start, 2)
    piece.reached = tuple(number for number, byte in enumerate(reached.read_bytes()) if byte and number)
    return passed


def load(path):
    return [Piece(**each) for each in json.loads(path.read_text())] if path.exists() else []


def save(path, pieces):
    temporary = pathlib.Path(f"{path}.new")
    temporary.write_text(json.dumps([dataclasses.asdict(piece) for piece in pieces], indent=0))
    temporary.replace(path)

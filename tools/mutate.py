#!/usr/bin/env python3
"""Mutation testing: breaks passes and generators on purpose and says which breaks the tests find.

    tools/mutate.py [--seed 1] [--count 5] [--build build-mutants] [--list]

Draws mutants by the seed from fixed operators over the sources below, builds each one in a copy of the sources with a
build folder of its own, and runs tests, quick ones first, until one fails. Prints a line per mutant and the survivors.
A mutant that does not build is drawn again: it proves nothing.
"""

import argparse
import pathlib
import random
import re
import shutil
import subprocess
import sys
import time

SOURCE = pathlib.Path(__file__).resolve().parents[1]
FILES = ("ir/TensorOps.cpp", "ir/ElementwiseOps.cpp", "passes/ChoosePrecision.cpp", "passes/FuseForTarget.cpp", "passes/PackParameters.cpp",
         "passes/PlanMemory.cpp", "passes/ShareKernels.cpp", "passes/SpecializeRows.cpp", "passes/RowDims.cpp", "passes/ExpandMath.cpp",
         "codegen/package/Pack.cpp", "codegen/package/Program.cpp", "codegen/cpu/Contraction.cpp", "codegen/cpu/ContractionKernel.cpp",
         "codegen/cpu/ContractionWeights.cpp", "codegen/cpu/Attention.cpp", "codegen/cpu/AttentionBuilder.cpp", "codegen/cpu/AttentionRegion.cpp",
         "codegen/cpu/RowsBuilder.cpp", "codegen/cpu/RowsEmbedding.cpp", "codegen/cpu/RowsNorms.cpp", "codegen/cpu/RowsPositions.cpp",
         "codegen/cpu/RowsQuantize.cpp")  # fmt: skip

# (name, what it matches in code, what replaces it). One match in one line is one mutant.
OPERATORS = (
    ("off by one", r"(?<=[\w)\]] )(<)(?= [\w(])", "<="),
    ("off by one", r"(?<=[\w)\]] )(<=)(?= [\w(])", "<"),
    ("wrong tail", r"(?<=[\w)\]] )%(?= \w)", "/"),
    ("wrong stride", r"(?<=[\w)\]] )\*(?= [a-z]\w*)", "+"),
    ("swapped sum", r"(?<=[\w)\]] )\+(?= [a-z]\w*)", "-"),
    ("wrong fold", r"\bisExactlyValue\(1\.0\)", "isExactlyValue(2.0)"),
    ("wrong fold", r"== 1\b", "== 0"),
    ("dropped condition", r"(?<=[ (])!(?=[a-z]\w*[.(])", ""),
    ("wrong join", r" && ", " || "),
    ("wrong join", r" \|\| ", " && "),
    ("swapped minimum", r"std::max", "std::min"),
    ("swapped minimum", r"std::min", "std::max"),
    ("wrong op", r"arith::AddFOp", "arith::SubFOp"),
    ("wrong op", r"\be\.addF\(", "e.subF("),
    ("wrong op", r"\be\.mulF\(", "e.addF("),
    ("dropped mask", r"CmpIPredicate::slt", "CmpIPredicate::sle"),
    ("dropped mask", r"CmpIPredicate::sle", "CmpIPredicate::sge"),
    ("swapped scale", r"layout\.scale\(\)", "layout.minimum()"),
    ("missing barrier", r"setBarrier\(true\)", "setBarrier(false)"),
    ("early return", r"\bcontinue;", "break;"),
    ("wrong constant", r"\b32\b", "16"),
    ("wrong constant", r"\b16\b", "32"),
)  # fmt: skip

# (name, command): quick ones first. {build}, {python}, {source} are filled in.
TESTS = (
    ("lit tests of IR and passes", "{python} -c 'import lit.main; lit.main.main()' -q -j2 --filter=^(ir|passes)/ {build}/test"),
    ("op examples", "{python} -c 'import lit.main; lit.main.main()' -q -j2 --filter=e2e/ops {build}/test"),
    ("random modules", "{build}/bin/heddle-random-modules --seed 1 --count 300 --levels one --max-findings 1 --reduce-tests 1"),
)  # fmt: skip
TARGETS = ("heddle-opt", "heddle-run-ir", "heddle-random-modules", "heddle-reduce", "heddle_tool")


def candidates():
    """Every mutant: (file, line number, operator, new line). Comments, includes and asserts are left alone."""
    for name in FILES:
        path = SOURCE / name
        if not path.exists():
            continue
        for number, line in enumerate(path.read_text().splitlines()):
            code = line.split("//")[0]
            if not code.strip() or code.lstrip().startswith(("#", "assert", "using", "template", "///")) or '"' in code:
                continue
            for operator, pattern, replacement in OPERATORS:
                for match in re.finditer(pattern, code):
                    yield name, number, operator, line[: match.start()] + replacement + line[match.end() :]


def run(command, timeout, cwd=None):
    try:
        return subprocess.run(command, shell=isinstance(command, str), cwd=cwd, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", "timed out")


def copy_sources(folder):
    """The tracked files, copied where they differ, so that ninja builds what changed only."""
    listed = run(["git", "ls-files", "-co", "--exclude-standard"], 60, SOURCE).stdout.splitlines()
    for name in listed:
        old, new = SOURCE / name, folder / name
        if old.is_file() and (not new.exists() or new.read_bytes() != old.read_bytes()):
            new.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(old, new)


def build(folder):
    return run(["ninja", "-C", str(folder / "build"), "-j2", *TARGETS], 3600)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=5)
    parser.add_argument("--folder", type=pathlib.Path, default=SOURCE / "build-mutants", help="sources and build of the mutants")
    parser.add_argument("--list", action="store_true", help="print the mutants drawn and end")
    arguments = parser.parse_args()

    every = sorted(set(candidates()))
    order = random.Random(arguments.seed).sample(every, len(every))
    print(f"seed {arguments.seed}: {len(every)} possible mutants", flush=True)
    if arguments.list:
        for name, number, operator, line in order[: arguments.count]:
            print(f"{name}:{number + 1}: {operator}: {line.strip()}")
        return 0

    folder = arguments.folder.resolve()
    copy_sources(folder)
    configured = run(["cmake", "-S", str(folder), "-B", str(folder / "build"), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                      "-DCMAKE_C_COMPILER=clang-19", "-DCMAKE_CXX_COMPILER=clang++-19", "-DHEDDLE_BUILD_TESTS=ON"], 600)
    if configured.returncode or (made := build(folder)).returncode:
        print((configured.stderr or made.stdout)[-3000:])
        return 2
    values = {"build": folder / "build", "python": sys.executable, "source": folder}
    for name, command in TESTS:
        if (clean := run(command.format(**values), 900)).returncode:
            print(f"without a mutant '{name}' fails already\n{(clean.stdout + clean.stderr)[-3000:]}")
            return 2
    found, survivors, unbuilt = 0, [], 0
    for name, number, operator, line in order:
        if found + len(survivors) == arguments.count:
            break
        path = folder / name
        original = path.read_text()
        lines = original.splitlines(keepends=True)
        label = f"{name}:{number + 1}: {operator}: {line.strip()}"
        start = time.monotonic()
        try:
            path.write_text("".join(lines[:number]) + line + "\n" + "".join(lines[number + 1 :]))
            if build(folder).returncode:
                unbuilt += 1
                continue
            killer = next((test for test, command in TESTS if run(command.format(**values), 900).returncode), None)
        finally:
            path.write_text(original)
        found += killer is not None
        if killer is None:
            survivors.append(label)
        print(f"{'found by ' + killer if killer else 'SURVIVED'}: {label} ({time.monotonic() - start:.0f} s)", flush=True)
    print(f"seed {arguments.seed}: {found} of {found + len(survivors)} mutants found, {unbuilt} did not build")
    for label in survivors:
        print(f"survivor: {label}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

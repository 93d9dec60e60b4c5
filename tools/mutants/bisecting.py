"""Whether `heddle bisect` names the pass and the op of mutants that the tests find, with a reduced test.

How it is judged. The expected stage is the pass whose file is changed (`after heddle-x` or `pass heddle-x` for
passes/X.cpp; RowDims.cpp serves several passes, each is right), and `code for LEVEL` for generators, the packager and
passes/ExpandMath.cpp, which is part of lowering. The expected op is one that the changed code handles (OPS); for code
that handles any op the reduced test must contain the op that is named. A quantized value and a cache are visible in
their reader only, so its name is right too.
"""

import os
import pathlib
import re
import subprocess
import time

from mutants import suite

MOST_LINES = 30
LINEAR, ATTENTION = ("linear",), ("attention", "merge_chunks", "cache_append")
OPS = (
    (r"codegen/cpu/Contraction|codegen/package/Pack|codegen/Epilogue|passes/ChoosePrecision", LINEAR + ("quantize", "embedding")),
    (r"codegen/cpu/Attention|passes/SplitAttention|codegen/cpu/RowsMerge", ATTENTION),
    (r"codegen/cpu/RowsNorms", ("rms_norm", "layer_norm", "l2_normalize", "pool_rows")),
    (r"codegen/cpu/RowsEmbedding|codegen/package/StoredRows", ("embedding", "gather_rows", "linear")),
    (r"codegen/cpu/RowsPositions", ("rope", "cache_append", "attention")),
    (r"codegen/cpu/RowsQuantize", ("quantize", "linear", "dequantize")),
    (r"codegen/cpu/RowsGating|passes/\w*HeadGating", ("head_gate", "mask_heads", "skipped_sum", "linear", "attention")),
    (r"codegen/cpu/RowsSelection", ("select_blocks", "top_k", "attention")),
    (r"passes/SpecializeHeadMask", ("linear", "attention", "keep_parts", "mask_heads", "head_gate", "skipped_sum", "binary", "reshape")),
    (r"passes/PlanMemory|passes/ShareKernels|passes/RowDims", ("launch",)),
    (r"passes/SplitCacheAppend", ("cache_append", "attention")),
)  # fmt: skip
CODE = r"code for .*"
SHARED = {"passes/RowDims.cpp": r"after heddle-.*|pass heddle-.*|code for .*", "passes/ExpandMath.cpp": CODE}


def expected_stage(file):
    if file in SHARED:
        return SHARED[file]
    if file.startswith("passes/"):
        name = re.sub(r"(?<!^)(?=[A-Z])", "-", pathlib.Path(file).stem).lower()
        return rf"(after|pass) heddle-{name}"
    return CODE


def expected_ops(file):
    return next((ops for pattern, ops in OPS if re.match(pattern, file)), None)


def run_program(command, mutant, timeout=600):
    environment = {**os.environ, "HEDDLE_MUTANT": str(mutant)}
    try:
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=timeout, env=environment)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", "timed out")


def inputs(mutant, number, pieces, folder):
    """Files of IR with examples that the mutant breaks, with the level they break at: what found it first."""
    bin = folder / "build" / "bin"
    level = re.search(r"--target (cpu:[\w-]+)", mutant["found_by"])
    if mutant.get("file_of_test"):
        yield mutant["file_of_test"], level[1] if level else "cpu:native"
    seeds = [piece for piece in pieces if piece.name.startswith("random modules") and number in piece.reached]
    seeds.sort(key=lambda piece: piece.name != mutant["found_by"])
    for piece in seeds[:3]:
        done = run_program([*piece.command], number)
        for seed in re.findall(r"^seed (\d+):", done.stdout, re.M)[:1]:
            path = folder / f"random-{seed}.mlir"
            path.write_text(run_program([bin / "heddle-random-modules", "--seed", seed, "--print"], 0).stdout)
            yield str(path), "cpu:native"
    examples = [piece for piece in pieces if piece.file and number in piece.reached and piece.file != mutant.get("file_of_test")]
    for piece in sorted(examples, key=lambda piece: piece.seconds)[:4]:
        level = re.search(r"--target (cpu:[\w-]+)", piece.name)
        yield piece.file, level[1] if level else "cpu:native"


def judge(mutant, output, reduced):
    """"" when pass, op and size are right, or what is not."""
    stage = re.search(r"^stage +(.*)", output, re.M)
    if not stage:
        return "nothing was found"
    if not re.fullmatch(expected_stage(mutant["file"]), stage[1]):
        return f"stage '{stage[1]}'"
    if not reduced.exists():
        return "no reduced test"
    text = reduced.read_text()
    if len(text.splitlines()) >= MOST_LINES:
        return f"reduced test of {len(text.splitlines())} lines"
    said = " ".join([*text.splitlines()[:2], *re.findall(r"^(?:op|found) +(.*)", output, re.M)])
    named = set(re.findall(r"'heddle\.(\w+)'", said))
    expected = expected_ops(mutant["file"]) or ("launch",)
    ops = set(expected)
    if "launch" in expected:  # passes over all ops, or over launches of kernels of them
        ops |= set(re.findall(r"heddle\.(\w+)", "\n".join(text.splitlines()[2:])))
    # A kernel that cannot be made is named by its ops.
    named |= {op for op in ops for kernel in re.findall(r"kernel '(\w+)'", said) if kernel.startswith(op)}
    return "" if named & ops else f"op {sorted(named)}"


def run(state, folder, end, wanted=30):
    pieces = suite.load(folder / "pieces.json")
    tried = 0
    seconds = {piece.name: piece.seconds for piece in pieces if piece.file}  # what an example found comes first
    order = sorted(enumerate(state.data["mutants"], 1), key=lambda each: seconds.get(each[1].get("found_by"), 1e6))
    for number, mutant in order:
        if not mutant.get("found_by") or not mutant["file"].startswith(("passes/", "codegen/")) or "cuda" in mutant["file"]:
            continue
        if tried == wanted:
            break
        if "bisect" not in mutant:
            if time.monotonic() > end:
                return print("time is up; run again to go on")
            start, result = time.monotonic(), "no input with examples shows it"
            for source, target in inputs(mutant, number, pieces, folder):
                reduced = folder / f"reduced-{number}.mlir"
                reduced.unlink(missing_ok=True)
                done = run_program([folder / "build/bin/heddle", "bisect", source, "--target", target, "-o", reduced, "--reduce-tests", "250"], number)
                clean = [folder / "build/bin/heddle", "bisect", source, "--target", target]
                if done.returncode == 0 or run_program(clean, 0).returncode != 0:
                    continue
                result = judge(mutant, done.stdout, reduced)
                mutant["bisect_says"], mutant["bisect_input"] = (done.stdout or done.stderr)[:600], source
                break
            mutant["bisect"] = result
            state.save()
            print(f"{number}: {result or 'right'}: {mutant['label']} ({time.monotonic() - start:.0f} s)", flush=True)
        tried += mutant["bisect"] != "no input with examples shows it"
    print("bisect is done")


def report(mutants):
    tried = [each for each in mutants if "bisect" in each[1] and each[1]["bisect"] != "no input with examples shows it"]
    right = [each for each in tried if not each[1]["bisect"]]
    print(f"bisect named pass and op of {len(right)} of {len(tried)} mutants, each with a test under {MOST_LINES} lines")
    for number, mutant in tried:
        if mutant["bisect"]:
            print(f"missed {number}: {mutant['bisect']}: {mutant['label']}")
    for number, mutant in mutants:
        if mutant.get("bisect") == "no input with examples shows it":
            print(f"without examples {number}: {mutant['label']}")

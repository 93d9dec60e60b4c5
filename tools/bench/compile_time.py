#!/usr/bin/env python3
"""What compiling costs: seconds per CPU level on one core, growth with depth, memory for a large model.

Depth: small models of 30 and 300 identical layers, all CPU levels, the least of three, since noise only adds. Samples for
`heddle verify` evaluate the whole model in the interpreter, so they grow with it: compiles with and without them have a column
each. Memory: a sparse model of 8 GB, all zeros on disk.
"""

import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile

import gguf

import common
from heddle_runtime import BUILD

LEVELS = ("x86-64-v3", "x86-64-v3-vnni", "x86-64-v4-vnni", "x86-64-v4-amx")
MAKER = common.SOURCE / "test" / "e2e" / "models" / "make_tiny_gguf.py"


def make(path, *flags):
    subprocess.run([sys.executable, MAKER, path, *map(str, flags)], check=True, capture_output=True)
    return path


def compile_once(model, output, *flags):
    """(processor seconds on one core, largest memory in bytes) of one compilation."""
    process = subprocess.Popen([BUILD / "bin" / "heddle", "compile", model, "-o", output, *flags], stderr=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, preexec_fn=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}))
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"heddle compile {model}: exit {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def code_seconds(model, level):
    """Seconds to make a level's code: `--emit asm` does all but linking and packing weights."""
    command = [BUILD / "bin" / "heddle", "compile", model, "--emit", "asm", "--target", "cpu:" + level, "-o", os.devnull]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    arguments = common.arguments(__doc__, layers={"default": "30,300"}, large={"type": int, "default": 8, "help": "GB"})
    figures = {"processor": common.processor(), "code": [], "depth": [], "large": None}
    rows = []
    for name in arguments.models.split(","):
        for level in LEVELS:
            seconds = statistics.median(code_seconds(common.support.model(name), level) for _ in range(3))
            figures["code"].append({"model": name, "level": level, "seconds": seconds})
            rows.append([name, level, f"{seconds:.2f}"])
    common.table(["model", "level", "processor seconds for its code"], rows)
    with tempfile.TemporaryDirectory(dir=common.support.BUILD) as folder:
        folder = pathlib.Path(folder)
        rows = []
        for layers in map(int, arguments.layers.split(",")):
            model = make(folder / f"deep{layers}.gguf", "--layers", layers, "--format", "q4_0", "--hidden", 128, "--intermediate", 256,
                         "--sparse")
            without, full = ([compile_once(model, folder / "deep.heddle", *flags)[0] for _ in range(3)] for flags in (["--no-samples"], []))
            figures["depth"].append({"layers": layers, "seconds": min(without), "seconds_with_samples": min(full)})
            first = figures["depth"][0]
            rows.append([layers, f"{min(without):.2f}", f"{min(without) / first['seconds']:.2f}", f"{min(full):.2f}",
                         f"{min(full) / first['seconds_with_samples']:.2f}"])
        common.table(["identical layers", "processor seconds", "ratio", "with samples", "ratio"], rows)
        # Layers of 16 x 4096 x 4096 numbers or so in q4_0 until the file has the size.
        per_layer = 4096 * (2 * 4096 + 2 * 1024 + 3 * 14336) * 18 // 32
        layers = round(arguments.large * 1e9 / per_layer)
        model = make(folder / "large.gguf", "--layers", layers, "--format", "q4_0", "--hidden", 4096, "--intermediate", 14336,
                     "--heads", 32, "--kv-heads", 8, "--vocabulary", 32000, "--sparse")
        tensors = sorted((tensor.n_bytes for tensor in gguf.GGUFReader(model).tensors), reverse=True)
        seconds, memory = compile_once(model, folder / "large.heddle", "--target", "cpu:x86-64-v4-vnni")
        figures["large"] = {"file_bytes": model.stat().st_size, "peak_memory_bytes": memory, "seconds": seconds,
                            "two_largest_tensors_bytes": sum(tensors[:2])}
        common.table(["file", "processor seconds", "peak memory", "two largest tensors"],
                     [[f"{model.stat().st_size / 1e9:.1f} GB", f"{seconds:.1f}", f"{memory / 1e6:.0f} MB", f"{sum(tensors[:2]) / 1e6:.0f} MB"]])
    common.save(arguments.json, figures)


if __name__ == "__main__":
    main()

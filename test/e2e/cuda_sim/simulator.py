"""Compiles CUDA C with nvcc and runs kernels of PTX text on the simulator."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import numpy

from e2e.support import BIN, CACHE, WORK

KERNELS = pathlib.Path(__file__).parent / "kernels"
FOLDER = WORK / "cuda_sim"
TYPES = {"f8": "f64", "f4": "f32", "f2": "f16", "i8": "i64", "u8": "u64", "i4": "i32", "u4": "u32", "i2": "i16",
         "u2": "u16", "i1": "i8", "u1": "u8"}


def find_tool(name):
    """Path of nvcc or ptxas; skips the calling test without it. They are needed by tests only."""
    found = [os.environ.get(f"HEDDLE_{name.upper()}"),
             *map(str, CACHE.glob(f"venv/lib/python3*/site-packages/nvidia/*/bin/{name}")), shutil.which(name),
             f"/usr/local/cuda/bin/{name}"]
    for path in found:
        if path and os.access(path, os.X_OK):
            return path
    raise unittest.SkipTest(f"no {name} (run tools/setup.sh test, or set HEDDLE_{name.upper()})")


def find_nvcc():
    return find_tool("nvcc")


def ptx_of(name):
    """PTX text of kernels/NAME.cu for sm_80, with lines."""
    source = KERNELS / f"{name}.cu"
    FOLDER.mkdir(parents=True, exist_ok=True)
    out = FOLDER / f"{name}.ptx"
    if not out.exists() or out.stat().st_mtime < source.stat().st_mtime:
        with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
            made = pathlib.Path(folder) / out.name
            subprocess.run([find_nvcc(), "-ptx", "-std=c++17", "-arch=sm_80", "-lineinfo", str(source), "-o", str(made)], check=True)
            made.rename(out)
    return out.read_text()


class Out:
    """An array that a kernel writes: unwritten before, or with the values of `initial`."""

    def __init__(self, shape, dtype, initial=None):
        self.shape, self.dtype, self.initial = shape, numpy.dtype(dtype), initial


class Value:
    """An array passed by value, as a struct is."""

    def __init__(self, array):
        self.array = array


class Result:
    def __init__(self, outputs, problems, counts):
        self.outputs, self.problems, self.counts = outputs, problems, counts


def launch(text, kernel, grid, block, *arguments, shared=0, options=()):
    """Runs a kernel. Arrays are inputs, Out(...) are outputs, numpy scalars are passed by value."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "kernel.ptx").write_text(text)
        command = [str(BIN / "heddle-ptx-run"), str(folder / "kernel.ptx"), kernel, "--format", "json",
                   "--grid", ",".join(map(str, numpy.atleast_1d(grid))),
                   "--block", ",".join(map(str, numpy.atleast_1d(block))), "--shared", str(shared), *options]
        for i, argument in enumerate(arguments):
            path, made = folder / f"in{i}.npy", folder / f"out{i}.npy"
            if isinstance(argument, Out):
                element = TYPES[argument.dtype.str[1:]]
                if argument.initial is None:
                    count = int(numpy.prod(argument.shape))
                    command += ["--arg", f"out:{made}:{element}:{count}"]
                else:
                    numpy.save(path, numpy.full(argument.shape, argument.initial, argument.dtype))
                    command += ["--arg", f"inout:{path}:{made}:{element}"]
            elif isinstance(argument, Value):
                numpy.save(path, argument.array)
                command += ["--arg", f"value:{path}"]
            elif isinstance(argument, numpy.ndarray):
                numpy.save(path, argument)
                command += ["--arg", f"in:{path}"]
            else:
                command += ["--arg", f"{TYPES[argument.dtype.str[1:]]}={argument}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode not in (0, 1):
            raise AssertionError(f"exit {done.returncode}: {' '.join(command)}\n{done.stderr}")
        report = json.loads(done.stdout)
        outputs = [numpy.load(folder / f"out{i}.npy").reshape(argument.shape)
                   for i, argument in enumerate(arguments) if isinstance(argument, Out)]
        return Result(outputs, report["problems"], report["counts"])

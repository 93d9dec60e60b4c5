"""The example driver, built out of Heddle's tree with the headers alone."""

import os
import pathlib
import shutil
import subprocess

from e2e.support import SOURCE, WORK

FOLDER = pathlib.Path(__file__).parent / "example_driver"
SOURCES = ["Driver.cpp", "Machine.cpp", "Vector.cpp"]
SYMBOL = "heddle_driver_example"
HEADERS = SOURCE / "runtime" / "include"


def compile_source(path, out, *flags):
    """An object file; False with the compiler's words on stderr left alone."""
    compiler = os.environ.get("CXX") or shutil.which("c++") or "g++"
    command = [compiler, "-std=c++17", "-O1", "-fPIC", *flags, "-I", str(HEADERS), "-I", str(path.parent), "-c", str(path), "-o", str(out)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def link(objects, out):
    compiler = os.environ.get("CXX") or shutil.which("c++") or "g++"
    subprocess.run([compiler, "-shared", *map(str, objects), "-o", str(out)], check=True, capture_output=True, timeout=120)


def build(work=WORK / "npu" / "example"):
    """Path of the library, with a slash, and objects by source."""
    work.mkdir(parents=True, exist_ok=True)
    objects = {}
    for source in SOURCES:
        objects[source] = work / (source + ".o")
        done = compile_source(FOLDER / source, objects[source], "-Wall", "-Werror")
        if done.returncode:
            raise AssertionError(done.stderr)
    library = work / "libexample.so"
    link(objects.values(), library)
    return library, objects

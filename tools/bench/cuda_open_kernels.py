"""Counts of open CUDA kernels on the PTX simulator, beside those of Heddle's (docs/cuda.md, "Budgets").

Kernels of others, compiled by nvcc to PTX for sm_80, made no part of Heddle:
  hgemm  mmaAsyncStage3 of github.com/Bruce-Lee-LY/cuda_hgemm: f16 by f16, tiles of 256 x 128, three stages
  mmvq   mul_mat_vec_q of llama.cpp (in the source of the pinned llama-cpp-python): Q4_1 by one vector of Q8_1

    tools/bench/cuda_open_kernels.py [--hgemm CHECKOUT] [--llama CHECKOUT]
"""

import argparse
import os
import pathlib
import subprocess
import tempfile

import numpy

from common import SOURCE, support  # noqa: F401 (puts test/ on the path)
from e2e.cuda_sim.simulator import Out, Value, find_nvcc, launch

HGEMM = ("https://github.com/Bruce-Lee-LY/cuda_hgemm", "0d26c2e4415ab0d0af5a6bfae301275c608d46b4")
u32, u64 = numpy.uint32, numpy.uint64


def clone(url, commit, folder):
    for command in (["init", "-q"], ["fetch", "-q", "--depth", "1", url, commit], ["checkout", "-q", "FETCH_HEAD"]):
        subprocess.run(["git", "-C", folder, *command], check=True)
    return folder


def download_llama(folder):
    packages = (line.split() for line in (SOURCE / "tools" / "packages.txt").read_text().splitlines())
    version = next(words[3] for words in packages if words[2:3] == ["llama-cpp-python"])
    pip = pathlib.Path(os.environ.get("HEDDLE_CACHE", pathlib.Path.home() / ".cache" / "heddle")) / "venv" / "bin" / "python"
    subprocess.run([pip, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", folder,
                    f"llama-cpp-python=={version}"], check=True)
    subprocess.run(["tar", "-xzf", *pathlib.Path(folder).glob("*.tar.gz"), "-C", folder], check=True)
    return next(pathlib.Path(folder).glob("llama_cpp_python-*/vendor/llama.cpp"))


def compile_ptx(text, includes, folder):
    source, ptx = folder / "kernel.cu", folder / "kernel.ptx"
    source.write_text(text)
    flags = [flag for include in includes for flag in ("-I", str(include))]
    subprocess.run([find_nvcc(), "-ptx", "-std=c++17", "-arch=sm_80", "-w", *flags, source, "-o", ptx], check=True)
    return ptx.read_text()


def entry(ptx, name):
    return next(line.split(".entry ")[1].rstrip("(\n ") for line in ptx.splitlines() if ".entry" in line and name in line)


def hgemm(checkout, folder):
    source = (pathlib.Path(checkout) / "src" / "mma" / "mma_async_stage3.cu").read_text()
    ptx = compile_ptx(source, [pathlib.Path(checkout) / "src" / "common"], folder)
    m, n, k = 256, 128, 1024
    random = numpy.random.default_rng(3)
    a, b = (random.standard_normal((rows, k)).astype(numpy.float16) / numpy.float16(8) for rows in (m, n))
    result = launch(ptx, entry(ptx, "mmaAsyncStage3"), 1, 256, a, b, Out((m, n), numpy.float16), u64(m), u64(n), u64(k),
                    shared=(256 + 128) * 32 * 2 * 3)
    exact = a.astype(numpy.float64) @ b.astype(numpy.float64).T
    return f"hgemm {m} x {n} x {k}", result, numpy.abs(result.outputs[0] - exact).max() / numpy.abs(exact).max()


def mmvq(checkout, folder):
    ggml = pathlib.Path(checkout) / "ggml"
    source = (ggml / "src" / "ggml-cuda" / "mmvq.cu").read_text()
    source = source[:source.index("template <ggml_type type, int c_rows_per_block")]  # what follows needs all types
    source += "\nvoid *keep() { return (void *)&mul_mat_vec_q<GGML_TYPE_Q4_1, 1, false>; }\n"
    ptx = compile_ptx(source, [ggml / "src" / "ggml-cuda", ggml / "src", ggml / "include"], folder)
    rows, columns = 256, 1024
    blocks = columns // 32
    random = numpy.random.default_rng(4)
    weights = numpy.zeros((rows, blocks), [("d", "f2"), ("m", "f2"), ("q", "u1", 16)])
    weights["d"], weights["m"] = random.random((2, rows, blocks)) / 16
    weights["q"] = random.integers(0, 256, weights["q"].shape)
    vector = numpy.zeros(blocks, [("d", "f2"), ("s", "f2"), ("q", "i1", 32)])
    vector["d"], vector["q"] = random.random(blocks) / 16, random.integers(-127, 128, (blocks, 32))
    vector["s"] = vector["d"] * vector["q"].sum(1)
    one = Value(numpy.array([1, 0, 1], u32))  # division by 1
    strides = [u32(columns), one, u32(blocks), u32(blocks), u32(rows), one, *[u32(0)] * 3, one, *[u32(0)] * 4]
    result = launch(ptx, entry(ptx, "mul_mat_vec_q"), rows, (32, 4), weights.view("u1"), vector.view("u1"), u64(0),
                    Value(numpy.zeros(6, u64)), Out(rows, numpy.float32), *strides)
    codes = numpy.concatenate([weights["q"] & 15, weights["q"] >> 4], 2).astype(numpy.float64)
    numbers = codes * weights["d"][..., None] + weights["m"][..., None]
    exact = (numbers * (vector["q"] * vector["d"].astype(numpy.float64)[:, None])).sum((1, 2))
    return f"mmvq Q4_1 {rows} x {columns}", result, numpy.abs(result.outputs[0] - exact).max() / numpy.abs(exact).max()


def show(name, result, error):
    counts = result.counts
    for problem in result.problems:
        print(f"  {problem['text']}")
    mma, total = counts.get("instructions_mma", 0), counts["warp_instructions"]
    used = counts["global_load_bytes"] / (32 * counts["global_load_sectors"])
    print(f"{name}: {total} instructions, " + (f"{mma} mma, {total / mma:.2f} each, " if mma else "no mma, ") +
          f"{used:.0%} of loaded sectors, {counts['shared_bank_conflicts']} bank conflicts, relative error {error:.1e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hgemm", help="a checkout; else it is cloned")
    parser.add_argument("--llama", help="llama.cpp's source; else that of the pinned package is downloaded")
    options = parser.parse_args()
    for kernel, checkout, obtain in ((hgemm, options.hgemm, lambda folder: clone(*HGEMM, folder)),
                                     (mmvq, options.llama, download_llama)):
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as source:
            show(*kernel(checkout or obtain(source), pathlib.Path(folder)))
    print(subprocess.run([support.BIN / "codegen-cuda-test", "[budgets]"], capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()

"""Counts of open CUDA kernels on the PTX simulator, beside those of Heddle's (docs/cuda.md, "Budgets").

Kernels of others, compiled by nvcc to PTX for sm_80, made no part of Heddle:
  hgemm  mmaAsyncStage3 of github.com/Bruce-Lee-LY/cuda_hgemm: f16 by f16, tiles of 256 x 128, three stages
  mmvq   mul_mat_vec_q of llama.cpp (in the source of the pinned llama-cpp-python): Q4_1 by one vector of Q8_1
  mmq    mul_mat_q of llama.cpp: Q4_1 by 64 vectors of Q8_1 on int8 tensor cores, tiles of 128 x 64
  fattn  flash_attn_ext_f16 of llama.cpp: 64 queries of one head of 64 elements, 512 keys, f16 on tensor cores

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
    subprocess.run([find_nvcc(), "-ptx", "-std=c++17", "-arch=sm_80", "-w", "--extended-lambda", *flags, source, "-o", ptx], check=True)
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
    return f"hgemm {m} x {n} x {k}", result, error_of(result, a.astype(numpy.float64) @ b.astype(numpy.float64).T)


def includes(checkout):
    ggml = pathlib.Path(checkout) / "ggml"
    return [ggml / "src" / "ggml-cuda", ggml / "src", ggml / "include"]


def error_of(result, exact):
    return numpy.abs(result.outputs[0] - exact).max() / numpy.abs(exact).max()


ONE = Value(numpy.array([1, 0, 1], u32))  # division by 1, as llama.cpp prepares it


def division(by):
    """The same for a power of two."""
    return Value(numpy.array([1, by.bit_length() - 1, by], u32))


def random_q4_1(random, rows, blocks):
    """Weights as llama.cpp has them, and as numbers."""
    weights = numpy.zeros((rows, blocks), [("d", "f2"), ("m", "f2"), ("q", "u1", 16)])
    weights["d"], weights["m"] = random.random((2, rows, blocks)) / 16
    weights["q"] = random.integers(0, 256, weights["q"].shape)
    codes = numpy.concatenate([weights["q"] & 15, weights["q"] >> 4], 2).astype(numpy.float64)
    return weights, codes * weights["d"][..., None] + weights["m"][..., None]


def mmvq(checkout, folder):
    source = (includes(checkout)[0] / "mmvq.cu").read_text()
    source = source[:source.index("template <ggml_type type, int c_rows_per_block")]  # what follows needs all types
    source += "\nvoid *keep() { return (void *)&mul_mat_vec_q<GGML_TYPE_Q4_1, 1, false>; }\n"
    ptx = compile_ptx(source, includes(checkout), folder)
    rows, columns = 256, 1024
    blocks = columns // 32
    random = numpy.random.default_rng(4)
    weights, numbers = random_q4_1(random, rows, blocks)
    vector = numpy.zeros(blocks, [("d", "f2"), ("s", "f2"), ("q", "i1", 32)])
    vector["d"], vector["q"] = random.random(blocks) / 16, random.integers(-127, 128, (blocks, 32))
    vector["s"] = vector["d"] * vector["q"].sum(1)
    strides = [u32(columns), ONE, u32(blocks), u32(blocks), u32(rows), ONE, *[u32(0)] * 3, ONE, *[u32(0)] * 4]
    result = launch(ptx, entry(ptx, "mul_mat_vec_q"), rows, (32, 4), weights.view("u1"), vector.view("u1"), u64(0),
                    Value(numpy.zeros(6, u64)), Out(rows, numpy.float32), *strides)
    exact = (numbers * (vector["q"] * vector["d"].astype(numpy.float64)[:, None])).sum((1, 2))
    return f"mmvq Q4_1 {rows} x {columns}", result, error_of(result, exact)


def mmq(checkout, folder):
    source = '#include "mmq.cuh"\nvoid *keep() { return (void *)&mul_mat_q<GGML_TYPE_Q4_1, 64, false>; }\n'
    ptx = compile_ptx(source, includes(checkout), folder)
    rows, columns, tokens, tile = 256, 1024, 64, 128
    random = numpy.random.default_rng(5)
    weights, numbers = random_q4_1(random, rows, columns // 32)
    vectors = numpy.zeros((columns // 128, tokens), [("ds", "f2", (4, 2)), ("q", "i1", (4, 32))])
    vectors["ds"][..., 0] = random.random(vectors["ds"].shape[:-1]) / 16
    vectors["q"] = random.integers(-127, 128, vectors["q"].shape)
    scaled = vectors["q"] * vectors["ds"][..., :1].astype(numpy.float64)
    vectors["ds"][..., 1] = scaled.sum(-1)
    zero = u64(0)
    strides = [division(columns // 32), u32(rows), u32(tokens), u32(columns // 32), u32(tokens), u32(rows),
               ONE, ONE, *[u32(0)] * 3, ONE, ONE, *[u32(0)] * 3, ONE]
    result = launch(ptx, entry(ptx, "mul_mat_q"), rows // tile, (32, 8), weights.view("u1"), vectors.view("u1"), zero, zero,
                    Out((tokens, rows), numpy.float32), zero, zero, *strides, shared=99 << 10)
    exact = scaled.transpose(1, 0, 2, 3).reshape(tokens, columns) @ numbers.reshape(rows, columns).T
    return f"mmq Q4_1 {rows} x {columns}, {tokens} vectors", result, error_of(result, exact)


def fattn(checkout, folder):
    source = ('#include "common.cuh"\n#include "fattn-mma-f16.cuh"\n'
              "void *keep() { return (void *)&flash_attn_ext_f16<64, 64, 64, 1, false, false, false>; }\n")
    ptx = compile_ptx(source, includes(checkout), folder)
    queries, keys, size = 64, 512, 64
    random = numpy.random.default_rng(6)
    q = random.standard_normal((queries, size)).astype(numpy.float32)
    k, v = random.standard_normal((2, keys, size)).astype(numpy.float16)
    hidden = numpy.arange(keys)[None, :] > numpy.arange(keys - queries, keys)[:, None]
    mask = numpy.where(hidden, -numpy.inf, 0).astype(numpy.float16)
    zero, scale = u64(0), numpy.float32(0.125)
    f32, sizes = numpy.float32, lambda *numbers: [u32(number) for number in numbers]
    arguments = [scale, f32(0), f32(1), f32(1), u32(1), f32(0),
                 u32(size), division(queries), *sizes(1, 1, size * 4, queries * size * 4, 0),
                 *sizes(size, keys, 1, 1, size * 2, keys * size * 2), u64(0), *sizes(size * 2, keys * size * 2), u64(0),
                 *sizes(queries, 1, 1, keys * 2, queries * keys * 2), u64(0)]
    result = launch(ptx, entry(ptx, "flash_attn_ext_f16"), 1, (32, 4), q, k, v, mask, zero, zero,
                    Out((queries, size), numpy.float32), zero, *arguments, shared=99 << 10)
    scores = numpy.where(hidden, -numpy.inf, q.astype(numpy.float64) @ k.astype(numpy.float64).T * scale)
    chances = numpy.exp(scores - scores.max(1, keepdims=True))
    exact = chances / chances.sum(1, keepdims=True) @ v.astype(numpy.float64)
    return f"fattn {queries} queries, {keys} keys", result, error_of(result, exact)


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
    with tempfile.TemporaryDirectory() as clones, tempfile.TemporaryDirectory() as sources:
        llama = options.llama or download_llama(sources)
        for kernel, checkout in ((mmvq, llama), (mmq, llama), (fattn, llama), (hgemm, options.hgemm)):
            with tempfile.TemporaryDirectory() as folder:
                show(*kernel(checkout or clone(*HGEMM, clones), pathlib.Path(folder)))
    print(subprocess.run([support.BIN / "codegen-cuda-test", "[budgets]"], capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()

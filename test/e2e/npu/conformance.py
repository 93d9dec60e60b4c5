"""The conformance suite of the NPU: single commands with every function, type and mode (here), the sequencer and rules
that are broken (conformance_rules.py), kernels (kernels.py) and random programs.

    PYTHONPATH=test python -m e2e.npu.conformance OUT.cases
"""

import itertools
import pathlib
import sys

import numpy

from e2e.npu.cases import FIRST_OPERAND, Buffer, Case, write_cases
from e2e.npu.machine import ACCUMULATORS, DTYPES, S8, S16, S32, Reg, encode

NAMES = {S8: "s8", S16: "s16", S32: "s32"}
RESULT = 65536  # on-chip address of results
IN = [FIRST_OPERAND + i for i in range(8)]
EDGES = [0, 1, -1, 2, 3, -3, 127, -128, 128, 255, -129, 32767, -32768, 65536, -65536, 8 * 65536, -8 * 65536, 2**30,
         2**31 - 1, -2**31, 98304, -98304, 49152, 1023, 1025]


def numbers(kind, count, seed):
    """Half of them edges of the type, half random of all sizes."""
    rng = numpy.random.default_rng(seed)
    bits = 8 << kind
    random = rng.integers(-2**31, 2**31, count) >> rng.integers(32 - bits, 32, count)
    edges = numpy.resize([x for x in EDGES if -2**(bits - 1) <= x < 2**(bits - 1)], count)
    return numpy.where(rng.random(count) < 0.5, random, edges).astype(DTYPES[kind])


def load(chip, operand, size):
    return encode("dma_load", chip=chip, dram=Reg(IN[operand]), n0=size, n1=1, n2=1)


def run_on(machine, name, inputs, result, commands):
    """Inputs on the chip at 0, 4096, 8192, ..., result (a template) at RESULT, the commands, the result stored."""
    result = numpy.ascontiguousarray(result)
    code = [load(4096 * i, i, array.nbytes) for i, array in enumerate(inputs)]
    code += [load(RESULT, len(inputs), result.nbytes), encode("barrier"), *commands, encode("barrier"),
             encode("dma_store", chip=RESULT, dram=Reg(IN[len(inputs)]), n0=result.nbytes, n1=1, n2=1)]
    return Case(name, machine, code, [Buffer(array, False) for array in inputs] + [Buffer(result)])


def blank(kind, count):
    return numpy.full(count, 77, DTYPES[kind])


def tiles(kind, columns, place):
    return {f"{place}_stride": columns << kind}


def binary_cases(machine):
    rows, columns = 4, 40
    functions = ["add", "sub", "mul", "min", "max", "div", "eq", "lt"]
    shifts = {"div": [0, 7, 31], "mul": [0, 15, 40]}
    for i, (function, kind, mode) in enumerate(itertools.product(functions, (S8, S16, S32), ("", "b_scalar", "b_per_row"))):
        a_kind, b_kind = [(S8, S32), (S16, S8), (S32, S16), (S32, S32)][i % 4]
        shift = shifts.get(function, [0, 1, 5])[i % 3]
        a, b = numbers(a_kind, rows * columns, i), numbers(b_kind, rows * columns, i + 1000)
        operand = {"b": [-7, 0, 2**31 - 1, 100][i % 4]} if mode == "b_scalar" else {
            "b": 4096, "b_stride": 1 << b_kind if mode == "b_per_row" else columns << b_kind}
        command = encode("vec_binary", function, *[mode] * bool(mode), types=(kind, a_kind, b_kind), dst=RESULT, a=0,
                         **tiles(kind, columns, "dst"), **tiles(a_kind, columns, "a"), rows=rows, cols=columns,
                         shift=shift, **operand)
        yield run_on(machine, f"vec_binary {function} {NAMES[kind]} {mode}", [a, b], blank(kind, rows * columns), [command])


def requant_cases(machine):
    rows, columns = 5, 24
    for i, (kind, a_kind, per_row) in enumerate(itertools.product((S8, S16, S32), (S16, S32), (False, True))):
        count = rows if per_row else columns
        records = numpy.stack([numbers(S32, count, i), numbers(S32, count, i + 1),
                               numpy.random.default_rng(i).integers(-3, 70, count).astype("<i4")], 1)
        command = encode("vec_requant", *["per_row"] * per_row, types=(kind, a_kind), dst=RESULT, a=0, records=4096,
                         zero=[0, -3, 100][i % 3], rows=rows, cols=columns, **tiles(kind, columns, "dst"),
                         **tiles(a_kind, columns, "a"))
        yield run_on(machine, f"vec_requant {NAMES[kind]} {'row' if per_row else 'column'}",
                     [numbers(a_kind, rows * columns, i), records], blank(kind, rows * columns), [command])


def reduce_cases(machine):
    rows, columns = 6, 50
    functions = ["sum", "max", "abs_max", "sum_squares"]
    for i, (function, kind, a_kind) in enumerate(itertools.product(functions, (S8, S16, S32), (S8, S16, S32))):
        command = encode("vec_reduce", function, types=(kind, a_kind), dst=RESULT, dst_stride=1 << kind, a=0,
                         **tiles(a_kind, columns, "a"), rows=rows, cols=columns, shift=[0, 3, 33][i % 3])
        yield run_on(machine, f"vec_reduce {function} {NAMES[kind]} of {NAMES[a_kind]}",
                     [numbers(a_kind, rows * columns, i)], blank(kind, rows), [command])


def lookup_cases(machine):
    for i, (kind, a_kind) in enumerate(itertools.product((S8, S16, S32), (S8, S16))):
        a = numbers(a_kind, 128, i)
        command = encode("vec_lookup", types=(kind, a_kind), dst=RESULT, a=0, table=4096, rows=2, cols=64,
                         **tiles(kind, 64, "dst"), **tiles(a_kind, 64, "a"))
        yield run_on(machine, f"vec_lookup {NAMES[kind]} of {NAMES[a_kind]}", [a, numbers(kind, 256, i + 5)],
                     blank(kind, 128), [command])


def function_cases(machine):
    ends = numpy.concatenate([end * 65536 + numpy.array([-4000, -2500, -1, 0, 1, 300]) for end in (-16, -8, 0, 8, 16)]).astype("<i4")
    sweep = numpy.concatenate([numbers(S32, 256, 3), ends, numpy.linspace(-20 * 65536, 20 * 65536, 256).astype("<i4"),
                               (numpy.int64(1) << numpy.arange(31)).astype("<i4"), numbers(S32, 1, 4)])
    for function, kind, shift in itertools.product(["exp", "gelu", "silu", "rsqrt"], (S8, S16, S32), (0, 14, 23, 53)):
        command = encode("vec_function", function, types=(kind,), dst=RESULT, a=0, rows=1, cols=len(sweep), shift=shift)
        yield run_on(machine, f"vec_function {function} {NAMES[kind]} {shift}", [sweep], blank(kind, len(sweep)), [command])


def float_cases(machine):
    special = numpy.array([0, -0.0, 0.5, 1.5, 2.5, -0.5, -1.5, 1e-40, 3.4e38, -3.4e38, numpy.inf, -numpy.inf, numpy.nan, 1e9, -1e9,
                           0.1, 127.5, 128.49, -128.5, 32767.5], "<f4")
    for kind, exponent in itertools.product((S8, S16, S32), (-64, -3, 0, 16, 64)):
        command = encode("vec_from_f32", types=(kind,), dst=RESULT, a=0, rows=1, cols=len(special), exponent=exponent)
        yield run_on(machine, f"vec_from_f32 {NAMES[kind]} {exponent}", [special], blank(kind, len(special)), [command])
        command = encode("vec_to_f32", types=(kind,), dst=RESULT, a=0, rows=1, cols=64, exponent=exponent)
        yield run_on(machine, f"vec_to_f32 {NAMES[kind]} {exponent}", [numbers(kind, 64, exponent + 64)], blank(S32, 64), [command])
    halves = numpy.concatenate([numpy.arange(0, 65536, 61), [0x7c00, 0xfc00, 0x7e00, 0x3ff, 0x400, 0x8001]]).astype("<u2")
    for kind, exponent in itertools.product((S8, S16, S32), (-64, -3, 0, 16, 24, 64)):
        command = encode("vec_from_f16", types=(kind,), dst=RESULT, a=0, rows=1, cols=len(halves), exponent=exponent)
        yield run_on(machine, f"vec_from_f16 {NAMES[kind]} {exponent}", [halves], blank(kind, len(halves)), [command])
        command = encode("vec_to_f16", types=(kind,), dst=RESULT, a=0, rows=1, cols=300, exponent=exponent)
        yield run_on(machine, f"vec_to_f16 {NAMES[kind]} {exponent}", [numbers(kind, 300, exponent + 64)], blank(S16, 300), [command])


def select_and_fill_cases(machine):
    rows, columns = 3, 20
    for i, (kind, a_kind, per_row) in enumerate(itertools.product((S8, S16, S32), (S16, S32), (False, True))):
        b = numpy.random.default_rng(i).integers(-1, 2, rows * columns).astype("<i2")
        command = encode("vec_select", *["b_per_row"] * per_row, types=(kind, a_kind, S16), dst=RESULT, a=0, b=4096,
                         b_stride=2 if per_row else 2 * columns, value=[-1000, 5][i % 2], rows=rows, cols=columns,
                         **tiles(kind, columns, "dst"), **tiles(a_kind, columns, "a"))
        yield run_on(machine, f"vec_select {NAMES[kind]}", [numbers(a_kind, rows * columns, i), b], blank(kind, rows * columns), [command])
    for kind, value in itertools.product((S8, S16, S32), (0, -200, 2**31 - 1)):
        command = encode("vec_fill", types=(kind,), dst=RESULT, dst_stride=columns << kind, rows=rows, cols=columns - 3, value=value)
        yield run_on(machine, f"vec_fill {NAMES[kind]} {value}", [], blank(kind, rows * columns), [command])


def shape_cases(machine):
    """Rows that are wider apart than long, the same row again, results over sources, tiles in accumulators."""
    a = numbers(S32, 64, 1)
    common = {"types": (S32, S32, S32), "b": 1, "rows": 4, "cols": 8, "shift": 0}
    for name, places in {"apart": {"dst": RESULT, "dst_stride": 64, "a": 0, "a_stride": 48},
                         "one row": {"dst": RESULT, "dst_stride": 32, "a": 16, "a_stride": 0},
                         "rows that overlap": {"dst": RESULT, "dst_stride": 12, "a": 0, "a_stride": 20}}.items():
        yield run_on(machine, f"tiles: {name}", [a], blank(S32, 64), [encode("vec_binary", "add", "b_scalar", **places, **common)])
    over = encode("vec_binary", "add", "b_scalar", dst=RESULT + 4, dst_stride=32, a=RESULT, a_stride=32, **common)
    yield run_on(machine, "tiles: over its source", [], a, [over])
    moved = [encode("vec_binary", "add", "b_scalar", dst=ACCUMULATORS + 256, dst_stride=32, a=0, a_stride=32, **common),
             encode("vec_binary", "add", "b_scalar", dst=RESULT, dst_stride=32, a=ACCUMULATORS + 256, a_stride=32, **common)]
    yield run_on(machine, "tiles: through accumulators", [a], blank(S32, 64), moved)


def matmul_cases(machine, array):
    shapes = [(1, 1, 1), (7, 5, array), (array, array, array), (3, 3 * array + 1, array - 1), (40, 64, 9), (2, 700, 2)]
    for i, (shape, accumulate, transposed) in enumerate(itertools.product(shapes, (False, True), (False, True))):
        m, k, n = shape
        w_stride = k if transposed else n
        start = numbers(S32, m * n, i)
        places = {"acc": ACCUMULATORS, "acc_stride": 4 * n, "a": 0, "a_stride": k, "w": 4096, "w_stride": w_stride}
        commands = [encode("vec_binary", "add", "b_scalar", types=(S32, S32, S32), dst=ACCUMULATORS, a=8192, b=0, rows=1, cols=m * n),
                    encode("barrier"),
                    encode("matmul", *["accumulate"] * accumulate, *["transposed"] * transposed, m=m, k=k, n=n, **places),
                    encode("barrier"),
                    encode("vec_binary", "add", "b_scalar", types=(S32, S32, S32), dst=RESULT, a=ACCUMULATORS, b=0, rows=1, cols=m * n)]
        yield run_on(machine, f"matmul {m}x{k}x{n}", [numbers(S8, m * k, i), numbers(S8, k * n, i + 1), start], blank(S32, m * n), commands)


def dma_cases(machine):
    source = numpy.arange(2048).astype("u1") ^ numpy.arange(2048).astype("<u2").view("u1")[1::2]
    for i, (s1, s2, d1, d2, n0, n1, n2) in enumerate([
            (10, 100, 16, 64, 10, 4, 3), (7, 0, 0, 9, 5, 3, 2), (0, 0, 1, 1, 1, 9, 2), (33, 200, 50, 7, 31, 5, 4),
            (64, 64, 3, 900, 64, 2, 2), (2, 1, 40, 20, 3, 8, 8)]):
        shape = {"dram_s1": s1, "dram_s2": s2, "chip_s1": d1, "chip_s2": d2, "n0": n0, "n1": n1, "n2": n2}
        loaded = encode("dma_load", chip=RESULT, dram=Reg(IN[0], 3), **shape)
        yield run_on(machine, f"dma_load {i}", [source], blank(S8, 2048), [loaded])
        target = Buffer(numpy.zeros(2048, "u1"))
        code = [load(0, 0, 2048), encode("dma_store", chip=5, dram=Reg(IN[1], 2), **shape)]
        yield Case(f"dma_store {i}", machine, code, [Buffer(source, False), target])
    index = numpy.array([3, 0, -5, 99, 2, 2, 7], "<i4")
    for i, (rows, s1, n0, n1) in enumerate([(8, 32, 32, 7), (3, 50, 20, 5), (1, 0, 9, 7), (2**31 - 1, 16, 16, 2)]):
        shape = {"chip_s1": 40, "dram_s1": s1, "n0": n0, "n1": n1, "rows": rows, "index": 4096}
        gathered = encode("dma_gather", chip=RESULT, dram=Reg(IN[0], 1), **shape)
        yield run_on(machine, f"dma_gather {i}", [source, index], blank(S8, 512), [gathered])
        code = [load(0, 0, 2048), load(4096, 1, index.nbytes), encode("dma_scatter", chip=3, dram=Reg(IN[2], 1), **shape)]
        yield Case(f"dma_scatter {i}", machine, code, [Buffer(source, False), Buffer(index, False), Buffer(numpy.zeros(2048, "u1"))])


def command_cases():
    """Single commands; the machines share most, so they take turns."""
    machines = itertools.cycle(["mobile", "edge"])
    for make in (binary_cases, requant_cases, reduce_cases, lookup_cases, function_cases, float_cases,
                 select_and_fill_cases, shape_cases, dma_cases):
        yield from make(next(machines))
    yield from matmul_cases("mobile", 32)
    yield from matmul_cases("edge", 16)


def all_cases():
    from e2e.npu.conformance_rules import rule_cases
    from e2e.npu.kernels import kernel_cases
    from e2e.npu.random_programs import case_of
    cases = [*command_cases(), *rule_cases(), *kernel_cases()]
    return [case.evaluate() for case in cases] + [case_of(seed) for seed in range(900001, 900041)]


if __name__ == "__main__":
    made = all_cases()
    write_cases(pathlib.Path(sys.argv[1]), made)
    print(f"{len(made)} cases, {sum(case.outputs is None for case in made)} of them end in an error")

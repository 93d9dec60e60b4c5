"""Kernels for the NPU, written by hand as docs/npu.md says that code should drive it: a tiled, double-buffered product,
softmax, layer norm, a gated pair of products, attention of a head."""

import pathlib
import sys

import numpy

from e2e.npu.cases import FIRST_OPERAND, Buffer, Case, write_cases
from e2e.npu.machine import ACCUMULATORS, MACHINES, S8, S16, S32, Reg, encode

OPERANDS = [FIRST_OPERAND + i for i in range(8)]
BANK = 32768


def add(rd, a, b):
    return encode("set", "add", rd=rd, a=a, b=b)


def when(register, commands):
    """The commands if the register is above 0."""
    return [encode("loop", count=Reg(register)), *commands, encode("end_loop")]


def compare(rd, a, b, spare):
    """rd = 1 if a > b, else 0; a and b below 2^31."""
    return [encode("set", "sub", rd=spare, a=a, b=b), encode("set", "min", rd=spare, a=Reg(spare), b=1),
            encode("set", "max", rd=rd, a=Reg(spare), b=0)]


class Product:
    """out s8 [m][n] = requantized (a s8 [m][k] * panels s8 [n / array][k][array]); r8 a, r9 panels, r10 records, r11 out.

    A tile of `tile` rows stays on the chip while panels stream past; rows of the next tile are loaded between panels."""

    def __init__(self, machine, m, k, n, tile, double_buffered=True, banked=True):
        self.array = MACHINES[machine].array
        self.m, self.k, self.n, self.tile = m, k, n, tile
        self.panels = -(-n // self.array)
        self.slice = -(-tile // self.panels)  # rows of the next tile with every panel
        self.buffers = 2 if double_buffered else 1
        a_bytes, panel_bytes = tile * k, k * self.array
        align = (lambda size: -(-size // BANK) * BANK) if banked else (lambda size: -(-size // 64) * 64)
        self.a = [0, align(a_bytes)]
        self.panel = [2 * align(a_bytes), 2 * align(a_bytes) + align(panel_bytes)]
        self.records = self.panel[1] + align(panel_bytes)
        self.out = [self.records + 12 * self.panels * self.array]
        self.out += [self.out[0] + tile * self.array]
        self.acc = [ACCUMULATORS, ACCUMULATORS + (align(4 * tile * self.array) if banked else 4 * tile * self.array)]
        assert self.out[1] + tile * self.array <= MACHINES[machine].scratchpad

    # registers
    TILE, ROWS, NEXT_ROWS, ROW, PANEL, COLUMNS = 20, 21, 22, 23, 24, 25
    A, A_NEXT, P, O, ACC = 30, 31, 32, 33, 34  # buffers that are in use
    D_A, D_P, D_O = 40, 41, 42                 # DRAM addresses that walk
    IF, SPARE, S_ROW, S_COUNT, O_STORE, C_STORE, R_ROW = 50, 51, 52, 53, 54, 55, 56
    PANEL_FULL, PANEL_FREE, ACC_FULL, ACC_FREE, OUT_FULL, OUT_FREE, A_FULL, A_FREE = range(8)

    def toggle(self, register, places):
        return encode("set", "sub", rd=register, a=sum(p % 2**31 for p in places) if self.buffers == 2 else 2 * (places[0] % 2**31),
                      b=Reg(register))

    def code(self):
        signal = lambda queue, s, units=1: encode("signal", queue, semaphore=s, units=units)
        code = [signal("array", self.PANEL_FREE, self.buffers), signal("vector", self.ACC_FREE, self.buffers),
                signal("dma", self.OUT_FREE, self.buffers),
                encode("dma_load", chip=self.records, dram=Reg(OPERANDS[2]), n0=12 * self.panels * self.array, n1=1, n2=1),
                add(self.TILE, 0, 0), add(self.A, self.a[0], 0), add(self.A_NEXT, self.a[1], 0), add(self.P, self.panel[0], 0),
                add(self.O, self.out[0], 0), add(self.O_STORE, self.out[0], 0), add(self.ACC, 0, 0), add(self.D_A, Reg(OPERANDS[0]), 0),
                encode("set", "min", rd=self.ROWS, a=self.tile, b=self.m),
                encode("dma_load", chip=Reg(self.A), chip_s1=self.k, dram=Reg(self.D_A), dram_s1=self.k, n0=self.k, n1=Reg(self.ROWS), n2=1)]
        tiles = -(-self.m // self.tile)
        return code + [encode("loop", count=tiles), *self.one_tile(), encode("end_loop")]

    def one_tile(self):
        """Panels 0 to panels + 1: loads and products up to panels - 1, stores two behind, so that loads run ahead."""
        lag = 2 if self.buffers == 2 else 0
        steps = self.panels + lag
        code = [add(self.D_P, Reg(OPERANDS[1]), 0), add(self.PANEL, 0, 0), add(self.S_ROW, 0, 0),
                encode("set", "mul", rd=self.D_O, a=Reg(self.TILE), b=self.n), add(self.D_O, Reg(self.D_O), Reg(OPERANDS[3])),
                # rows of the next tile: min(tile, m - TILE - tile), not below 0
                encode("set", "sub", rd=self.NEXT_ROWS, a=self.m - self.tile, b=Reg(self.TILE)),
                encode("set", "min", rd=self.NEXT_ROWS, a=Reg(self.NEXT_ROWS), b=self.tile),
                encode("set", "max", rd=self.NEXT_ROWS, a=Reg(self.NEXT_ROWS), b=0),
                encode("loop", count=steps),
                *compare(self.IF, self.panels, Reg(self.PANEL), self.SPARE), *when(self.IF, self.step()),
                *compare(self.IF, Reg(self.PANEL), lag - 1, self.SPARE), *when(self.IF, self.store()),
                add(self.PANEL, Reg(self.PANEL), 1), encode("end_loop")]
        a_free = [encode("signal", "array", semaphore=self.A_FREE, units=1), encode("wait", "dma", semaphore=self.A_FREE, units=1)]
        return code + a_free + [add(self.TILE, Reg(self.TILE), self.tile), add(self.ROWS, Reg(self.NEXT_ROWS), 0),
                                self.swap(self.A), self.swap(self.A_NEXT)]

    def swap(self, register):
        return encode("set", "sub", rd=register, a=self.a[0] + self.a[1], b=Reg(register))

    def step(self):
        signal = lambda queue, s: encode("signal", queue, semaphore=s, units=1)
        wait = lambda queue, s: encode("wait", queue, semaphore=s, units=1)
        return [
            wait("dma", self.PANEL_FREE),
            encode("dma_load", chip=Reg(self.P), dram=Reg(self.D_P), n0=self.k * self.array, n1=1, n2=1),
            signal("dma", self.PANEL_FULL),
            # a slice of the next tile's rows
            encode("set", "sub", rd=self.S_COUNT, a=Reg(self.NEXT_ROWS), b=Reg(self.S_ROW)),
            encode("set", "min", rd=self.S_COUNT, a=Reg(self.S_COUNT), b=self.slice),
            encode("set", "max", rd=self.S_COUNT, a=Reg(self.S_COUNT), b=0),
            encode("set", "mul", rd=self.R_ROW, a=Reg(self.S_ROW), b=self.k), add(self.R_ROW, Reg(self.R_ROW), Reg(self.A_NEXT)),
            encode("set", "add", rd=self.SPARE, a=Reg(self.S_ROW), b=Reg(self.TILE, self.tile)),
            encode("set", "mul", rd=self.SPARE, a=Reg(self.SPARE), b=self.k), add(self.SPARE, Reg(self.SPARE), Reg(OPERANDS[0])),
            encode("dma_load", chip=Reg(self.R_ROW), chip_s1=self.k, dram=Reg(self.SPARE), dram_s1=self.k, n0=self.k,
                   n1=Reg(self.S_COUNT), n2=1),
            add(self.S_ROW, Reg(self.S_ROW), self.slice),
            wait("array", self.PANEL_FULL), wait("array", self.ACC_FREE),
            encode("set", "mul", rd=self.COLUMNS, a=Reg(self.PANEL), b=-self.array), add(self.COLUMNS, Reg(self.COLUMNS), self.n),
            encode("set", "min", rd=self.COLUMNS, a=Reg(self.COLUMNS), b=self.array),
            encode("matmul", acc=Reg(self.ACC, ACCUMULATORS), acc_stride=4 * self.array, a=Reg(self.A), a_stride=self.k, w=Reg(self.P),
                   w_stride=self.array, m=Reg(self.ROWS), k=self.k, n=Reg(self.COLUMNS)),
            signal("array", self.PANEL_FREE), signal("array", self.ACC_FULL),
            wait("vector", self.ACC_FULL), wait("vector", self.OUT_FREE),
            encode("set", "mul", rd=self.SPARE, a=Reg(self.PANEL), b=12 * self.array),
            encode("vec_requant", types=(S8, S32), dst=Reg(self.O), dst_stride=self.array, a=Reg(self.ACC, ACCUMULATORS),
                   a_stride=4 * self.array, records=Reg(self.SPARE, self.records), zero=0, rows=Reg(self.ROWS), cols=Reg(self.COLUMNS)),
            signal("vector", self.ACC_FREE), signal("vector", self.OUT_FULL),
            self.toggle(self.P, self.panel), self.toggle(self.O, self.out), self.toggle(self.ACC, [a - ACCUMULATORS for a in self.acc]),
            add(self.D_P, Reg(self.D_P), self.k * self.array),
        ]

    def store(self):
        lag = 2 if self.buffers == 2 else 0
        return [
            encode("wait", "dma", semaphore=self.OUT_FULL, units=1),
            encode("set", "sub", rd=self.SPARE, a=Reg(self.PANEL), b=lag), encode("set", "mul", rd=self.C_STORE, a=Reg(self.SPARE), b=-self.array),
            add(self.C_STORE, Reg(self.C_STORE), self.n), encode("set", "min", rd=self.C_STORE, a=Reg(self.C_STORE), b=self.array),
            encode("dma_store", chip=Reg(self.O_STORE), chip_s1=self.array, dram=Reg(self.D_O), dram_s1=self.n, n0=Reg(self.C_STORE),
                   n1=Reg(self.ROWS), n2=1),
            encode("signal", "dma", semaphore=self.OUT_FREE, units=1), self.toggle(self.O_STORE, self.out),
            add(self.D_O, Reg(self.D_O), self.array),
        ]


def panels_of(w, array):
    """[k][n] -> [n / array][k][array], padded with zeros."""
    k, n = w.shape
    padded = numpy.zeros((k, -(-n // array) * array), "i1")
    padded[:, :n] = w
    return numpy.ascontiguousarray(padded.reshape(k, -1, array).transpose(1, 0, 2))


def product_case(machine, m, k, n, tile, seed=1, **options):
    rng = numpy.random.default_rng(seed)
    product = Product(machine, m, k, n, tile, **options)
    a, w = rng.integers(-128, 128, (m, k)).astype("i1"), rng.integers(-128, 128, (k, n)).astype("i1")
    records = numpy.zeros((product.panels * product.array, 3), "<i4")
    records[:n] = numpy.stack([rng.integers(-9999, 9999, n), rng.integers(2**29, 2**30, n), numpy.full(n, 43)], 1)
    buffers = [Buffer(a, False), Buffer(panels_of(w, product.array), False), Buffer(records, False), Buffer(numpy.zeros((m, n), "i1"))]
    return Case(f"product {m}x{k}x{n} in {tile}", machine, product.code(), buffers)


# ----------------------------------------------------------------------------------------------------------------------
class Rows:
    """Vector code on a tile of s32 [rows][columns] at 0, with room for s32 a row at `scalars`."""

    def __init__(self, rows, columns):
        self.rows, self.columns = rows, columns
        self.scalars = -(-4 * rows * columns // BANK) * BANK
        self.code = []

    def tile(self, name, *words, dst=0, a=0, kind=S32, a_kind=S32, b_kind=S32, columns=None, dst_columns=None, **values):
        columns = columns or self.columns
        size = {"dst_stride": (dst_columns or columns) << kind, "a_stride": self.columns << a_kind}
        types = {"vec_binary": (kind, a_kind, b_kind), "vec_reduce": (kind, a_kind), "vec_function": (kind,), "vec_requant": (kind, a_kind),
                 "vec_from_f32": (kind,), "vec_to_f32": (a_kind,)}[name]
        self.code.append(encode(name, *words, types=types, dst=dst, a=a, rows=self.rows, cols=columns, **{**size, **values}))

    def reduce(self, function, number, **values):
        self.tile("vec_reduce", function, dst=self.scalar(number), dst_columns=1, **values)

    def scalar(self, number):
        return self.scalars + number * -(-4 * self.rows // 64) * 64

    def by_row(self, function, number, shift=0, **values):
        self.tile("vec_binary", function, "b_per_row", b=self.scalar(number), b_stride=4, shift=shift, **values)

    def on_scalars(self, function, number, b, shift=0, to=None, other=None):
        """s32 a row: scalar `to` = scalar `number` op the number b, or scalar `other`."""
        words, operand = ([function], {"b": self.scalar(other), "b_stride": 4}) if other is not None else ([function, "b_scalar"], {"b": b})
        self.code.append(encode("vec_binary", *words, types=(S32, S32, S32), dst=self.scalar(number if to is None else to), dst_stride=4,
                                a=self.scalar(number), a_stride=4, rows=self.rows, cols=1, shift=shift, **operand))

    def case(self, name, machine, x, result, chip, size):
        load = [encode("dma_load", chip=0, dram=Reg(OPERANDS[0]), n0=x.nbytes, n1=1, n2=1), encode("barrier")]
        store = [encode("barrier"), encode("dma_store", chip=chip, dram=Reg(OPERANDS[1]), n0=size, n1=1, n2=1)]
        return Case(name, machine, load + self.code + store, [Buffer(x, False), Buffer(result)])


def softmax_case(machine, rows, columns):
    """f32 scores to s8 weights of 127."""
    x = (numpy.random.default_rng(rows).standard_normal((rows, columns)) * 4).astype("<f4")
    k = Rows(rows, columns)
    k.tile("vec_from_f32", exponent=16)
    k.reduce("max", 0)
    k.by_row("sub", 0)
    k.tile("vec_function", "exp", shift=12)  # 18 fraction bits
    k.reduce("sum", 1)
    k.code.append(encode("vec_fill", types=(S32,), dst=k.scalar(2), dst_stride=4, rows=rows, cols=1, value=127 << 20))
    k.on_scalars("div", 2, 0, shift=8, other=1)
    k.by_row("mul", 2, shift=28, dst=k.scalar(3), kind=S8)
    return k.case(f"softmax {rows}x{columns}", machine, x, numpy.zeros((rows, columns), "i1"), k.scalar(3), rows * columns)


def layer_norm_case(machine, rows, columns):
    """f32 to f32, without weights: mean and variance in fixed point, the root by table."""
    x = (numpy.random.default_rng(rows).standard_normal((rows, columns)) * 3 + 1).astype("<f4")
    k = Rows(rows, columns)
    k.tile("vec_from_f32", exponent=16)
    k.reduce("sum", 0)
    k.on_scalars("mul", 0, round(2**24 / columns), shift=24)
    k.by_row("sub", 0)
    k.reduce("sum_squares", 1, shift=16)                      # 16 fraction bits
    k.on_scalars("mul", 1, round(2**24 / columns), shift=24)
    k.code.append(encode("vec_function", "rsqrt", types=(S32,), dst=k.scalar(1), dst_stride=4, a=k.scalar(1), a_stride=4, rows=rows, cols=1, shift=0))
    k.by_row("mul", 1, shift=22)                              # root: 2^30 / sqrt(v 2^16) = 2^22 / sqrt(v)
    k.tile("vec_to_f32", exponent=16)
    return k.case(f"layer norm {rows}x{columns}", machine, x, numpy.zeros((rows, columns), "<f4"), 0, x.nbytes)


def quantize_case(machine, rows, columns):
    """f32 rows to s8 codes and the largest number of each row: what a product's input is."""
    x = (numpy.random.default_rng(rows + 7).standard_normal((rows, columns)) * 2).astype("<f4")
    k = Rows(rows, columns)
    k.tile("vec_from_f32", exponent=16)
    k.reduce("abs_max", 0)
    k.code.append(encode("vec_fill", types=(S32,), dst=k.scalar(1), dst_stride=4, rows=rows, cols=1, value=127 << 20))
    k.on_scalars("div", 1, 0, shift=20, other=0)
    k.by_row("mul", 1, shift=40, dst=k.scalar(2), kind=S8)
    return k.case(f"quantize {rows}x{columns}", machine, x, numpy.zeros((rows, columns), "i1"), k.scalar(2), rows * columns)


def activation_case(machine, function, rows, columns):
    x = (numpy.random.default_rng(rows + 9).standard_normal((rows, columns)) * 4).astype("<f4")
    k = Rows(rows, columns)
    k.tile("vec_from_f32", exponent=16)
    k.tile("vec_function", function)
    k.tile("vec_to_f32", exponent=16)
    return k.case(f"{function} {rows}x{columns}", machine, x, numpy.zeros((rows, columns), "<f4"), 0, x.nbytes)


def kernel_cases():
    for machine, m, k, n, tile in [("mobile", 128, 96, 96, 64), ("mobile", 1, 384, 384, 1), ("mobile", 70, 64, 100, 32),
                                   ("edge", 33, 50, 40, 16), ("edge", 16, 384, 64, 16), ("mobile", 5, 1536, 33, 8)]:
        yield product_case(machine, m, k, n, tile)
    yield product_case("mobile", 70, 64, 100, 32, seed=2, double_buffered=False)
    yield product_case("mobile", 70, 64, 100, 32, seed=3, banked=False)
    for machine, rows, columns in [("mobile", 16, 128), ("edge", 5, 33), ("mobile", 1, 384)]:
        yield softmax_case(machine, rows, columns)
        yield layer_norm_case(machine, rows, columns)
        yield quantize_case(machine, rows, columns)
        for function in ("gelu", "silu"):
            yield activation_case(machine, function, rows, columns)


def measured_cases():
    """What double buffers and banks of their own are worth, and one row, as in decoding."""
    for name, options in {"all": {}, "single buffers": {"double_buffered": False}, "buffers share banks": {"banked": False}}.items():
        case = product_case("mobile", 1024, 1024, 1024, 128, **options)
        case.name += f", {name}"
        yield case
    yield product_case("mobile", 1, 576, 1536, 1)
    yield product_case("edge", 256, 512, 512, 64)


if __name__ == "__main__":
    # PYTHONPATH=test python -m e2e.npu.kernels OUT.cases; heddle-npu-conformance OUT.cases --counts
    write_cases(pathlib.Path(sys.argv[1]), [case.evaluate() for case in measured_cases()])

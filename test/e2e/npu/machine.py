"""The NPU of docs/npu-isa.md, evaluated with numpy. Written from that page alone: nothing here is generated from, or
shared with, the compiler's or the simulator's table."""

import math
from decimal import Decimal, getcontext

import numpy

S8, S16, S32 = 0, 1, 2
DTYPES = {S8: numpy.dtype("<i1"), S16: numpy.dtype("<i2"), S32: numpy.dtype("<i4")}
BANK = 32768
ACCUMULATORS = 0x80000000


class Machine:
    def __init__(self, number, array, scratchpad_banks, accumulator_banks):
        self.id, self.array = number, array
        self.scratchpad, self.accumulators = scratchpad_banks * BANK, accumulator_banks * BANK


MACHINES = {"edge": Machine(1, 16, 20, 2), "mobile": Machine(2, 32, 12, 4)}
QUEUE_DEPTH = 16
QUEUES = ["dma", "array", "vector"]


class NpuError(Exception):
    """What the page calls an error."""


class Hazard(NpuError):
    """An error that hardware need not find: its result depends on timing or on what memory held before."""


# name: opcode, queue, functions, typed operands, modes, fields (name, kind)
def fields(text):
    return [tuple(word.split(":")) for word in text.split()]


TILE = "dst:chip dst_stride:chip_stride a:chip a_stride:chip_stride "
EXTENT = "rows:count cols:count"
COMMANDS = {
    "set": (0x01, "control", "add sub mul min max div and shl shr", "", "", "rd:destination a:value b:value"),
    "load": (0x02, "control", "", "", "", "rd:destination address:dram"),
    "loop": (0x03, "control", "", "", "", "count:trips"),
    "end_loop": (0x04, "control", "", "", "", ""),
    "barrier": (0x05, "control", "", "", "", ""),
    "signal": (0x06, "any", "dma array vector", "", "", "semaphore:semaphore units:units"),
    "wait": (0x07, "any", "dma array vector", "", "", "semaphore:semaphore units:units"),
    "dma_load": (0x10, "dma", "", "", "", "chip:chip chip_s1:chip_stride chip_s2:chip_stride dram:dram "
                 "dram_s1:dram_stride dram_s2:dram_stride n0:bytes n1:count n2:count"),
    "dma_store": (0x11, "dma", "", "", "", "chip:chip chip_s1:chip_stride chip_s2:chip_stride dram:dram "
                  "dram_s1:dram_stride dram_s2:dram_stride n0:bytes n1:count n2:count"),
    "dma_gather": (0x12, "dma", "", "", "", "chip:chip chip_s1:chip_stride dram:dram dram_s1:dram_stride n0:bytes "
                   "n1:count index:chip rows:row_limit"),
    "dma_scatter": (0x13, "dma", "", "", "", "chip:chip chip_s1:chip_stride dram:dram dram_s1:dram_stride n0:bytes "
                    "n1:count index:chip rows:row_limit"),
    "matmul": (0x20, "array", "", "", "accumulate transposed",
               "acc:chip acc_stride:chip_stride a:chip a_stride:chip_stride w:chip w_stride:chip_stride m:count "
               "k:count n:columns"),
    "vec_fill": (0x30, "vector", "", "dst", "", "dst:chip dst_stride:chip_stride " + EXTENT + " value:scalar"),
    "vec_binary": (0x31, "vector", "add sub mul min max div eq lt", "dst a b", "b_scalar b_per_row",
                   TILE + "b:scalar_or_chip b_stride:chip_stride " + EXTENT + " shift:shift"),
    "vec_requant": (0x32, "vector", "", "dst a", "per_row", TILE + "records:chip zero:scalar " + EXTENT),
    "vec_reduce": (0x33, "vector", "sum max abs_max sum_squares", "dst a", "", TILE + EXTENT + " shift:shift"),
    "vec_lookup": (0x34, "vector", "", "dst a", "", TILE + "table:chip " + EXTENT),
    "vec_function": (0x35, "vector", "exp gelu silu rsqrt", "dst", "", TILE + EXTENT + " shift:shift"),
    "vec_from_f32": (0x36, "vector", "", "dst", "", TILE + EXTENT + " exponent:exponent"),
    "vec_to_f32": (0x37, "vector", "", "a", "", TILE + EXTENT + " exponent:exponent"),
    "vec_from_f16": (0x39, "vector", "", "dst", "", TILE + EXTENT + " exponent:exponent"),
    "vec_to_f16": (0x3a, "vector", "", "a", "", TILE + EXTENT + " exponent:exponent"),
    "vec_select": (0x38, "vector", "", "dst a b", "b_per_row",
                   TILE + "b:chip b_stride:chip_stride " + EXTENT + " value:scalar"),
}
COMMANDS = {name: (opcode, queue, functions.split(), types.split(), modes.split(), fields(text))
            for name, (opcode, queue, functions, types, modes, text) in COMMANDS.items()}
BY_OPCODE = {command[0]: name for name, command in COMMANDS.items()}
RANGES = {"chip_stride": (0, 1 << 24), "bytes": (0, 1 << 24), "dram_stride": (0, 1 << 40), "count": (0, 65535),
          "row_limit": (1, 2**31 - 1), "shift": (0, 62), "exponent": (-64, 64), "scalar": (-2**31, 2**31 - 1),
          "trips": (-2**63, 1 << 32), "units": (1, 65535), "destination": (1, 63), "semaphore": (0, 15)}


class Reg:
    """A field's value r[number] + plus."""

    def __init__(self, number, plus=0):
        self.number, self.plus = number, plus


def encode(name, *words, **values):
    """64 bytes: encode("matmul", "accumulate", acc=..., m=Reg(8), ...); types as dst=..., given by types=(S8, ...)."""
    opcode, _, functions, typed, modes, declared = COMMANDS[name]
    types = values.pop("types", ())
    assert len(types) == len(typed), (name, types)
    out = numpy.zeros(64, "u1")
    out[0] = opcode
    out[2] = sum(t << 2 * i for i, t in enumerate(types))
    for word in words:
        if word in functions:
            out[1] = functions.index(word)
        else:
            out[3] |= 1 << modes.index(word)
    names = [field for field, _ in declared]
    for field, value in values.items():
        i = names.index(field)
        if isinstance(value, Reg):
            out[4 + i] = value.number
            value = value.plus
        value &= 0xFFFFFFFF
        out[16 + 4 * i:20 + 4 * i] = numpy.frombuffer(value.to_bytes(4, "little"), "u1")
    return out.tobytes()


# ----------------------------------------------------------------------------------------------------------------------
# Arithmetic on int64 arrays

def rshift(x, s):
    """x / 2^s rounded to nearest, halves to even; s may be an array."""
    x, s = numpy.asarray(x, "i8"), numpy.asarray(s, "i8")
    floor = x >> s
    rest = x - (floor << s)
    half = numpy.where(s > 0, numpy.int64(1) << numpy.maximum(s - 1, 0), 0)
    up = (s > 0) & ((rest > half) | ((rest == half) & (floor & 1 == 1)))
    return floor + up


def clamp(x, bits):
    return numpy.clip(x, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def divide(a, b, shift):
    """Exact, by Python's integers."""
    def one(x, y):
        if y == 0:
            return 2**31 - 1 if x > 0 else -2**31 if x < 0 else 0
        numerator = x << shift
        if y < 0:
            numerator, y = -numerator, -y
        quotient, rest = divmod(numerator, y)
        return quotient + (2 * rest > y or (2 * rest == y and quotient % 2 == 1))
    a, b = numpy.broadcast_arrays(a, b)
    return numpy.array([one(int(x), int(y)) for x, y in zip(a.ravel(), b.ravel())], "i8").reshape(a.shape)


def phi(t):
    """The normal distribution's integral, as a Decimal: for t >= 0, 1/2 - density * (t + t^3/3 + t^5/15 + ...)."""
    getcontext().prec = 60
    x = Decimal(abs(t))
    pi = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")
    total, term, n = Decimal(0), x, 1
    while abs(term) > Decimal(10) ** -55:
        total += term
        n += 2
        term = term * x * x / n
    upper = Decimal("0.5") + total * (-x * x / 2).exp() / (2 * pi).sqrt()
    return upper if t >= 0 else 1 - upper


def nearest(x):
    return int((x + Decimal("0.5")).to_integral_value(rounding="ROUND_FLOOR"))


def make_tables():
    getcontext().prec = 60
    two = Decimal(2)
    exp = [nearest(two ** 30 * (two.ln() * Decimal(-i) / 256).exp()) for i in range(256)] + [2**29]
    gelu = [nearest(two ** 16 * Decimal(i) / 32 * phi(-i / 32)) for i in range(256)] + [0]
    silu = [nearest(two ** 16 * (Decimal(i) / 16) / (1 + (Decimal(i) / 16).exp())) for i in range(256)] + [0]
    root = [0] * 64 + [nearest(two ** 30 / (Decimal(i) / 64).sqrt()) for i in range(64, 256)] + [2**29]
    return [numpy.array(table, "i8") for table in (exp, gelu, silu, root)]


EXP, GELU, SILU, ROOT = make_tables()


def clip_shift(x, total):
    return numpy.where(total > 62, 0, rshift(x, numpy.minimum(total, 62)))


def function_exp(a, shift):
    x = numpy.where(a <= 0, numpy.minimum(-a, 2**31 - 1), 0)
    u = x * 94548
    n, i, w = u >> 32, u >> 24 & 255, u >> 16 & 255
    return clip_shift(EXP[i] - rshift((EXP[i] - EXP[i + 1]) * w, 8), n + shift)


def corrected(table, a, bits, shift):
    t = numpy.minimum(numpy.abs(a), 2**31 - 1)
    i, w = t >> bits, t & ((1 << bits) - 1)
    j = numpy.minimum(i, 255)
    g = numpy.where(i > 255, 0, table[j] + rshift((table[j + 1] - table[j]) * w, bits))
    return rshift(numpy.maximum(a, 0) - g, shift)


def function_rsqrt(a, shift):
    x = numpy.maximum(a, 1)
    e = numpy.array([(int(v).bit_length() - 1) & ~1 for v in x.ravel()], "i8").reshape(x.shape)
    m = x << (30 - e)
    i, w = m >> 24, m >> 8 & 65535
    t = ROOT[i] - rshift((ROOT[i] - ROOT[i + 1]) * w, 16)
    return numpy.where(a <= 0, rshift(numpy.full(a.shape, 2**31 - 1), shift), clip_shift(t, shift + e // 2))


FUNCTIONS = {"exp": function_exp, "gelu": lambda a, s: corrected(GELU, a, 11, s),
             "silu": lambda a, s: corrected(SILU, a, 12, s), "rsqrt": function_rsqrt}


def from_float(bits, exponent, size):
    with numpy.errstate(invalid="ignore"):  # signalling NaN
        x = bits.astype(f"<i{size}").view(f"<f{size}").astype("f8") * 2.0 ** exponent  # exact
    x = numpy.where(numpy.isnan(x), 0, x)
    return numpy.clip(numpy.rint(x), -2.0**40, 2.0**40).astype("i8")


def to_float(x, exponent, size):
    with numpy.errstate(over="ignore"):
        return (x.astype("f8") * 2.0 ** -exponent).astype(f"<f{size}").view(f"<i{size}").astype("i8")


# ----------------------------------------------------------------------------------------------------------------------
# Validation before execution

def check_command(raw, machine):
    name = BY_OPCODE.get(raw[0])
    if name is None:
        raise NpuError("opcode")
    _, _, functions, typed, modes, declared = COMMANDS[name]
    if raw[1] >= max(len(functions), 1):
        raise NpuError("function")
    types = [raw[2] >> 2 * i & 3 for i in range(4)]
    if 3 in types[:len(typed)] or any(types[len(typed):]):
        raise NpuError("types")
    if raw[3] >> len(modes):
        raise NpuError("modes")
    if name == "vec_binary" and raw[3] == 3:
        raise NpuError("both modes")
    if name == "vec_lookup" and types[1] == S32:
        raise NpuError("lookup of s32")
    for i in range(12):
        register, immediate = raw[4 + i], int.from_bytes(raw[16 + 4 * i:20 + 4 * i], "little", signed=True)
        if i >= len(declared):
            if register or immediate:
                raise NpuError("unused field")
            continue
        kind = declared[i][1]
        if register > 63 or (register and kind in ("destination", "semaphore")):
            raise NpuError("register")
        if not register:
            check_range(kind, immediate, raw[3], machine)


def check_range(kind, value, modes, machine):
    if kind == "scalar_or_chip" and modes & 1:
        kind = "scalar"
    low, high = (0, machine.array) if kind == "columns" else RANGES.get(kind, (-2**63, 2**63 - 1))
    if not low <= value <= high:
        raise NpuError(f"{kind} {value}")


def validate(code, machine):
    depth = 0
    for raw in code:
        check_command(raw, machine)
        depth += BY_OPCODE[raw[0]] == "loop"
        depth -= BY_OPCODE[raw[0]] == "end_loop"
        if depth < 0 or depth > 8:
            raise NpuError("loops")
    if depth:
        raise NpuError("loop without end")

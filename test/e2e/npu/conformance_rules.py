"""Conformance cases for the sequencer, queues and semaphores, and for every rule that a program can break."""

import numpy

from e2e.npu.cases import DIM, FIRST_OPERAND, Buffer, Case
from e2e.npu.machine import ACCUMULATORS, S8, S16, S32, Reg, encode

OUT = FIRST_OPERAND


def fill(address, value, count=1):
    return encode("vec_fill", types=(S32,), dst=address, rows=1, cols=count, value=value)


def store(register_or_chip, offset=0, size=4):
    return encode("dma_store", chip=register_or_chip, dram=Reg(OUT, offset), n0=size, n1=1, n2=1)


def case(name, code, data=b"", machine="mobile"):
    return Case(name, machine, code, [Buffer(numpy.zeros(64, "<i4"))], data)


def shown(name, code, register=20, data=b""):
    """A register's value becomes visible as an address that is filled and stored, and as a value."""
    return case(name, [*code, encode("vec_fill", types=(S32,), dst=0, rows=1, cols=1, value=Reg(register)), encode("barrier"), store(0)], data)


def set_(function, a, b, rd=20):
    return encode("set", function, rd=rd, a=a, b=b)


def register_cases():
    for function, a, b in [("add", 2**31 - 1, -5), ("sub", -7, 9), ("mul", -123, 456), ("min", 3, -3), ("max", 3, -3), ("div", -7, 2),
                           ("div", 7, -2), ("div", -8, -3), ("and", -2, 255), ("shl", 3, 20), ("shl", 5, 0), ("shr", -5, 0), ("shr", -9, 1), ("shr", 1000, 63)]:
        yield shown(f"set {function} {a} {b}", [set_(function, a, b)])
    yield shown("set wraps", [set_("shl", 1, 63), set_("add", Reg(20), Reg(20)), set_("add", Reg(20), 11)])
    yield shown("set keeps 64 bits", [set_("shl", 1, 40), set_("shr", Reg(20), 38)])
    yield shown("set: smallest divided by -1", [set_("shl", 1, 63), set_("div", Reg(20), -1), set_("shr", Reg(20), 62)])
    yield shown("r0 is 0", [set_("add", Reg(0, 7), Reg(0))])
    yield shown("other registers are 0 at the start", [], register=55)
    for i in range(3):
        yield shown(f"dimension {i}", [], register=DIM + i)
    yield shown("load from data", [encode("load", rd=20, address=Reg(1, 8))], data=numpy.array([1, 2, -3, 4], "<i4").tobytes())
    yield shown("load from an operand", [encode("load", rd=20, address=Reg(OUT, 12)), set_("add", Reg(20), 9)])


def loop_cases():
    add = encode("set", "add", rd=20, a=Reg(20), b=1)
    begin, end = (lambda count: encode("loop", count=count)), encode("end_loop")
    for count in (0, 1, 5, -3, -2**31):
        yield shown(f"loop {count}", [begin(count), add, end])
    yield shown("loops in loops", [begin(3), begin(4), add, end, add, end])
    yield shown("8 loops deep", [*[begin(2)] * 8, add, *[end] * 8])
    yield shown("count is taken once", [set_("add", 3, 0, rd=21), begin(Reg(21)), set_("add", 9, 0, rd=21), add, end])
    yield shown("skips loops inside", [begin(0), begin(5), add, end, end, add])
    yield shown("empty loop", [begin(1000), end, add])
    walk = [encode("set", "add", rd=21, a=0, b=0), begin(4), encode("vec_fill", types=(S32,), dst=Reg(21), rows=1, cols=1, value=Reg(21, 100)),
            encode("set", "add", rd=21, a=Reg(21), b=4), end, encode("barrier"), store(0, size=16)]
    yield case("addresses that walk", walk)


def semaphore_cases():
    signal = lambda queue, number, units=1: encode("signal", queue, semaphore=number, units=units)
    wait = lambda queue, number, units=1: encode("wait", queue, semaphore=number, units=units)
    yield case("vector then dma", [fill(0, 5), signal("vector", 3), wait("dma", 3), store(0)])
    yield case("units in parts", [fill(0, 5), signal("vector", 3, 5), wait("dma", 3, 2), wait("dma", 3, 3), store(0)])
    yield case("units collected", [fill(0, 5), signal("vector", 3), signal("vector", 3, 2), wait("dma", 3, 3), store(0)])
    yield case("by way of a third queue", [fill(0, 5), signal("vector", 0), wait("array", 0), signal("array", 1), wait("dma", 1), store(0)])
    yield case("wait before its signal", [wait("dma", 3), store(0), fill(0, 5), signal("vector", 3)])
    yield case("units that are left", [fill(0, 5), signal("vector", 3, 9), wait("dma", 3), store(0)])
    yield case("a queue signals itself", [fill(0, 5), signal("dma", 4), wait("dma", 4), encode("barrier"), store(0)])
    # 16 commands fit into a queue: the one that waits and 15 behind it, so the signal behind them is still dispatched.
    ahead = lambda count: [wait("dma", 3), *[encode("dma_load", chip=4096, dram=Reg(OUT), n0=4, n1=1, n2=1)] * count]
    yield case("queue just not full", [*ahead(15), fill(0, 5), signal("vector", 3)])
    yield case("deadlock: queue full", [*ahead(16), fill(0, 5), signal("vector", 3)])
    yield case("deadlock: of the array alone", [wait("array", 3)])
    yield case("deadlock: of the vector unit alone", [fill(0, 5), wait("vector", 3)])
    yield case("deadlock: no signal", [wait("dma", 3), store(0)])
    yield case("deadlock: too few units", [signal("vector", 3, 2), wait("dma", 3, 3)])
    yield case("deadlock: in a circle", [wait("dma", 1), signal("dma", 0), wait("vector", 0), signal("vector", 1)])
    yield case("deadlock: at a barrier", [wait("dma", 3), encode("barrier"), signal("vector", 3)])
    yield case("semaphore of another queue signals", [signal("dma", 2), signal("vector", 2)])
    yield case("semaphore of another queue waits", [signal("dma", 2, 2), wait("vector", 2), wait("array", 2)])


def race_cases():
    yield case("race: read before the write is done", [fill(0, 5), store(0)])
    yield case("race: write over what is read", [fill(0, 5), encode("barrier"), store(0), fill(0, 6)])
    yield case("race: two writes", [fill(0, 5), encode("dma_load", chip=0, dram=Reg(OUT), n0=4, n1=1, n2=1)])
    yield case("race: signal too early", [encode("signal", "vector", semaphore=0, units=1), fill(0, 5), encode("wait", "dma", semaphore=0, units=1), store(0)])
    yield case("race: wait too late", [fill(0, 5), encode("signal", "vector", semaphore=0, units=1), store(0), encode("wait", "dma", semaphore=0, units=1)])
    yield case("no race: neighbours", [fill(4, 5), encode("barrier"), fill(0, 1), store(4)])
    yield case("no race: both read", [fill(0, 5), encode("barrier"), store(0), encode("vec_binary", "add", "b_scalar", types=(S32, S32, S32),
                                                                              dst=64, a=0, b=1, rows=1, cols=1)])
    yield case("load of what was stored", [fill(0, 5), encode("barrier"), store(0), encode("barrier"), encode("load", rd=20, address=Reg(OUT))])
    nothing = encode("dma_store", chip=0, dram=Reg(OUT), n0=4, n1=0, n2=1)
    yield case("load where nothing was stored", [fill(0, 5), encode("barrier"), nothing, encode("load", rd=20, address=Reg(OUT))])
    yield case("load beside what was stored", [fill(0, 5), encode("barrier"), store(0), encode("load", rd=20, address=Reg(OUT, 4))])


def value_cases():
    ok = encode("barrier")
    vector = lambda name="vec_binary", function="add", **fields: encode(name, function, "b_scalar", types=(S32, S32, S32), **{
        "dst": 64, "a": 0, "rows": 1, "cols": 1, **fields})
    written = [fill(0, 1, 16), encode("vec_fill", types=(S32,), dst=ACCUMULATORS, rows=1, cols=16, value=1), ok]
    product = lambda **fields: encode("matmul", **{"acc": ACCUMULATORS + 256, "a": 0, "w": 16, "m": 1, "k": 1, "n": 1, **fields})
    load = lambda **fields: encode("dma_load", **{"chip": 0, "dram": Reg(OUT), "n0": 4, "n1": 1, "n2": 1, **fields})
    size = 12 * 32768
    bad = {
        "unwritten": [vector(a=4096)], "unwritten accumulator": [vector(a=ACCUMULATORS + 64)],
        "past the scratchpad": [*written, vector(dst=size)], "across its end": [*written, load(chip=size - 2)],
        "past the accumulators": [*written, vector(dst=ACCUMULATORS + 4 * 32768)], "between memories": [load(chip=2**30)],
        "row past the end": [*written, vector(dst=size - 64, dst_stride=64, rows=2)],
        "misaligned s32": [*written, vector(dst=66)], "misaligned s16": [*written, encode("vec_fill", types=(S16,), dst=1, rows=1, cols=1)],
        "misaligned stride": [*written, vector(dst_stride=6, rows=2)], "misaligned accumulator": [*written, product(acc=ACCUMULATORS + 258)],
        "misaligned a": [*written, vector(a=2)],
        "misaligned b": [*written, encode("vec_binary", "add", types=(S32, S32, S32), dst=64, a=0, b=6, rows=1, cols=1)],
        "misaligned chooser": [*written, encode("vec_select", types=(S32, S32, S16), dst=64, a=0, b=3, rows=1, cols=1, value=0)],
        "misaligned records": [*written, encode("vec_requant", types=(S32, S32), dst=64, a=0, records=2, zero=0, rows=1, cols=1)],
        "misaligned table": [*written, load(chip=0, n0=256), load(chip=256, n0=256), load(chip=512, n0=64), ok, encode(
            "vec_lookup", types=(S16, S8), dst=1024, a=0, table=1, rows=1, cols=1)],
        "misaligned accumulator stride": [*written, product(m=2, acc_stride=6)],
        "misaligned index": [*written, encode("dma_gather", chip=64, dram=Reg(OUT), n0=1, n1=1, index=2, rows=1)],
        "acc across the end": [*written, product(acc=ACCUMULATORS + 4 * 32768 - 4, n=2)],
        "a across the end": [*written, load(chip=size - 1, n0=1), ok, product(a=size - 1, k=2)],
        "w across the end": [*written, load(chip=size - 1, n0=1), ok, product(w=size - 1, n=2)],
        "records across the end": [*written, load(chip=size - 12, n0=12), ok, encode(
            "vec_requant", types=(S32, S32), dst=64, a=0, records=size - 12, zero=0, rows=1, cols=2)],
        "table across the end": [*written, load(chip=size - 252, n0=252), ok, encode(
            "vec_lookup", types=(S8, S8), dst=64, a=0, table=size - 252, rows=1, cols=1)],
        "b across the end": [*written, load(chip=size - 4), ok, encode(
            "vec_select", types=(S32, S32, S32), dst=64, a=0, b=size - 4, rows=1, cols=2, value=0)],
        "accumulators in the scratchpad": [*written, product(acc=512)], "a in accumulators": [*written, product(a=ACCUMULATORS)],
        "w in accumulators": [*written, product(w=ACCUMULATORS)],
        "DRAM before an operand": [load(dram=Reg(OUT, -4))], "DRAM past an operand": [load(dram=Reg(OUT, 253))],
        "DRAM run across the end": [load(n1=2, dram_s1=253)], "DRAM of nobody": [load(dram=4096)],
        "store into data": [*written, encode("dma_store", chip=0, dram=Reg(1), n0=4, n1=1, n2=1)],
        "load past data": [encode("load", rd=20, address=Reg(1, 16))], "misaligned load": [encode("load", rd=20, address=Reg(1, 2))],
        "register: division by 0": [set_("div", 1, 0)], "register: shift by 64": [set_("shl", 1, 64)], "register: shift by -1": [set_("shr", 1, -1)],
        "rows below 0 by register": [*written, vector(rows=Reg(0, -1))], "shift of div": [*written, vector(function="div", shift=32)],
        "too many columns by register": [*written, set_("add", 33, 0), product(n=Reg(20))],
        "rows 65536 by register": [*written, set_("add", 65535, 1), vector(rows=Reg(20))],
        "scalar too large by register": [set_("shl", 1, 40), encode("vec_fill", types=(S32,), dst=0, rows=1, cols=1, value=Reg(20))],
        "trips too many": [set_("shl", 1, 33), encode("loop", count=Reg(20)), encode("end_loop")],
        "gather with no rows by register": [*written, encode("dma_gather", chip=64, dram=Reg(OUT), n0=1, n1=1, index=0, rows=Reg(19))],
    }
    for name, code in bad.items():
        yield case(f"error: {name}", code, data=bytes(16))
    fine = {
        "no rows, wild addresses": [vector(dst=2**30, a=3, rows=0)], "no columns": [vector(a=4096, cols=0)],
        "nothing to move": [load(n1=0, chip=2**30)], "no bytes": [load(n0=0, chip=2**30)], "no planes": [load(n2=0, chip=2**30)],
        "no bytes of rows": [encode("dma_gather", chip=2**30, dram=0, n0=0, n1=3, index=3, rows=1)],
        "no rows": [encode("dma_scatter", chip=2**30, dram=0, n0=4, n1=0, index=3, rows=1)], "no m": [product(m=0, acc=1)], "no k": [product(k=0)], "no n": [product(n=0)],
        "one row's stride does not matter to the array": [*written, product(acc_stride=6)],
        "one row's stride does not matter": [*written, vector(dst_stride=7, a_stride=1)],
        "the last element": [*written, load(chip=size - 4), ok, vector(a=size - 4)],
        "the last accumulator": [encode("vec_fill", types=(S32,), dst=ACCUMULATORS + 4 * 32768 - 4, rows=1, cols=1, value=3),
                                 vector(a=ACCUMULATORS + 4 * 32768 - 4)],
        "the last byte": [load(chip=size - 4, dram=Reg(OUT, 252))],
    }
    for name, code in fine.items():
        yield case(f"fine: {name}", code)
    # The last byte of one memory and the first of the other are two.
    yield case("memories are apart", [fill(size - 4, 7), fill(ACCUMULATORS, 9), ok, store(size - 4), store(ACCUMULATORS, 4)])


def changed(command, **positions):
    """A command with bytes replaced: at `b7` byte 7."""
    raw = bytearray(command)
    for place, value in positions.items():
        raw[int(place[1:])] = value
    return bytes(raw)


def validation_cases():
    ok = fill(0, 1)
    bad = {
        "opcode 0": changed(ok, b0=0), "opcode 255": changed(ok, b0=255), "function": changed(ok, b1=1), "type 3": changed(ok, b2=3),
        "unused type": changed(ok, b2=4 | 2), "mode": changed(ok, b3=1), "register 64": changed(ok, b4=64), "unused register": changed(ok, b15=1),
        "unused immediate": changed(ok, b63=1), "function of set": changed(set_("add", 1, 1), b1=9),
        "queue of signal": changed(encode("signal", "dma", semaphore=0, units=1), b1=3), "both modes": encode(
            "vec_binary", "add", "b_scalar", "b_per_row", types=(S32, S32, S32), dst=0, a=0, b=0, rows=0, cols=0),
        "lookup of s32": encode("vec_lookup", types=(S32, S32), dst=0, a=0, table=0, rows=0, cols=0),
        "semaphore 16": encode("signal", "dma", semaphore=16, units=1), "units 0": encode("signal", "dma", semaphore=1, units=0),
        "semaphore by register": encode("signal", "dma", semaphore=Reg(20), units=1), "rd by register": changed(set_("add", 1, 1), b4=1), "rd 0": set_("add", 1, 1, rd=0), "rd 64": set_("add", 1, 1, rd=64),
        "columns 33": encode("matmul", acc=ACCUMULATORS, a=0, w=0, m=0, k=0, n=33), "shift 63": encode(
            "vec_function", "exp", types=(S32,), dst=0, a=0, rows=0, cols=0, shift=63),
        "stride below 0": encode("vec_fill", types=(S32,), dst=0, dst_stride=-4, rows=0, cols=0), "exponent 65": encode(
            "vec_to_f32", types=(S32,), dst=0, a=0, rows=0, cols=0, exponent=65),
        "rows 0 of gather": encode("dma_gather", chip=0, dram=0, n0=0, n1=0, index=0, rows=0), "loop without end": encode("loop", count=1),
        "end without loop": encode("end_loop"),
    }
    for name, command in bad.items():
        if "loop" in name:
            yield case(f"invalid: {name}", [ok, command])
        else:  # where it is never reached, which does not matter
            yield case(f"invalid: {name}", [ok, encode("loop", count=0), command, encode("end_loop")])
    yield case("invalid: 9 loops deep", [encode("loop", count=1)] * 9 + [encode("end_loop")] * 9)
    yield case("columns of the other machine", [encode("matmul", acc=ACCUMULATORS, a=0, w=0, m=0, k=0, n=17)], machine="edge")


def rule_cases():
    for make in (register_cases, loop_cases, semaphore_cases, race_cases, value_cases, validation_cases):
        yield from make()

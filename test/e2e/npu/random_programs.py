"""Random programs for the NPU, each from a seed: most keep the rules, some break one.

    PYTHONPATH=test python -m e2e.npu.random_programs --seed 1 --count 20000 [--driver ./LIBRARY.so:FUNCTION]

compares memory after each with numpy's, on the simulator or another driver.
"""

import argparse
import pathlib
import random
import subprocess
import sys

import numpy

from e2e.npu.cases import FIRST_OPERAND, Buffer, Case, write_cases
from e2e.npu.machine import ACCUMULATORS, COMMANDS, QUEUES, S8, S16, S32, Reg, encode
from e2e.support import BIN, WORK

WINDOW = 3072  # bytes of the scratchpad, and of the accumulators, that a queue works in
TABLE = 1024   # bytes of read-only DRAM


class Generator:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.seed = seed
        self.machine = self.random.choice(["edge", "mobile"])
        self.array = 16 if self.machine == "edge" else 32
        # How queues are kept apart: one chain of semaphores, barriers, windows of their own, or carelessly.
        self.discipline = self.random.choice(["chain", "chain", "barrier", "apart", "apart", "careless"])
        self.code, self.last = [], "dma"
        self.windows = {queue: i * WINDOW if self.discipline == "apart" else 0 for i, queue in enumerate(QUEUES)}
        self.total = WINDOW * (3 if self.discipline == "apart" else 1)
        self.registers = list(range(20, 60))
        self.loop_registers = []

    # ------------------------------------------------------------------------------------------------------------------
    def chance(self, percent):
        return self.random.random() * 100 < percent

    def emit(self, queue, name, *words, **values):
        self.synchronize(queue)
        for field, value in values.items():
            if field != "types" and not isinstance(value, Reg) and self.chance(12) and self.registers:
                values[field] = self.in_register(value)
        self.code.append(encode(name, *words, **values))

    def in_register(self, value):
        register, plus = self.registers.pop(), self.random.choice([0, 4, -64, 1000])
        value = value - 2**32 if ACCUMULATORS <= value < 2**32 else value
        self.code.append(encode("set", "add", rd=register, a=max(value - plus, -2**31), b=value - plus - max(value - plus, -2**31)))
        return Reg(register, plus)

    def synchronize(self, queue):
        if queue == self.last:
            return
        before, self.last = self.last, queue
        if self.discipline == "apart" or (self.discipline == "careless" and self.chance(25)):
            return
        if self.discipline == "barrier" or self.chance(10):
            self.code.append(encode("barrier"))
            return
        semaphore = QUEUES.index(before) * 3 + QUEUES.index(queue)
        units = self.random.choice([1, 1, 3])
        self.code.append(encode("signal", before, semaphore=semaphore, units=units))
        self.code.append(encode("wait", queue, semaphore=semaphore, units=units))

    # ------------------------------------------------------------------------------------------------------------------
    def address(self, queue, bytes_needed, size, accumulator):
        base = self.windows[queue] + (ACCUMULATORS if accumulator else 0)
        if self.chance(1):
            return self.random.choice([base + WINDOW - 5, 640 * 1024 - 4, 384 * 1024 - 4, ACCUMULATORS - 4, 2**32 - 4])
        room = max(WINDOW - bytes_needed, 0)
        address = base + self.random.randrange(0, room + 1)
        return address if self.chance(1) else address // size * size

    def tile(self, queue, rows, columns, kind, accumulator=None):
        """(address, stride) of a tile within the queue's window."""
        size = 1 << kind
        least = columns * size
        stride = self.random.choice([least, least, least + size * self.random.randrange(0, 9), 0])
        while rows > 1 and (rows - 1) * stride + least > WINDOW:
            stride = stride // 2 // size * size
        accumulator = self.chance(25) if accumulator is None else accumulator
        return self.address(queue, (rows - 1) * stride + least, size, accumulator), stride

    def extent(self):
        if self.chance(4):
            return self.random.choice([(0, 5), (3, 0), (1, 65535)])
        return self.random.randrange(1, 9), self.random.choice([1, 3, 7, 16, 31, 33, self.random.randrange(1, 65)])

    def kinds(self, count):
        return tuple(self.random.choice([S8, S16, S32]) for _ in range(count))

    def shift(self):
        return self.random.choice([0, 0, 1, 4, 8, 15, 16, 31, 40, 62, 63 if self.chance(3) else 7])

    # ------------------------------------------------------------------------------------------------------------------
    def matmul(self):
        m, k = self.random.randrange(1, 12), self.random.choice([1, 5, 16, 33, 60])
        n = self.random.randrange(1, self.array + (2 if self.chance(3) else 1))
        transposed = self.chance(40)
        acc, acc_stride = self.tile("array", m, n, S32, not self.chance(1))
        a, a_stride = self.tile("array", m, k, S8, self.chance(1))
        w, w_stride = self.tile("array", n if transposed else k, k if transposed else n, S8, False)
        words = ["transposed"] * transposed + ["accumulate"] * self.chance(50)
        self.emit("array", "matmul", *words, acc=acc, acc_stride=acc_stride, a=a, a_stride=a_stride, w=w, w_stride=w_stride,
                  m=m, k=k if not self.chance(2) else 0, n=n)

    def dma(self):
        load = self.chance(60)
        if self.chance(35):
            return self.indexed(load)
        n0, n1, n2 = self.random.randrange(1, 90), self.random.randrange(1, 4), self.random.randrange(1, 3)
        if self.chance(3):
            n1 = 0
        chip, s1 = self.tile("dma", n1, n0, S8)
        s2 = self.random.randrange(0, 200)
        dram = self.random.randrange(0, 500)
        operand = FIRST_OPERAND + (self.random.choice([2, 3]) if load else 2)
        self.emit("dma", "dma_load" if load else "dma_store", chip=chip, chip_s1=s1, chip_s2=s2, dram=Reg(operand, dram),
                  dram_s1=self.random.randrange(0, 100), dram_s2=self.random.randrange(0, 100), n0=n0, n1=n1, n2=n2)

    def indexed(self, load):
        n0, n1 = self.random.randrange(1, 30), self.random.randrange(1, 6)
        chip, s1 = self.tile("dma", n1, n0, S8)
        index, _ = self.tile("dma", 1, n1, S32, False)
        operand = FIRST_OPERAND + (self.random.choice([2, 3]) if load else 2)
        self.emit("dma", "dma_gather" if load else "dma_scatter", chip=chip, chip_s1=s1, dram=Reg(operand, 0), index=index,
                  dram_s1=self.random.randrange(0, 64), n0=n0, n1=n1, rows=self.random.randrange(1, 14))

    def vector(self):
        name = self.random.choice([name for name in COMMANDS if name.startswith("vec_")])
        _, _, functions, typed, modes, _ = COMMANDS[name]
        rows, columns = self.extent()
        if name == "vec_lookup" or columns == 65535:
            columns = min(columns, 64)
        types = self.kinds(len(typed))
        if name == "vec_lookup":
            types = (types[0], self.random.choice([S8, S16]))
        words = [self.random.choice(functions)] if functions else []
        words += [mode for mode in modes if self.chance(35)][:1]
        untyped = S16 if name.endswith("f16") else S32
        dst_kind = types[typed.index("dst")] if "dst" in typed else untyped
        values = {}
        values["dst"], values["dst_stride"] = self.tile("vector", rows, 1 if name == "vec_reduce" else columns, dst_kind)
        if name != "vec_fill":
            a_kind = types[typed.index("a")] if "a" in typed else untyped
            values["a"], values["a_stride"] = self.tile("vector", rows, columns, a_kind)
            if self.chance(15) and dst_kind == a_kind:
                values["dst"], values["dst_stride"] = values["a"], values["a_stride"]
        if "b" in typed:
            if "b_scalar" in words:
                values["b"] = self.random.choice([0, 1, -1, 3, 127, -128, 2**31 - 1, -2**31, self.random.randrange(-40000, 40000)])
            else:
                values["b"], values["b_stride"] = self.tile("vector", rows, 1 if "b_per_row" in words else columns, types[2])
        fields = [field for field, _ in COMMANDS[name][5]]
        if "records" in fields:
            values["records"] = self.tile("vector", 1, 3 * (rows if "per_row" in words else columns), S32)[0]
            values["zero"] = self.random.randrange(-200, 200)
        if "table" in fields:
            values["table"] = self.tile("vector", 1, 256, types[0])[0]
        if "value" in fields:
            values["value"] = self.random.choice([0, -1, 200, -40000, 2**31 - 1])
        if "shift" in fields:
            values["shift"] = self.shift() if "div" not in words else self.random.randrange(0, 33 if self.chance(4) else 32)
        if "exponent" in fields:
            values["exponent"] = self.random.choice([0, 16, -3, 30, -64, 64, 65 if self.chance(3) else 8])
        self.emit("vector", name, *words, types=types, rows=rows, cols=columns, **values)

    def control(self):
        """Registers that nothing but control commands read, and loads of DRAM."""
        if self.chance(30):
            self.code.append(encode("load", rd=60, address=Reg(FIRST_OPERAND + 3, self.random.randrange(0, TABLE - 4) // 4 * 4)))
        function = self.random.choice(COMMANDS["set"][2])
        self.code.append(encode("set", function, rd=61, a=Reg(self.random.choice([60, 61, 2]), self.random.randrange(-9, 9)),
                                b=self.random.randrange(1, 60)))

    def body(self, depth):
        for _ in range(self.random.randrange(1, 4)):
            self.random.choice([self.matmul, self.dma, self.vector, self.vector, self.control])()
        if depth < 2 and self.chance(15):
            self.loop(depth + 1)

    def loop(self, depth=0):
        self.synchronize("dma")  # the same queue goes on in every turn
        count = self.random.choice([0, 1, 2, 3, -4])
        self.code.append(encode("loop", count=count if self.chance(70) else self.in_register(count)))
        self.body(depth)
        self.synchronize("dma")
        self.code.append(encode("end_loop"))

    # ------------------------------------------------------------------------------------------------------------------
    def case(self):
        random_bytes = numpy.random.default_rng(self.seed).integers(0, 256, 4 * self.total + TABLE, "u1", endpoint=False)
        if self.chance(50):  # small numbers: products that saturate are all alike
            words = random_bytes[:self.total].view("<i4")
            words[:] = words >> self.random.choice([8, 12, 16, 20, 24])
        source, table = random_bytes[:2 * self.total].copy(), random_bytes[-TABLE:].copy()
        self.code.append(encode("dma_load", chip=0, dram=Reg(FIRST_OPERAND), n0=self.total, n1=1, n2=1))
        self.code.append(encode("dma_load", chip=ACCUMULATORS, dram=Reg(FIRST_OPERAND, self.total), n0=self.total, n1=1, n2=1))
        if self.discipline == "apart":
            self.code.append(encode("barrier"))
        for _ in range(self.random.randrange(2, 9)):
            self.loop() if self.chance(20) else self.body(0)
        if self.discipline == "apart":
            self.code.append(encode("barrier"))
        else:
            self.synchronize("dma")
        self.code.append(encode("dma_store", chip=0, dram=Reg(FIRST_OPERAND + 1), n0=self.total, n1=1, n2=1))
        self.code.append(encode("dma_store", chip=ACCUMULATORS, dram=Reg(FIRST_OPERAND + 1, self.total), n0=self.total, n1=1, n2=1))
        if self.chance(6):
            self.spoil()
        buffers = [Buffer(source, False), Buffer(numpy.zeros(2 * self.total, "u1")), Buffer(random_bytes[:1024]),
                   Buffer(table, False)]
        return Case(f"seed-{self.seed}", self.machine, self.code, buffers)

    def spoil(self):
        i = self.random.randrange(len(self.code))
        raw = bytearray(self.code[i])
        raw[self.random.choice([0, 1, 2, 3, self.random.randrange(64)])] = self.random.randrange(256)
        self.code[i] = bytes(raw)


def case_of(seed):
    generator = Generator(seed)
    order = random.Random(seed + 1)
    return generator.case().evaluate(lambda: order.sample(range(3), 3))


def run_cases(cases, folder, driver=None):
    """What the conformance tool prints, and whether all passed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{cases[0].name}.cases"
    write_cases(path, cases)
    command = [str(BIN / "heddle-npu-conformance"), str(path)] + (["--driver", driver] if driver else [])
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    path.unlink()
    return done.stdout + done.stderr, done.returncode == 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--driver")
    arguments = parser.parse_args()
    failed, errors, chunk = False, 0, 500
    for first in range(arguments.seed, arguments.seed + arguments.count, chunk):
        cases = [case_of(seed) for seed in range(first, min(first + chunk, arguments.seed + arguments.count))]
        errors += sum(case.outputs is None for case in cases)
        text, passed = run_cases(cases, WORK / "npu", arguments.driver)
        print(f"seeds from {first}: {text.strip()}", flush=True)
        failed |= not passed
    print(f"{arguments.count} programs, {errors} of them end in an error")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Programs of the NPU of docs/npu-isa.md, executed: sequencer, queues, memory. Belongs to machine.py."""

import collections

import numpy

from e2e.npu.machine import (ACCUMULATORS, BY_OPCODE, COMMANDS, DTYPES, FUNCTIONS, QUEUE_DEPTH, QUEUES, S8, S16, S32,
                             Hazard, NpuError, check_range, clamp, divide, from_float, rshift, to_float, validate)


LARGEST = 1 << 22  # elements that are looked at together


def wrap(value):
    return (value + 2**63) % 2**64 - 2**63


class Region:
    """Bytes that a program sees at a DRAM address."""

    def __init__(self, address, data, writable=True):
        self.address, self.data, self.writable = address, data, writable  # data: u1 array


class Execution:
    """Which queue goes first is drawn by `order`: results of programs without errors do not depend on it."""

    def __init__(self, code, machine, registers, regions, order=None, limit=100000):
        self.code = [code[i:i + 64] for i in range(0, len(code), 64)]
        validate(self.code, machine)
        self.machine, self.regions, self.limit = machine, regions, limit
        self.order = order or (lambda: [2, 1, 0])
        self.r = [0] * 64
        for i, value in registers.items():
            self.r[i] = wrap(value)
        size = machine.scratchpad + machine.accumulators
        self.bytes = numpy.zeros(size, "u1")
        # The command that last wrote each byte, its queue, and the last command of each queue that read it; from 1.
        self.writer, self.writer_queue = numpy.zeros(size, "i8"), numpy.zeros(size, "i1")
        self.reader = numpy.zeros((3, size), "i8")
        self.clock = numpy.zeros((3, 3), "i8")  # [queue]: the last command of each queue that it comes after
        self.pending = [collections.deque() for _ in range(3)]
        self.units = collections.defaultdict(collections.deque)  # semaphore: clocks, one a unit
        self.owner = {}
        self.stored = []
        self.number = 0

    # ------------------------------------------------------------------------------------------------------------------
    def run(self):
        self.next, self.loops = 0, []
        while True:
            moved = False
            while self.dispatch():
                moved = True
            for queue in self.order():
                if self.pending[queue] and self.execute(queue):
                    moved = True
                    break
            if not moved:
                break
        if self.next < len(self.code) or any(self.pending):
            raise NpuError("deadlock")

    def values(self, raw):
        name = BY_OPCODE[raw[0]]
        out = {}
        for i, (field, kind) in enumerate(COMMANDS[name][5]):
            value = wrap(self.r[raw[4 + i]] + int.from_bytes(raw[16 + 4 * i:20 + 4 * i], "little", signed=True))
            if kind == "chip" or (kind == "scalar_or_chip" and not raw[3] & 1):
                value %= 2**32
            check_range(kind, value, raw[3], self.machine)
            out[field] = value
        return name, out

    def dispatch(self):
        if self.next == len(self.code):
            return False
        raw = self.code[self.next]
        name, v = self.values(raw)
        queue = COMMANDS[name][1]
        if queue == "control":
            return self.control(name, raw, v)
        index = raw[1] if queue == "any" else QUEUES.index(queue)
        if len(self.pending[index]) >= QUEUE_DEPTH:
            return False
        if queue == "any":
            if self.owner.setdefault((name, v["semaphore"]), index) != index:
                raise Hazard("semaphore of another queue")
        if name == "dma_store" and v["n0"] and v["n1"] and v["n2"]:
            self.stored.append((v["dram"], v["dram"] + v["n0"] + (v["n1"] - 1) * v["dram_s1"] + (v["n2"] - 1) * v["dram_s2"]))
        if name == "dma_scatter" and v["n0"] and v["n1"]:
            self.stored.append((v["dram"], v["dram"] + v["n0"] + (v["rows"] - 1) * v["dram_s1"]))
        self.number += 1
        self.count()
        self.pending[index].append((name, raw, v, self.number))
        self.next += 1
        return True

    def count(self):
        self.limit -= 1
        if self.limit < 0:
            raise NpuError("limit")

    def control(self, name, raw, v):
        if name == "barrier":
            if any(self.pending):
                return False
            self.clock[:] = self.number
        self.count()
        self.next += 1
        if name == "set":
            self.r[v["rd"]] = self.register(COMMANDS[name][2][raw[1]], v["a"], v["b"])
        elif name == "load":
            address = v["address"]
            if address % 4:
                raise NpuError("misaligned")
            data = self.dram(address, 4, False)
            if any(address < end and address + 4 > begin for begin, end in self.stored):
                raise Hazard("load of what was stored")
            self.r[v["rd"]] = int(data.copy().view("<i4")[0])
        elif name == "loop":
            if v["count"] > 0:
                self.loops.append([self.next, v["count"]])
            else:
                depth = 1
                while depth:
                    inner = BY_OPCODE[self.code[self.next][0]]
                    depth += (inner == "loop") - (inner == "end_loop")
                    self.next += 1
        elif name == "end_loop":
            self.loops[-1][1] -= 1
            if self.loops[-1][1] > 0:
                self.next = self.loops[-1][0]
            else:
                self.loops.pop()
        return True

    @staticmethod
    def register(function, a, b):
        if function == "div":
            if b == 0:
                raise NpuError("division by 0")
            return wrap(a // b)
        if function in ("shl", "shr"):
            if not 0 <= b <= 63:
                raise NpuError("shift")
            return wrap(a << b) if function == "shl" else a >> b
        return wrap({"add": a + b, "sub": a - b, "mul": a * b, "min": min(a, b), "max": max(a, b), "and": a & b}[function])

    # ------------------------------------------------------------------------------------------------------------------
    def execute(self, queue):
        name, raw, v, number = self.pending[queue][0]
        if name == "wait" and len(self.units[v["semaphore"]]) < v["units"]:
            return False
        self.pending[queue].popleft()
        self.queue, self.me = queue, number
        if name == "wait":
            for _ in range(v["units"]):
                self.clock[queue] = numpy.maximum(self.clock[queue], self.units[v["semaphore"]].popleft())
        elif name != "signal":
            functions = COMMANDS[name][2]
            types = [raw[2] >> 2 * i & 3 for i in range(3)]
            getattr(self, name)(v, functions[raw[1]] if functions else None, types, raw[3])
        self.clock[queue, queue] = number
        if name == "signal":
            self.units[v["semaphore"]].extend([self.clock[queue].copy()] * v["units"])
        return True

    def place(self, address, size):
        high = address >= ACCUMULATORS
        offset, limit = (address - ACCUMULATORS, self.machine.accumulators) if high else (address, self.machine.scratchpad)
        if offset + size > limit:
            raise NpuError(f"on-chip {address:#x}")
        offset += self.machine.scratchpad if high else 0
        return slice(offset, offset + size)

    def ordered(self, numbers, queues):
        """Whether accesses `numbers` of other queues come before this command."""
        return numpy.all((queues == self.queue) | (numbers <= self.clock[self.queue][queues]))

    def check_read(self, place):
        if not numpy.all(self.writer[place]):
            raise Hazard("unwritten")
        if not self.ordered(self.writer[place], self.writer_queue[place]):
            raise Hazard("read races")
        self.reader[self.queue][place] = self.me

    def check_write(self, place):
        if not self.ordered(self.writer[place], self.writer_queue[place]):
            raise Hazard("write races")
        for queue in range(3):
            if queue != self.queue and numpy.any(self.reader[queue][place] > self.clock[self.queue, queue]):
                raise Hazard("write races with a read")
        self.writer[place], self.writer_queue[place] = self.me, self.queue

    def read(self, address, size):
        place = self.place(address, size)
        self.check_read(place)
        return self.bytes[place].copy()

    def write(self, address, data):
        place = self.place(address, len(data))
        self.check_write(place)
        self.bytes[place] = data

    def dram(self, address, size, writes):
        for region in self.regions:
            offset = address - region.address
            if 0 <= offset and offset + size <= len(region.data):
                if writes and not region.writable:
                    raise NpuError("read-only")
                return region.data[offset:offset + size]
        raise NpuError("DRAM")

    # ------------------------------------------------------------------------------------------------------------------
    def move(self, chip, dram, size, load):
        dram = wrap(dram)
        if load:
            self.write(chip, self.dram(dram, size, False))
        else:
            data = self.read(chip, size)
            self.dram(dram, size, True)[:] = data

    def move_runs(self, chip, chip_stride, dram, dram_stride, size, runs, load):
        """Runs at even distances, one after another; all at once where they lie in one region and are not too many."""
        end = wrap(dram) + (runs - 1) * dram_stride + size
        region = next((r for r in self.regions if r.address <= wrap(dram) and end <= r.address + len(r.data)), None)
        if region is None or runs * size > LARGEST:
            for i in range(runs):
                self.move(chip + i * chip_stride, dram + i * dram_stride, size, load)
            return
        place = self.places(chip, chip_stride, runs, size)
        data = self.dram(wrap(dram), (runs - 1) * dram_stride + size, not load)
        index = dram_stride * numpy.arange(runs)[:, None] + numpy.arange(size)
        if load:
            self.check_write(place)
            self.bytes[place] = data[index]
        else:
            self.check_read(place)
            data[index] = self.bytes[place]

    def dma_load(self, v, function, types, modes, load=True):
        if not v["n0"] or not v["n1"]:
            return
        for i2 in range(v["n2"]):
            chip, dram = v["chip"] + i2 * v["chip_s2"], v["dram"] + i2 * v["dram_s2"]
            self.move_runs(chip, v["chip_s1"], dram, v["dram_s1"], v["n0"], v["n1"], load)

    def dma_store(self, v, function, types, modes):
        self.dma_load(v, function, types, modes, load=False)

    def dma_gather(self, v, function, types, modes, load=True):
        if not v["n0"] or not v["n1"]:
            return
        self.aligned(v["index"], 0, 1, 4)
        index = self.read(v["index"], 4 * v["n1"]).view("<i4")
        for i in range(v["n1"]):
            row = min(max(int(index[i]), 0), v["rows"] - 1)
            self.move(v["chip"] + i * v["chip_s1"], v["dram"] + row * v["dram_s1"], v["n0"], load)

    def dma_scatter(self, v, function, types, modes):
        self.dma_gather(v, function, types, modes, load=False)

    @staticmethod
    def aligned(address, stride, rows, size):
        if address % size or (rows > 1 and stride % size):
            raise NpuError("misaligned")

    def matmul(self, v, function, types, modes):
        m, k, n = v["m"], v["k"], v["n"]
        if not m or not k or not n:
            return
        if v["acc"] < ACCUMULATORS or v["a"] >= ACCUMULATORS or v["w"] >= ACCUMULATORS:
            raise NpuError("wrong memory")
        self.aligned(v["acc"], v["acc_stride"], m, 4)
        tile = lambda name, kind, rows, columns: self.elements((name, v[name], v[name + "_stride"], kind, columns), 0, rows)
        a = tile("a", S8, m, k)
        w = tile("w", S8, n, k).T if modes & 2 else tile("w", S8, k, n)
        total = (a.astype("f8") @ w.astype("f8")).astype("i8")  # exact below 2^53
        if modes & 1:
            total += tile("acc", S32, m, n)
        total = ((total + 2**31) % 2**32 - 2**31).astype("<i4")
        self.write_rows(v["acc"], v["acc_stride"], total.view("u1"))

    # ------------------------------------------------------------------------------------------------------------------
    def rows(self, v, types, compute, others=(), dst_type=None, a_type=None, dst_columns=None):
        """dst = compute(a, others) on arrays [rows][columns]: one row after another, or all at once where that is the same."""
        rows, columns = v["rows"], v["cols"]
        if not rows or not columns:
            return
        dst_type = types[0] if dst_type is None else dst_type
        a_type = types[1] if a_type is None else a_type
        sources = [("a", v["a"], v["a_stride"], a_type, columns), *others] if "a" in v else []
        dst = ("dst", v["dst"], v["dst_stride"], dst_type, dst_columns or columns)
        for _, address, stride, kind, _ in (dst, *sources):
            self.aligned(address, stride, rows, 1 << kind)
        small = all(rows * operand[4] <= LARGEST for operand in (dst, *sources))
        step = rows if small and all(self.apart(dst, source, rows) for source in sources) else 1
        for r in range(0, rows, step):
            out = compute(*(self.elements(operand, r, step) for operand in sources))
            out = clamp(numpy.broadcast_to(out, (step, dst[4])), 8 << dst_type).astype(DTYPES[dst_type])
            self.write_rows(dst[1] + r * dst[2], dst[2], out.view("u1"))

    @staticmethod
    def apart(dst, source, rows):
        """Whether the destination touches no byte of the source, and no byte twice."""
        (_, a, a_stride, a_kind, a_count), (_, b, b_stride, b_kind, b_count) = dst, source
        a_end = a + (rows - 1) * a_stride + (a_count << a_kind)
        b_end = b + (rows - 1) * b_stride + (b_count << b_kind)
        return (a_end <= b or b_end <= a) and a_stride >= a_count << a_kind

    def places(self, address, stride, rows, size):
        """Indices of bytes [rows][size]."""
        first, last = self.place(address, size).start, self.place(address + (rows - 1) * stride, size).start
        if last - first != (rows - 1) * stride:
            raise NpuError("rows in two memories")
        return first + stride * numpy.arange(rows)[:, None] + numpy.arange(size)

    def elements(self, operand, first, rows):
        _, address, stride, kind, count = operand
        place = self.places(address + first * stride, stride, rows, count << kind)
        self.check_read(place)
        return self.bytes[place].view(DTYPES[kind]).astype("i8")

    def write_rows(self, address, stride, data):
        place = self.places(address, stride, *data.shape)
        self.check_write(place)
        self.bytes[place] = data

    def vec_fill(self, v, function, types, modes):
        self.rows(v, types, lambda: numpy.int64(v["value"]))

    def vec_binary(self, v, function, types, modes):
        if not v["rows"] or not v["cols"]:
            return
        shift = v["shift"]
        if function == "div" and shift > 31:
            raise NpuError("shift of div")
        compute = {"add": lambda a, b: rshift(a + b, shift), "sub": lambda a, b: rshift(a - b, shift),
                   "mul": lambda a, b: rshift(a * b, shift), "min": lambda a, b: rshift(numpy.minimum(a, b), shift),
                   "max": lambda a, b: rshift(numpy.maximum(a, b), shift), "div": lambda a, b: divide(a, b, shift),
                   "eq": lambda a, b: (a == b).astype("i8"), "lt": lambda a, b: (a < b).astype("i8")}[function]
        if modes & 1:
            self.rows(v, types, lambda a: compute(a, numpy.int64(v["b"])))
        else:
            other = ("b", v["b"], v["b_stride"], types[2], 1 if modes & 2 else v["cols"])
            self.rows(v, types, lambda a, b: compute(a, b), [other])

    def vec_select(self, v, function, types, modes):
        other = ("b", v["b"], v["b_stride"], types[2], 1 if modes & 1 else v["cols"])
        self.rows(v, types, lambda a, b: numpy.where(b != 0, a, v["value"]), [other])

    def vec_requant(self, v, function, types, modes):
        def compute(a, records):
            bias, multiplier, shift = numpy.moveaxis(records.reshape(len(records), -1, 3), -1, 0)
            shift = numpy.minimum(shift & 63, 62)
            return rshift(clamp(a + bias, 32) * multiplier, shift) + v["zero"]
        per_row = modes & 1
        other = ("records", v["records"], 12 if per_row else 0, S32, 3 if per_row else 3 * v["cols"])
        self.rows(v, types, compute, [other])

    def vec_reduce(self, v, function, types, modes):
        along = {"axis": 1, "keepdims": True}
        reductions = {"sum": lambda a: a.sum(**along), "max": lambda a: a.max(**along), "abs_max": lambda a: numpy.abs(a).max(**along),
                      "sum_squares": lambda a: (a * a).sum(**along)}  # int64 sums wrap
        self.rows(v, types, lambda a: rshift(reductions[function](a), v["shift"]), dst_columns=1)

    def vec_lookup(self, v, function, types, modes):
        def compute(a, table):
            table = table[0]  # the same for all rows
            if types[1] == S8:
                return table[a + 128]
            i, w = (a + 32768) // 256, (a + 32768) % 256
            return table[i] + rshift((table[numpy.minimum(i + 1, 255)] - table[i]) * w, 8)
        self.rows(v, types, compute, [("table", v["table"], 0, types[0], 256)])

    def vec_function(self, v, function, types, modes):
        self.rows(v, types, lambda a: FUNCTIONS[function](a, v["shift"]), a_type=S32)

    def vec_from_f32(self, v, function, types, modes):
        self.rows(v, types, lambda a: from_float(a, v["exponent"], 4), a_type=S32)

    def vec_to_f32(self, v, function, types, modes):
        self.rows(v, types, lambda a: to_float(a, v["exponent"], 4), dst_type=S32, a_type=types[0])

    def vec_from_f16(self, v, function, types, modes):
        self.rows(v, types, lambda a: from_float(a, v["exponent"], 2), a_type=S16)

    def vec_to_f16(self, v, function, types, modes):
        self.rows(v, types, lambda a: to_float(a, v["exponent"], 2), dst_type=S16, a_type=types[0])

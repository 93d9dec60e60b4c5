"""Cases for heddle-npu-conformance: a program, its buffers, and what numpy (machine.py, execution.py) says they hold
afterwards. A case file is little-endian: "NPUCASE1", count, then cases; byte strings have a u32 length before them."""

import struct

import numpy

from e2e.npu.execution import Execution, Region
from e2e.npu.machine import MACHINES, Hazard, NpuError

DIMS = (7, 3, 2)
FIRST_OPERAND = 8  # the register with the address of operand 0 (docs/npu.md)
DATA, DIM = 1, 2


class Buffer:
    """An operand: r8 for the first buffer of a case, r9 for the next, ..."""

    def __init__(self, array, writable=True):
        self.input = numpy.ascontiguousarray(array).reshape(-1).view("u1").copy()
        self.writable = writable


class Case:
    def __init__(self, name, machine, code, buffers, data=b""):
        self.name, self.machine, self.buffers, self.data = name, machine, buffers, data
        self.code = b"".join(code) if isinstance(code, list) else code

    def evaluate(self, order=None):
        """Fills in what is expected: `outputs`, or None for an error."""
        regions, registers = [Region(1 << 50, numpy.frombuffer(self.data, "u1"), False)], {DATA: 1 << 50, 5: 1}
        registers.update({DIM + i: value for i, value in enumerate(DIMS)})
        for i, buffer in enumerate(self.buffers):
            # Addresses differ from those of any driver: programs must not depend on them.
            regions.append(Region((i + 1) << 32, buffer.input.copy(), buffer.writable))
            registers[FIRST_OPERAND + i] = (i + 1) << 32
        try:
            Execution(self.code, MACHINES[self.machine], registers, regions, order).run()
            self.outputs, self.error = [region.data for region in regions[1:]], None
        except NpuError as error:
            self.outputs, self.error = None, error
        return self

    def container(self):
        """The artifact's member (docs/npu.md): header, functions, commands, sources, data, strings."""
        strings = b"kernel\0case\0"
        header = 8 + 4 + 4 + 8 + 5 * 16
        function = struct.pack("<IIIIQQ", 0, 0, len(self.code) // 64, len(self.buffers), 0, len(self.data))
        source = struct.pack("<II", 0, 7)
        offset, spans, body = header, [], b""
        for part, count in ((function, 1), (self.code, len(self.code) // 64), (source, 1), (self.data, len(self.data)),
                            (strings, len(strings))):
            spans += [offset + len(body), count]
            body += part + bytes(-len(part) % 8)
        return struct.pack("<8sIIQ10Q", b"HDLNPU01", MACHINES[self.machine].id, 0, header + len(body), *spans) + body

    def write(self):
        def packed(data):
            return struct.pack("<I", len(data)) + bytes(data)
        ends = 0 if self.error is None else 2 if isinstance(self.error, Hazard) else 1
        out = packed(self.name.encode()) + struct.pack("<I3q", ends, *DIMS) + packed(self.container())
        out += struct.pack("<I", len(self.buffers))
        for i, buffer in enumerate(self.buffers):
            expected = self.outputs[i].tobytes() if self.outputs and buffer.writable else b""
            out += struct.pack("<I", buffer.writable) + packed(buffer.input.tobytes()) + packed(expected)
        return out


def write_cases(path, cases):
    path.write_bytes(b"NPUCASE1" + struct.pack("<I", len(cases)) + b"".join(case.write() for case in cases))

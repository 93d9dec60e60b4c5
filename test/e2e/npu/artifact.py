"""Compiled NPU artifacts, evaluated with numpy: program.bin (runtime/include/heddle/program.h) says which functions run on
which memory, execution.py runs them. Includes nothing that is generated, and nothing of the compiler or the runtime."""

import zipfile

import numpy

from e2e.npu.execution import Execution, Region
from e2e.npu.machine import MACHINES

SPAN = [("offset", "<u8"), ("count", "<u8")]
TABLES = ["strings", "entries", "ios", "variants", "launches", "operands", "functions", "codes", "offsets", "caches"]
HEADER = numpy.dtype([("magic", "S8"), ("version", "<u4"), ("code_abi", "<u4"), ("file_size", "<u8"), *((t, SPAN) for t in TABLES),
                      ("weights", SPAN), ("weights_size", "<u8"), ("max_rows", "<u4"), ("max_wanted", "<u4"), ("max_context", "<u4"),
                      ("max_slots", "<u4"), ("vocabulary", "<u4"), ("sources", "<u4")])
RECORDS = {
    "entries": "name kind first_io io_count first_variant variant_count",
    "ios": [(n, "<u4") for n in ("name", "dtype", "is_output", "rank")] + [("dim", "<i8", 4), ("dim_id", "<i4", 4)],
    "variants": [(n, "<u4") for n in ("name", "min_rows", "max_rows", "first_launch", "launch_count", "work_rows")]
    + [("arena_bytes", "<u8"), ("alternative", "<u4"), ("alternative_features", "<u4")],
    "launches": [("function", "<u4"), ("first_operand", "<u4"), ("operand_count", "<u4"), ("flags", "<u4"), ("items_dim", "<i4"),
                 *((n, "<u4") for n in ("items_mul", "items_div", "grain", "source", "reserved"))],
    "operands": [("kind", "<u4"), ("index", "<u4"), ("offset", "<u8"), ("bytes", "<u8")],
    "functions": [("name", "<u4"), ("threads", "<u4"), ("scratch_bytes", "<u8")],
    "codes": "member features",
    "caches": [(n, "<u4") for n in ("heads", "key_dim", "value_dim", "dtype")] + [("page_bytes", "<u8"), ("window", "<u4"), ("source", "<u4")],
}
DTYPES = {1: "<f4", 2: "<f2", 4: "<i4", 5: "<i8", 6: "<i1", 7: "<u1"}
ARENA, WEIGHT, IO, CACHE, PAGE_TABLE, WORK = range(1, 7)
NPU_CODE, PAGE_TOKENS = 1 << 28, 128
MEMBER_TABLES = {  # of the member with commands (docs/npu.md)
    "functions": numpy.dtype([("name", "<u4"), ("first_command", "<u4"), ("command_count", "<u4"), ("operand_count", "<u4"),
                              ("data_offset", "<u8"), ("data_bytes", "<u8")]),
    "commands": numpy.dtype("V64"), "sources": numpy.dtype([("command", "<u4"), ("name", "<u4")]), "data": numpy.dtype("u1"),
    "strings": numpy.dtype("u1")}


def record(fields):
    return numpy.dtype([(name, "<u4") for name in fields.split()] if isinstance(fields, str) else fields)


def table(file, span, dtype):
    return numpy.frombuffer(file, dtype, int(span["count"]), int(span["offset"]))


def string(strings, offset):
    return strings[offset:strings.index(b"\0", offset)].decode()


class Artifact:
    def __init__(self, path):
        with zipfile.ZipFile(path) as archive:
            program = archive.read("program.bin")
            self.weights = numpy.frombuffer(archive.read("weights.bin") if "weights.bin" in archive.namelist() else b"", "u1")
            self.header = numpy.frombuffer(program, HEADER, 1)[0]
            assert self.header["magic"] == b"HDLPROG1"
            self.strings = table(program, self.header["strings"], "u1").tobytes()
            for name, fields in RECORDS.items():
                setattr(self, name, table(program, self.header[name], record(fields)))
            code = next(code for code in self.codes if code["features"] & NPU_CODE)
            self.read_member(archive.read(self.text(code["member"])))

    def text(self, offset):
        return string(self.strings, int(offset))

    def read_member(self, member):
        header = numpy.frombuffer(member, [("magic", "S8"), ("machine", "<u4"), ("reserved", "<u4"), ("file_size", "<u8"),
                                           *((t, SPAN) for t in MEMBER_TABLES)], 1)[0]
        assert header["magic"] == b"HDLNPU01"
        self.machine = next(m for m in MACHINES.values() if m.id == header["machine"])
        tables = {name: table(member, header[name], dtype) for name, dtype in MEMBER_TABLES.items()}
        strings, code, data = tables["strings"].tobytes(), tables["commands"].tobytes(), tables["data"]
        self.kernels = {}
        for f in tables["functions"]:
            first, count = int(f["first_command"]), int(f["command_count"])
            self.kernels[string(strings, int(f["name"]))] = (
                code[64 * first:64 * (first + count)], data[int(f["data_offset"]):int(f["data_offset"] + f["data_bytes"])])

    def shape(self, io, dims):
        return [int(dims[io["dim_id"][i]] if io["dim"][i] < 0 else io["dim"][i]) for i in range(io["rank"])]

    def variant(self, entry_name, rows):
        entry = next(e for e in self.entries if self.text(e["name"]) == entry_name)
        variants = self.variants[entry["first_variant"]:entry["first_variant"] + entry["variant_count"]]
        return entry, next(v for v in variants if v["min_rows"] <= rows <= v["max_rows"])

    def work_rows(self, entry_name, rows):
        """Most rows of a work record; 0 without any."""
        return int(self.variant(entry_name, rows)[1]["work_rows"])

    def run(self, entry_name, inputs, rows, wanted=0, work=(), caches=(), page_table=()):
        """Outputs of an entry. `work`: records of attention, 8 numbers each; `caches`: bytes, which change."""
        entry, variant = self.variant(entry_name, rows)
        dims = [rows, wanted, len(work)]
        ios = self.ios[entry["first_io"]:entry["first_io"] + entry["io_count"]]
        memory = {ARENA: numpy.zeros(int(variant["arena_bytes"]), "u1"), WEIGHT: self.weights,
                  WORK: numpy.array(work, "<i4").reshape(-1).view("u1"), CACHE: caches,
                  PAGE_TABLE: numpy.array(page_table, "<i4").reshape(-1).view("u1")}
        values = []
        for io, given in zip(ios, [*inputs, *[None] * (len(ios) - len(inputs))]):
            dtype, shape = DTYPES[int(io["dtype"])], self.shape(io, dims)
            values.append(numpy.zeros(shape, dtype) if given is None else numpy.ascontiguousarray(given, dtype).reshape(shape))
        for launch in self.launches[variant["first_launch"]:variant["first_launch"] + variant["launch_count"]]:
            self.launch(launch, memory, values, ios, dims)
        return [value for value, io in zip(values, ios) if io["is_output"]]

    def launch(self, launch, memory, values, ios, dims):
        items = int(launch["items_mul"])
        if launch["items_dim"] >= 0:
            items = -(-dims[launch["items_dim"]] * items // int(launch["items_div"]))
        if items == 0:
            return
        code, data = self.kernels[self.text(self.functions[launch["function"]]["name"])]
        regions = [Region(1 << 60, data, False)]
        registers = {1: 1 << 60, 5: items, **{2 + i: value for i, value in enumerate(dims)}}
        first = int(launch["first_operand"])
        for i, operand in enumerate(self.operands[first:first + int(launch["operand_count"])]):
            kind, offset, size = int(operand["kind"]), int(operand["offset"]), int(operand["bytes"])
            if kind == IO:
                place, writable = values[operand["index"]].reshape(-1).view("u1")[offset:], bool(ios[operand["index"]]["is_output"])
            elif kind == CACHE:
                place, writable = memory[kind][operand["index"]], True
            elif kind in (WORK, PAGE_TABLE):  # all of it
                place, writable = memory[kind][offset:], False
            else:
                place, writable = memory[kind][offset:offset + size], kind == ARENA
            regions.append(Region((i + 1) << 40, place, writable))
            registers[8 + i] = (i + 1) << 40
        Execution(code, self.machine, registers, regions, limit=1 << 24).run()


def work_of(sequences, positions, work_rows):
    """heddle_work records of rows without a cache: pieces of at most `work_rows` rows of a sequence; none for 0."""
    out, row = [], 0
    while work_rows and row < len(sequences):
        end = row
        while end < len(sequences) and sequences[end] == sequences[row]:
            end += 1
        for begin in range(row, end, work_rows):
            out.append([begin, min(work_rows, end - begin), sequences[row], positions[begin], row, end - row, 0, 0])
        row = end
    return out


class Session:
    """A text model's sequences: steps append to them."""

    def __init__(self, artifact):
        header = artifact.header
        self.artifact, slots, pages = artifact, int(header["max_slots"]), int(header["max_context"]) // PAGE_TOKENS
        # Any numbering of pages gives the same results.
        self.page_table = numpy.random.default_rng(1).permutation(slots * pages).reshape(slots, pages)
        self.caches = [numpy.zeros(slots * pages * int(cache["page_bytes"]), "u1") for cache in artifact.caches]

    def step(self, tokens, slots, positions, wanted):
        """Logits of the wanted rows."""
        work = work_of(slots, positions, self.artifact.work_rows("step", len(tokens)))
        return self.artifact.run("step", [tokens, slots, positions, wanted], len(tokens), len(wanted), work, self.caches, self.page_table)[0]

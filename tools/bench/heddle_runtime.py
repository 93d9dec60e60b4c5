"""libheddle and libheddle_text through ctypes: compiled models in this process, for measurements and comparisons."""

import ctypes
import json
import os
import pathlib
import zipfile

import numpy

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("HEDDLE_BUILD") or SOURCE / "build")
size_t, u32, u64, i64, pointer = ctypes.c_size_t, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int64, ctypes.c_void_p
MAX_RANK = 4

CPU_LEVELS = {  # HEDDLE_CPU_* masks, as `heddle run --cpu` has them
    "": 0, "x86-64-v3": 1, "x86-64-v3-vnni": 1 | 2, "x86-64-v4-vnni": 1 | 4 | 8, "x86-64-v4-amx": 1 | 4 | 8 | 16 | 32,
}


class Struct(ctypes.Structure):
    """A struct of the C API: zeroed, with struct_size set."""

    def __init__(self, **fields):
        super().__init__(**fields)
        self.struct_size = ctypes.sizeof(self)


class Error(Struct):
    _fields_ = [("struct_size", size_t), ("status", ctypes.c_int), ("message", ctypes.c_char * 512)]


class Source(Struct):
    _fields_ = [("struct_size", size_t), ("kind", ctypes.c_int), ("path", ctypes.c_char_p), ("descriptor", ctypes.c_int),
                ("memory", pointer), ("memory_size", size_t)]


class ModelOptions(Struct):
    _fields_ = [("struct_size", size_t), ("trust", ctypes.c_int), ("trust_digest", pointer), ("trust_callback", pointer),
                ("trust_context", pointer), ("weights", ctypes.c_int), ("cpu_features", u32), ("flags", u32),
                ("max_memory", u64), ("allocator", pointer), ("log", pointer), ("log_context", pointer),
                ("driver", pointer)]


class ModelInfo(Struct):
    _fields_ = [("struct_size", size_t), ("digest", ctypes.c_uint8 * 32), ("entry_count", u32), ("member_count", u32),
                ("max_rows", u32), ("max_wanted", u32), ("max_context", u32), ("max_sequences", u32),
                ("vocabulary", u32), ("code_features", u32), ("code_member", ctypes.c_char_p), ("model_bytes", u64)]


class TeamOptions(Struct):
    _fields_ = [("struct_size", size_t), ("threads", u32), ("flags", u32), ("spin_microseconds", u32)]


class SessionOptions(Struct):
    _fields_ = [("struct_size", size_t), ("sequences", u32), ("context", u32), ("rows", u32), ("wanted", u32),
                ("team", pointer)]


class View(Struct):
    _fields_ = [("struct_size", size_t), ("data", pointer), ("size_bytes", u64), ("dtype", ctypes.c_int), ("rank", u32),
                ("dimension", i64 * MAX_RANK), ("stride", i64 * MAX_RANK)]


class Dimension(ctypes.Structure):
    _fields_ = [("minimum", i64), ("maximum", i64), ("multiple", i64)]


class IoInfo(Struct):
    _fields_ = [("struct_size", size_t), ("name", ctypes.c_char_p), ("dtype", ctypes.c_int), ("is_output", u32), ("rank", u32),
                ("dimension", Dimension * MAX_RANK)]


class EntryInfo(Struct):
    _fields_ = [("struct_size", size_t), ("name", ctypes.c_char_p), ("kind", ctypes.c_int), ("inputs", u32), ("outputs", u32)]


class Step(Struct):
    _fields_ = [("struct_size", size_t), ("tokens", pointer), ("slots", pointer), ("positions", pointer), ("count", u32),
                ("wanted_count", u32), ("wanted", pointer)]


class HeddleError(RuntimeError):
    pass


def _load(name):
    return ctypes.CDLL(str(BUILD / "lib" / name))


_library = None


def library():
    global _library
    if _library is None:
        _library = _load("libheddle.so")
    return _library


def _call(name, *arguments):
    error = Error()
    status = getattr(library(), name)(*arguments, ctypes.byref(error))
    if status:
        raise HeddleError(f"{name}: {error.message.decode(errors='replace')}")


class Model:
    """A compiled model that this process has just compiled itself or otherwise knows."""

    def __init__(self, path, cpu=""):
        self.handle = pointer()
        self.path = pathlib.Path(path)
        options = ModelOptions(trust=1, cpu_features=CPU_LEVELS[cpu])
        _call("heddle_model_open", ctypes.byref(Source(kind=1, path=os.fsencode(path))), ctypes.byref(options),
              ctypes.byref(self.handle))
        self.info = ModelInfo()
        _call("heddle_model_get_info", self.handle, ctypes.byref(self.info))

    @property
    def code(self):
        return self.info.code_member.decode()

    def manifest(self):
        with zipfile.ZipFile(self.path) as archive:
            return json.loads(archive.read("manifest.json"))

    def outputs(self):
        """Names of the first entry's outputs, in order."""
        entry, names = EntryInfo(), []
        _call("heddle_model_entry", self.handle, None, ctypes.byref(entry))
        for io in range(entry.inputs, entry.inputs + entry.outputs):
            info = IoInfo()
            _call("heddle_model_entry_io", self.handle, None, u32(io), ctypes.byref(info))
            names.append(info.name.decode())
        return names

    def close(self):
        _call("heddle_model_close", self.handle)


class Session:
    """A session with a team of its own."""

    def __init__(self, model, threads, sequences=1, rows=0, wanted=0, context=0):
        self.model = model
        self.team, self.handle = pointer(), pointer()
        _call("heddle_team_create", ctypes.byref(TeamOptions(threads=threads)), ctypes.byref(self.team))
        options = SessionOptions(sequences=sequences, rows=rows, wanted=wanted, context=context, team=self.team)
        _call("heddle_session_create", model.handle, ctypes.byref(options), ctypes.byref(self.handle))

    def close(self):
        library().heddle_session_destroy(self.handle)
        _call("heddle_team_destroy", self.team)

    def clear(self, slot=0):
        _call("heddle_sequence_clear", self.handle, u32(slot))

    def trim(self, length, slot=0):
        _call("heddle_sequence_trim", self.handle, u32(slot), u32(length))

    def save(self, slot=0):
        """The sequence's bytes, to be restored into a session of the same model."""
        saved = bytearray()

        @ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer, size_t)
        def write(_, data, size):
            saved.extend(ctypes.string_at(data, size))
            return 0
        _call("heddle_session_save", self.handle, u32(slot), write, None)
        return bytes(saved)

    def restore(self, saved, slot=0):
        at = 0

        @ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer, size_t)
        def read(_, data, size):
            nonlocal at
            if at + size > len(saved):
                return 1
            ctypes.memmove(data, saved[at:at + size], size)
            at += size
            return 0
        _call("heddle_session_restore", self.handle, u32(slot), read, None)

    def step(self, tokens, positions, slots, wanted):
        """Runs rows; returns a view of the output, valid until the next step, or None when nothing is wanted."""
        arrays = [numpy.ascontiguousarray(a, numpy.int32) for a in (tokens, slots, positions)]
        want = None if wanted is None else numpy.ascontiguousarray(wanted, numpy.int32)
        step = Step(tokens=arrays[0].ctypes.data, slots=arrays[1].ctypes.data, positions=arrays[2].ctypes.data,
                    count=len(arrays[0]), wanted_count=0 if want is None else len(want),
                    wanted=None if want is None or not len(want) else want.ctypes.data)
        _call("heddle_session_step", self.handle, None, ctypes.byref(step))
        if want is not None and not len(want):
            return None
        return self.output()

    def output(self, index=0):
        view = View()
        _call("heddle_session_output", self.handle, None, u32(index), ctypes.byref(view))
        shape = tuple(view.dimension[: view.rank])
        data = ctypes.cast(view.data, ctypes.POINTER(ctypes.c_float))
        return numpy.ctypeslib.as_array(data, shape)

    def observed(self):
        """What `heddle compile --observe` added to the last step's outputs: {name without "observe.": view}."""
        prefix = "observe."
        return {name[len(prefix):]: self.output(index) for index, name in enumerate(self.model.outputs())
                if name.startswith(prefix)}

    def append(self, tokens, position, wanted="last", slot=0):
        """One sequence's next tokens."""
        count = len(tokens)
        rows = {"last": [count - 1], "all": range(count), "none": []}[wanted]
        return self.step(tokens, numpy.arange(position, position + count), numpy.full(count, slot), list(rows))

    def logits(self, tokens, chunk, slot=0):
        """[len(tokens), vocabulary] of one sequence from position 0, in chunks."""
        self.clear(slot)
        return numpy.concatenate([self.append(tokens[at:at + chunk], at, "all", slot).copy()
                                  for at in range(0, len(tokens), chunk)])

    def embed(self, sentences):
        """[len(sentences), width] of sentences given as token ids, in one step."""
        tokens = numpy.concatenate([numpy.asarray(sentence) for sentence in sentences])
        positions = numpy.concatenate([numpy.arange(len(sentence)) for sentence in sentences])
        numbers = numpy.concatenate([numpy.full(len(s), index) for index, s in enumerate(sentences)])
        return self.step(tokens, positions, numbers, None)

"""Executable examples as files of IR: what generate.py fills with ops."""

import math

import numpy as np

f32 = np.float32


def number(x):
    x = f32(x)
    if not np.isfinite(x):
        return f"0x{x.view(np.uint32):08X}"
    if x != 0 and not 1e-3 <= abs(x) < 1e6:
        return np.format_float_scientific(x, unique=True, trim="0")
    return np.format_float_positional(x, unique=True, trim="0")


def shape_of(array):
    return "".join(f"{size}x" for size in array.shape)


def dense(array):
    """A dense attribute: f32 for floats, i32 for integers, i8 for bytes."""
    array = np.asarray(array)
    if array.dtype == np.uint8:
        return f'dense<"0x{array.tobytes().hex().upper()}"> : tensor<{len(array)}xi8>'
    element, write = ("i32", str) if array.dtype.kind in "iu" else ("f32", number)

    def nested(part):
        return write(part) if part.ndim == 0 else "[" + ", ".join(map(nested, part)) + "]"

    if array.size == 0:
        return f"dense<> : tensor<{shape_of(array)}{element}>"
    return f"dense<{nested(array)}> : tensor<{shape_of(array)}{element}>"


# CPU levels above x86-64-v3, which every test host has, and the feature that a host needs.
LEVELS = {"x86-64-v3-vnni": "avx_vnni", "x86-64-v4-vnni": "avx512_vnni", "x86-64-v4-amx": "amx_bf16"}


class File:
    def __init__(self, op, comment, levels=LEVELS):
        self.op, self.comment, self.levels = op, comment, levels
        self.data = b""
        self.symbols, self.functions = [], []
        self.vocabulary = 0  # of the entries `step` and `encode`, whose tokens are rows of tables

    def symbol(self, text):
        self.symbols.append("  " + text)

    def stored(self, name, fmt, data, rows, columns):
        """A weight whose bytes the file carries; returns its type."""
        kind = f"!heddle.stored<{rows}x{columns}xf32, #heddle.enc<{fmt}>>"
        self.symbol(f"heddle.param @{name} : {kind} file 0 at {len(self.data)}")
        self.data += data
        return kind

    def function(self, name, arguments, results, body, *calls, entry=None, rows="n", skip=None):
        """`arguments` are (name, type); `calls` are ([inputs], [expected]); `rows` names the results' first dimension.

        `entry` is how compiled code is called where it is not by tensors; `skip` is why compiled code cannot be.
        """
        def dims(kind, dimension):
            if "?" not in kind:
                return ""
            return f' {{heddle.dims = [#heddle.dim<"{dimension}", {0 if dimension == "m" else 1} to 32>]}}'

        written = [f"%{label}: {kind}{dims(kind, 'm' if label == 'wanted' else 'n')}" for label, kind in arguments]
        results = [kind + (dims(kind, rows) if rows != "n" else "") for kind in results]
        attributes = (f'heddle.entry = "{entry}", ' if entry else "") + (f'heddle.skip_compiled = "{skip}", ' if skip else "")
        examples = []
        for inputs, expected in calls:
            lists = [",\n                  ".join(map(dense, arrays)) for arrays in (inputs, expected)]
            examples.append("{inputs = [" + lists[0] + "],\n       expected = [" + lists[1] + "]}")
        lines = "\n".join("    " + line for line in body.strip().splitlines())
        self.functions.append(
            f"  func.func @{name}({', '.join(written)}) -> ({', '.join(results)}) attributes {{{attributes}heddle.example = [\n      "
            + ",\n      ".join(examples) + f"]}} {{\n{lines}\n  }}")

    def text(self):
        attributes = []
        if self.data:
            attributes.append(f"heddle.files = [{dense(np.frombuffer(self.data, np.uint8))}]")
        if self.vocabulary:
            attributes.append(f'heddle.model = {{name = "{self.op}", vocabulary = {self.vocabulary} : i64, max_context = 128 : i64, '
                              "max_slots = 4 : i64, max_rows = 32 : i64}")
        head = " attributes {" + ", ".join(attributes) + "}" if attributes else ""
        runs = ["heddle-run-ir %s", "heddle-run-ir --target interpreter:cpu %s", "heddle-run-ir --target cpu:x86-64-v3 %s"]
        runs = runs[:None if self.levels == LEVELS else -1]
        runs += [f"%if cpu-{feature} %{{ heddle-run-ir --target cpu:{level} %s %}}" if feature else f"heddle-run-ir --target {level} %s"
                 for level, feature in self.levels.items()]
        return (f"// Written by generate.py: {self.comment}\n" + "".join(f"// RUN: {run}\n" for run in runs) + f"\nmodule{head} {{\n"
                + "\n".join(self.symbols) + ("\n\n" if self.symbols else "") + "\n\n".join(self.functions) + "\n}\n")


FILES = []


def file(op, comment, levels=LEVELS):
    """`levels`: those that have code for the file, x86-64-v3 being one of them unless it is named otherwise; without a feature: targets."""
    FILES.append(File(op, comment, levels))
    return FILES[-1]


def generator(op):
    """Random numbers of one file: adding an op changes no other file."""
    return np.random.default_rng(list(op.encode()))


def grid(rng, *shape, step=64, limit=2):
    """Random multiples of 1/step, which print short and are exact in f32."""
    return (rng.integers(-limit * step, limit * step + 1, shape) / step).astype(f32)

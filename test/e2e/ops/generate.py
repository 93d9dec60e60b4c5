#!/usr/bin/env python3
"""Writes the executable examples of all ops, one file per op, next to this script.

    generate.py [--check]

Expected constants are computed here in f64 by formulas written from the ops' descriptions (ir/HeddleOps.td) and
docs/kernel-abi.md, never by Heddle. With --check nothing is written; it fails when a file would change.
"""

import math
import pathlib
import sys

import numpy as np

import weights
from formulas import (
    BINARY, LIMITS, Slots, UNARY, attention, bfloat16, layer_norm, quantize, rms_norm, rope, rope_table)
from gating import make_head_gate, make_linear_select, make_keep_parts  # noqa: F401 (main calls all that are named make_...)
from npu import make_npu_elementwise, make_npu_linear  # noqa: F401
from writing import FILES, dense, file, generator, grid, number, shape_of

HERE = pathlib.Path(__file__).resolve().parent
f32, f64 = np.float32, np.float64


def make_param():
    rng = generator("param")
    f = file("param", "parameters from a file, written out, and derived from others")
    plain, vector = grid(rng, 2, 3), grid(rng, 3)
    f.symbol("heddle.param @file : tensor<2x3xf32> file 0 at 0")
    f.symbol("heddle.param @half : tensor<3xf16> file 0 at 24")
    f.data += plain.tobytes() + vector.astype(np.float16).tobytes()
    f.symbol(f"heddle.param @value : tensor<3xf32> value {dense(vector)}")
    f.symbol("""heddle.param @derived : tensor<3xf32> derived [@value, @doubled] {
  ^bb0(%a: tensor<3xf32>, %b: tensor<3xf32>):
    %0 = heddle.binary <add> %a, %b : tensor<3xf32>
    heddle.yield %0 : tensor<3xf32>
  }""")
    f.symbol("""heddle.param @doubled : tensor<3xf32> derived [@value] {
  ^bb0(%a: tensor<3xf32>):
    %0 = heddle.scale %a by 2.0 : tensor<3xf32>
    heddle.yield %0 : tensor<3xf32>
  }""")
    f.function("from_file", [("x", "tensor<2x3xf32>")], ["tensor<2x3xf32>"], """
%p = heddle.get_param @file : tensor<2x3xf32>
%y = heddle.binary <add> %x, %p : tensor<2x3xf32>
return %y : tensor<2x3xf32>""", ([ones := np.ones((2, 3), f32)], [ones + plain]))
    f.function("written_out_and_derived", [("x", "tensor<3xf32>")], ["tensor<3xf32>", "tensor<3xf32>"], """
%v = heddle.get_param @value : tensor<3xf32>
%d = heddle.get_param @derived : tensor<3xf32>
%y = heddle.binary <mul> %x, %v : tensor<3xf32>
%z = heddle.binary <mul> %x, %d : tensor<3xf32>
return %y, %z : tensor<3xf32>, tensor<3xf32>""", ([x := grid(rng, 3)], [x * vector, x * (3 * vector)]))


def make_embedding():
    rng = generator("embedding")
    f = file("embedding", "rows of a table; indices outside of it are clamped")
    count = 40  # two whole groups of the packed layout, and a part of one
    tokens = np.array([17, 3, 16, 3, -1, 2000000000], np.int32)

    def lookup(name, kind, table, columns, scale=1.0):
        attribute = f" {{scale = {number(scale)} : f32}}" if scale != 1 else ""
        f.function(name, [("tokens", "tensor<?xi32>")], [f"tensor<?x{columns}xf32>"], f"""
%t = heddle.get_param @table_{name} : {kind}
%y = heddle.embedding %t, %tokens{attribute} : {kind}, tensor<?xi32> -> tensor<?x{columns}xf32>
return %y : tensor<?x{columns}xf32>""", ([tokens], [table.astype(f64)[np.clip(tokens, 0, count - 1)] * f64(f32(scale))]))

    for fmt, columns, scale in (("q8_0", 64, 1.0), ("f16", 32, 1.0), ("bf16", 32, 0.3), ("q6_k", 256, 16.0), ("q4_1", 32, 1.0), ("q5_1", 32, 1.0),
                                ("q2_k", 256, 1.0), ("q4_k", 256, 1.0)):
        data = weights.random_blocks(rng, fmt, count, columns)
        kind = f.stored(f"table_{fmt}", fmt, data, count, columns)
        lookup(fmt, kind, weights.decoded(fmt, data, count, columns), columns, scale)
    w = (rng.integers(-64, 65, (count, 128)) / 32).astype(f32)
    source = f.stored("w", "f32", w.tobytes(), count, 128)
    for scheme, fmt in (("int8", "int8"), ("int8-asymmetric", "int8_min"), ("int4-channel", "int4"), ("fp8", "f8e4m3"), ("fp8-block", "f8e4m3_128")):
        kind = rounded_parameter(f, "table_" + scheme.replace("-", "_"), source, scheme, fmt)
        lookup(scheme.replace("-", "_"), kind, rounded_weights(scheme, w), 128)
    table = grid(rng, 3, 4)
    f.symbol(f"heddle.param @table : tensor<3x4xf32> value {dense(table)}")
    f.function("tensor_table", [("tokens", "tensor<?xi32>")], ["tensor<?x4xf32>"], """
%t = heddle.get_param @table : tensor<3x4xf32>
%y = heddle.embedding %t, %tokens : tensor<3x4xf32>, tensor<?xi32> -> tensor<?x4xf32>
return %y : tensor<?x4xf32>""", ([np.array([2, 0, 9], np.int32)], [table[[2, 0, 2]]]))


def make_gather_rows():
    rng = generator("gather_rows")
    f = file("gather_rows", "rows by index, repeated, and clamped where outside")
    x = grid(rng, 5, 8)
    x[1, 2] = np.nan
    indices = np.array([4, 1, 1, -3, 5], np.int32)
    f.function("rows", [("x", "tensor<5x8xf32>"), ("indices", "tensor<?xi32>")], ["tensor<?x8xf32>"], """
%y = heddle.gather_rows %x, %indices : tensor<5x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
return %y : tensor<?x8xf32>""", ([x, indices], [x[np.clip(indices, 0, 4)]]))


def make_linear():
    rng = generator("linear")
    f = file("linear", "dense weights and all block formats, with f32 and with quantized activations")
    for fmt in weights.TYPES:
        columns = 256 if fmt.endswith("_k") or fmt == "iq4_xs" else 64
        out = 17 if fmt in ("f32", "q4_1") else 3  # 17: one more than a row group of the packed layout
        data = weights.random_blocks(rng, fmt, out, columns)
        kind = f.stored(f"w_{fmt}", fmt, data, out, columns)
        get = f"%w = heddle.get_param @w_{fmt} : {kind}\n"
        x = grid(rng, 2, columns, step=8, limit=2)
        xt, yt = f"tensor<?x{columns}xf32>", f"tensor<?x{out}xf32>"
        dense_product = x.astype(f64) @ weights.decoded(fmt, data, out, columns).astype(f64).T
        f.function(f"{fmt}_f32", [("x", xt)], [yt], get + f"%y = heddle.linear %x, %w : {xt}, {kind} -> {yt}\nreturn %y : {yt}",
                   ([x], [dense_product]))
        if fmt in ("f32", "f16", "bf16"):
            continue
        codes, scales, minima = weights.parts(fmt, data, out, columns)
        exact = scales.astype(f64) * codes - minima.astype(f64)
        for act, limit in LIMITS.items():
            qx, dx = quantize(x, limit)
            at = f"!heddle.stored<?x{columns}xf32, #heddle.enc<{act}>>"
            f.function(f"{fmt}_{act}", [("x", xt)], [yt], get + f"""%q = heddle.quantize %x : {xt} -> {at}
%y = heddle.linear %q, %w : {at}, {kind} -> {yt}
return %y : {yt}""", ([x], [(qx * dx) @ exact.T]))
    bias = grid(rng, 17)
    f.symbol(f"heddle.param @b : tensor<17xf32> value {dense(bias)}")
    kind = "!heddle.stored<17x64xf32, #heddle.enc<f32>>"
    rows = np.frombuffer(f.data[:17 * 64 * 4], f32).reshape(17, 64)
    x = grid(rng, 5, 64, step=8)
    f.function("bias", [("x", "tensor<?x64xf32>")], ["tensor<?x17xf32>"], f"""
%w = heddle.get_param @w_f32 : {kind}
%b = heddle.get_param @b : tensor<17xf32>
%y = heddle.linear %x, %w bias %b : tensor<?x64xf32>, {kind}, tensor<17xf32> -> tensor<?x17xf32>
return %y : tensor<?x17xf32>""", ([x], [x.astype(f64) @ rows.T.astype(f64) + bias]),
               ([x[:1]], [x[:1].astype(f64) @ rows.T.astype(f64) + bias]))


def make_linear_tiles():
    rng = generator("linear_tiles")
    f = file("linear_tiles", "activations and weights rounded to bf16, where the level has tiles", {"x86-64-v4-amx": "amx_bf16"})
    for fmt in weights.TYPES:
        if fmt in ("f32", "f16", "bf16"):
            continue
        columns = 256 if fmt.endswith("_k") or fmt == "iq4_xs" else 64
        data = weights.random_blocks(rng, fmt, 5, columns)
        kind = f.stored(f"w_{fmt}", fmt, data, 5, columns)
        at, xt = f"!heddle.stored<?x{columns}xf32, #heddle.enc<act_bf16>>", f"tensor<?x{columns}xf32>"
        w = bfloat16(weights.decoded(fmt, data, 5, columns)).astype(f64)
        x = rng.standard_normal((3, columns)).astype(f32)
        f.function(fmt, [("x", xt)], ["tensor<?x5xf32>"], f"""
%w = heddle.get_param @w_{fmt} : {kind}
%q = heddle.quantize %x : {xt} -> {at}
%y = heddle.linear %q, %w : {at}, {kind} -> tensor<?x5xf32>
return %y : tensor<?x5xf32>""", ([x], [bfloat16(x).astype(f64) @ w.T]))


def make_norms():
    for op, formula in (("rms_norm", rms_norm), ("layer_norm", layer_norm)):
        rng = generator(op)
        f = file(op, "usual rows, a row of zeros, one of equal numbers, and a large epsilon")
        x = grid(rng, 4, 48)
        x[1], x[2] = 0, 0.75
        w, b = grid(rng, 48), grid(rng, 48)
        parameters = [w] if op == "rms_norm" else [w, b]
        names = ["w", "b"][:len(parameters)]
        for name, value in zip(names, parameters):
            f.symbol(f"heddle.param @{name} : tensor<48xf32> value {dense(value)}")
        get = "\n".join(f"%{name} = heddle.get_param @{name} : tensor<48xf32>" for name in names)
        operands, types = ", ".join("%" + name for name in names), ", ".join(["tensor<48xf32>"] * len(names))
        for name, epsilon in (("small_epsilon", 1e-6), ("large_epsilon", 0.5)):
            f.function(name, [("x", "tensor<?x48xf32>")], ["tensor<?x48xf32>"], f"""
{get}
%y = heddle.{op} %x, {operands} {{epsilon = {number(epsilon)} : f32}} : tensor<?x48xf32>, {types}
return %y : tensor<?x48xf32>""", ([x], [formula(x, *(p.astype(f64) for p in parameters), epsilon)]))
        heads = grid(rng, 2, 3, 16)
        short = [p[:16] for p in parameters]
        for name, value in zip(names, short):
            f.symbol(f"heddle.param @{name}16 : tensor<16xf32> value {dense(value)}")
        get = "\n".join(f"%{name} = heddle.get_param @{name}16 : tensor<16xf32>" for name in names)
        types = types.replace("48", "16")
        f.function("heads", [("x", "tensor<?x3x16xf32>")], ["tensor<?x3x16xf32>"], f"""
{get}
%y = heddle.{op} %x, {operands} {{epsilon = {number(1e-5)} : f32}} : tensor<?x3x16xf32>, {types}
return %y : tensor<?x3x16xf32>""", ([heads], [formula(heads, *(p.astype(f64) for p in short), 1e-5)]))


def make_l2_normalize():
    rng = generator("l2_normalize")
    f = file("l2_normalize", "rows of length 1; zeros stay zeros; a row shorter than epsilon")
    x = grid(rng, 3, 24)
    x[1] = 0
    lengths = np.sqrt((x.astype(f64)**2).sum(axis=1, keepdims=True))
    for name, epsilon in (("small_epsilon", 1e-12), ("large_epsilon", 16.0)):
        f.function(name, [("x", "tensor<?x24xf32>")], ["tensor<?x24xf32>"], f"""
%y = heddle.l2_normalize %x {{epsilon = {number(epsilon)} : f32}} : tensor<?x24xf32>
return %y : tensor<?x24xf32>""", ([x], [x / np.maximum(lengths, f64(f32(epsilon)))]))


def make_rope():
    rng = generator("rope")
    f = file("rope", "both pairings, part of a head rotated, positions clamped")
    positions = np.array([0, 5, 11, 12, -2], np.int32)
    for name, columns, interleaved in (("interleaved", 16, True), ("half", 16, False), ("half_partial", 8, False),
                                       ("interleaved_partial", 8, True)):
        table = rope_table(12, columns, 100.0)
        f.symbol(f"heddle.param @table_{name} : tensor<12x{columns}xf32> value {dense(table)}")
        x = grid(rng, 5, 2, 16)
        pairing = "interleaved" if interleaved else "half"
        f.function(name, [("x", "tensor<?x2x16xf32>"), ("positions", "tensor<?xi32>")], ["tensor<?x2x16xf32>"], f"""
%t = heddle.get_param @table_{name} : tensor<12x{columns}xf32>
%y = heddle.rope <{pairing}> %x, %t, %positions : tensor<?x2x16xf32>, tensor<12x{columns}xf32>, tensor<?xi32>
return %y : tensor<?x2x16xf32>""", ([x, positions], [rope(x, table, positions, interleaved)]))


def make_rope_table():
    rng = generator("rope_table")
    f = file("rope_table", "a recipe's table: base, scale, and factors for each frequency")
    factors = np.array([1.0, 2.0, 4.0, 32.0], f32)
    f.symbol(f"heddle.param @factors : tensor<4xf32> value {dense(factors)}")
    for name, attributes, table in (
            ("plain", "{base = 1.0e4 : f64}", rope_table(6, 8, 1e4)),
            ("scaled", "{base = 5.0e5 : f64, scale = 2.5e-01 : f64}", rope_table(6, 8, 5e5, 0.25)),
            ("with_factors", "{base = 1.0e4 : f64}", rope_table(6, 8, 1e4, 1.0, factors.astype(f64)))):
        source = ("%f : tensor<4xf32> ", "[@factors]", "\n  ^bb0(%f: tensor<4xf32>):") if "factors" in name else ("", "[]", "")
        f.symbol(f"""heddle.param @{name} : tensor<6x8xf32> derived {source[1]} {{{source[2]}
    %0 = heddle.rope_table {source[0]}{attributes} -> tensor<6x8xf32>
    heddle.yield %0 : tensor<6x8xf32>
  }}""")
        rows = np.array([0, 1, 5], np.int32)
        f.function(f"read_{name}", [("rows", "tensor<?xi32>")], ["tensor<?x8xf32>"], f"""
%t = heddle.get_param @{name} : tensor<6x8xf32>
%y = heddle.embedding %t, %rows : tensor<6x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
return %y : tensor<?x8xf32>""", ([rows], [table[rows]]))


REGION = """score {{
^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
{score}
}} mask {{{mask}
}}"""
ARGUMENTS = "\n^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):\n"
PLAIN = "  heddle.yield %s : f32"
CAUSAL = ARGUMENTS + "  %see = arith.cmpi sle, %kp, %qp : i32\n  heddle.yield %see : i1"
WINDOW = ARGUMENTS + """  %see = arith.cmpi sle, %kp, %qp : i32
  %w = arith.constant 2 : i32
  %distance = arith.subi %qp, %kp : i32
  %near = arith.cmpi slt, %distance, %w : i32
  %both = arith.andi %see, %near : i1
  heddle.yield %both : i1"""
SOFT_CAP = """  %cap = arith.constant 1.5 : f32
  %scaled = arith.divf %s, %cap : f32
  %bent = math.tanh %scaled : f32
  %capped = arith.mulf %bent, %cap : f32
  heddle.yield %capped : f32"""
SLOPE = """  %distance = arith.subi %kp, %qp : i32
  %real = arith.sitofp %distance : i32 to f32
  %bias = arith.mulf %real, %slope : f32
  %sum = arith.addf %s, %bias : f32
  heddle.yield %sum : f32"""


def causal(q_pos, kv_pos, **_):
    return kv_pos <= q_pos


TOKEN_ENTRY = [("tokens", "tensor<?xi32>"), ("slots", "tensor<?xi32>"), ("positions", "tensor<?xi32>")]


class Rows:
    """What a text entry's tokens stand for: rows of tables, each token used once. Attention's operands come from them."""

    def __init__(self, f, name, rng, **shapes):
        self.f, self.name, self.rng = f, name, rng
        self.shapes = shapes  # of an operand: (heads, width)
        self.tables = {operand: [] for operand in shapes}

    def more(self, count, divisor=1):
        """(tokens, one array for each operand)."""
        first = sum(map(len, next(iter(self.tables.values()))))
        arrays = [grid(self.rng, count, *shape, step=16, limit=1) / f32(divisor) for shape in self.shapes.values()]
        for table, array in zip(self.tables.values(), arrays):
            table.append(array)
        return np.arange(first, first + count, dtype=np.int32), *arrays

    def body(self):
        """Declares the tables, returns the ops that look the tokens up."""
        lines = []
        for operand, (heads, width) in self.shapes.items():
            table = np.concatenate(self.tables[operand]).reshape(-1, heads * width)
            kind, flat = f"tensor<{shape_of(table)}f32>", f"tensor<?x{heads * width}xf32>"
            self.f.symbol(f"heddle.param @{self.name}.{operand} : {kind} value {dense(table)}")
            self.f.vocabulary = max(self.f.vocabulary, len(table))
            lines += [f"%{operand}t = heddle.get_param @{self.name}.{operand} : {kind}",
                      f"%{operand}f = heddle.embedding %{operand}t, %tokens : {kind}, tensor<?xi32> -> {flat}",
                      f"%{operand} = heddle.reshape %{operand}f : {flat} -> tensor<?x{heads}x{width}xf32>"]
        return "\n".join(lines)


def wanted_rows(heads, width, results=("%o",)):
    """Ends a `step` function: the wanted rows of attention's results, heads joined."""
    flat, lines = f"tensor<?x{heads * width}xf32>", []
    for i, result in enumerate(results):
        lines += [f"%flat{i} = heddle.reshape {result} : tensor<?x{heads}x{width}xf32> -> {flat}",
                  f"%y{i} = heddle.gather_rows %flat{i}, %wanted : {flat}, tensor<?xi32> -> {flat}"]
    lines.append("return " + ", ".join(f"%y{i}" for i in range(len(results))) + " : " + ", ".join([flat] * len(results)))
    return "\n".join(lines), [flat] * len(results)


def make_attention():
    rng = generator("attention")
    f = file("attention", "cached and not, grouped heads, window, soft-cap, several slots, captured values, nothing visible")
    attention_file = f

    def cached(name, calls, heads, kv_heads, width, value_width, score, mask, formula, before="", scale=0.25, split=False):
        cache = f"!heddle.kv_cache<{kv_heads}x{width}x{value_width}xf16>"
        f.symbol(f"heddle.cache @kv_{name} : {cache}")
        tables = Rows(f, name, rng, q=(heads, width), k=(kv_heads, width), v=(kv_heads, value_width))
        q, k, v = (f"tensor<?x{h}x{w}xf32>" for h, w in tables.shapes.values())
        state, examples = Slots(), []
        for slots, positions in calls:
            tokens, queries, keys, values = tables.more(len(slots))
            slots, positions = np.array(slots, np.int32), np.array(positions, np.int32)
            state.append(keys, values, slots, positions)
            result = attention(queries, state.visible, slots, positions, scale, kv_heads, value_width, **formula)
            wanted = np.arange(len(slots), dtype=np.int32)[len(slots) // 4:]
            examples.append(([tokens, slots, positions, wanted], [result.reshape(len(slots), -1)[wanted]]))
        end, results = wanted_rows(heads, value_width)
        out, attended = f"tensor<?x{heads}x{value_width}xf32>", "%o"
        if split:  # 128 positions are one chunk
            parts, attended = f"tensor<?x{heads}x1x{value_width + 2}xf32>", "%parts"
            end = f"%o = heddle.merge_chunks %parts at %positions : {parts}, tensor<?xi32> -> {out}\n{end}"
            out = parts
        f.function(name, TOKEN_ENTRY + [("wanted", "tensor<?xi32>")], results, f"""
{tables.body()}
%c = heddle.get_cache @kv_{name} : {cache}{before}
{attended} = heddle.attention %q keys %k values %v cache %c at %slots, %positions {{scale = {number(scale)} : f32}} {REGION.format(score=score, mask=mask)} : {q}, {k}, {v} cache {cache}, tensor<?xi32>, tensor<?xi32> -> {out}
{end}""", *examples, entry="step", rows="m")

    prefill_then_decode = [([0] * 5, range(5)), ([0], [5]), ([0], [6])]
    two_slots = [([0, 0, 0, 1, 1], [0, 1, 2, 0, 1]), ([0, 1], [3, 2]), ([1, 0, 0], [3, 4, 5])]
    cached("causal", prefill_then_decode, 2, 2, 16, 16, PLAIN, CAUSAL, dict(mask=causal))
    cached("grouped_heads_two_slots", two_slots, 6, 2, 16, 16, PLAIN, CAUSAL, dict(mask=causal))
    cached("window", [([0] * 6, range(6)), ([0], [6])], 4, 1, 16, 16, PLAIN, WINDOW,
           dict(mask=lambda q_pos, kv_pos, **_: kv_pos <= q_pos and q_pos - kv_pos < 2))
    cached("soft_cap", two_slots, 2, 1, 16, 16, SOFT_CAP, CAUSAL, dict(mask=causal, score=lambda s, **_: 1.5 * math.tanh(s / 1.5)))
    cached("no_mask_sees_the_past", prefill_then_decode, 2, 1, 16, 16, PLAIN, "", {})
    cached("wide_values", two_slots, 2, 1, 16, 32, PLAIN, CAUSAL, dict(mask=causal), scale=0.3)
    cached("captured_slope", prefill_then_decode, 2, 1, 16, 16, SLOPE, CAUSAL,
           dict(mask=causal, score=lambda s, q_pos, kv_pos, **_: s + 0.5 * (kv_pos - q_pos)), before="\n%slope = arith.constant 0.5 : f32")
    cached("slot_used_again", [([0] * 4, range(4)), ([0] * 2, range(2)), ([0], [2])], 2, 1, 16, 16, PLAIN, CAUSAL, dict(mask=causal))

    f = file("merge_chunks", "attention whose chunks another kernel merges")
    cached("chunks_merged_after", two_slots, 6, 2, 16, 16, PLAIN, WINDOW, split=True,
           formula=dict(mask=lambda q_pos, kv_pos, **_: kv_pos <= q_pos and q_pos - kv_pos < 2))

    f = attention_file
    # Without a cache: rows see the rows of their own text, both ways.
    hidden = ARGUMENTS + """  %zero = arith.constant 0 : i32
  %two = arith.constant 2 : i32
  %odd = arith.remsi %qp, %two : i32
  %see = arith.cmpi eq, %odd, %zero : i32
  heddle.yield %see : i1"""
    slots, positions = np.array([0, 0, 0, 1, 1, 2], np.int32), np.array([0, 1, 2, 0, 1, 0], np.int32)
    for name, mask, formula in (("no_cache_both_ways", "", {}), ("no_cache_causal", CAUSAL, dict(mask=causal)),
                                ("nothing_visible_is_zero", hidden, dict(mask=lambda q_pos, **_: q_pos % 2 == 0))):
        tables = Rows(f, name, rng, q=(4, 16), k=(2, 16), v=(2, 16))
        tokens, q, k, v = tables.more(6)

        def same_text(slot, _):
            return [(positions[j], k[j].astype(f64), v[j].astype(f64)) for j in range(6) if slots[j] == slot]

        rows = attention(q, same_text, slots, positions, 0.25, 2, 16, **formula).reshape(6, 64)
        f.function(name, TOKEN_ENTRY, ["tensor<?x64xf32>"], f"""
{tables.body()}
%o = heddle.attention %q keys %k values %v at %slots, %positions {{scale = 0.25 : f32}} {REGION.format(score=PLAIN, mask=mask)} : tensor<?x4x16xf32>, tensor<?x2x16xf32>, tensor<?x2x16xf32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32>
%flat = heddle.reshape %o : tensor<?x4x16xf32> -> tensor<?x64xf32>
%y = heddle.pool_rows <last> %flat, %slots : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
return %y : tensor<?x64xf32>""", ([tokens, slots, positions], [rows[[2, 4, 5]]]), entry="encode", rows="s")


def make_selections():
    """Small texts without a cache, for each op that attention takes selections or numbers from; test/e2e/attention has large ones."""
    slots, positions = np.array([0, 0, 0, 1, 1, 2], np.int32), np.array([0, 1, 2, 0, 1, 0], np.int32)
    types = "tensor<?x4x16xf32>, tensor<?x2x16xf32>, tensor<?x2x16xf32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32>"

    def text(f, name, rng, before, options, score, formula, mask=CAUSAL):
        tables = Rows(f, name, rng, q=(4, 16), k=(2, 16), v=(2, 16))
        tokens, q, k, v = tables.more(6)

        def same_text(slot, _):
            return [(positions[j], k[j].astype(f64), v[j].astype(f64)) for j in range(6) if slots[j] == slot]

        rows = attention(q, same_text, slots, positions, 0.25, 2, 16, **formula(q, same_text)).reshape(6, 64)
        f.function(name, TOKEN_ENTRY, ["tensor<?x64xf32>"], f"""
{tables.body()}{before}
%o = heddle.attention %q keys %k values %v at %slots, %positions {options} {{scale = 0.25 : f32}} {REGION.format(score=score, mask=mask)} : {types}
%flat = heddle.reshape %o : tensor<?x4x16xf32> -> tensor<?x64xf32>
%y = heddle.pool_rows <last> %flat, %slots : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
return %y : tensor<?x64xf32>""", ([tokens, slots, positions], [rows[[2, 4, 5]]]), entry="encode", rows="s")

    rng = generator("element")
    f = file("element", "numbers of tensors in the score region: by head, by distance, indices clamped")
    bias = grid(rng, 4, 2)
    f.symbol(f"heddle.param @bias : tensor<4x2xf32> value {dense(bias)}")
    score = """  %distance = arith.subi %qp, %kp : i32
  %b = heddle.element %bias[%qh, %distance] : tensor<4x2xf32>
  %y = arith.addf %s, %b : f32
  heddle.yield %y : f32"""
    text(f, "by_head_and_distance", rng, "\n%bias = heddle.get_param @bias : tensor<4x2xf32>", "", score,
         lambda *_: dict(mask=causal, score=lambda s, q_head, q_pos, kv_pos, **_: s + f64(bias[q_head, np.clip(q_pos - kv_pos, 0, 1)])))

    rng = generator("mask_bounds")
    f = file("mask_bounds", "masks that bound the key's position by each comparison, on either side of it")
    for predicate, compare in (("slt", np.less), ("sle", np.less_equal), ("sgt", np.greater), ("sge", np.greater_equal), ("eq", np.equal)):
        for key_first in (True, False):
            names = "%kp, %other" if key_first else "%other, %kp"
            mask = ARGUMENTS + f"""  %one = arith.constant 1 : i32
  %other = arith.subi %qp, %one : i32
  %see = arith.cmpi {predicate}, {names} : i32
  heddle.yield %see : i1"""

            def sees(q_pos, kv_pos, compare=compare, key_first=key_first, **_):
                return bool(compare(kv_pos, q_pos - 1) if key_first else compare(q_pos - 1, kv_pos))

            text(f, f"{'key' if key_first else 'row'}_{predicate}", rng, "", "", PLAIN, lambda *_: dict(mask=sees), mask=mask)

    rng = generator("top_k")
    f = file("top_k", "the two tokens of largest scores over all heads")
    top = f"""
%top = heddle.top_k 2 of %q keys %k at %slots, %positions {{scale = 0.25 : f32}} {REGION.format(score=PLAIN, mask=CAUSAL)} : tensor<?x4x16xf32>, tensor<?x2x16xf32>, tensor<?xi32>, tensor<?xi32> -> !heddle.selection<tokens, ?x32>"""

    def two_best(q, same_text):
        def mask(q_pos, kv_pos, slot, **_):
            row = int(np.flatnonzero((slots == slot) & (positions == q_pos))[0])
            sums = {p: sum(0.25 * (q[row, h].astype(f64) @ keys[h // 2]) for h in range(4))
                    for p, keys, _ in same_text(slot, 0) if p <= q_pos}
            return kv_pos in sorted(sums, key=lambda p: (-sums[p], p))[:2]
        return dict(mask=mask)

    text(f, "two_of_three", rng, top, "select(%top : !heddle.selection<tokens, ?x32>)", PLAIN, two_best)

    rng = generator("select_blocks")
    f = file("select_blocks", "blocks where a table is positive, by position; a query block that reads none yields zeros")
    for name, layout in (("first_block", [[1.0, -1.0]]), ("no_block", [[0.0, np.nan]]), ("first_block_by_row", [[1.0, -1.0], [-1.0, 1.0]])):
        layout = np.array(layout, f32)
        table = f"tensor<{len(layout)}x2xf32>"
        f.symbol(f"heddle.param @{name} : {table} value {dense(layout)}")
        before = f"""
%layout = heddle.get_param @{name} : {table}
%blocks = heddle.select_blocks %layout at %positions : {table}, tensor<?xi32> -> !heddle.selection<blocks, ?x2, 16>"""
        sees = bool(layout[0, 0] > 0)
        text(f, f"{name}_of_two", rng, before, "select(%blocks : !heddle.selection<blocks, ?x2, 16>)", PLAIN,
             lambda *_: dict(mask=lambda q_pos, kv_pos, **_: sees and kv_pos <= q_pos))


def make_cache_append():
    rng = generator("cache_append")
    f = file("cache_append", "keys and values stored apart from attention, rounded to the cache's type")
    cache = "!heddle.kv_cache<1x16x16xf16>"
    f.symbol(f"heddle.cache @kv : {cache}")
    tables = Rows(f, "rows", rng, q=(1, 16), k=(1, 16), v=(1, 16))
    state, examples = Slots(), []
    for slots, positions in (([0, 0, 1], [0, 1, 0]), ([1, 0], [1, 2])):
        tokens, q, k, v = tables.more(len(slots), divisor=3)  # 1/3 is not an f16: the rounding shows
        slots, positions = np.array(slots, np.int32), np.array(positions, np.int32)
        state.append(k, v, slots, positions)
        result = attention(q, state.visible, slots, positions, 0.25, 1, 16, mask=causal)
        examples.append(([tokens, slots, positions, np.arange(len(slots), dtype=np.int32)], [result[:, 0]]))
    t = "tensor<?x1x16xf32>"
    end, results = wanted_rows(1, 16)
    f.function("append_then_attend", TOKEN_ENTRY + [("wanted", "tensor<?xi32>")], results, f"""
{tables.body()}
%c = heddle.get_cache @kv : {cache}
heddle.cache_append %c, %k, %v at %slots, %positions : {cache}, {t}, {t}, tensor<?xi32>, tensor<?xi32>
%o = heddle.attention %q cache %c at %slots, %positions {{scale = 0.25 : f32}} {REGION.format(score=PLAIN, mask=CAUSAL)} : {t} cache {cache}, tensor<?xi32>, tensor<?xi32> -> {t}
{end}""", *examples, entry="step", rows="m")


def make_cache_codes():
    rng = generator("cache_codes")
    f = file("cache_codes", "keys and values stored in 8 bits, with a scale for each token and head")
    for element in ("i8", "f8E4M3FN"):
        cache = f"!heddle.kv_cache<2x24x20x{element}>"
        f.symbol(f"heddle.cache @kv.{element} : {cache}")
        tables = Rows(f, element, rng, q=(4, 24), k=(2, 24), v=(2, 20))
        state, examples = Slots(element), []
        for slots, positions in (([0] * 19 + [1], [*range(19), 0]), ([1, 0], [1, 19])):  # more than 16 keys, which lie together
            tokens, q, k, v = tables.more(len(slots), divisor=3)
            sizes = f32(2) ** rng.integers(-9, 9, (2, len(slots), 2, 1)).astype(f32)
            k *= np.minimum(sizes[0], 4)
            v *= sizes[1]
            v[1, 0] = 0  # no scale tells zeros apart
            slots, positions = np.array(slots, np.int32), np.array(positions, np.int32)
            state.append(k, v, slots, positions)
            result = attention(q, state.visible, slots, positions, 0.25, 2, 20, mask=causal)
            examples.append(([tokens, slots, positions, np.arange(len(slots), dtype=np.int32)], [result.reshape(len(slots), -1)]))
        tq, tk, tv = (f"tensor<?x{heads}x{width}xf32>" for heads, width in ((4, 24), (2, 24), (2, 20)))
        to = "tensor<?x4x20xf32>"
        end, results = wanted_rows(4, 20)
        f.function(f"stored_as_{element.lower()}", TOKEN_ENTRY + [("wanted", "tensor<?xi32>")], results, f"""
{tables.body()}
%c = heddle.get_cache @kv.{element} : {cache}
%o = heddle.attention %q keys %k values %v cache %c at %slots, %positions {{scale = 0.25 : f32}} {REGION.format(score=PLAIN, mask=CAUSAL)} : {tq}, {tk}, {tv} cache {cache}, tensor<?xi32>, tensor<?xi32> -> {to}
{end}""", *examples, entry="step", rows="m")


def make_cache():
    rng = generator("cache")
    f = file("cache", "two caches keep their own tokens; calls see what earlier ones stored")
    cache = "!heddle.kv_cache<1x16x16xf16>"
    f.symbol(f"heddle.cache @kv.0 : {cache}")
    f.symbol(f"heddle.cache @kv.1 : {cache}")
    tables = Rows(f, "rows", rng, x=(1, 16))
    states, examples = [Slots(), Slots()], []
    t = "tensor<?x1x16xf32>"
    for position in range(3):
        tokens, x = tables.more(1)
        slots, positions = np.zeros(1, np.int32), np.array([position], np.int32)
        states[0].append(x, x, slots, positions)
        states[1].append(2 * x, x, slots, positions)
        both = [attention(x, state.visible, slots, positions, 0.25, 1, 16, mask=causal)[:, 0] for state in states]
        examples.append(([tokens, slots, positions, np.zeros(1, np.int32)], [both[0] + both[1]]))
    body = [tables.body(), f"%two = heddle.scale %x by 2.0 : {t}"]
    for i, keys in enumerate(("%x", "%two")):
        body += [f"%c{i} = heddle.get_cache @kv.{i} : {cache}",
                 f"%o{i} = heddle.attention %x keys {keys} values %x cache %c{i} at %slots, %positions {{scale = 0.25 : f32}} "
                 f"{REGION.format(score=PLAIN, mask=CAUSAL)} : {t}, {t}, {t} cache {cache}, tensor<?xi32>, tensor<?xi32> -> {t}"]
    end, results = wanted_rows(1, 16)
    body += [f"%o = heddle.binary <add> %o0, %o1 : {t}", end]
    f.function("two_caches", TOKEN_ENTRY + [("wanted", "tensor<?xi32>")], results, "\n".join(body), *examples, entry="step", rows="m")


def make_elementwise():
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-30, 88.0, -88.0], f32)
    rng = generator("unary")
    f = file("unary", "each function, on usual numbers and at the ends of its range")
    for kind, formula in UNARY.items():
        x = np.stack([np.linspace(-6, 6, 16).astype(f32), grid(rng, 16, limit=8),
                      np.concatenate([np.full(8, 0.5, f32), special[[0, 1, 4, 5, 6, 7, 5, 0]]])])
        with np.errstate(over="ignore"):
            y = formula(x.astype(f64))
        f.function(kind, [("x", "tensor<?x16xf32>")], ["tensor<?x16xf32>"],
                   f"%y = heddle.unary <{kind}> %x : tensor<?x16xf32>\nreturn %y : tensor<?x16xf32>", ([x], [y]))
    f.function("ends", [("x", "tensor<?x4xf32>")], ["tensor<?x4xf32>"] * 4,
               "\n".join(f"%{kind} = heddle.unary <{kind}> %x : tensor<?x4xf32>" for kind in ("tanh", "sigmoid", "relu", "exp"))
               + "\nreturn %tanh, %sigmoid, %relu, %exp : " + ", ".join(["tensor<?x4xf32>"] * 4),
               ([np.array([[np.inf, -np.inf, np.nan, 100]], f32)],
                [np.array([y], f32) for y in ([1, -1, np.nan, 1], [1, 0, np.nan, 1], [np.inf, 0, np.nan, 100], [np.inf, 0, np.nan, np.inf])]))
    rng = generator("binary")
    f = file("binary", "each function, signed zeros, infinities and NaN included")
    for kind, formula in BINARY.items():
        a, b = grid(rng, 2, 12), grid(rng, 2, 12)
        b[b == 0] = 1
        a[1, :6] = [np.nan, 1, np.inf, -np.inf, 0, 3e38]
        b[1, :6] = [1, np.nan, 2, 1, 2, 2]
        with np.errstate(over="ignore", invalid="ignore"):
            y = formula(a.astype(f64), b.astype(f64))
            y = np.where(np.abs(y) > np.finfo(f32).max, np.sign(y) * np.inf, y)
        t = "tensor<?x12xf32>"
        f.function(kind, [("a", t), ("b", t)], [t], f"%y = heddle.binary <{kind}> %a, %b : {t}\nreturn %y : {t}", ([a, b], [y]))
    rng = generator("scale")
    f = file("scale", "by a constant that is not a power of two, by one, by zero")
    x = grid(rng, 2, 8)
    for name, factor in (("third", 1 / 3), ("one", 1.0), ("zero", 0.0)):
        t = "tensor<?x8xf32>"
        f.function(name, [("x", t)], [t], f"%y = heddle.scale %x by {number(factor)} : {t}\nreturn %y : {t}",
                   ([x], [x.astype(f64) * f64(f32(factor))]))


def make_reshape():
    rng = generator("reshape")
    f = file("reshape", "heads apart and together again")
    x = grid(rng, 3, 12)
    f.function("split_heads", [("x", "tensor<?x12xf32>")], ["tensor<?x3x4xf32>"], """
%y = heddle.reshape %x : tensor<?x12xf32> -> tensor<?x3x4xf32>
return %y : tensor<?x3x4xf32>""", ([x], [x.reshape(3, 3, 4)]))
    f.function("join_heads", [("x", "tensor<?x3x4xf32>")], ["tensor<?x12xf32>"], """
%y = heddle.reshape %x : tensor<?x3x4xf32> -> tensor<?x12xf32>
return %y : tensor<?x12xf32>""", ([x.reshape(3, 3, 4)], [x]))


def make_pool_rows():
    rng = generator("pool_rows")
    f = file("pool_rows", "mean, first and last row of texts, and a text without rows")
    pick = {"mean": lambda g: g.mean(axis=0), "first": lambda g: g[0], "last": lambda g: g[-1]}
    for kind, formula in pick.items():
        tables = Rows(f, kind, rng, x=(1, 8))
        tokens, x = tables.more(7)
        texts, positions = np.array([0, 0, 0, 1, 2, 2, 2], np.int32), np.array([0, 1, 2, 0, 0, 1, 2], np.int32)
        groups = [x[texts == s][:, 0].astype(f64) for s in range(3)]
        f.function(kind, TOKEN_ENTRY, ["tensor<?x8xf32>"], f"""
{tables.body()}
%y = heddle.pool_rows <{kind}> %xf, %slots : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
return %y : tensor<?x8xf32>""",
                   ([tokens, texts, positions], [np.array([formula(g) for g in groups])]), entry="encode", rows="s")
    x, sequences = grid(rng, 3, 8), np.array([0, 2, 2], np.int32)
    y = np.array([x[0], np.zeros(8), x[1:].astype(f64).mean(axis=0)])
    f.function("text_without_rows", [("x", "tensor<?x8xf32>"), ("sequences", "tensor<?xi32>")], ["tensor<?x8xf32>"], """
%y = heddle.pool_rows <mean> %x, %sequences : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
return %y : tensor<?x8xf32>""", ([x, sequences], [y]), rows="s", skip="entries number their texts without gaps")


def make_quantize():
    rng = generator("quantize")
    f = file("quantize", "codes and scales, seen through dequantize: ties to even, zeros, infinities and NaN in a block")
    x = grid(rng, 5, 64)
    x[1, :32] = 0
    x[4, :32] *= f32(1e-38)  # the scale's inverse is infinite
    x[4, 32:] *= f32(1e-30)
    x[2, 5], x[2, 40] = np.inf, np.nan
    x[3, :32] = np.arange(32) / 2 - 7.5  # with amax 127: every half is a tie
    x[3, 0] = 127
    for act, limit in LIMITS.items():
        codes, scales = quantize(x, limit)
        f.function(act, [("x", "tensor<?x64xf32>")], ["tensor<?x64xf32>"], f"""
%q = heddle.quantize %x : tensor<?x64xf32> -> !heddle.stored<?x64xf32, #heddle.enc<{act}>>
%y = heddle.dequantize %q : !heddle.stored<?x64xf32, #heddle.enc<{act}>> -> tensor<?x64xf32>
return %y : tensor<?x64xf32>""", ([x], [codes * scales]))
    few = grid(rng, 3, 64)
    codes, scales = quantize(2 * few, LIMITS["act_i8"])
    f.function("read_beside", [("x", "tensor<?x64xf32>")], ["tensor<?x64xf32>", "tensor<?x64xf32>"], """
%s = heddle.scale %x by 2.0 : tensor<?x64xf32>
%q = heddle.quantize %s : tensor<?x64xf32> -> !heddle.stored<?x64xf32, #heddle.enc<act_i8>>
%z = heddle.binary <mul> %s, %x : tensor<?x64xf32>
%y = heddle.dequantize %q : !heddle.stored<?x64xf32, #heddle.enc<act_i8>> -> tensor<?x64xf32>
return %y, %z : tensor<?x64xf32>, tensor<?x64xf32>""", ([few], [codes * scales, 2 * few.astype(f64)**2]))
    f = file("quantize_static", "codes with a scale that is known: what lies beyond it gets the largest code, what is not finite the code 0")
    for act, limit in LIMITS.items():
        scale = f32(1.5) / f32(limit)  # of numbers up to 2 in the first rows, 7.5 in the fourth
        scaled = np.where(np.isfinite(x), np.clip(x * (f32(1) / scale), -limit, limit), f32(0))
        f.function(act, [("x", "tensor<?x64xf32>")], ["tensor<?x64xf32>"], f"""
%q = heddle.quantize %x {{scale = {float(scale)!r} : f32}} : tensor<?x64xf32> -> !heddle.stored<?x64xf32, #heddle.enc<{act}>>
%y = heddle.dequantize %q : !heddle.stored<?x64xf32, #heddle.enc<{act}>> -> tensor<?x64xf32>
return %y : tensor<?x64xf32>""", ([x], [np.rint(scaled).astype(f64) * f64(scale)]))
    f = file("quantize_bf16", "activations rounded to bf16, seen through dequantize")
    f.function("act_bf16", [("x", "tensor<?x64xf32>")], ["tensor<?x64xf32>"], """
%q = heddle.quantize %x : tensor<?x64xf32> -> !heddle.stored<?x64xf32, #heddle.enc<act_bf16>>
%y = heddle.dequantize %q : !heddle.stored<?x64xf32, #heddle.enc<act_bf16>> -> tensor<?x64xf32>
return %y : tensor<?x64xf32>""", ([x], [bfloat16(x)]))


def make_dequantize():
    rng = generator("dequantize")
    f = file("dequantize", "a recipe that decodes weights, in every format")
    for fmt in weights.TYPES:
        columns = 256 if fmt.endswith("_k") or fmt == "iq4_xs" else 32
        data = weights.random_blocks(rng, fmt, 2, columns)
        kind = f.stored(fmt, fmt, data, 2, columns)
        plain = f"tensor<2x{columns}xf32>"
        f.symbol(f"""heddle.param @decoded_{fmt} : {plain} derived [@{fmt}] {{
  ^bb0(%w: {kind}):
    %0 = heddle.dequantize %w : {kind} -> {plain}
    heddle.yield %0 : {plain}
  }}""")
        f.function(f"read_{fmt}", [("rows", "tensor<?xi32>")], [f"tensor<?x{columns}xf32>"], f"""
%t = heddle.get_param @decoded_{fmt} : {plain}
%y = heddle.embedding %t, %rows : {plain}, tensor<?xi32> -> tensor<?x{columns}xf32>
return %y : tensor<?x{columns}xf32>""", ([np.arange(2, dtype=np.int32)], [weights.decoded(fmt, data, 2, columns)]))


def make_pack():
    rng = generator("pack")
    f = file("pack", "a packed weight holds the same numbers")
    for fmt, out, columns in (("q4_1", 20, 64), ("q6_k", 3, 256), ("f16", 5, 32)):
        data = weights.random_blocks(rng, fmt, out, columns)
        rows = f.stored(f"rows_{fmt}", fmt, data, out, columns)
        packed = rows.replace(f"<{fmt}>", f"<{fmt}, w16>")
        f.symbol(f"""heddle.param @packed_{fmt} : {packed} derived [@rows_{fmt}] {{
  ^bb0(%w: {rows}):
    %0 = heddle.pack %w : {rows} -> {packed}
    heddle.yield %0 : {packed}
  }}""")
        x = grid(rng, 2, columns, step=8)
        xt, yt = f"tensor<?x{columns}xf32>", f"tensor<?x{out}xf32>"
        if fmt == "f16":
            body, product = f"%y = heddle.linear %x, %w : {xt}, {packed} -> {yt}", x.astype(f64) @ weights.decoded(fmt, data, out, columns).T.astype(f64)
        else:
            act = f"!heddle.stored<?x{columns}xf32, #heddle.enc<act_i8>>"
            codes, scales, minima = weights.parts(fmt, data, out, columns)
            qx, dx = quantize(x, 127)
            product = (qx * dx) @ (scales.astype(f64) * codes - minima.astype(f64)).T
            body = f"%q = heddle.quantize %x : {xt} -> {act}\n%y = heddle.linear %q, %w : {act}, {packed} -> {yt}"
        f.function(f"linear_{fmt}", [("x", xt)], [yt], f"%w = heddle.get_param @packed_{fmt} : {packed}\n{body}\nreturn %y : {yt}",
                   ([x], [product]))


def rounded_weights(scheme, w):
    """The f32 weights that a scheme of docs/quantization.md leaves of `w`, from its definition."""
    def half(scale):
        return scale.astype(f32).astype(np.float16).astype(f32)

    rows, columns = w.shape
    if scheme == "bf16":
        bits = w.view(np.uint32).astype(np.uint64)
        return ((bits + 0x7fff + (bits >> 16 & 1) >> 16 << 16).astype(np.uint32)).view(f32)
    kind, _, rest = scheme.partition("-")
    if kind == "fp8":
        side = 128 if rest == "block" else None
        scale = np.zeros_like(w)
        for r in range(rows):
            for c in range(columns):
                group = (w if rest == "tensor" else w[r // 128 * 128:r // 128 * 128 + 128, c // side * side:c // side * side + side]
                         if side else w[r])
                scale[r, c] = f32(np.abs(group).max()) / f32(448)
        ratio = np.abs(w / scale)
        quantum = 2.0**(np.maximum(np.floor(np.log2(np.maximum(ratio, 1e-30))), -6) - 3)
        return (scale * (np.sign(w) * np.minimum(np.rint(ratio / quantum) * quantum, 448)).astype(f32)).astype(f32)
    group = {"": columns if kind == "int8" else 32, "tensor": rows * columns, "channel": columns, "g128": 128, "g32": 32,
             "asymmetric": columns if kind == "int8" else 32}[rest]
    groups = w.reshape(-1, group)
    if rest == "asymmetric":
        least, most = np.minimum(groups.min(1), 0), np.maximum(groups.max(1), 0)
        scale, minimum = half((most - least) / f32(2**int(kind[3:]) - 1))[:, None], half(-least)[:, None]
        codes = np.clip(np.rint((groups + minimum) / scale), 0, 2**int(kind[3:]) - 1)
        return ((scale * codes).astype(f32) - minimum).reshape(w.shape)
    extreme = np.where(groups.max(1) > -groups.min(1), groups.max(1), groups.min(1))
    most = 2**(int(kind[3:]) - 1)
    scale = half(np.abs(extreme) / f32(127) if kind == "int8" else -extreme / f32(most))[:, None]
    codes = np.clip(np.rint(groups / scale), -127 if kind == "int8" else -most, most - 1)
    return (scale * codes).astype(f32).reshape(w.shape)


def rounded_parameter(f, name, source, scheme, fmt):
    """A parameter that a recipe rounds from @w; returns its type."""
    kind = source.replace("<f32>", f"<{fmt}>")
    f.symbol(f"""heddle.param @{name} : {kind} derived [@w] {{
  ^bb0(%w: {source}):
    %0 = heddle.quantize_weights %w {{scheme = "{scheme}"}} : {source} -> {kind}
    heddle.yield %0 : {kind}
  }}""")
    return kind


def make_quantize_weights():
    rng = generator("quantize_weights")
    f = file("quantize_weights", "weights rounded by a recipe, scheme by scheme, and what products with them give")
    out, columns = 18, 128
    w = (rng.standard_normal((out, columns)) * rng.uniform(0.2, 3, (out, 1))).astype(f32)
    source = f.stored("w", "f32", w.tobytes(), out, columns)
    x = grid(rng, 3, columns, step=8)
    xt, yt, act = f"tensor<?x{columns}xf32>", f"tensor<?x{out}xf32>", f"!heddle.stored<?x{columns}xf32, #heddle.enc<act_i16>>"
    qx, dx = quantize(x, LIMITS["act_i16"])
    for scheme, fmt in (("int4", "q4_0"), ("int4-asymmetric", "q4_1"), ("int4-g128", "int4_128"), ("int4-channel", "int4"), ("int5", "q5_0"),
                        ("int8", "int8"), ("int8-tensor", "int8"), ("int8-asymmetric", "int8_min"), ("int8-g32", "q8_0"),
                        ("fp8", "f8e4m3"), ("fp8-tensor", "f8e4m3"), ("fp8-block", "f8e4m3_128"), ("bf16", "bf16")):
        name = "w_" + scheme.replace("-", "_")
        kind = rounded_parameter(f, name, source, scheme, fmt)
        rounded = rounded_weights(scheme, w).astype(f64)
        if scheme.startswith("int"):
            body, product = f"%q = heddle.quantize %x : {xt} -> {act}\n%y = heddle.linear %q, %w : {act}, {kind} -> {yt}", (qx * dx) @ rounded.T
        else:
            body, product = f"%y = heddle.linear %x, %w : {xt}, {kind} -> {yt}", x.astype(f64) @ rounded.T
        f.function(name[2:], [("x", xt)], [yt], f"%w = heddle.get_param @{name} : {kind}\n{body}\nreturn %y : {yt}", ([x], [product]))


def make_kernel():
    rng = generator("kernel")
    f = file("kernel", "heddle.launch runs heddle.kernel; a launch may overwrite a place in the arena that nobody reads again")
    t = "tensor<?x32xf32>"
    f.symbol(f"""heddle.kernel @square_add family <rows> target "cpu" {{
  ^bb0(%a: {t}, %b: {t}):
    %0 = heddle.binary <mul> %a, %a : {t}
    %1 = heddle.binary <add> %0, %b : {t}
    heddle.yield %1 : {t}
  }}""")
    x = grid(rng, 3, 32, step=8)
    y = x.astype(f64)**2 + x
    z = y**2 + y
    f.function("shared_kernel", [("x", t)], [t], f"""
%y = heddle.launch @square_add(%x, %x) over "n" : ({t}, {t}) -> {t}
%z = heddle.launch @square_add(%y, %y) over "n" : ({t}, {t}) -> {t}
return %z : {t}""", ([x], [z]))
    f.function("arena", [("x", t)], [t], f"""
%y = heddle.launch @square_add(%x, %x) over "n" arena [0] : ({t}, {t}) -> {t}
%z = heddle.launch @square_add(%y, %y) over "n" arena [4096] barrier : ({t}, {t}) -> {t}
%w = heddle.launch @square_add(%z, %x) over "n" arena [0] barrier : ({t}, {t}) -> {t}
%v = heddle.launch @square_add(%x, %w) over "n" arena [-1] barrier : ({t}, {t}) -> {t}
return %v : {t}""", ([x], [x.astype(f64)**2 + z**2 + x]))


def main():
    for name, make in sorted(globals().items()):
        if name.startswith("make_"):
            make()
    changed = []
    for f in FILES:
        path = HERE / f"{f.op}.mlir"
        text = f.text()
        if not path.exists() or path.read_text() != text:
            changed.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(text)
    if "--check" in sys.argv and changed:
        sys.exit(f"not what generate.py writes: {', '.join(changed)}; run test/e2e/ops/generate.py")


if __name__ == "__main__":
    main()

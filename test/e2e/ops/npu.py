"""Examples of what the NPU computes with the precision that its target chooses: products of int8 weights and f32, of which
the target makes codes, and functions of finite numbers (it has no others)."""

import numpy as np

from formulas import BINARY, UNARY
from writing import dense, file, generator, grid

f32, f64 = np.float32, np.float64
NPU = {"npu:edge": None, "npu:mobile": None, "interpreter:npu:mobile": None}


def int8_weight(f, rng, name, out, columns):
    """A weight in `int8`; returns its type and the numbers that it holds."""
    codes = rng.integers(-127, 128, (out, columns))
    codes[:, 0] = 127
    scales = (rng.uniform(0.2, 3, out) / 127).astype(np.float16)
    data = b"".join(scale.tobytes() + (row + 128).astype(np.uint8).tobytes() for scale, row in zip(scales, codes))
    return f.stored(name, "int8", data, out, columns), scales.astype(f64)[:, None] * codes


def make_npu_linear():
    rng = generator("npu_linear")
    f = file("npu_linear", "products of int8 weights, with activations as the target quantizes them", NPU)
    for name, rows, out, columns in (("one_row", 1, 18, 128), ("all_rows", 32, 70, 96), ("long_rows", 3, 33, 2048)):
        kind, w = int8_weight(f, rng, "w_" + name, out, columns)
        x = grid(rng, rows, columns)
        xt, yt = f"tensor<?x{columns}xf32>", f"tensor<?x{out}xf32>"
        f.function(name, [("x", xt)], [yt], f"""
%w = heddle.get_param @w_{name} : {kind}
%y = heddle.linear %x, %w : {xt}, {kind} -> {yt}
return %y : {yt}""", ([x], [x.astype(f64) @ w.T]))
    kind, w = int8_weight(f, rng, "w_bias", 40, 64)
    bias, x, residual = grid(rng, 40), grid(rng, 5, 64), grid(rng, 5, 40)
    f.symbol(f"heddle.param @b : tensor<40xf32> value {dense(bias)}")
    y = x.astype(f64) @ w.T + bias
    head = f"""
%w = heddle.get_param @w_bias : {kind}
%b = heddle.get_param @b : tensor<40xf32>
%y = heddle.linear %x, %w bias %b : tensor<?x64xf32>, {kind}, tensor<40xf32> -> tensor<?x40xf32>
"""
    xt, yt = ("x", "tensor<?x64xf32>"), "tensor<?x40xf32>"
    f.function("bias_gelu", [xt], [yt], head + f"%z = heddle.unary <gelu_erf> %y : {yt}\nreturn %z : {yt}",
               ([x], [UNARY["gelu_erf"](y)]))
    f.function("bias_residual", [xt, ("r", yt)], [yt], head + f"%z = heddle.binary <add> %y, %r : {yt}\nreturn %z : {yt}",
               ([x, residual], [y + residual]))
    up, v = int8_weight(f, rng, "w_up", 40, 64)
    f.function("gate_up", [xt], [yt], f"""
%w = heddle.get_param @w_bias : {kind}
%v = heddle.get_param @w_up : {up}
%g = heddle.linear %x, %w : tensor<?x64xf32>, {kind} -> {yt}
%u = heddle.linear %x, %v : tensor<?x64xf32>, {up} -> {yt}
%s = heddle.unary <silu> %g : {yt}
%z = heddle.binary <mul> %s, %u : {yt}
return %z : {yt}""", ([x], [UNARY["silu"](x.astype(f64) @ w.T) * (x.astype(f64) @ v.T)]))
    # A kernel of two products on the NPU: the second reads codes that are made group by group of the first's columns.
    down, v = int8_weight(f, rng, "w_out", 64, 256)
    gate, u = int8_weight(f, rng, "w_gate", 256, 64)
    value, t = int8_weight(f, rng, "w_value", 256, 64)
    x = grid(rng, 20, 64)
    f.function("feed_forward", [("x", "tensor<?x64xf32>")], ["tensor<?x64xf32>"], f"""
%g = heddle.get_param @w_gate : {gate}
%u = heddle.get_param @w_value : {value}
%v = heddle.get_param @w_out : {down}
%a = heddle.linear %x, %g : tensor<?x64xf32>, {gate} -> tensor<?x256xf32>
%b = heddle.linear %x, %u : tensor<?x64xf32>, {value} -> tensor<?x256xf32>
%s = heddle.unary <silu> %a : tensor<?x256xf32>
%h = heddle.binary <mul> %s, %b : tensor<?x256xf32>
%y = heddle.linear %h, %v : tensor<?x256xf32>, {down} -> tensor<?x64xf32>
%z = heddle.binary <add> %x, %y : tensor<?x64xf32>
return %z : tensor<?x64xf32>""", ([x], [x + (UNARY["silu"](x.astype(f64) @ u.T) * (x.astype(f64) @ t.T)) @ v.T]))


def make_npu_elementwise():
    rng = generator("npu_elementwise")
    f = file("npu_elementwise", "functions of finite numbers, for targets without infinities and NaN", NPU)
    t = "tensor<?x24xf32>"
    for kind in ("silu", "gelu_erf", "relu"):
        x = np.concatenate([np.linspace(-9, 9, 72).reshape(3, 24), grid(rng, 2, 24, limit=30)]).astype(f32)
        f.function(kind, [("x", t)], [t], f"%y = heddle.unary <{kind}> %x : {t}\nreturn %y : {t}", ([x], [UNARY[kind](x.astype(f64))]))
    for kind, formula in BINARY.items():
        a, b = grid(rng, 3, 24, limit=20), grid(rng, 3, 24, limit=20)
        b[np.abs(b) < 0.25] = 1
        f.function(kind, [("a", t), ("b", t)], [t], f"%y = heddle.binary <{kind}> %a, %b : {t}\nreturn %y : {t}",
                   ([a, b], [formula(a.astype(f64), b.astype(f64))]))
    x = grid(rng, 6, 24)
    f.function("gather_rows", [("x", t), ("i", "tensor<?xi32>")], [t], f"""
%y = heddle.gather_rows %x, %i : {t}, tensor<?xi32> -> {t}
return %y : {t}""", ([x, np.array([5, 0, 3, -7, 9, 1], np.int32)], [x[[5, 0, 3, 0, 5, 1]].astype(f64)]))

"""Examples of gates of attention heads and of what they leave out."""

import numpy as np

import weights
from formulas import LIMITS, quantize
from writing import dense, file, generator, grid

f32, f64 = np.float32, np.float64


def make_head_gate():
    rng = generator("head_gate")
    f = file("head_gate", "a gate for each head; heads that are off become zeros or their skip values, whatever they held")
    heads, width, columns = 3, 20, 70
    w, b, skip = grid(rng, heads, columns), grid(rng, heads), grid(rng, heads, width)
    f.symbol(f"heddle.param @w : tensor<{heads}x{columns}xf32> value {dense(w)}")
    f.symbol(f"heddle.param @b : tensor<{heads}xf32> value {dense(b)}")
    f.symbol(f"heddle.param @skip : tensor<{heads}x{width}xf32> value {dense(skip)}")
    x, o = grid(rng, 6, columns), grid(rng, 6, heads, width)
    x[5] = 0
    x[4, 3] = np.nan  # no comparison with NaN is true: nothing is selected
    xt, ot, st = f"tensor<?x{columns}xf32>", f"tensor<?x{heads}x{width}xf32>", f"!heddle.selection<heads, ?x{heads}>"
    sums = x.astype(f64) @ w.T.astype(f64)
    for name, bias in (("biased", b), ("plain", 0)):
        on = sums + bias > 0
        assert np.nanmin(np.abs(sums[:5] + bias)) > 1e-3 and 0.2 < on.mean() < 0.8
        held = np.where(on[:, :, None], o, f32(np.nan))  # what is off is not looked at
        with_bias = f" bias %b : {xt}, tensor<{heads}x{columns}xf32>, tensor<{heads}xf32>" if name == "biased" else f" : {xt}, tensor<{heads}x{columns}xf32>"
        get = f"%w = heddle.get_param @w : tensor<{heads}x{columns}xf32>\n%b = heddle.get_param @b : tensor<{heads}xf32>\n"
        f.function(name, [("x", xt), ("o", ot)], [ot], get + f"""%skip = heddle.get_param @skip : tensor<{heads}x{width}xf32>
%h = heddle.head_gate %x, %w{with_bias} -> {st}
%y = heddle.mask_heads %o by %h{" skip %skip" if name == "biased" else ""} : {ot}, {st}{f", tensor<{heads}x{width}xf32>" if name == "biased" else ""}
return %y : {ot}""", ([x, held], [np.where(on[:, :, None], o, skip if name == "biased" else 0)]))
    table = grid(rng, heads, 37)
    f.symbol(f"heddle.param @table : tensor<{heads}x37xf32> value {dense(table)}")
    f.function("skipped_sum", [("x", xt)], ["tensor<?x37xf32>"], f"""%w = heddle.get_param @w : tensor<{heads}x{columns}xf32>
%table = heddle.get_param @table : tensor<{heads}x37xf32>
%h = heddle.head_gate %x, %w : {xt}, tensor<{heads}x{columns}xf32> -> {st}
%y = heddle.skipped_sum %table by %h : tensor<{heads}x37xf32>, {st} -> tensor<?x37xf32>
return %y : tensor<?x37xf32>""", ([x], [(~(sums > 0)).astype(f64) @ table.astype(f64)]))


def make_linear_select():
    rng = generator("linear_select")
    f = file("linear_select", "products of which rows need some heads only: rows of the one, columns of the other")
    heads, width, columns, rows = 3, 32, 64, 19  # more rows than a panel takes
    gate = grid(rng, heads, columns)
    f.symbol(f"heddle.param @gate : tensor<{heads}x{columns}xf32> value {dense(gate)}")
    x = grid(rng, rows, columns, step=8)
    on = x.astype(f64) @ gate.T.astype(f64) > 0
    assert 0.3 < on.mean() < 0.7 and not on.any(1).all()
    st, ht = f"!heddle.selection<heads, ?x{heads}>", f"tensor<?x{heads}x{width}xf32>"
    for fmt in ("f32", "q4_1", "q8_0"):
        wq = weights.random_blocks(rng, fmt, heads * width, columns)
        wo = weights.random_blocks(rng, fmt, 21, heads * width)
        kq, ko = f.stored(f"q_{fmt}", fmt, wq, heads * width, columns), f.stored(f"o_{fmt}", fmt, wo, 21, heads * width)
        xt, yt = f"tensor<?x{columns}xf32>", f"tensor<?x{heads * width}xf32>"
        q = x.astype(f64) @ weights.decoded(fmt, wq, heads * width, columns).T.astype(f64)
        if fmt == "f32":
            at, quantized = xt, x.astype(f64)
        else:
            at = f"!heddle.stored<?x{columns}xf32, #heddle.enc<act_i16>>"
            codes, scales, minima = weights.parts(fmt, wq, heads * width, columns)
            qx, dx = quantize(x, LIMITS["act_i16"])
            q = (qx * dx) @ (scales.astype(f64) * codes - minima.astype(f64)).T
        masked = np.where(np.repeat(on, width, 1), q, 0)
        prepare = "" if fmt == "f32" else f"%a = heddle.quantize %x : {xt} -> {at}\n"
        head = f"""%gate = heddle.get_param @gate : tensor<{heads}x{columns}xf32>
%w = heddle.get_param @q_{fmt} : {kq}
%h = heddle.head_gate %x, %gate : {xt}, tensor<{heads}x{columns}xf32> -> {st}
{prepare}%q = heddle.linear {"%x" if fmt == "f32" else "%a"}, %w select <results>(%h : {st}) : {at}, {kq} -> {yt}
%t = heddle.reshape %q : {yt} -> {ht}
%m = heddle.mask_heads %t by %h : {ht}, {st}
"""
        f.function(f"results_{fmt}", [("x", xt)], [ht], head + f"return %m : {ht}", ([x], [masked.reshape(rows, heads, width)]),
                   ([x[:1]], [masked[:1].reshape(1, heads, width)]))
        # The input of the second product is exact in its format: what its rounding does is not the matter here.
        o = np.where(np.repeat(on, width, 1), grid(rng, rows, heads * width, step=8), 0).astype(f32)
        decoded = weights.decoded(fmt, wo, 21, heads * width).T.astype(f64)
        if fmt != "f32":
            codes, scales, minima = weights.parts(fmt, wo, 21, heads * width)
            qo, do = quantize(o, LIMITS["act_i16"])
            product = (qo * do) @ (scales.astype(f64) * codes - minima.astype(f64)).T
            ot = f"!heddle.stored<?x{heads * width}xf32, #heddle.enc<act_i16>>"
            prepare = f"%a = heddle.quantize %o : {yt} -> {ot}\n"
        else:
            product, ot, prepare = o.astype(f64) @ decoded, yt, ""
        f.function(f"inputs_{fmt}", [("x", xt), ("o", yt)], ["tensor<?x21xf32>"], f"""%gate = heddle.get_param @gate : tensor<{heads}x{columns}xf32>
%w = heddle.get_param @o_{fmt} : {ko}
%h = heddle.head_gate %x, %gate : {xt}, tensor<{heads}x{columns}xf32> -> {st}
{prepare}%y = heddle.linear {"%o" if fmt == "f32" else "%a"}, %w select <inputs>(%h : {st}) : {ot}, {ko} -> tensor<?x21xf32>
return %y : tensor<?x21xf32>""", ([x, o], [product]), ([x[3:4], o[3:4]], [product[3:4]]))


def make_keep_parts():
    rng = generator("keep_parts")
    f = file("keep_parts", "parts of parameters: rows and columns of weights, of vectors; a block-diagonal matrix")
    data = weights.random_blocks(rng, "q8_0", 6, 128)
    decoded, kind = weights.decoded("q8_0", data, 6, 128).astype(f64), "!heddle.stored<{}x{}xf32, #heddle.enc<q8_0>>"
    f.stored("w", "q8_0", data, 6, 128)
    small = grid(rng, 3, 2)
    f.symbol(f"heddle.param @small : tensor<3x2xf32> value {dense(small)}")

    def derived(name, source, source_type, op, result):
        f.symbol(f"""heddle.param @{name} : {result} derived [@{source}] {{
  ^bb0(%a: {source_type}):
    %0 = heddle.{op} : {source_type} -> {result}
    heddle.yield %0 : {result}
  }}""")

    derived("rows", "w", kind.format(6, 128), "keep_parts %a axis 0 keep [false, true, true]", kind.format(4, 128))
    derived("columns", "w", kind.format(6, 128), "keep_parts %a axis 1 keep [true, false, false, true]", kind.format(6, 64))
    derived("vectors", "small", "tensor<3x2xf32>", "keep_parts %a axis 0 keep [true, false, true]", "tensor<2x2xf32>")
    derived("diagonal", "small", "tensor<3x2xf32>", "block_diagonal %a", "tensor<3x6xf32>")
    x = grid(rng, 3, 128, step=8)
    for name, w in (("rows", decoded[2:]), ("columns", decoded[:, np.r_[0:32, 96:128]])):
        out, columns = w.shape
        f.function("kept_" + name, [("x", f"tensor<?x{columns}xf32>")], [f"tensor<?x{out}xf32>"], f"""%w = heddle.get_param @{name} : {kind.format(out, columns)}
%y = heddle.linear %x, %w : tensor<?x{columns}xf32>, {kind.format(out, columns)} -> tensor<?x{out}xf32>
return %y : tensor<?x{out}xf32>""", ([x[:, :columns]], [x[:, :columns].astype(f64) @ w.T]))
    diagonal = np.zeros((3, 6), f32)
    for head in range(3):
        diagonal[head, 2 * head:2 * head + 2] = small[head]
    for name, table in (("vectors", small[[0, 2]]), ("diagonal", diagonal)):
        kind_of = f"tensor<{table.shape[0]}x{table.shape[1]}xf32>"
        f.function("read_" + name, [("i", "tensor<?xi32>")], [f"tensor<?x{table.shape[1]}xf32>"], f"""%t = heddle.get_param @{name} : {kind_of}
%y = heddle.gather_rows %t, %i : {kind_of}, tensor<?xi32> -> tensor<?x{table.shape[1]}xf32>
return %y : tensor<?x{table.shape[1]}xf32>""", ([np.array([1, 0], np.int32)], [table[[1, 0]]]))
    data = weights.random_blocks(rng, "q8_0", 12, 32)
    f.stored("long", "q8_0", data, 12, 32)
    derived("gap", "long", kind.format(12, 32), "keep_parts %a axis 0 keep [true, true, false, true]", kind.format(9, 32))
    w = weights.decoded("q8_0", data, 12, 32).astype(f64)[np.r_[0:6, 9:12]]
    f.function("kept_around_a_gap", [("x", "tensor<?x32xf32>")], ["tensor<?x9xf32>"], f"""%w = heddle.get_param @gap : {kind.format(9, 32)}
%y = heddle.linear %x, %w : tensor<?x32xf32>, {kind.format(9, 32)} -> tensor<?x9xf32>
return %y : tensor<?x9xf32>""", ([x[:, :32]], [x[:, :32].astype(f64) @ w.T]))

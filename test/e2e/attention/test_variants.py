"""Attention variants: each file here is a few lines of IR; an independent numpy reference says what they compute.

A variant becomes a module with a KV cache (prefill of odd lengths, several sequences, decode) and one without (texts of odd lengths,
pooled), for several shapes of heads, and runs on the interpreter, on compiled code of every CPU level that this host has, and on the CUDA simulator.
"""

import concurrent.futures
import functools
import os
import pathlib
import sys
import unittest

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
import support  # noqa: E402

CONTEXT, TOKENS, ROWS, SLOTS, HEADS = 640, 72, 320, 4, 6
SHAPES = {"grouped": (2, 16, 16), "odd": (1, 20, 12), "multi_head": (6, 32, 32)}  # KV heads, key width, value width
LEVELS = {"x86-64-v3": None, "x86-64-v3-vnni": "avx_vnni", "x86-64-v4-vnni": "avx512_vnni", "x86-64-v4-amx": "amx_bf16"}

# Rows of every call with a cache, as (slot, first position, rows): odd prefills, decode, and both together.
STEPS = [[(0, 0, 37)], [(1, 0, 300)], [(0, 37, 1), (2, 0, 5)], [(0, 38, 1), (1, 300, 1), (2, 5, 1)], [(1, 301, 7), (3, 0, 61)]]
TEXTS = [[(0, 0, 190), (1, 0, 1), (2, 0, 37)], [(0, 0, 20)]]


class Variant:
    """What a variant computes for one row and head; keys are those of the row's sequence up to `last`."""

    params = {}  # name -> array
    stored = ()  # those of them that are weights of linear ops
    inputs = {}  # name -> array of integers: more inputs of the entry
    cached = (True, False)
    top_k = None

    def for_shape(self, kv_heads, key_width, value_width):
        """Makes the parameters whose size follows from the shape of the heads."""

    def score(self, s, head, q_pos, k_pos, slot, token):
        return s

    def mask(self, head, q_pos, k_pos, slot, token):
        return k_pos <= q_pos

    def selects_head(self, head, token):
        return True

    def skip(self, head):
        return 0.0

    def keys_of(self, slot, keys, values):
        """The keys and values that the rows of a sequence attend to."""
        return keys, values

    def finish(self, out, token):
        return out


def grid(seed, *shape, step=64, limit=2):
    """Multiples of 1/step: exact in f16 and f32."""
    return (np.random.default_rng(seed).integers(-limit * step, limit * step + 1, shape) / step).astype(np.float32)


class Causal(Variant):
    pass


class SlidingWindow(Variant):
    def mask(self, head, q_pos, k_pos, slot, token):
        return (k_pos <= q_pos) & (q_pos - k_pos < 50)


class SinkTokens(Variant):
    def mask(self, head, q_pos, k_pos, slot, token):
        return (k_pos <= q_pos) & ((q_pos - k_pos < 40) | (k_pos < 4))


class Alibi(Variant):
    def score(self, s, head, q_pos, k_pos, slot, token):
        return s - 2.0 ** -(head + 1) * (q_pos - k_pos)


class SoftCap(Variant):
    def score(self, s, head, q_pos, k_pos, slot, token):
        return 2 * np.tanh(s / 2)


class PrefixLm(Variant):
    cached = (False,)  # with a cache a row never sees past itself

    def mask(self, head, q_pos, k_pos, slot, token):
        return (k_pos <= q_pos) | (k_pos < [20, 0, 150, 1][slot])


class DocumentMask(Variant):
    params = {"documents": np.cumsum(np.random.default_rng(5).random((SLOTS, CONTEXT)) < 0.05, axis=1).astype(np.float32)}

    def mask(self, head, q_pos, k_pos, slot, token):
        documents = self.params["documents"][slot]
        return (k_pos <= q_pos) & (documents[k_pos] == documents[q_pos])


class AdditiveBias(Variant):
    params = {"bias": grid(6, HEADS, 100)}

    def score(self, s, head, q_pos, k_pos, slot, token):
        return s + self.params["bias"][head][np.clip(q_pos - k_pos, 0, 99)]


class RowBias(Variant):
    params = {"row_bias": grid(7, TOKENS, CONTEXT)}

    def score(self, s, head, q_pos, k_pos, slot, token):
        return s + self.params["row_bias"][token][k_pos]


class BlockSparse(Variant):
    # The diagonal, the first block, and some others; one block of queries reads nothing at all.
    layout = (np.random.default_rng(8).random((20, 20)) < 0.25) | np.eye(20, dtype=bool)
    layout[:, 0] = True
    layout[3] = False
    params = {"layout": layout.astype(np.float32)}

    def mask(self, head, q_pos, k_pos, slot, token):
        return (k_pos <= q_pos) & (self.params["layout"][q_pos // 32][k_pos // 32] > 0)


class TopKTokens(Variant):
    top_k = 24


class HeadGated(Variant):
    gate, features = grid(9, HEADS, 32), grid(10, TOKENS, 32)

    def for_shape(self, kv_heads, key_width, value_width):
        self.mean = grid(12, HEADS, value_width)
        self.params = {"gate": self.gate, "features": self.features, "mean": self.mean}

    def selects_head(self, head, token):
        return self.features[token].astype(np.float64) @ self.gate[head] > 0

    def skip(self, head):
        return self.mean[head]


class HeadsAndBlocks(HeadGated):
    wishes = (np.random.default_rng(11).random((TOKENS, 10)) - 0.5).astype(np.float32)

    def for_shape(self, kv_heads, key_width, value_width):
        self.params = {"gate": self.gate, "features": self.features, "wishes": self.wishes}

    def mask(self, head, q_pos, k_pos, slot, token):
        return (k_pos <= q_pos) & (self.wishes[token][k_pos // 64] > 0)

    def skip(self, head):
        return 0.0


class CrossAttention(Variant):
    cached = (False,)
    sequences = np.array([1] * 33 + [0] * 20 + [-1] * 7 + [2] * 1 + [0] * 29, np.int32)  # in any order; -1: nobody's
    inputs = {"memory_sequences": sequences}

    def for_shape(self, kv_heads, key_width, value_width):
        self.keys, self.values = grid(13, 90, kv_heads, key_width), grid(14, 90, kv_heads, value_width)
        self.params = {"memory": self.keys.reshape(90, -1), "memory_v": self.values.reshape(90, -1)}

    def keys_of(self, slot, keys, values):
        own = self.sequences == slot
        return self.keys[own].astype(np.float64), self.values[own].astype(np.float64)

    def mask(self, head, q_pos, k_pos, slot, token):
        return np.full(k_pos.shape, True)


class SpatialChannel(Variant):
    stored = ("spatial", "channel")

    def for_shape(self, kv_heads, key_width, value_width):
        self.params = {"features": grid(15, TOKENS, 32), "spatial": grid(16, HEADS * value_width, 32),
                       "channel": grid(17, HEADS * value_width, 32)}

    def finish(self, out, token):
        x = self.params["features"][token].astype(np.float64)
        product = (self.params["spatial"] @ x) * (self.params["channel"] @ x)
        return out / (1 + np.exp(-product.reshape(out.shape)))


VARIANTS = {
    "causal": Causal, "sliding_window": SlidingWindow, "sink_tokens": SinkTokens, "alibi": Alibi, "soft_cap": SoftCap,
    "prefix_lm": PrefixLm, "document_mask": DocumentMask, "additive_bias": AdditiveBias, "row_bias": RowBias,
    "block_sparse": BlockSparse, "top_k_tokens": TopKTokens, "head_gated": HeadGated, "heads_and_blocks": HeadsAndBlocks,
    "cross_attention": CrossAttention, "spatial_channel": SpatialChannel,
}


def attend(variant, query, keys, values, q_pos, slot, token):
    """One row [heads, width] over the keys [count, kv heads, width] of its sequence, in f64."""
    keys, values = variant.keys_of(slot, keys, values)
    group = HEADS // keys.shape[1]
    k_pos = np.arange(len(keys))
    out = np.zeros((HEADS, values.shape[2]))
    scores = [0.25 * (keys[:, h // group] @ query[h]) for h in range(HEADS)]
    chosen = np.ones(len(keys), bool)
    if variant.top_k:
        sums = np.where(k_pos <= q_pos, sum(np.maximum(s, 0) for s in scores), -np.inf)
        chosen[np.argsort(-sums, kind="stable")[variant.top_k:]] = False
    for h in range(HEADS):
        if not variant.selects_head(h, token):
            out[h] = variant.skip(h)
            continue
        seen = np.broadcast_to(variant.mask(h, q_pos, k_pos, slot, token), k_pos.shape) & chosen
        if seen.any():
            s = variant.score(scores[h], h, q_pos, k_pos, slot, token)[seen]
            p = np.exp(s - s.max())
            out[h] = (p / p.sum()) @ values[seen, h // group]
    return variant.finish(out, token)


def tokens_from(number, count):
    """Tokens of a call; as many different ones as the narrowest result has columns, since logits are by token."""
    return [i * 29 % TOKENS for i in range(number, number + count)]


def reference(variant, tables, calls, cached):
    """Expected outputs of the calls: all rows' heads, or their mean over each text."""
    query, keys, values = (table.astype(np.float64) for table in tables)
    history, outputs, token = {}, [], 0
    for call in calls:
        rows = []
        for slot, first, count in call:
            held = history.setdefault(slot, []) if cached else history.update({slot: []}) or history[slot]
            tokens = tokens_from(token, count)
            token += count
            held += tokens
            out = []
            for i, t in enumerate(tokens):
                # With a cache keys past the row are not there yet; without one all keys of the text are.
                known = held[: first + i + 1] if cached else held
                out.append(attend(variant, query[t], keys[known], values[known], first + i, slot, t).reshape(-1))
            rows.append(np.array(out) if cached else np.mean(out, axis=0, keepdims=True))
        outputs.append(np.concatenate(rows))
    return outputs


def dense(array, element):
    kind = "f32" if element == np.float32 else "i32"
    array = np.ascontiguousarray(array, element)
    return f'dense<"0x{array.tobytes().hex().upper()}"> : tensor<{"x".join(map(str, array.shape))}x{kind}>'


def module(name, variant, shape, cached):
    """The variant between tables of queries, keys and values by token, with its calls and what they should give."""
    kv_heads, key_width, value_width = shape
    variant.for_shape(*shape)
    tables = [grid(1, TOKENS, HEADS, key_width), grid(2, TOKENS, kv_heads, key_width), grid(3, TOKENS, kv_heads, value_width)]
    calls = STEPS if cached else TEXTS
    expected = reference(variant, tables, calls, cached)

    data, symbols = b"", []
    params = dict(zip("qkv", (table.reshape(TOKENS, -1) for table in tables)), **variant.params)
    for label, array in params.items():
        kind = f"tensor<{'x'.join(map(str, array.shape))}xf32>"
        if label in variant.stored:
            kind = kind.replace("tensor<", "!heddle.stored<").replace(">", ", #heddle.enc<f32>>")
        symbols.append(f"heddle.param @{label} : {kind} file 0 at {len(data)}")
        data += np.ascontiguousarray(array, np.float32).tobytes()
    examples, token = [], 0
    for call, output in zip(calls, expected):
        inputs = [[], [], []]
        for number, (slot, first, count) in enumerate(call):
            inputs[0] += tokens_from(token, count)
            inputs[1] += [slot if cached else number] * count
            inputs[2] += range(first, first + count)
            token += count
        if cached:
            inputs.append(range(len(inputs[0])))
        inputs += variant.inputs.values()
        constants = ", ".join(dense(np.array(part), np.int32) for part in inputs)
        examples.append(f"{{inputs = [{constants}], expected = [{dense(output, np.float32)}]}}")

    q, k, v = (f"tensor<?x{heads}x{width}xf32>" for heads, width in
               ((HEADS, key_width), (kv_heads, key_width), (kv_heads, value_width)))
    cache = f"!heddle.kv_cache<{kv_heads}x{key_width}x{value_width}xf16>"
    o, flat, indices = f"tensor<?x{HEADS}x{value_width}xf32>", f"tensor<?x{HEADS * value_width}xf32>", "tensor<?xi32>"
    dims = f'{{heddle.dims = [#heddle.dim<"n", 1 to {ROWS}>]}}'
    lines = []
    for label, kind in zip("qkv", (q, k, v)):
        width = params[label].shape[1]
        lines += [f"%{label}_table = heddle.get_param @{label} : tensor<{TOKENS}x{width}xf32>",
                  f"%{label}_rows = heddle.embedding %{label}_table, %tokens : tensor<{TOKENS}x{width}xf32>, {indices} -> tensor<?x{width}xf32>",
                  f"%{label} = heddle.reshape %{label}_rows : tensor<?x{width}xf32> -> {kind}"]
    arguments = f"%tokens: {indices} {dims}, %slots: {indices} {dims}, %positions: {indices} {dims}"
    if cached:
        symbols.append(f"heddle.cache @kv : {cache}")
        arguments += f', %wanted: {indices} {{heddle.dims = [#heddle.dim<"m", 0 to {ROWS}>]}}'
        lines += [f"%c = heddle.get_cache @kv : {cache}",
                  f"heddle.cache_append %c, %k, %v at %slots, %positions : {cache}, {k}, {v}, {indices}, {indices}"]
        finish, result = f"%y = heddle.gather_rows %flat, %wanted : {flat}, {indices} -> {flat}", f'#heddle.dim<"m", 0 to {ROWS}>'
        words = {"$KEYS": "cache %c", "$TYPES": f"{q} cache {cache}, {indices}, {indices} -> {o}",
                 "$INDEX_TYPES": f"{q} cache {cache}, {indices}, {indices}", "$INDEX": "cache %c"}
    else:
        finish, result = f"%y = heddle.pool_rows <mean> %flat, %slots : {flat}, {indices} -> {flat}", f'#heddle.dim<"s", 1 to {ROWS}>'
        words = {"$KEYS": "keys %k values %v", "$TYPES": f"{q}, {k}, {v}, {indices}, {indices} -> {o}",
                 "$INDEX_TYPES": f"{q}, {k}, {indices}, {indices}", "$INDEX": "keys %k"}
    arguments += "".join(f", %{label}: tensor<{len(array)}xi32>" for label, array in variant.inputs.items())
    text = (HERE / f"{name}.mlir").read_text()
    sizes = {"$DV": value_width, "$DK": key_width, "$HK": kv_heads, "$KROW": kv_heads * key_width,
             "$VROW": kv_heads * value_width, "$OROW": HEADS * value_width}
    for word, meaning in {**words, **sizes}.items():
        text = text.replace(word, str(meaning))
    body = "\n    ".join([*lines, *text.strip().splitlines(), f"%flat = heddle.reshape %o : {o} -> {flat}", finish])
    entry = "step" if cached else "encode"
    files = f'dense<"0x{data.hex().upper()}"> : tensor<{len(data)}xi8>'
    symbol_lines = "\n  ".join(symbols)
    return f"""module attributes {{heddle.files = [{files}], heddle.model = {{name = "{name}", vocabulary = {HEADS * value_width} : i64,
    max_context = {CONTEXT} : i64, max_slots = {SLOTS} : i64, max_rows = {ROWS} : i64}}}} {{
  {symbol_lines}
  func.func @{entry}({arguments}) -> ({flat} {{heddle.dims = [{result}]}})
      attributes {{heddle.entry = "{entry}", heddle.example = [{", ".join(examples)}]}} {{
    {body}
    return %y : {flat}
  }}
}}
"""


@functools.cache
def targets(shape):
    """The interpreter after the passes and every CPU level that this host runs, and the CUDA simulator; for the other shapes some of them."""
    features = pathlib.Path("/proc/cpuinfo").read_text().split()
    levels = [f"cpu:{level}" for level, feature in LEVELS.items() if not feature or feature in features]
    return {"grouped": ["interpreter:cpu", *levels, "cuda"], "odd": [levels[0], "cuda"], "multi_head": levels[-1:]}[shape]


class Variants(unittest.TestCase):
    def check(self, name, shape, cached):
        folder = support.WORK / "attention"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}-{shape}-{'step' if cached else 'encode'}.mlir"
        path.write_text(module(name, VARIANTS[name](), SHAPES[shape], cached))
        def run(target):
            support.run("heddle-run-ir", "--target", target, path)

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for target, done in [(target, pool.submit(run, target)) for target in targets(shape)]:
                with self.subTest(shape=shape, cached=cached, target=target):
                    done.result()


def add(name):
    def test(self):
        for cached in VARIANTS[name].cached:
            for shape in SHAPES:
                self.check(name, shape, cached)

    setattr(Variants, f"test_{name}", test)


for variant in VARIANTS:
    add(variant)


class Library(unittest.TestCase):
    def test_every_file_has_a_reference(self):
        self.assertEqual({path.stem for path in HERE.glob("*.mlir")}, set(VARIANTS))


if __name__ == "__main__":
    unittest.main()

"""What ops compute, in numpy: written from their descriptions (ir/HeddleOps.td) and docs/kernel-abi.md."""

import math

import numpy as np

f32, f64 = np.float32, np.float64


def quantize(x, limit):
    """(codes, scales): docs/kernel-abi.md, "Quantized activations", in f32 as it states."""
    blocks = x.astype(f32).reshape(len(x), -1, 32)
    amax = np.abs(blocks).max(axis=2)
    scale = np.where(np.isfinite(amax), amax / f32(limit), f32(0)).astype(f32)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        inverse = (f32(1) / scale)[..., None]
        codes = np.rint(blocks * inverse)
    codes = np.where(np.isfinite(inverse), codes, 0)
    return codes.astype(f64).reshape(x.shape), np.repeat(scale, 32, axis=1).astype(f64)


LIMITS = {"act_i8": 127, "act_i16": 32512}


def bfloat16(x):
    """Rounded half to even; what is no normal number becomes zero (Intel SDM, VCVTNEPS2BF16)."""
    bits = np.ascontiguousarray(x, f32).view(np.uint32)
    size = bits & 0x7FFFFFFF
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)
    rounded = np.where(size < 0x00800000, bits & 0x80000000, rounded)
    return np.where(size > 0x7F800000, bits, rounded).astype(np.uint32).view(f32)


def erf(x):
    return np.vectorize(math.erf)(x)


UNARY = {
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "gelu_erf": lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "relu": lambda x: np.maximum(x, 0),
    "exp": np.exp,
}
BINARY = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "max": np.maximum, "min": np.minimum}


def rms_norm(x, w, epsilon):
    x = x.astype(f64)
    return x * w / np.sqrt((x * x).mean(axis=-1, keepdims=True) + f64(f32(epsilon)))


def layer_norm(x, w, b, epsilon):
    x = x.astype(f64)
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + f64(f32(epsilon))) * w + b


def rope_table(rows, columns, base, scale=1.0, factors=1.0):
    frequencies = scale * base ** (-2.0 * np.arange(columns // 2) / columns) / factors
    angles = np.arange(rows)[:, None] * frequencies
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1).astype(f32)


def rope(x, table, positions, interleaved):
    half = table.shape[1] // 2
    rows = table[np.clip(positions, 0, len(table) - 1)].astype(f64)
    cos, sin = rows[:, None, :half], rows[:, None, half:]
    first = np.arange(half) * 2 if interleaved else np.arange(half)
    second = first + (1 if interleaved else half)
    y = x.astype(f64)
    a, b = y[..., first].copy(), y[..., second].copy()
    y[..., first], y[..., second] = a * cos - b * sin, a * sin + b * cos
    return y


E4M3 = np.array([(1 + code % 8 / 8) * 2.0 ** (code // 8 - 7) if code >= 8 else code / 8 * 2.0**-6 for code in range(127)])


def float8(x):
    """The nearest number of e4m3, ties to even codes."""
    distance = np.abs(np.abs(x)[..., None] - E4M3)
    near = distance == distance.min(-1, keepdims=True)
    even = near & (np.arange(len(E4M3)) % 2 == 0)
    return np.copysign(E4M3[np.where(even.any(-1), even.argmax(-1), near.argmax(-1))], x)


def codes(limit, rounded):
    """What a cache keeps of [heads][width] numbers as codes with a scale for each head, all in f32 but the last product."""
    def stored(a):
        scale = (np.abs(a).max(-1, keepdims=True) / f32(limit)).astype(f32)
        with np.errstate(divide="ignore", invalid="ignore"):
            inverse = f32(1) / scale
            scaled = np.where(np.isfinite(inverse), a * inverse, 0)
        return rounded(scaled.astype(f64)) * scale.astype(f64)
    return stored


STORED = {"f16": lambda a: a.astype(np.float16).astype(f64), "i8": codes(127, np.rint), "f8E4M3FN": codes(448, float8)}


class Slots:
    """Keys and values by slot and position, rounded as the cache's type says."""

    def __init__(self, element="f16"):
        self.tokens, self.stored = {}, STORED[element]

    def append(self, keys, values, slots, positions):
        for k, v, s, p in zip(keys, values, slots, positions):
            self.tokens[s, p] = (self.stored(k), self.stored(v))

    def visible(self, slot, position):
        return [(p, *self.tokens[slot, p]) for p in range(position + 1)]


def attention(q, visible, slots, positions, scale, kv_heads, value_dim, score=lambda s, **_: s, mask=lambda **_: True):
    """`visible(slot, position)` lists (position, keys, values) of the tokens that a row may see."""
    out = np.zeros((len(q), q.shape[1], value_dim))
    for i, (slot, position) in enumerate(zip(slots, positions)):
        for h in range(q.shape[1]):
            g = h // (q.shape[1] // kv_heads)
            scores, values = [], []
            for kv_position, keys, vals in visible(slot, position):
                index = dict(q_head=h, kv_head=g, q_pos=int(position), kv_pos=int(kv_position), slot=int(slot))
                if mask(**index):
                    scores.append(score(f64(f32(scale)) * (q[i, h].astype(f64) @ keys[g]), **index))
                    values.append(vals[g])
            if scores:
                p = np.exp(np.array(scores) - max(scores))
                out[i, h] = (p / p.sum()) @ np.array(values)
    return out

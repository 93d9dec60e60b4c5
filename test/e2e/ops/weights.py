"""Block formats of GGUF files, taken apart in numpy from their published layouts: independent of ir/StorageFormat.cpp."""

import gguf
import numpy as np

TYPES = {name: gguf.GGMLQuantizationType[name.upper()] for name in (
    "f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_nl", "iq4_xs")}
# Byte offsets of the f16 fields of a block: its scale and, where it has one, its minimum.
HALVES = {"q4_0": [0], "q4_1": [0, 2], "q5_0": [0], "q5_1": [0, 2], "q8_0": [0], "q2_k": [80, 82], "q3_k": [108], "q4_k": [0, 2],
          "q5_k": [0, 2], "q6_k": [208], "iq4_nl": [0], "iq4_xs": [0]}
CODE_BOOK = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113])


def random_blocks(rng, name, rows, columns):
    """Bytes of a [rows, columns] weight: random codes, scales of a usual size."""
    if name in ("f32", "f16", "bf16"):
        values = (rng.integers(-64, 65, (rows, columns)) / 64).astype(np.float32)
        return {"f32": values, "f16": values.astype(np.float16), "bf16": (values.view(np.uint32) >> 16).astype(np.uint16)}[name].tobytes()
    elements, size = gguf.GGML_QUANT_SIZES[TYPES[name]]
    blocks = rng.integers(0, 256, (rows * columns // elements, size), dtype=np.uint8)
    for offset in HALVES[name]:
        halves = rng.uniform(0.5, 1.5, len(blocks)) * (2**-10 if elements == 256 else 2**-6)
        blocks[:, offset:offset + 2] = halves.astype(np.float16)[:, None].view(np.uint8)
    return blocks.tobytes()


def decoded(name, data, rows, columns):
    """The f32 numbers that a file's bytes stand for, by the gguf package."""
    stored = np.frombuffer(data, np.uint8).reshape(rows, -1)
    if name == "f32":
        return stored.view(np.float32)
    if name == "f16":
        return stored.view(np.float16).astype(np.float32)
    return gguf.quants.dequantize(stored, TYPES[name]).reshape(rows, columns)


def half(blocks, offset):
    return blocks[:, offset:offset + 2].copy().view(np.float16)[:, 0].astype(np.float32)


def nibbles(quants, group):
    """Low nibbles of each run of `group` bytes, then its high ones."""
    runs = quants.reshape(len(quants), -1, group)
    return np.concatenate([runs & 15, runs >> 4], axis=2).reshape(len(quants), -1).astype(int)


def bits(values, offset, count):
    return (values >> offset & ((1 << count) - 1)).astype(int)


def k_scales(packed):
    """The 8 six-bit scales and minima that Q4_K and Q5_K pack into 12 bytes."""
    packed = packed.astype(int)
    low, mid, high = packed[:, 0:4], packed[:, 4:8], packed[:, 8:12]
    scales = np.concatenate([low & 63, (high & 15) | (low >> 6) << 4], axis=1)
    minima = np.concatenate([mid & 63, (high >> 4) | (mid >> 6) << 4], axis=1)
    return scales, minima


def fifth_bits(words):
    return bits(words.copy().view(np.uint32)[:, :1], np.arange(32, dtype=np.uint32), 1)


def parts(name, data, rows, columns):
    """(codes with the zero point taken off, scales, minima) of each element: w = scale * code - minimum.

    A scale is the f32 product of the block's scale and the sub-block's integer, a minimum likewise.
    """
    elements, size = gguf.GGML_QUANT_SIZES[TYPES[name]]
    b = np.frombuffer(data, np.uint8).reshape(-1, size)
    none = np.zeros(len(b), np.float32)
    ones = np.ones((len(b), 1), int)
    if name == "q4_0":
        codes, d, m, sub, sub_m = nibbles(b[:, 2:], 16) - 8, half(b, 0), none, ones, ones
    elif name == "q4_1":
        codes, d, m, sub, sub_m = nibbles(b[:, 4:], 16), half(b, 0), -half(b, 2), ones, ones
    elif name == "q5_0":
        codes = (nibbles(b[:, 6:], 16) | fifth_bits(b[:, 2:6]) << 4) - 16
        d, m, sub, sub_m = half(b, 0), none, ones, ones
    elif name == "q5_1":
        codes = nibbles(b[:, 8:], 16) | fifth_bits(b[:, 4:8]) << 4
        d, m, sub, sub_m = half(b, 0), -half(b, 2), ones, ones
    elif name == "q8_0":
        codes, d, m, sub, sub_m = b[:, 2:].copy().view(np.int8).astype(int), half(b, 0), none, ones, ones
    elif name == "iq4_nl":
        codes, d, m, sub, sub_m = CODE_BOOK[nibbles(b[:, 2:], 16)], half(b, 0), none, ones, ones
    elif name == "iq4_xs":
        codes = CODE_BOOK[nibbles(b[:, 8:], 16)]
        low = np.stack([b[:, 4:8] & 15, b[:, 4:8] >> 4], axis=2).reshape(len(b), 8).astype(int)
        high = bits(b[:, 2:4].copy().view(np.uint16), np.arange(8, dtype=np.uint16) * 2, 2)
        d, m, sub, sub_m = half(b, 0), none, (low | high << 4) - 32, ones
    elif name == "q2_k":
        # Two halves of 128 elements; four runs of 32 in each, two bits further up the same 32 bytes.
        quants = b[:, 16:80].reshape(len(b), 2, 1, 32)
        codes = bits(quants, (np.arange(4, dtype=np.uint8) * 2)[:, None], 2).reshape(len(b), 256)
        d, m, sub, sub_m = half(b, 80), half(b, 82), (b[:, :16] & 15).astype(int), (b[:, :16] >> 4).astype(int)
    elif name == "q3_k":
        quants = b[:, 32:96].reshape(len(b), 2, 1, 32)
        low = bits(quants, (np.arange(4, dtype=np.uint8) * 2)[:, None], 2).reshape(len(b), 256)
        top = bits(b[:, None, :32], np.arange(8, dtype=np.uint8)[:, None], 1).reshape(len(b), 256)
        codes = low - 4 * (1 - top)
        s = b[:, 96:108].astype(int)
        low4 = np.concatenate([s[:, :8] & 15, s[:, :8] >> 4], axis=1)
        high2 = np.concatenate([s[:, 8:] >> shift & 3 for shift in (0, 2, 4, 6)], axis=1)
        d, m, sub, sub_m = half(b, 108), none, (low4 | high2 << 4) - 32, ones
    elif name in ("q4_k", "q5_k"):
        sub, sub_m = k_scales(b[:, 4:16])
        codes = nibbles(b[:, 16 if name == "q4_k" else 48:], 32)
        if name == "q5_k":
            codes |= bits(b[:, None, 16:48], np.arange(8, dtype=np.uint8)[:, None], 1).reshape(len(b), 256) << 4
        d, m = half(b, 0), half(b, 2)
    elif name == "q6_k":
        quants = b[:, :128].reshape(len(b), 2, 64)
        low = np.concatenate([quants & 15, quants >> 4], axis=2).astype(int)
        high = bits(b[:, 128:192].reshape(len(b), 2, 1, 32), (np.arange(4, dtype=np.uint8) * 2)[:, None], 2)
        codes = (low.reshape(len(b), 256) | high.reshape(len(b), 256) << 4) - 32
        d, m, sub, sub_m = half(b, 208), none, b[:, 192:208].copy().view(np.int8).astype(int), ones
    spread = lambda values: np.repeat(values, elements // values.shape[1], axis=1).reshape(rows, columns)
    scales = spread(d[:, None] * sub.astype(np.float32))
    minima = spread(m[:, None] * sub_m.astype(np.float32))
    codes = codes.reshape(rows, columns)
    assert np.allclose(scales.astype(float) * codes - minima, decoded(name, data, rows, columns), rtol=1e-6, atol=1e-6), name
    return codes, scales, minima

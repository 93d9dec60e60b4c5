"""Compares Heddle's decoding of every storage format with the `gguf` package's, bit by bit (any NaN equals any NaN)."""
import subprocess
import sys

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

FORMATS = "f32 f16 bf16 q4_0 q4_1 q5_0 q5_1 q8_0 q2_k q3_k q4_k q5_k q6_k iq4_nl iq4_xs".split()
SCALES_AT = {"q2_k": [80, 82], "q3_k": [108], "q6_k": [208], "q4_1": [0, 2], "q5_1": [0, 2], "q4_k": [0, 2], "q5_k": [0, 2]}
# Zero, the smallest and largest numbers of both signs, infinities, NaN.
SPECIAL = [0x0000, 0x8000, 0x0001, 0x83FF, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00, 0xFE01]


def blocks(name, size, generator):
    random = generator.integers(0, 256, (4096, size), dtype=np.uint8)
    if name in ("f32", "f16", "bf16"):
        return random.reshape(-1)
    for at in SCALES_AT.get(name, [0]):
        for row in range(0, 2000):
            if row % 2:
                bits = SPECIAL[(row // 2 * (at + 1)) % len(SPECIAL)]
                random[row, at : at + 2] = np.frombuffer(np.uint16(bits).tobytes(), np.uint8)
    return random.reshape(-1)


failed = False
generator = np.random.default_rng(7)
for name in FORMATS:
    kind = GGMLQuantizationType[name.upper()]
    stored = blocks(name, GGML_QUANT_SIZES[kind][1], generator)
    with np.errstate(all="ignore"):
        expected = dequantize(stored, kind).reshape(-1)
    run = subprocess.run([sys.argv[1], name], input=stored.tobytes(), capture_output=True, check=True)
    found = np.frombuffer(run.stdout, np.float32)
    same = found.shape == expected.shape and bool(
        np.all((found.view(np.uint32) == expected.view(np.uint32)) | (np.isnan(found) & np.isnan(expected)))
    )
    print(f"{name}: {expected.size} values {'equal' if same else 'DIFFER'}, {np.isnan(expected).sum()} NaN")
    failed |= not same
sys.exit(failed)

#!/usr/bin/env python3
"""Times the attention variants of test/e2e/attention against plain causal attention, per score computed.

    attention_variants.py [--build build] [--level NAME] [--page docs/custom-attention.md]

Kernels alone, one thread, SmolLM2's shape (9 query heads, 3 KV heads of 64, f16 cache): prefill of 512 rows at position 1,536 and
decode of one row at 2,047. A score let through is one product of a query head and a key that mask and selection let through; computed are
those of all keys in the groups of 16, side by side in the cache, that hold such a key of a selection. Windows are of 512 keys here. Of a
selection every N-th block, token or head is selected: tokens so spread out are the worst case. With --page the table goes between the
page's markers.
"""

import argparse
import pathlib
import re
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parents[2]
VARIANTS = HERE / "test" / "e2e" / "attention"
HEADS, KV, WIDTH, CONTEXT = 9, 3, 64, 2048
QUERY = f"tensor<?x{HEADS}x{WIDTH}xf32>"
CACHE = f"!heddle.kv_cache<{KV}x{WIDTH}x{WIDTH}xf16>"
TYPES = f"{QUERY} cache {CACHE}, tensor<?xi32>, tensor<?xi32> -> {QUERY}"
ARGUMENTS = "%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32"

# What the files of the library take from outside of the attention op, as arguments of a kernel.
OUTSIDE = {
    "document_mask": "%documents: tensor<4x640xf32>", "additive_bias": "%bias: tensor<6x100xf32>", "row_bias": "%biases: tensor<?x640xf32>",
    "head_gated": f"%heads: !heddle.selection<heads, ?x{HEADS}>, %mean: tensor<{HEADS}x{WIDTH}xf32>",
    "block_sparse": "%blocks: !heddle.selection<blocks, ?x64, 32>",
    "top_k_tokens": f"%tokens_seen: !heddle.selection<tokens, ?x{CONTEXT}>",
}


def seen(name, position, keep):
    """Keys that the row at `position` sees."""
    keys = range(position + 1)
    if name == "sliding_window":
        return min(position + 1, 512)
    if name == "sink_tokens":
        return min(position + 1, 512)
    if name == "block_sparse":
        return sum(1 for k in keys if k // 32 % keep == 0)
    if name == "top_k_tokens":
        return sum(1 for k in keys if k % keep == 0)
    return position + 1


def computed(name, position, keep):
    """Keys whose scores are computed for that row."""
    if name != "top_k_tokens":
        return seen(name, position, keep)
    return sum(min(16, position + 1 - first) for first in range(0, position + 1, 16) if any(k % keep == 0 for k in range(first, first + 16)))


def heads(name, keep):
    return sum(1 for h in range(HEADS) if h % keep == 0) if name == "head_gated" else HEADS


def kernel(name):
    """The variant's attention op in a kernel, its own lines before it being left out: selections are operands here."""
    text = (VARIANTS / f"{name}.mlir").read_text()
    constants = "\n".join(re.findall(r"^%\w+ = arith\.constant dense.*$", text, re.MULTILINE))
    op = text[text.index("%o = heddle.attention"):]
    for word, meaning in {"$KEYS": "cache %c", "$TYPES": TYPES, "$DV": str(WIDTH), "tensor<6x": f"tensor<{HEADS}x", "?x6>": f"?x{HEADS}>",
                          "?x20, 32>": "?x64, 32>", "?x640>": f"?x{CONTEXT}>", "constant 50": "constant 512", "constant 40": "constant 508"}.items():
        op, constants = op.replace(word, meaning), constants.replace("tensor<6xf32>", f"tensor<{HEADS}xf32>")
    constants = constants.replace("0.015625]", "0.015625, 0.0078125, 0.00390625, 0.001953125]")
    outside = OUTSIDE.get(name, "").replace("tensor<6x", f"tensor<{HEADS}x")
    return (f'heddle.kernel @{name} family <attention> target "cpu" {{\n^bb0(%q: {QUERY}, %c: {CACHE}'
            f'{", " + outside if outside else ""}, %slots: tensor<?xi32>, %positions: tensor<?xi32>):\n'
            f"{constants}\n{op.strip()}\nheddle.yield %o : {QUERY}\n}}\n")


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--build", default="build")
    options.add_argument("--level")
    options.add_argument("--page")
    options = options.parse_args()
    cases = [("causal", 1), ("sliding_window", 1), ("sink_tokens", 1), ("alibi", 1), ("soft_cap", 1), ("additive_bias", 1), ("row_bias", 1),
             ("document_mask", 1), ("block_sparse", 1), ("block_sparse", 4), ("block_sparse", 16), ("top_k_tokens", 1), ("top_k_tokens", 16), ("top_k_tokens", 64), ("head_gated", 1),
             ("head_gated", 3)]
    lines, base = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for name, keep in cases:
            path = pathlib.Path(folder) / f"{name}.mlir"
            path.write_text(kernel(name))
            cells = [name.replace("_", " ") + (f", 1 of {keep}" if keep > 1 else "")]
            for rows, position in ((512, CONTEXT - 512), (1, CONTEXT - 1)):
                command = [f"{options.build}/bin/heddle-bench-attention", "--attention", path, "--rows", rows, "--position", position,
                           "--keep", keep, *(["--level", options.level] if options.level else [])]
                out = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout.split()
                microseconds = float(out[1])
                each = [microseconds * 1e3 / (heads(name, keep) * sum(count(name, position + row, keep) for row in range(rows)))
                        for count in (seen, computed)]
                base.setdefault(rows, (each[0], microseconds))
                cells += [f"{microseconds:,.0f}" if rows > 1 else f"{microseconds:.1f}", f"{each[0]:.2f}",
                          *(f"{value / base[rows][0]:.2f}" for value in each), f"{microseconds / base[rows][1]:.2f}"]
            lines.append("| " + " | ".join(cells) + " |")
            print(lines[-1], flush=True)
    half = "µs | ns per score | to causal, let through | to causal, computed | to causal, time"
    header = f"| variant | prefill, {half} | decode, {half} |\n|" + "---|" * 11
    if options.page:
        page = pathlib.Path(options.page)
        begin, end = "<!-- attention_variants.py -->\n", "<!-- end -->"
        before, rest = page.read_text().split(begin)
        page.write_text(before + begin + header + "\n" + "\n".join(lines) + "\n" + end + rest.split(end, 1)[1])


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Puts the figures of tools/bench/run.sh (build/bench/*.json) into docs/performance.md, between its markers.

    report.py [--figures build/bench] [--page docs/performance.md]
"""

import argparse
import json
import pathlib
import re
import sys

SOURCE = pathlib.Path(__file__).resolve().parents[2]
NAMES = {"smollm2": "SmolLM2-135M Q4_1", "gemma3": "Gemma3-270M Q4_K_M"}


def table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def accuracy(figures):
    rows = [[NAMES[r["model"]], r["mode"], f"{r['heddle_mean_kl_nats']:.2e}", f"{r['llama_cpp_mean_kl_nats']:.2e}",
             f"{r['ratio']:.4f}", r["tokens"]] for r in figures["results"]]
    return table(["model", "mode", "Heddle", "llama.cpp", "ratio", "tokens"], rows)


def speed(figures):
    amx = any("llama_cpp_without_amx_ratio" in r for r in figures["results"])
    rows = []
    for r in figures["results"]:
        row = [NAMES[r["model"]], r["what"], r["threads"], f"{r['heddle_tokens_per_second']:.0f} (±{r['heddle_spread_percent'] / 2:.0f} %)"]
        if amx:
            row += [f"{r['llama_cpp_without_amx_tokens_per_second']:.0f}", f"**{r['llama_cpp_without_amx_ratio']:.2f}**"]
        row += [f"{r['llama_cpp_tokens_per_second']:.0f}", f"{r['llama_cpp_ratio']:.2f}"]
        row.append(f"{100 * r['share_of_read_bound']:.0f} % of {r['read_bound_gigabytes_per_second']:.1f} GB/s"
                   if "share_of_read_bound" in r else "")
        rows.append(row)
    peers = ["llama.cpp without AMX", "ratio", "llama.cpp with AMX", "ratio"] if amx else ["llama.cpp", "ratio"]
    return table(["model", "what", "threads", "Heddle tokens/s", *peers, "read bound"], rows)


def embeddings(figures):
    exact = table(["who", "smallest cosine to the f32 evaluation", "distance"],
                  [[r["who"], f"{r['smallest_cosine']:.8f}", f"{1 - r['smallest_cosine']:.1e}"] for r in figures["accuracy"]])
    rows = [[r["tokens"], r["threads"], f"{r['heddle_milliseconds']:.2f}", f"{r['onnxruntime_milliseconds']:.2f}",
             f"{r['llama_cpp_milliseconds']:.2f}", f"{r['onnxruntime_milliseconds'] / r['heddle_milliseconds']:.2f}",
             f"{r['llama_cpp_milliseconds'] / r['heddle_milliseconds']:.2f}"] for r in figures["speed"]]
    return exact + "\n\n" + table(["tokens", "threads", "Heddle ms", f"ONNX Runtime {figures['onnxruntime']} ms", "llama.cpp ms",
                                   "ONNX Runtime / Heddle", "llama.cpp / Heddle"], rows)


def compile_time(figures):
    code = table(["model", "level", "processor seconds for its code"],
                 [[NAMES[r["model"]], r["level"], f"{r['seconds']:.2f}"] for r in figures["code"]])
    first = figures["depth"][0]
    depth = table(["identical layers", "processor seconds, all levels", "ratio", "with samples for `verify`", "ratio"],
                  [[r["layers"], f"{r['seconds']:.2f}", f"{r['seconds'] / first['seconds']:.2f}", f"{r['seconds_with_samples']:.2f}",
                    f"{r['seconds_with_samples'] / first['seconds_with_samples']:.2f}"] for r in figures["depth"]])
    large = figures["large"]
    memory = table(["file", "processor seconds", "peak memory", "its two largest tensors"],
                   [[f"{large['file_bytes'] / 1e9:.1f} GB, sparse", f"{large['seconds']:.0f}", f"{large['peak_memory_bytes'] / 1e6:.0f} MB",
                     f"{large['two_largest_tensors_bytes'] / 1e6:.0f} MB"]])
    return "\n\n".join([code, depth, memory])


def neighbours(figures):
    rows = [[NAMES[r["model"]], r["neighbours"], r["threads"], f"{r['tokens_per_second']:.0f}", f"{r['slowest']:.0f}"]
            for r in figures["decode"]]
    return f"{figures['processors']} CPUs.\n\n" + table(["model", "busy neighbours", "threads", "tokens/s", "slowest"], rows)


SECTIONS = {"accuracy": accuracy, "accuracy-precise": accuracy, "speed": speed, "speed-avx2": speed,
            "embeddings": embeddings, "neighbours": neighbours, "compile": compile_time}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figures", type=pathlib.Path, default=SOURCE / "build" / "bench")
    parser.add_argument("--page", type=pathlib.Path, default=SOURCE / "docs" / "performance.md")
    arguments = parser.parse_args()
    text = arguments.page.read_text()
    for name, render in SECTIONS.items():
        path = arguments.figures / f"{name}.json"
        if not path.exists():
            print(f"{path}: not measured, left as it is", file=sys.stderr)
            continue
        figures = json.loads(path.read_text())
        note = f"Measured on {figures['processor']}" + (f", load {figures['load']:.1f}" if "load" in figures else "") + "."
        body = f"<!-- figures: {name} -->\n{note}\n\n{render(figures)}\n<!-- end -->"
        text, count = re.subn(rf"<!-- figures: {name} -->.*?<!-- end -->", lambda _: body, text, flags=re.DOTALL)
        if count != 1:
            print(f"{arguments.page}: expected one section '{name}', but found {count}", file=sys.stderr)
            return 1
    arguments.page.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

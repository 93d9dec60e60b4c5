#!/usr/bin/env python3
"""`heddle bench --per-kernel` of SmolLM2 and MiniLM: what the kernels sum to of a whole run, and each kernel's share of
the machine's limit.

    tools/bench/per_kernel.py [--threads 1] [--rounds 40] [--kernels 100]
"""

import json

import common
from e2e.models import make_minilm_gguf


def main():
    arguments = common.arguments(__doc__, threads={"default": "1"}, rounds={"type": int, "default": 40},
                                 kernels={"type": int, "default": 100, "help": "rows of each table"})
    models = {"smollm2": common.support.compiled("smollm2", "--target", "cpu:native"),
              "minilm q8_0": common.support.compile_once(make_minilm_gguf.ensure("q8_0"), "--target", "cpu:native")}
    figures = {"processor": common.processor(), "load": common.load_average(), "models": {}}
    print(f"{figures['processor']}; load {figures['load']:.1f}; threads {arguments.threads}")
    sums = []
    for name, artifact in models.items():
        report = json.loads(common.support.heddle("bench", artifact, "--per-kernel", "--format", "json", "--threads", arguments.threads,
                                                  "--repeat", str(arguments.rounds), "--prefill", "64").stdout)
        figures["models"][name] = report
        for run in report["runs"]:
            kernels, whole = run["kernels_seconds"], run["whole_seconds"]
            limit = sum(kernel["limit_seconds"] for kernel in run["kernels"])
            sums.append([name, f"{run['run']}, {run['rows']} rows", f"{1e3 * kernels:.3f}", f"{1e3 * whole:.3f}",
                         f"{100 * kernels / whole:.1f} %", f"{100 * limit / kernels:.0f} %"])
            print(f"\n{name}, {run['run']}")
            common.table(["kernel", "calls", "us", "time", "limit"],
                         [[kernel["kernel"], kernel["launches"], f"{1e6 * kernel['seconds']:.1f}",
                           f"{100 * kernel['seconds'] / kernels:.1f} %", f"{100 * kernel['share_of_limit']:.0f} %"]
                          for kernel in run["kernels"][:arguments.kernels]])
    print()
    common.table(["model", "run", "kernels, ms", "whole, ms", "kernels of whole", "limit of kernels"], sums)
    common.save(arguments.json, figures)


if __name__ == "__main__":
    main()

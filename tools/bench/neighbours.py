#!/usr/bin/env python3
"""Decoding while other processes want the same CPUs: tokens/s by number of threads and of busy neighbours.

Neighbours do nothing but count. With as many of them as CPUs every worker shares its CPU, and the scheduler may put
two workers on one.
"""

import contextlib
import os
import subprocess
import sys

import common
from heddle_runtime import Model, Session

TOKENS = 48


@contextlib.contextmanager
def busy(count):
    neighbours = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()


def decode(model, threads):
    """Tokens/s of a sequence of its own."""
    session = Session(model, threads, context=256)
    session.append(list(range(1000, 1016)), 0)
    seconds = common.timed(lambda: [session.append([1000 + index], 16 + index) for index in range(TOKENS)])
    session.close()
    return TOKENS / seconds


def main():
    arguments = common.arguments(__doc__, rounds={"type": int, "default": 3})
    processors = len(os.sched_getaffinity(0))
    figures = {"processor": common.processor(), "load": common.load_average(), "processors": processors, "decode": []}
    print(f"{figures['processor']}; {processors} CPUs, load {figures['load']:.1f}")
    rows = []
    for name in arguments.models.split(","):
        model = Model(common.support.compiled(name), arguments.cpu)
        for neighbours in (0, processors // 2, processors):
            with busy(neighbours):
                for threads in (1, processors):
                    rates = sorted(decode(model, threads) for _ in range(arguments.rounds))
                    median = rates[len(rates) // 2]
                    figures["decode"].append({"model": name, "neighbours": neighbours, "threads": threads,
                                              "tokens_per_second": median, "slowest": rates[0]})
                    rows.append([name, neighbours, threads, f"{median:.0f}", f"{rates[0]:.0f}"])
        model.close()
    common.table(["model", "busy neighbours", "threads", "tokens/s", "slowest"], rows)
    common.save(arguments.json, figures)


if __name__ == "__main__":
    main()

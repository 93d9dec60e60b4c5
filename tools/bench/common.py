"""What the measurements share: models, compiled models, texts, interleaved timing, tables."""

import argparse
import json
import os
import pathlib
import pydoc_data.topics
import re
import statistics
import sys
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(SOURCE / "test"), str(SOURCE / "test" / "e2e"), str(SOURCE / "tools" / "bench")]

from e2e import support  # noqa: E402

TEXTS = ("english", "code", "russian")


def text(name):
    return (SOURCE / "tools" / "bench" / "texts" / f"{name}.txt").read_text()


def manual():
    """The reference manual that Python carries as (calibration, held out): every fourth topic is held out."""
    topics = sorted(pydoc_data.topics.topics.items())
    return tuple("\n\n".join(text for number, (_, text) in enumerate(topics) if (number % 4 == 3) == held_out)
                 for held_out in (False, True))


def sentences(text):
    """Those of a text that read like sentences."""
    found = (" ".join(piece.split()) for piece in re.split(r"(?<=[.!?])\s+|\n\n", text))
    return [piece for piece in found if 40 < len(piece) < 300 and piece[0].isalpha() and piece[-1] == "."]


def arguments(description, **extra):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="smollm2,gemma3", help="comma-separated: smollm2, gemma3")
    parser.add_argument("--cpu", default="", help="code level to use at most, as heddle run --cpu")
    parser.add_argument("--json", type=pathlib.Path, help="also write the figures there")
    for name, options in extra.items():
        parser.add_argument("--" + name.replace("_", "-"), **options)
    return parser.parse_args()


def processor():
    with open("/proc/cpuinfo") as file:
        facts = dict(line.split(":", 1) for line in file if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    flags = [flag for flag in ("avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8") if flag in facts["flags"].split()]
    return f"{facts['model name']} (family {facts.get('cpu family')}, model {facts.get('model')}; {', '.join(flags)})"


def timed(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def interleaved(contestants, rounds):
    """Times each contestant's work once per round, in turn; {name: [seconds]}. The first round warms up. Threads of the
    contestant before still wait busily for more work, ggml's for the better part of a second, so there is a pause between."""
    times = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, work in contestants.items():
            time.sleep(1)
            seconds = work()
            if number:
                times[name].append(seconds)
    return times


def spread(values):
    return 100 * (max(values) - min(values)) / statistics.median(values)


def table(header, rows):
    widths = [max(len(str(row[column])) for row in [header, *rows]) for column in range(len(header))]
    lines = ["| " + " | ".join(str(cell).ljust(width) for cell, width in zip(row, widths)) + " |" for row in [header, *rows]]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    print("\n".join(lines), flush=True)


def save(path, figures):
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(figures, indent=2) + "\n")


def load_average():
    return os.getloadavg()[0]

"""Breaks the example driver on purpose and sees whether the conformance suite notices.

    PYTHONPATH=test python -m e2e.npu.mutants --seed 1 --count 100

A mutant is one operator of the list applied at one place of the machine's source, both drawn by the seed. One that does not
compile is drawn again.
"""

import argparse
import random
import re
import subprocess
import sys

from e2e.npu.cases import write_cases
from e2e.npu.conformance import all_cases
from e2e.npu.example import FOLDER, SYMBOL, build, compile_source, link
from e2e.support import BIN, WORK

OPERATORS = [(r" < ", " <= "), (r" <= ", " < "), (r" > ", " >= "), (r" >= ", " > "), (r" == ", " != "), (r" != ", " == "),
             (r" \+ ", " - "), (r" - ", " + "), (r" \* ", " + "), (r" && ", " || "), (r" \|\| ", " && "),
             (r"std::max", "std::min"), (r"std::min", "std::max"), (r" >> ", " << "), (r" << ", " >> "), (r"\btrue\b", "false"),
             (r"\bfalse\b", "true"), (r"\b0\b", "1"), (r"\b1\b", "2"), (r"\b4\b", "2"), (r"\b255\b", "254"), (r"\b62\b", "63"),
             (r"\b65535\b", "65534"), (r" \+= ", " -= "), (r" & ", " | "), (r"continue;", "break;"), (r"break;", ";"),
             (r"need\(.*\);$", ";"), (r"return false;", "return true;")]
TARGETS = ["Machine.cpp", "Vector.cpp"]


def places(text):
    """(line, operator, column) of everything that an operator matches, outside of comments and includes."""
    for number, line in enumerate(text.splitlines()):
        code = line.split("//")[0]
        if code.lstrip().startswith("#"):
            continue
        for i, (pattern, _) in enumerate(OPERATORS):
            for match in re.finditer(pattern, code):
                yield number, i, match.start()


def mutate(text, number, operator, column):
    lines = text.splitlines()
    pattern, new = OPERATORS[operator]
    line = lines[number]
    lines[number] = line[:column] + re.sub(pattern, lambda _: new, line[column:], count=1)
    return "\n".join(lines) + "\n", lines[number].strip()


class Report:
    def __init__(self):
        self.found, self.survivors = 0, []


def run(seed, count, first=0, echo=lambda text: None):
    """Mutants `first` to `first + count` of the seed's sequence."""
    work = WORK / "npu" / "mutants"
    _, objects = build(work)
    path = work / "suite.cases"
    write_cases(path, all_cases())
    texts = {name: (FOLDER / name).read_text() for name in TARGETS}
    candidates = [(name, *place) for name in TARGETS for place in places(texts[name])]
    draw, report, drawn = random.Random(seed), Report(), 0
    draw.shuffle(candidates)
    for name, number, operator, column in candidates:
        if drawn == first + count:
            break
        text, line = mutate(texts[name], number, operator, column)
        source, made = FOLDER / name, work / f"mutant-{name}"
        made.write_text(text)
        if compile_source(made, work / "mutant.o", "-O0", "-I", str(FOLDER)).returncode:
            continue
        drawn += 1
        if drawn <= first:
            continue
        link([work / "mutant.o", *(o for n, o in objects.items() if n != source.name)], work / "libmutant.so")
        try:
            done = subprocess.run([str(BIN / "heddle-npu-conformance"), str(path), "--driver", f"{work}/libmutant.so:{SYMBOL}"],
                                  capture_output=True, text=True, timeout=20)
            found, how = done.returncode != 0, (done.stdout.splitlines() or [f"exit {done.returncode}"])[0]
        except subprocess.TimeoutExpired:
            found, how = True, "time-out"
        echo(f"{'found' if found else 'SURVIVED'} {name}:{number + 1}: {line} ({how[:100]})")
        report.found += found
        if not found:
            report.survivors.append(f"{name}:{number + 1}: {line}")
    return report


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    arguments = parser.parse_args()
    report = run(arguments.seed, arguments.count, arguments.first, lambda text: print(text, flush=True))
    print(f"seed {arguments.seed}, mutants {arguments.first} to {arguments.first + arguments.count}: {report.found} found, "
          f"{len(report.survivors)} survived")


if __name__ == "__main__":
    sys.exit(main())

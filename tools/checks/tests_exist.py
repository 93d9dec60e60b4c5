#!/usr/bin/env python3
"""Checks that every pass has its file and its lit test, and every op a round-trip, an invalid and an executable test."""

import re

from common import SOURCE, finish

PASS = re.compile(r'^def\s+\w+\s*:\s*(?:Pass|InterfacePass)<\s*"heddle-([\w-]+)"', re.MULTILINE)
OP = re.compile(r'^def\s+\w+\s*:\s*Heddle_\w*Op<\s*"([\w.]+)"', re.MULTILINE)


def read_all(folder, suffix=".mlir"):
    return "\n".join(path.read_text() for path in sorted((SOURCE / folder).rglob("*" + suffix)))


def camel(name):
    return "".join(part.capitalize() for part in name.split("-"))


problems = []
passes = PASS.findall("\n".join(path.read_text() for path in (SOURCE / "passes").glob("*.td")))
for name in passes:
    if not list((SOURCE / "passes").glob(f"**/{camel(name)}.cpp")):
        problems.append(f"pass 'heddle-{name}' has no file passes/{camel(name)}.cpp")
    test = SOURCE / "test" / "passes" / f"{name}.mlir"
    if not test.exists():
        problems.append(f"pass 'heddle-{name}' has no test test/passes/{name}.mlir")
    elif f"heddle-{name}" not in test.read_text():
        problems.append(f"{test.relative_to(SOURCE)} does not run 'heddle-{name}'")

ops = sorted(set(OP.findall("\n".join(path.read_text() for path in (SOURCE / "ir").glob("*.td")))))
good = "\n".join(path.read_text() for path in (SOURCE / "test/ir").rglob("*.mlir") if "invalid" not in path.name)
bad = "\n".join(path.read_text() for path in (SOURCE / "test/ir").rglob("*invalid*.mlir"))
for op in ops:
    mention = re.compile(rf"\bheddle\.{re.escape(op)}\b")
    if not mention.search(good):
        problems.append(f"op 'heddle.{op}' has no round-trip test in test/ir/")
    if not mention.search(bad):
        problems.append(f"op 'heddle.{op}' has no test of its errors in test/ir/*invalid*.mlir")
examples = read_all("test/e2e/ops")
STRUCTURAL = set()  # ops without a value of their own, which an example cannot run alone; the comment says which and why
for op in ops:
    if op not in STRUCTURAL and not re.search(rf"\bheddle\.{re.escape(op)}\b", examples):
        problems.append(f"op 'heddle.{op}' has no executable example in test/e2e/ops/")
if not passes and list((SOURCE / "passes").glob("*.cpp")):
    problems.append("no pass is defined in passes/*.td; this check reads `def Name : Pass<\"heddle-...\"`")
finish(problems)

#!/usr/bin/env python3
"""Checks what may be committed: top-level names, sizes, no path of anyone's machine, no overlong source file."""

import re

from common import SOURCE, finish, tracked_files

TOP_LEVEL = {"CMakeLists.txt", "CMakePresets.json", "README.md", "LICENSE", "ir", "frontends", "passes", "codegen",
             "runtime", "tools", "test", "docs"}
LARGEST = 1_000_000  # bytes
LONGEST = 800  # lines of a hand-written source file
SOURCES = {".c", ".cpp", ".h", ".td", ".py", ".sh"}
# Spelled in pieces, so that this file passes its own check.
MACHINE_PATH = re.compile(r"(?<![\w.~/}-])/(?:" + "|".join(["work", "root", "farm", "home/\\w+", "tmp/bash_" + "jobs"]) + r")/")


def problems_of(path):
    content = (SOURCE / path).read_bytes()
    if path.parts[0] not in TOP_LEVEL and not path.parts[0].startswith("."):
        yield f"{path}: '{path.parts[0]}' is not one of the fixed top-level names"
    if len(content) > LARGEST:
        yield f"{path}: {len(content)} bytes; at most {LARGEST} may be committed"
    if b"\0" in content[:4096]:
        return
    text = content.decode(errors="replace")
    if path.name != "hygiene.py":
        for number, line in enumerate(text.splitlines(), 1):
            if MACHINE_PATH.search(line):
                yield f"{path}:{number}: path of a machine: {line.strip()[:120]}"
    generated = "generated" in text[:400].lower()
    if path.suffix in SOURCES and not generated and text.count("\n") > LONGEST:
        yield f"{path}: {text.count(chr(10))} lines; cut files at about {LONGEST}"


finish([problem for path in tracked_files() for problem in problems_of(path)])

#!/usr/bin/env python3
"""Checks the dependency rules between folders by scanning what each source file includes."""

import pathlib
import re

from common import SOURCE, finish, tracked_files

# What a file of the folder may include by a path from the root. The public C headers (heddle/*.h) are open to all.
MAY_INCLUDE = {
    "ir": {"ir"},
    "frontends": {"ir", "frontends"},
    "passes": {"ir", "passes"},
    "codegen": {"ir", "passes", "codegen"},
    "runtime": {"runtime"},
    "tools": {"ir", "frontends", "passes", "codegen", "tools"},
    "test": {"ir", "frontends", "passes", "codegen", "runtime", "tools", "test"},
}
# The kernel benchmark loads code as the unit tests do.
EXCEPTIONS = {("tools", "test/unit/codegen/LoadedImage.h")}
# Sibling folders that never include one another: the targets of one layer and the formats of the frontends.
SEPARATE = ("codegen/cpu", "codegen/cuda", "codegen/npu", "runtime/drivers/cpu", "runtime/drivers/cuda",
            "runtime/drivers/cuda_sim", "runtime/drivers/npu_sim", "runtime/drivers/onednn",
            "frontends/gguf", "frontends/huggingface", "frontends/onnx")
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.MULTILINE)


def home(path):
    """The separate folder that a path lies in, if any."""
    return next((folder for folder in SEPARATE if str(path).startswith(folder + "/")), None)


def problems_of(path):
    folder = path.parts[0]
    for quote, name in INCLUDE.findall((SOURCE / path).read_text(errors="replace")):
        beside = path.parent / name
        if quote == '"' and (SOURCE / beside).exists():
            target = pathlib.Path(*beside.parts)
        else:
            target = pathlib.Path(name)
        if folder == "runtime" and target.parts[0] in ("mlir", "llvm", "lld", "clang"):
            yield f"{path}: the runtime includes '{name}', but uses nothing of LLVM"
        if target.parts[0] not in MAY_INCLUDE:
            continue
        if target.parts[0] not in MAY_INCLUDE[folder] and (folder, str(target)) not in EXCEPTIONS:
            allowed = ", ".join(sorted(MAY_INCLUDE[folder]))
            yield f"{path}: '{folder}' includes '{target}'; it may use only {allowed} and heddle/*.h"
        ours, theirs = home(path), home(target)
        if ours and theirs and ours != theirs:
            yield f"{path}: '{ours}' includes '{target}'; targets and formats never include one another"


finish([problem for path in tracked_files()
        if path.suffix in (".h", ".c", ".cpp", ".td") and path.parts[0] in MAY_INCLUDE
        for problem in problems_of(path)])

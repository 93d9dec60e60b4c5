"""Seeds of npu-fuzz: a container for each of some cases of the conformance suite and some random programs."""

import pathlib
import sys

from e2e.npu.conformance import command_cases
from e2e.npu.conformance_rules import rule_cases
from e2e.npu.kernels import kernel_cases
from e2e.npu.random_programs import Generator

folder = pathlib.Path(sys.argv[1])
cases = [*list(command_cases())[::7], *list(rule_cases())[::2], *kernel_cases(), *(Generator(seed).case() for seed in range(1, 60))]
for i, case in enumerate(cases):
    (folder / f"case-{i}").write_bytes(case.container())

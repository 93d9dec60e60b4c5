"""Shared by the checks: the repository's files and the way a check reports."""

import pathlib
import subprocess
import sys

SOURCE = pathlib.Path(__file__).resolve().parents[2]


def tracked_files():
    """Paths, relative to the root, of the files git tracks or would track, that exist."""
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={SOURCE}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=SOURCE, capture_output=True, text=True, check=True).stdout
    paths = (pathlib.Path(name) for name in sorted(set(listed.split("\0"))) if name)
    return [path for path in paths if (SOURCE / path).is_file()]


def finish(problems):
    """Prints the problems and ends the check."""
    for problem in problems:
        print(problem)
    sys.exit(1 if problems else 0)

"""A second driver, made out of the tree by the very commands of docs/adding-a-target.md, passes the conformance suite;
broken ones do not."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

from e2e.npu import mutants
from e2e.support import BUILD, SOURCE


def commands_of(page, most):
    """The first indented lines of a page that are commands."""
    lines = [line.strip() for line in page.read_text().splitlines() if line.startswith("    ")]
    return [line for line in lines if line.split()[0] in ("c++", "PYTHONPATH=test", "build/bin/heddle-npu-conformance")][:most]


class ExampleDriver(unittest.TestCase):
    def test_page_is_followed(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            for link, target in {"runtime": SOURCE / "runtime", "test": SOURCE / "test", "build": BUILD}.items():
                (folder / link).symlink_to(target)
            path = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            for command in commands_of(SOURCE / "docs" / "adding-a-target.md", 3):
                done = subprocess.run(["bash", "-c", command], cwd=folder, env={**os.environ, "PATH": path}, capture_output=True,
                                      text=True, timeout=300)
                self.assertEqual(done.returncode, 0, f"{command}\n{done.stdout}{done.stderr}")
            self.assertRegex(done.stdout, r"[3-9]\d\d passed, 0 failed on 'example'")

    def test_some_mutants_are_found(self):
        report = mutants.run(seed=1, count=4)
        self.assertEqual(report.survivors, [])


if __name__ == "__main__":
    unittest.main()

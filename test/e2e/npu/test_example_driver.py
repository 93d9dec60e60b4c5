"""A second driver, built out of the tree as docs/adding-a-target.md says, passes the conformance suite; broken ones do not."""

import unittest

from e2e.npu import mutants
from e2e.npu.conformance import all_cases
from e2e.npu.example import SYMBOL, build
from e2e.npu.random_programs import run_cases
from e2e.support import WORK


class ExampleDriver(unittest.TestCase):
    def test_conformance(self):
        library, _ = build()
        text, passed = run_cases(all_cases(), WORK / "npu" / "example", f"{library}:{SYMBOL}")
        self.assertTrue(passed, text)
        self.assertIn("on 'example'", text)

    def test_some_mutants_are_found(self):
        report = mutants.run(seed=1, count=4)
        self.assertEqual(report.survivors, [])


if __name__ == "__main__":
    unittest.main()

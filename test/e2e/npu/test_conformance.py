"""The conformance suite on the simulator, and the kernels in it beside floating point."""

import json
import re
import unittest

import numpy

from e2e.npu import kernels
from e2e.npu.cases import write_cases
from e2e.npu.conformance import all_cases
from e2e.npu.random_programs import case_of, run_cases
from e2e.support import WORK, run


class Conformance(unittest.TestCase):
    def test_suite(self):
        cases = all_cases()
        self.assertGreaterEqual(len(cases), 300)
        self.assertEqual(len({case.name for case in cases if "error" in case.name and case.outputs is not None}), 0)
        fine = [case.name for case in cases if case.outputs is None and not any(
            word in case.name for word in ("error", "invalid", "race", "deadlock", "semaphore of another", "load of what was", "seed-",
                                           "columns of the other"))]
        self.assertEqual(fine, [])
        text, passed = run_cases(cases, WORK / "npu" / "suite")
        self.assertTrue(passed, text)

    def test_random_programs(self):
        text, passed = run_cases([case_of(seed) for seed in range(1, 301)], WORK / "npu" / "random")
        self.assertTrue(passed, text)


class Cycles(unittest.TestCase):
    def test_a_product_fills_the_array(self):
        folder = WORK / "npu"
        folder.mkdir(parents=True, exist_ok=True)
        write_cases(folder / "cube.cases", [kernels.product_case("mobile", 1024, 1024, 1024, 128).evaluate()])
        text = run("heddle-npu-conformance", folder / "cube.cases", "--counts", "--trace", folder / "trace.json").stdout
        self.assertGreater(float(re.search(r"array ([\d.]+) % of its peak", text)[1]), 80, text)
        events = json.loads((folder / "trace.json").read_text())["traceEvents"]
        self.assertEqual({event["tid"] for event in events if event["ph"] == "X"}, {0, 1, 2})


class Kernels(unittest.TestCase):
    """That the programs compute what their names say: the suite alone would hold wrong ones as well."""

    def test_rows(self):
        softmax = kernels.softmax_case("mobile", 16, 128).evaluate()
        x = softmax.buffers[0].input.view("<f4").reshape(16, 128).astype("f8")
        weights = numpy.exp(x - x.max(1, keepdims=True))
        weights /= weights.sum(1, keepdims=True)
        found = softmax.outputs[1].view("i1").reshape(16, 128) / 127
        self.assertLess(abs(found - weights).max(), 0.5 / 127 + 1e-4)

        norm = kernels.layer_norm_case("mobile", 16, 128).evaluate()
        x = norm.buffers[0].input.view("<f4").reshape(16, 128).astype("f8")
        right = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
        self.assertLess(abs(norm.outputs[1].view("<f4").reshape(16, 128) - right).max(), 2e-4)

        gelu = kernels.activation_case("mobile", "gelu", 16, 128).evaluate()
        x = gelu.buffers[0].input.view("<f4").astype("f8")
        from math import erf
        right = numpy.array([v * 0.5 * (1 + erf(v / 2**0.5)) for v in x])
        self.assertLess(abs(gelu.outputs[1].view("<f4") - right).max(), 2e-4)

    def test_product(self):
        case = kernels.product_case("mobile", 70, 64, 100, 32).evaluate()
        a, panels, records, _ = (buffer.input for buffer in case.buffers)
        w = panels.view("i1").reshape(-1, 64, 32).transpose(1, 0, 2).reshape(64, -1)[:, :100].astype("f8")
        bias, multiplier, shift = records.view("<i4").reshape(-1, 3)[:100].T.astype("f8")
        right = (a.view("i1").reshape(70, 64).astype("f8") @ w + bias) * multiplier / 2**shift
        self.assertLessEqual(abs(case.outputs[3].view("i1").reshape(70, 100) - numpy.clip(right, -128, 127)).max(), 0.5)


if __name__ == "__main__":
    unittest.main()

"""`--device` names what there is, and says so when it does not."""

import json
import os
import unittest

from e2e.support import BUILD, heddle

FAKE_LIBCUDA = BUILD / "test" / "unit" / "cuda_driver"  # its GPU is the simulator (test/unit/cuda_driver)


class Devices(unittest.TestCase):
    def test_unknown_device(self):
        for verb in ("run", "bench"):
            done = heddle(verb, "model.heddle", "--device", "warp9", status=4)
            self.assertIn("device 'warp9' is not available in this build; available devices: cpu, cuda, cuda-sim, npu-sim, ./LIBRARY.so:FUNCTION", done.stderr)

    def test_drivers_in_libraries(self):
        done = heddle("run", "model.heddle", "--device", "./nothing.so:heddle_driver_x", status=4)
        self.assertIn("device './nothing.so:heddle_driver_x' cannot be loaded: ./nothing.so: cannot open", done.stderr)
        done = heddle("run", "model.heddle", "--device", "./nothing.so", status=2)
        self.assertIn("expected ./LIBRARY.so:FUNCTION", done.stderr)

    def test_other_gpus_are_chosen_by_the_environment(self):
        done = heddle("run", "model.heddle", "--device", "cuda:3", "--prompt", "x", status=4)
        self.assertIn("CUDA_VISIBLE_DEVICES", done.stderr)

    def cuda_target(self, **environment):
        rows = json.loads(heddle("targets", "--format", "json", env=os.environ | environment).stdout)
        return next(row for row in rows if row["target"] == "cuda:sm_80")

    def test_gpus_are_listed(self):
        if not (FAKE_LIBCUDA / "libcuda.so.1").exists():
            self.skipTest("no fake libcuda in this build")
        target = self.cuda_target(LD_LIBRARY_PATH=str(FAKE_LIBCUDA))
        self.assertEqual(target["gpus"], [{"name": "Simulated GPU", "architecture": 80}])
        self.assertTrue(target["runs_here"])

    def test_without_a_gpu_the_simulator_is_named(self):
        target = self.cuda_target()
        if target["gpus"]:
            self.skipTest("a GPU is here")
        self.assertFalse(target["runs_here"])
        self.assertIn("device 'cuda-sim' runs the same file", heddle("targets").stdout)


if __name__ == "__main__":
    unittest.main()

"""`--device` names what there is, and says so when it does not."""

import unittest

from e2e.support import heddle


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


if __name__ == "__main__":
    unittest.main()

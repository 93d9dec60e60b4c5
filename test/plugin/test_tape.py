"""A target by plug-in, built out of tree by the very commands of docs/adding-a-target.md, and run by its own driver."""

import json
import re
import unittest
import zipfile

from e2e import support
from e2e.models import make_tiny_gguf
from plugin import tutorial

TUTORIAL = (support.SOURCE / "docs" / "adding-a-target.md").read_text()
SOURCES = support.SOURCE / "test" / "plugin" / "tape"
FOLDER = support.WORK / "tape"
PLUGIN = FOLDER / "heddle-tape" / "tape.so"
DEVICE = f"{FOLDER}/heddle-tape/tape_driver.so:heddle_driver_tape"
OPS = support.SOURCE / "test" / "e2e" / "ops"


def run_ir(example, *flags, status=0):
    return support.run("heddle-run-ir", "--plugin", PLUGIN, "--target", "tape", "--device", DEVICE, example, *flags, status=status)


class Tape(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.outputs = tutorial.follow(TUTORIAL, FOLDER)

    def test_the_page_shows_what_is_built(self):
        shown = tutorial.blocks(TUTORIAL, "cpp")
        self.assertGreater(len(shown), 3)
        tutorial.assert_shown(self, shown, SOURCES)

    def test_a_block_of_a_model(self):
        self.assertIn("numbers agree", self.outputs["build/bin/heddle-run-ir"])

    def test_op_examples(self):
        for example, function in (("scale", None), ("rms_norm", None), ("kernel", None), ("reshape", None), ("linear", "f32_f32"), ("linear", "bias"),
                                  ("unary", "silu"), ("unary", "tanh"), ("binary", "add"), ("binary", "div")):
            with self.subTest(example=example, function=function):
                out = run_ir(OPS / f"{example}.mlir", *(["--function", function] if function else [])).stdout
                self.assertIn("numbers agree", out)
                self.assertNotIn("skipped", out)

    def test_wrong_code_is_found(self):
        """The comparison can fail: other weights are another result."""
        text = (support.SOURCE / "test/plugin/Inputs/tape.mlir").read_text()
        changed = FOLDER / "changed.mlir"
        changed.write_text(re.sub(r"expected = \[dense<\[\[-?[0-9.]+", "expected = [dense<[[0.123", text, count=1))
        run_ir(changed, status=1)

    def test_what_it_has_no_code_for(self):
        done = run_ir(OPS / "layer_norm.mlir", status=1)
        self.assertIn("for target 'tape': 'heddle.layer_norm' is not available for it", done.stdout + done.stderr)
        model = make_tiny_gguf.make(FOLDER / "tiny.gguf", "--format", "f16")
        done = support.heddle("check", model, "--plugin", PLUGIN, "--target", "tape", status=4)
        self.assertRegex(done.stdout, r"does not compile for tape: it has no code for \d+ kernels")
        self.assertRegex(done.stdout, r"for target 'tape': 'heddle.embedding'")

    def test_names(self):
        done = support.heddle("compile", "x.gguf", "--plugin", PLUGIN, "--target", "tap", status=2)
        self.assertIn("unknown target 'tap'; known targets: cpu, cuda, npu, tape", done.stderr)
        again = FOLDER / "again.so"
        source = FOLDER / "again.cpp"
        source.write_text((SOURCES / "Target.cpp").read_text().replace('"tape"', '"cpu"'))
        tutorial.build_alone(source, again, FOLDER, SOURCES)
        done = support.heddle("compile", "x.gguf", "--plugin", again, "--target", "cpu", status=2)
        self.assertIn("target 'cpu' is already known", done.stderr)


if __name__ == "__main__":
    unittest.main()

"""Whole models against numpy: in the interpreter, f64 to the last bits and f32 within the tolerance policy, and compiled."""

import pathlib
import subprocess
import sys
import unittest

import numpy as np

from e2e import support

sys.path[:0] = [str(pathlib.Path(__file__).parent), str(support.SOURCE / "test/e2e/models"), str(support.SOURCE / "test/e2e/ops")]
import make_tiny_gguf
from writing import dense
from reference_f64 import Decoder, Encoder

SIZES = ("--layers", 2, "--hidden", 64, "--intermediate", 96, "--heads", 4, "--vocabulary", 320, "--context", 128)


def declaration(function, inputs, result, calls):
    """IR text of a function without a body that carries `calls` as its example."""
    written = ",\n".join("{inputs = [" + ", ".join(map(dense, given)) + "], expected = [" + dense(expected) + "]}" for given, expected in calls)
    return (f"func.func private @{function}({', '.join(['tensor<?xi32>'] * inputs)}) -> {result}\n"
            f"    attributes {{heddle.example = [{written}]}}\n")


class Models(unittest.TestCase):
    def setUp(self):
        self.folder = support.WORK / "interpreter"
        self.folder.mkdir(parents=True, exist_ok=True)

    def tiny(self, *arguments):
        name = "-".join(str(a).strip("-") for a in arguments)
        return make_tiny_gguf.make(self.folder / f"{name}.gguf", *SIZES, *arguments)

    def check(self, model, text, *flags):
        examples = model.with_suffix(".mlir")
        examples.write_text(text)
        # Without flags: the model as imported, then what the CPU passes make of it, then that as machine code.
        for arguments in (flags,) if flags else ((), ("--target", "interpreter:cpu"), ("--target", "cpu:x86-64-v3")):
            done = support.run("heddle-run-ir", model, "--examples", examples, *arguments)
            self.assertIn("numbers agree", done.stdout)

    def decoder(self, *arguments):
        model = self.tiny(*arguments)
        rng = np.random.default_rng(7)
        first, second = rng.integers(3, 320, 9).astype(np.int32), rng.integers(3, 320, 7).astype(np.int32)
        reference = Decoder(model)
        a, b = reference.logits(first), reference.logits(second)
        i32 = lambda *values: np.array(values, np.int32)
        calls = [
            # Six tokens of slot 0 and four of slot 2 at once, logits of three rows; then one each; then the rest.
            ([np.concatenate([first[:6], second[:4]]), i32(0, 0, 0, 0, 0, 0, 2, 2, 2, 2), i32(0, 1, 2, 3, 4, 5, 0, 1, 2, 3), i32(0, 5, 9)],
             np.stack([a[0], a[5], b[3]])),
            ([i32(first[6], second[4]), i32(0, 2), i32(6, 4), i32(0, 1)], np.stack([a[6], b[4]])),
            ([i32(*second[5:7], *first[7:9]), i32(2, 2, 0, 0), i32(5, 6, 7, 8), i32(1, 3)], np.stack([b[6], a[8]])),
        ]
        self.check(model, declaration("step", 4, "tensor<?x320xf32>", calls))

    def test_llama(self):
        self.decoder("--architecture", "llama", "--format", "f32")

    def test_llama_rope_factors_untied(self):
        self.decoder("--architecture", "llama", "--format", "f16", "--untied", "--rope-factors")

    def test_llama_q4_1(self):
        self.decoder("--architecture", "llama", "--format", "q4_1")

    def test_gemma3_with_global_layer_and_window(self):
        self.decoder("--architecture", "gemma3", "--format", "q8_0", "--layers", 6, "--window", 4, "--head-width", 32)

    def test_qwen2(self):
        self.decoder("--architecture", "qwen2", "--format", "bf16")

    def test_qwen3(self):
        self.decoder("--architecture", "qwen3", "--format", "f32")

    def test_bert(self):
        for pooling in ("mean", "cls"):
            model = self.tiny("--architecture", "bert", "--format", "f32", "--pooling", pooling)
            reference = Encoder(model)
            rng = np.random.default_rng(8)
            texts = [rng.integers(5, 320, size).astype(np.int32) for size in (5, 1, 8)]
            inputs = [np.concatenate(texts), np.repeat(np.arange(3, dtype=np.int32), [5, 1, 8]),
                      np.concatenate([np.arange(len(t), dtype=np.int32) for t in texts])]
            expected = np.stack([reference.embedding(t) for t in texts])
            self.check(model, declaration("encode", 3, "tensor<?x64xf32>", [(inputs, expected)]))

    def test_a_wrong_constant_is_found(self):
        model = self.tiny("--architecture", "llama", "--format", "f32")
        logits = Decoder(model).logits(np.array([5]))
        logits[0, 7] *= 1 + 1e-6
        given = [np.array([token], np.int32) for token in (5, 0, 0, 0)]
        examples = model.with_suffix(".wrong.mlir")
        examples.write_text(declaration("step", 4, "tensor<?x320xf32>", [(given, logits)]))
        done = support.run("heddle-run-ir", model, "--examples", examples, status=1)
        self.assertIn("result 0 [0, 7]: expected", done.stdout)


if __name__ == "__main__":
    unittest.main()

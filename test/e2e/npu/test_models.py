"""Compiled models on npu-sim, bit by bit against numpy's evaluation of their commands (artifact.py)."""

import unittest

import numpy

from e2e.models import make_minilm_gguf
from e2e.npu.artifact import Artifact, work_of
from e2e.support import WORK, compile_once, heddle

INPUTS = ("tokens", "sequences", "positions")


def texts(lengths, vocabulary, seed=1):
    """Rows of texts of these lengths, one after another."""
    rng = numpy.random.default_rng(seed)
    tokens = numpy.concatenate([[101, *rng.integers(1000, vocabulary, length - 2), 102] for length in lengths])
    return [tokens.astype("<i4"), numpy.repeat(numpy.arange(len(lengths)), lengths).astype("<i4"),
            numpy.concatenate([numpy.arange(length) for length in lengths]).astype("<i4")]


def simulated(artifact, inputs, *flags):
    folder = WORK / "npu" / "models"
    folder.mkdir(parents=True, exist_ok=True)
    arguments = []
    for name, value in zip(INPUTS, inputs):
        numpy.save(folder / f"{name}.npy", value)
        arguments += ["--input", f"{name}=@{folder / name}.npy"]
    heddle("run", artifact, "--device", "npu-sim", *arguments, "--output", f"embeddings=@{folder / 'out.npy'}", *flags)
    return numpy.load(folder / "out.npy")


class MiniLm(unittest.TestCase):
    def check(self, machine, lengths):
        path = compile_once(make_minilm_gguf.ensure("f16"), "--quantize", "int8", "--target", f"npu:{machine}", "--no-samples")
        artifact = Artifact(path)
        inputs = texts(lengths, int(artifact.header["vocabulary"]))
        work = work_of(inputs[1], inputs[2], artifact.work_rows("encode", sum(lengths)))
        (expected,) = artifact.run("encode", inputs, rows=sum(lengths), wanted=len(lengths), work=work)
        numpy.testing.assert_array_equal(simulated(path, inputs).view("<u4"), expected.view("<u4"))

    def test_16_tokens(self):
        self.check("mobile", [16])

    def test_mixed_lengths(self):
        self.check("mobile", [5, 11, 3])


if __name__ == "__main__":
    unittest.main()

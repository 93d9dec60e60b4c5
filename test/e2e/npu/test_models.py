"""Compiled models on npu-sim, bit by bit against numpy's evaluation of their commands (artifact.py)."""

import pathlib
import sys
import unittest

import numpy

from e2e.models import make_minilm_gguf
from e2e.npu.artifact import Artifact, Session, work_of
from e2e.support import SOURCE, WORK, compile_once, heddle

sys.path.append(str(SOURCE / "test/e2e/models"))
import make_tiny_gguf  # noqa: E402

FOLDER = WORK / "npu" / "models"


def texts(lengths, vocabulary, seed=1):
    """Tokens, sequences and positions of texts of these lengths, one after another."""
    rng = numpy.random.default_rng(seed)
    tokens = numpy.concatenate([[101, *rng.integers(1000, vocabulary, length - 2), 102] for length in lengths])
    return {"tokens": tokens.astype("<i4"), "sequences": numpy.repeat(numpy.arange(len(lengths)), lengths).astype("<i4"),
            "positions": numpy.concatenate([numpy.arange(length) for length in lengths]).astype("<i4")}


def simulated(artifact, inputs, output):
    FOLDER.mkdir(parents=True, exist_ok=True)
    arguments = []
    for name, value in inputs.items():
        numpy.save(FOLDER / f"{name}.npy", value)
        arguments += ["--input", f"{name}=@{FOLDER / name}.npy"]
    heddle("run", artifact, "--device", "npu-sim", *arguments, "--output", f"{output}=@{FOLDER / 'out.npy'}")
    return numpy.load(FOLDER / "out.npy")


def assert_same_bits(a, b):
    numpy.testing.assert_array_equal(a.view("<u4"), b.view("<u4"))


class MiniLm(unittest.TestCase):
    def check(self, machine, lengths):
        path = compile_once(make_minilm_gguf.ensure("f16"), "--quantize", "int8", "--target", f"npu:{machine}", "--no-samples")
        artifact = Artifact(path)
        inputs = texts(lengths, int(artifact.header["vocabulary"]))
        work = work_of(inputs["sequences"], inputs["positions"], artifact.work_rows("encode", sum(lengths)))
        (expected,) = artifact.run("encode", list(inputs.values()), sum(lengths), len(lengths), work)
        assert_same_bits(simulated(path, inputs, "embeddings"), expected)

    def test_16_tokens(self):
        self.check("mobile", [16])

    def test_mixed_lengths(self):
        self.check("edge", [5, 8, 3])


class Llama(unittest.TestCase):
    """Caches, in a small model: a step of many rows, and the same text a token at a time."""

    def test_steps(self):
        FOLDER.mkdir(parents=True, exist_ok=True)
        model = make_tiny_gguf.make(pathlib.Path(FOLDER / "llama.gguf"), "--format", "f16", "--hidden", 128, "--intermediate", 192)
        path = compile_once(model, "--quantize", "int8", "--target", "npu", "--no-samples")
        artifact = Artifact(path)
        tokens = numpy.random.default_rng(5).integers(3, 320, 12).astype("<i4")
        i32 = lambda *values: numpy.array(values, "<i4")
        inputs = {"tokens": tokens, "slots": i32(*[0] * 12), "positions": i32(*range(12)), "wanted": i32(2, 6, 11)}
        assert_same_bits(simulated(path, inputs, "logits"), Session(artifact).step(*inputs.values()))
        session = Session(artifact)
        rows = [session.step(tokens[i:i + 1], i32(0), i32(i), i32(0))[0] for i in range(len(tokens))]
        numpy.save(FOLDER / "tokens.npy", tokens)
        numpy.save(FOLDER / "logits.npy", numpy.stack(rows))
        done = heddle("eval", path, "--device", "npu-sim", "--step-by-step", "--input", f"tokens=@{FOLDER / 'tokens.npy'}",
                      "--expected", f"logits=@{FOLDER / 'logits.npy'}")
        self.assertIn("largest 0.000000, top-1 agreement 100.00 %", done.stdout)


if __name__ == "__main__":
    unittest.main()

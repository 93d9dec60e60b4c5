"""How far int8 models on the NPU are from f32: the stated bound of docs/npu.md."""

import unittest

import numpy

from e2e.models import make_minilm_gguf
from e2e.npu.test_models import FOLDER, texts
from e2e.support import compile_once, heddle


class MiniLm(unittest.TestCase):
    def embeddings(self, artifact, device, inputs):
        FOLDER.mkdir(parents=True, exist_ok=True)
        arguments = []
        for name, value in inputs.items():
            numpy.save(FOLDER / f"accuracy-{name}.npy", value)
            arguments += ["--input", f"{name}=@{FOLDER / f'accuracy-{name}.npy'}"]
        output = FOLDER / f"accuracy-{device}.npy"
        heddle("run", artifact, "--device", device, *arguments, "--output", f"embeddings=@{output}")
        return numpy.load(output)

    def test_cosines_to_f32(self):
        model = make_minilm_gguf.ensure("f16")
        exact = compile_once(model, "--target", "cpu:native", "--no-samples")
        coded = compile_once(model, "--quantize", "int8", "--target", "npu:mobile", "--no-samples")
        for lengths in ([16], [128], [5, 37, 3, 64, 12]):
            inputs = texts(lengths, 20000, seed=7)
            a, b = self.embeddings(exact, "cpu", inputs), self.embeddings(coded, "npu-sim", inputs)
            cosines = (a * b).sum(1) / numpy.linalg.norm(a, axis=1) / numpy.linalg.norm(b, axis=1)
            self.assertGreater(cosines.min(), 0.985, lengths)


if __name__ == "__main__":
    unittest.main()

"""Real models on the code of a lower CPU level: as near to an exact evaluation as on the host's best, and without tiles
the very same bits."""

import sys
import unittest

import numpy

from e2e import reference_bert, reference_llm, support
from e2e.models import make_minilm_gguf

sys.path.insert(0, str(support.SOURCE / "tools" / "bench"))
from heddle_runtime import Model, Session  # noqa: E402

LOWEST, EXACT = "x86-64-v3", "x86-64-v4-vnni"  # AVX2 alone; the best one whose products are those of AVX2
TEXT = list(range(1000, 1024))  # ids of any vocabulary


def close(test, *handles):
    for handle in handles:
        test.addCleanup(handle.close)


class Levels(unittest.TestCase):
    def open(self, artifact, level):
        model = Model(artifact, level)
        close(self, model)
        if model.code != f"code/{level}.elf":
            self.skipTest(f"this processor does not run {level}: the code is {model.code}")
        return model

    def logits(self, artifact, level, chunk):
        session = Session(self.open(artifact, level), 2, context=128)
        close(self, session)
        return session.logits(TEXT, chunk)

    def check_text(self, name):
        artifact = support.compiled(name)
        exact = reference_llm.ReferenceModel(support.model(name)).logits(TEXT)
        # Activations have 8 bits in large chunks and 16 in small ones; ids that are no text cost more than one does.
        for chunk, bound in ((len(TEXT), 0.05), (1, 1e-4)):
            with self.subTest(chunk=chunk):
                found = self.logits(artifact, LOWEST, chunk)
                numpy.testing.assert_array_equal(found, self.logits(artifact, EXACT, chunk))
                self.assertLess(float(reference_llm.kl_divergence(exact, found).mean()), bound)

    def test_smollm2(self):
        self.check_text("smollm2")

    def test_gemma3(self):
        self.check_text("gemma3")

    def test_minilm(self):
        batch = [[101, 7592, 2088, 102], [101, *range(2000, 2060), 102]]
        reference = reference_bert.ReferenceBert(support.minilm_folder())
        exact = [reference.embed(sentence) for sentence in batch]
        for format, bound in (("f32", 1e-6), ("q8_0", 2e-3)):
            with self.subTest(format):
                artifact = support.compile_once(make_minilm_gguf.ensure(format))
                found = []
                for level in (LOWEST, EXACT):
                    session = Session(self.open(artifact, level), 2)
                    close(self, session)
                    found.append(session.embed(batch).copy())
                for ours, want in zip(found[0], exact):
                    self.assertLess(1 - float(ours @ want) / float(numpy.linalg.norm(ours) * numpy.linalg.norm(want)), bound)
                numpy.testing.assert_array_equal(*found)


if __name__ == "__main__":
    unittest.main()

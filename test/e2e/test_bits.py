"""Results do not depend on the number of threads, on repetition, on company in a batch or, where promised, on chunks."""

import sys
import unittest

import numpy

from e2e import support

sys.path.insert(0, str(support.SOURCE / "tools" / "bench"))
from heddle_runtime import Model, Session  # noqa: E402


def some_tokens(count, vocabulary, seed):
    return numpy.random.default_rng(seed).integers(0, vocabulary, count).astype(numpy.int32)


class Bits:
    """Mixed into one class per model."""

    name = ""
    chunks = (1, 3, 4, 5, 31, 64)

    @classmethod
    def setUpClass(cls):
        cls.mixed = Model(support.compiled(cls.name))
        cls.precise = Model(support.compiled(cls.name, "--precise"))
        cls.ids = some_tokens(64, cls.mixed.info.vocabulary, 1)

    @classmethod
    def tearDownClass(cls):
        cls.mixed.close()
        cls.precise.close()

    def logits(self, model, chunk, threads=2):
        session = Session(model, threads, context=512)
        self.addCleanup(session.close)
        return session.logits(self.ids, chunk)

    def test_threads_and_repetition(self):
        for chunk in (64, 1):
            session = Session(self.mixed, 1, context=512)
            first = session.logits(self.ids, chunk)
            again = session.logits(self.ids, chunk)
            session.close()
            self.assertTrue(numpy.isfinite(first).all())
            numpy.testing.assert_array_equal(first, again)
            for threads in (2, 3):
                numpy.testing.assert_array_equal(first, self.logits(self.mixed, chunk, threads))

    def test_alone_and_in_a_batch(self):
        """Three sequences of different length in one step, each as if it were alone."""
        lengths = (40, 7, 17)
        sequences = [some_tokens(length, self.mixed.info.vocabulary, 10 + length) for length in lengths]
        alone = Session(self.precise, 2, context=512)
        batch = Session(self.precise, 2, sequences=3, context=512)
        self.addCleanup(alone.close)
        self.addCleanup(batch.close)
        expected = [alone.logits(sequence, 512) for sequence in sequences]
        tokens = numpy.concatenate(sequences)
        positions = numpy.concatenate([numpy.arange(length) for length in lengths])
        slots = numpy.repeat([0, 1, 2], lengths)
        together = batch.step(tokens, positions, slots, range(len(tokens)))
        for slot, want in enumerate(expected):
            numpy.testing.assert_array_equal(together[slots == slot], want)

    def test_chunks_with_precise(self):
        whole = self.logits(self.precise, 64)
        for chunk in self.chunks:
            numpy.testing.assert_array_equal(whole, self.logits(self.precise, chunk), err_msg=f"chunks of {chunk}")

    def test_chunks_without_precise_are_near(self):
        """The measured bound of the default, whose activations have 8 bits in large chunks and 16 in small ones."""
        whole, steps = self.logits(self.mixed, 64), self.logits(self.mixed, 1)
        relative = numpy.linalg.norm(whole - steps) / numpy.linalg.norm(steps)
        self.assertLess(relative, 0.05)


class SmolLM2(Bits, unittest.TestCase):
    name = "smollm2"


class Gemma3(Bits, unittest.TestCase):
    name = "gemma3"
    chunks = (1, 5, 31)


if __name__ == "__main__":
    unittest.main()

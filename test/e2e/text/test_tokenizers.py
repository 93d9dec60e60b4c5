"""Token ids and decoded text against known values, llama.cpp and the tokenizers package."""

import unittest

from e2e import support
from e2e.models import make_minilm_gguf
from e2e.text import compare_tokenizers as compare

SEED = 1
LINES = 5000

# From public test data of llama.cpp and from third parties, not from this code.
SMOLLM2 = {
    "Hello, we can use": [19556, 28, 392, 416, 722],
    "The capital of France is": [504, 3575, 282, 4649, 314],
    "Hello world! 123": [19556, 905, 17, 216, 33, 34, 35],
    "\n": [198],
    "  multiple   spaces": [216, 2701, 256, 5600],
    "Café déjà vu.": [51, 1939, 2756, 32564, 90, 16739, 386, 101, 30],
}
MINILM = {
    "Hello world": [7592, 2088],
    "Hello, world!": [7592, 1010, 2088, 999],
    "Führer": [11865, 17875],
}


class GoldenIds(unittest.TestCase):
    def check(self, source, cases, prefix, suffix, flags):
        rows = compare.ours(compare.pack(source), list(cases), flags)
        for (text, ids), (got, _) in zip(cases.items(), rows):
            self.assertEqual(got, prefix + ids + suffix, text)

    def test_smollm2(self):
        self.check(support.model("smollm2"), SMOLLM2, [], [], compare.ADD_SPECIAL)

    def test_minilm(self):
        self.check(make_minilm_gguf.ensure("q8_0"), MINILM, [101], [102], compare.ADD_SPECIAL)


class SameAsReference(unittest.TestCase):
    def check(self, results):
        for result in results:
            with self.subTest(result.name, seed=SEED):
                self.assertTrue(result.report())

    def test_smollm2(self):
        self.check(compare.compare_llama("smollm2", support.model("smollm2"), compare.make_lines(LINES, SEED)))

    def test_gemma3(self):
        self.check(compare.compare_llama("gemma3", support.model("gemma3"), compare.make_lines(LINES, SEED)))

    def test_minilm(self):
        self.check(compare.compare_minilm(compare.make_lines(LINES, SEED)))

    def test_every_pre_tokenizer(self):
        lines = compare.make_lines(1000, SEED)
        for split in compare.SPLITS:
            self.check(compare.compare_llama("split " + split, compare.with_split(split), lines))


if __name__ == "__main__":
    unittest.main()

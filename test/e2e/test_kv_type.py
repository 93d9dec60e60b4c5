"""heddle compile --kv-type: keys and values in 8 bits take the bytes they should, are saved and restored, and stay near f16."""

import json
import sys
import unittest

import numpy

from e2e import support
from e2e.models import make_tiny_gguf

sys.path.insert(0, str(support.SOURCE / "tools" / "bench"))
from heddle_runtime import Model, Session  # noqa: E402

WORK = support.WORK / "kv_type"
HEADS, WIDTH, LAYERS = 2, 32, 2
TOKENS = [int(token) for token in numpy.random.default_rng(3).integers(3, 200, 150)]


class KvType(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        WORK.mkdir(parents=True, exist_ok=True)
        cls.model = make_tiny_gguf.make(WORK / "tiny.gguf", "--layers", LAYERS, "--hidden", 128, "--heads", 4, "--kv-heads", HEADS, "--intermediate", 256)
        cls.artifacts = {kind: WORK / f"{kind}.heddle" for kind in ("f16", "int8", "fp8")}
        for kind, artifact in cls.artifacts.items():
            support.heddle("compile", cls.model, "-o", artifact, "--target", "cpu:native", "--max-context", 256, "--precise", "--kv-type", kind)

    def open(self, kind):
        model = Model(self.artifacts[kind])
        session = Session(model, 2, sequences=2)
        self.addCleanup(model.close)
        self.addCleanup(session.close)
        return session

    def test_a_token_takes_a_byte_an_element_and_two_scales_a_head(self):
        for kind, token in (("f16", 2 * 2 * WIDTH), ("int8", 2 * WIDTH + 8), ("fp8", 2 * WIDTH + 8)):
            facts = json.loads(support.heddle("inspect", self.artifacts[kind], "--format", "json").stdout)
            self.assertEqual(256 * LAYERS * HEADS * token, facts["memory"]["cache_bytes_per_sequence"], kind)
            self.assertEqual(kind, facts["manifest"]["precision"]["kv_cache"])

    def test_results_are_near_those_of_f16_in_prefill_and_decode(self):
        exact = self.open("f16").logits(TOKENS, 75)
        for kind, bound in (("int8", 0.01), ("fp8", 0.05)):
            session = self.open(kind)
            prefill, decode = session.logits(TOKENS, 75).copy(), session.logits(TOKENS[:140], 1)
            for found, wanted in ((prefill, exact), (decode, exact[:140])):
                distance = numpy.linalg.norm(found - wanted) / numpy.linalg.norm(wanted)
                self.assertTrue(0 < distance < bound, (kind, distance))
            # A chunk's rows read the same codes as single steps do.
            self.assertLess(numpy.linalg.norm(prefill[:140] - decode) / numpy.linalg.norm(decode), 1e-4, kind)

    def test_saved_sequences_go_on_and_hold_nothing_of_others(self):
        for kind in ("int8", "fp8"):
            first, second = self.open(kind), self.open(kind)
            first.append(TOKENS[:100], 0, "none")
            first.trim(35)
            saved = first.save()
            fresh = self.open(kind)
            fresh.append(TOKENS[:35], 0, "none")
            self.assertEqual(fresh.save(), saved, kind)
            second.restore(saved, 1)
            numpy.testing.assert_array_equal(first.append(TOKENS[35:60], 35, "all"), second.append(TOKENS[35:60], 35, "all", 1))

    def test_compiled_code_agrees_with_the_interpreter(self):
        for kind in ("int8", "fp8"):
            support.heddle("verify", self.artifacts[kind])

    def test_other_targets_refuse(self):
        done = support.heddle("compile", self.model, "-o", WORK / "no.heddle", "--target", "cuda", "--kv-type", "int8", status=4)
        self.assertIn("--kv-type int8 is for target 'cpu', but found 'cuda'", done.stderr)


if __name__ == "__main__":
    unittest.main()

"""heddle compile --quantize: what is chosen is what the artifact holds; bounds that cannot be met are refused."""

import json
import random
import unittest

from e2e import support
from e2e.models import make_tiny_gguf

WORK = support.WORK / "quantize"
NATIVE = ("--target", "cpu:native")


def samples():
    words = random.Random(1)
    path = WORK / "samples.txt"
    path.write_text(" ".join("".join(words.choices("abcdefgh", k=words.randint(2, 9))) for _ in range(700)))
    return path


class Quantize(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        WORK.mkdir(parents=True, exist_ok=True)
        cls.model = make_tiny_gguf.make(WORK / "tiny.gguf", "--layers", 2, "--hidden", 128, "--intermediate", 256)

    def compile(self, *flags, status=0):
        return support.heddle("compile", self.model, "-o", WORK / "out.heddle", *NATIVE, *flags, status=status)

    def test_unknown_schemes_and_missing_samples_are_named(self):
        self.assertIn("unknown scheme 'int3'; known schemes: auto, keep,", self.compile("--quantize", "int3", status=2).stderr)
        self.assertIn("--calibrate PATH", self.compile("--quantize", "auto", "--max-error", "kl=1", status=2).stderr)
        self.assertIn("but found 'kl=x'", self.compile("--quantize", "int4", "--calibrate", samples(), "--max-error", "kl=x", status=2).stderr)

    def test_a_profile_gives_the_same_artifact_again_and_belongs_to_its_model(self):
        profile = WORK / "profile.json"
        self.compile("--quantize", "int4,*.ffn_down=int8", "--calibrate", samples(), "--profile", profile)
        first = (WORK / "out.heddle").read_bytes()
        content = json.loads(profile.read_text())
        chosen = {weight["weight"]: weight["scheme"] for weight in content["weights"]}
        self.assertEqual((chosen["blk.1.ffn_down"], chosen["blk.1.ffn_up"]), ("int8", "int4"))
        errors = {row["weight"]: row for row in content["measured"]["weights"]}
        self.assertLess(errors["blk.0.attn_q"]["error_percent"], errors["blk.0.attn_q"]["nearest_error_percent"])
        self.compile("--profile", profile)
        self.assertEqual(first, (WORK / "out.heddle").read_bytes())
        content["model_sha256"] = ["0" * 64]
        profile.write_text(json.dumps(content))
        self.assertIn("was made for another model", self.compile("--profile", profile, status=3).stderr)

    def test_a_bound_that_no_scheme_holds_is_refused(self):
        done = self.compile("--quantize", "int4", "--calibrate", samples(), "--max-error", "relative_l2=0.001%", status=6)
        self.assertIn("on held-out samples", done.stderr)


if __name__ == "__main__":
    unittest.main()

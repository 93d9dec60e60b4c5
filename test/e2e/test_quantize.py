"""heddle compile --quantize: what is chosen is what the artifact holds; bounds that cannot be met are refused."""

import json
import os
import random
import re
import subprocess
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

    def test_a_scheme_edited_in_a_profile_is_rounded_to_anew(self):
        profile = WORK / "edited.json"
        self.compile("--quantize", "int4", "--calibrate", samples(), "--profile", profile)
        content = json.loads(profile.read_text())
        edited = next(weight for weight in content["weights"] if weight["weight"] == "blk.0.ffn_up")
        edited["scheme"] = "int8"
        profile.write_text(json.dumps(content))
        self.compile("--profile", profile)
        kernels = support.heddle("explain", WORK / "out.heddle", "--pass", "heddle-insert-quantization").stdout
        self.assertRegex(kernels, r"blk.0.ffn_up.*int8")
        edited["scheme"] = "int4-g128-asymmetric"
        content["weights"][0]["weight"] = "no_such_matrix"
        profile.write_text(json.dumps(content))
        self.assertIn("has no matrix 'no_such_matrix'", self.compile("--profile", profile, status=3).stderr)

    def test_static_activations_have_the_ranges_of_a_profile_that_can_be_edited(self):
        profile, static = WORK / "static.json", ("--activations", "i8", "--quantize", "int8")
        ranges = {}
        for method in ("min-max", "percentile", "entropy", "mse"):
            self.compile(*static, "--calibrate", samples(), "--activation-ranges", method, "--profile", profile)
            content = json.loads(profile.read_text())
            ranges[method] = {entry["node"]: entry["range"] for entry in content["activation_ranges"]}
        self.assertEqual(ranges["min-max"].keys(), ranges["mse"].keys())
        self.assertIn("blk.1.ffn_down", ranges["mse"])
        for node, largest in ranges["min-max"].items():  # nothing is larger than the largest
            self.assertTrue(all(0 < ranges[method][node] <= largest for method in ranges), node)
        next(entry for entry in content["activation_ranges"] if entry["node"] == "blk.1.ffn_down")["range"] = 254
        profile.write_text(json.dumps(content))
        self.compile("--activations", "i8", "--profile", profile)
        text = support.heddle("compile", self.model, *NATIVE, "--activations", "i8", "--profile", profile, "--emit", "mlir").stdout
        self.assertRegex(text, r"heddle.quantize .*scale = 2.000000e\+00 : f32.*act_i8")
        support.heddle("verify", WORK / "out.heddle")  # compiled code has the interpreter's numbers
        done = support.heddle("compile", self.model, "-o", WORK / "no.heddle", "--target", "cuda", "--profile", profile, status=4)
        self.assertIn("static activations are for target 'cpu', but found 'cuda'", done.stderr)
        content["activation_ranges"][0]["node"] = "blk.9.ffn_up"
        profile.write_text(json.dumps(content))
        self.assertIn("has no product at node 'blk.9.ffn_up'", self.compile("--profile", profile, status=3).stderr)
        self.assertIn("needs samples", self.compile("--quantize", "int8", "--activation-ranges", "mse", status=2).stderr)

    def test_auto_holds_its_bound_and_says_what_kept_each_layer(self):
        done = self.compile("--quantize", "auto", "--calibrate", samples(), "--max-error", "relative_l2=2%", "--profile", WORK / "auto.json")
        report = json.loads((WORK / "auto.json").read_text())["measured"]
        self.assertLessEqual(report["error_on_held_out_samples"], 0.02)
        self.assertLessEqual(report["error_on_choosing_samples"], report["bound_while_choosing"])
        kept = [row for row in report["weights"] if row["reason"] != "the cheapest scheme"]
        self.assertTrue(kept)
        for row in kept:  # each was tried one scheme cheaper, and exceeded the bound
            found = re.fullmatch(r"as (\S+) relative_l2 would be (?:about )?([0-9.]+) %", row["reason"])
            self.assertTrue(found, row)
            self.assertGreater(float(found[2]) / 100, report["bound_while_choosing"] - 5e-6, row)
        for verb in ("inspect", "explain"):
            table = support.heddle(verb, WORK / "out.heddle").stdout
            self.assertIn("relative_l2 at most 0.02:", table)
            self.assertRegex(table, rf"{kept[0]['weight']} +{kept[0]['scheme']} .*{re.escape(kept[0]['reason'])}")
            self.assertRegex(table, r"int8: one scale a channel has -?[0-9]+ % less error")
        self.assertIn("held out", done.stderr)

    def test_auto_refuses_a_bound_that_no_mixture_holds_and_says_how_close_it_came(self):
        done = self.compile("--quantize", "auto", "--calibrate", samples(), "--max-error", "relative_l2=0.00001%", status=6)
        self.assertRegex(done.stderr, r"cannot be met: with every weight as f16 it is [0-9.]+ %")

    def test_nothing_is_left_of_a_calibration_that_is_killed(self):
        folder = WORK / "temporary"
        folder.mkdir(exist_ok=True)
        command = [support.BIN / "heddle", "compile", self.model, "-o", WORK / "killed.heddle", *NATIVE, "--quantize", "auto",
                   "--calibrate", samples(), "--max-error", "relative_l2=2%"]
        with subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, env={**os.environ, "TMPDIR": str(folder)}) as process:
            self.assertIn(b"calibrating with", process.stderr.readline())
            process.kill()
        self.assertEqual([], list(folder.glob("*.weights")))

    def test_a_bound_that_no_scheme_holds_is_refused(self):
        done = self.compile("--quantize", "int4", "--calibrate", samples(), "--max-error", "relative_l2=0.001%", status=6)
        self.assertIn("on held-out samples", done.stderr)


if __name__ == "__main__":
    unittest.main()

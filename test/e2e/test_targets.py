"""One artifact for several targets: each gives what an artifact for it alone gives, and its stored outputs; weights are shared."""

import json
import re
import shutil
import sys
import unittest
import zipfile

import numpy

from e2e.support import SOURCE, WORK, heddle

sys.path.append(str(SOURCE / "test/e2e/models"))
import make_tiny_gguf  # noqa: E402

FOLDER = WORK / "targets"
DEVICES = {"cpu": "cpu", "cuda": "cuda-sim", "npu:mobile": "npu-sim"}


def compile_for(target, name, source=None):
    artifact = FOLDER / f"{name}.heddle"
    heddle("compile", source or FOLDER / "tiny.gguf", "--quantize", "int8", "--target", target, "-o", artifact)
    return artifact


def members(artifact):
    with zipfile.ZipFile(artifact) as archive:
        return {info.filename: info for info in archive.infolist()}


def logits(artifact, device):
    heddle("run", artifact, "--device", device, "--input", "tokens=5xi32=1 2 3 4 5", "--output", f"logits=@{FOLDER / 'out.npy'}")
    return numpy.load(FOLDER / "out.npy")


class Targets(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        FOLDER.mkdir(parents=True, exist_ok=True)
        make_tiny_gguf.make(FOLDER / "tiny.gguf", "--format", "f16")
        cls.all = compile_for("cpu:x86-64-v3,cuda,npu:mobile", "all")

    def test_each_device_computes_what_its_own_artifact_does(self):
        for target, device in DEVICES.items():
            with self.subTest(target=target):
                alone = compile_for("cpu:x86-64-v3" if target == "cpu" else target, "alone")
                numpy.testing.assert_array_equal(logits(self.all, device).view("<u4"), logits(alone, device).view("<u4"))

    def test_stored_outputs_of_every_target(self):
        report = json.loads(heddle("verify", self.all, "--format", "json").stdout)
        self.assertEqual(report["outcome"], "proven")
        proven = [finding["subject"] for finding in report["findings"] if finding["outcome"] == "proven" and " from the " in finding["detail"]]
        for subject in ("code/x86-64-v3.elf", "cuda on cuda-sim", "npu:mobile on npu-sim"):
            self.assertTrue([each for each in proven if each.startswith(subject)], subject)
        one = heddle("verify", self.all, "--device", "npu-sim").stdout
        self.assertRegex(one, r"proven +npu:mobile on npu-sim")
        self.assertRegex(one, r"not proven +cpu: code for another device")

    def test_weights_are_stored_once_for_each_layout(self):
        every = members(self.all)
        targets = {target["name"]: target for target in json.loads(heddle("inspect", self.all, "--format", "json").stdout)["targets"]}
        self.assertEqual(list(targets), list(DEVICES))
        self.assertEqual(targets["cpu"]["weight_members"], targets["cuda"]["weight_members"])  # one packing serves both
        self.assertEqual(set(targets["cpu"]["weight_members"]) & set(targets["npu:mobile"]["weight_members"]), {"weights-cpu-cuda-npu-mobile.bin"})
        for target in targets.values():
            self.assertEqual(target["weight_bytes"], sum(every[name].file_size for name in target["weight_members"]))
        text = heddle("inspect", self.all).stdout
        self.assertRegex(text, r"target npu:mobile +code .*weights .*weights-npu-mobile\.bin")

    def test_the_same_bytes_in_another_folder_and_order(self):
        folder = FOLDER / "elsewhere"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        shutil.copy(FOLDER / "tiny.gguf", folder)
        again = folder / "again.heddle"
        heddle("compile", folder / "tiny.gguf", "--quantize", "int8", "--target", "npu,cuda", "--target", "cpu:x86-64-v3", "-o", again)
        self.assertEqual(again.read_bytes(), self.all.read_bytes())

    def test_compiled_again_from_the_manifest(self):
        artifact = FOLDER / "plain.heddle"
        heddle("compile", FOLDER / "tiny.gguf", "--target", "cpu:x86-64-v3,cuda", "-o", artifact)
        self.assertRegex(heddle("verify", artifact, "--from", FOLDER / "tiny.gguf").stdout, r"proven +compiled again")

    def test_a_device_without_code(self):
        artifact = compile_for("cuda,npu:mobile", "two")
        done = heddle("run", artifact, "--prompt", "x", status=4)
        self.assertIn("the artifact has code for cuda, npu:mobile", done.stderr)
        done = heddle("run", compile_for("cpu:x86-64-v3", "one"), "--device", "npu-sim", "--prompt", "x", status=4)
        self.assertIn("the artifact has code for cpu", done.stderr)

    def test_explain_and_check_say_whose(self):
        compiled = json.loads(heddle("explain", self.all, "--format", "json").stdout)
        self.assertEqual({row["target"] for row in compiled}, set(DEVICES))
        flags = ("--target", "cpu:x86-64-v3,npu:mobile")
        text = heddle("explain", FOLDER / "tiny.gguf", *flags).stdout
        self.assertEqual(re.findall("^target (.*)$", text, re.MULTILINE), ["cpu", "npu:mobile"])
        heddle("explain", FOLDER / "tiny.gguf", *flags, "--nodes", status=2)

    def test_one_form_is_of_one_target(self):
        done = heddle("compile", FOLDER / "tiny.gguf", "--target", "cpu,cuda", "--emit", "mlir", status=2)
        self.assertIn("show one target; found cpu, cuda", done.stderr)


if __name__ == "__main__":
    unittest.main()

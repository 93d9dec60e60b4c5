"""The command line: exit codes, where results and messages go, what is left behind when something goes wrong."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from e2e import support
from e2e.support import heddle

USAGE, INVALID, UNSUPPORTED, LIMIT, ACCURACY, NOT_TRUSTED, INPUT_OUTPUT, INTERRUPTED = 2, 3, 4, 5, 6, 7, 74, 130


def tiny_model(folder, *flags):
    path = pathlib.Path(folder) / "tiny.gguf"
    maker = support.SOURCE / "test" / "e2e" / "models" / "make_tiny_gguf.py"
    subprocess.run([sys.executable, maker, path, *flags], check=True, capture_output=True)
    return path


class WithTinyModel(unittest.TestCase):
    """A random two-layer model, compiled once for the class, and a folder that is thrown away."""

    @classmethod
    def setUpClass(cls):
        cls.keeper = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.keeper.name)
        cls.source = tiny_model(cls.folder)
        cls.artifact = cls.folder / "tiny.heddle"
        heddle("compile", cls.source, "-o", cls.artifact, "--target", "cpu:x86-64-v3")

    @classmethod
    def tearDownClass(cls):
        cls.keeper.cleanup()


class Grammar(unittest.TestCase):
    def test_no_verb_is_a_usage_error(self):
        self.assertIn("see heddle --help", heddle(status=USAGE).stderr)

    def test_unknown_option_is_a_usage_error_on_stderr_only(self):
        done = heddle("version", "--colour", status=USAGE)
        self.assertEqual(done.stdout, "")
        self.assertIn("--colour", done.stderr)

    def test_help_of_every_verb_goes_to_stdout(self):
        verbs = re.findall(r"^  ([a-z]+) {2,}", heddle("--help").stdout.split("Subcommands:")[1], re.MULTILINE)
        self.assertGreaterEqual(len(verbs), 12)
        for verb in verbs:
            with self.subTest(verb=verb):
                self.assertIn("--help", heddle(verb, "--help").stdout)

    def test_version_as_json(self):
        facts = json.loads(heddle("version", "--format", "json").stdout)
        self.assertEqual(facts["llvm"].split(".")[0], "19")
        self.assertLessEqual(facts["code_abi_min"], facts["code_abi_max"])

    def test_targets_lists_levels_and_whether_they_run_here(self):
        rows = json.loads(heddle("targets", "--format", "json").stdout)
        self.assertEqual(rows[0]["target"], "cpu:x86-64-v3")
        self.assertTrue(all({"target", "runs_here", "needs"} <= row.keys() for row in rows))

    def test_doctor_reports_the_processor(self):
        subjects = [row["subject"] for row in json.loads(heddle("doctor", "--format", "json").stdout)]
        self.assertIn("processor", subjects)
        self.assertIn("executable memory", subjects)

    def test_completion_scripts_name_verbs_and_options(self):
        script = heddle("completion", "bash").stdout
        self.assertIn("tokenize", script)
        self.assertIn("--max-tokens", script)
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


class BadInput(unittest.TestCase):
    def setUp(self):
        keeper = tempfile.TemporaryDirectory()
        self.addCleanup(keeper.cleanup)
        self.folder = pathlib.Path(keeper.name)

    def left_behind(self):
        return sorted(path.name for path in self.folder.iterdir())

    def test_missing_file(self):
        done = heddle("compile", self.folder / "none.gguf", "-o", self.folder / "out.heddle", status=INPUT_OUTPUT)
        self.assertIn("none.gguf", done.stderr)
        self.assertEqual(self.left_behind(), [])

    def test_file_that_is_no_model(self):
        bad = self.folder / "bad.gguf"
        bad.write_bytes(b"not a model at all, but long enough to be read as a header")
        heddle("compile", bad, "-o", self.folder / "out.heddle", status=INVALID)
        self.assertEqual(self.left_behind(), ["bad.gguf"])

    def test_running_an_uncompiled_model_prints_the_command_to_compile_it(self):
        source = tiny_model(self.folder)
        done = heddle("run", source, "--prompt", "x", status=USAGE)
        command = re.search(r"heddle (compile .*)$", done.stderr.strip()).group(1)
        self.assertEqual(command.split()[1], str(source))

    def test_running_what_is_no_artifact(self):
        bad = self.folder / "bad.heddle"
        bad.write_bytes(os.urandom(4096))
        heddle("run", bad, "--prompt", "x", status=INVALID)

    def test_unknown_target(self):
        done = heddle("compile", "x.gguf", "--target", "cdua", status=USAGE)
        self.assertIn("unknown target 'cdua'; known targets: cpu, cuda, npu", done.stderr)

    def test_target_that_this_build_lacks(self):
        heddle("compile", "x.gguf", "--target", "cuda:sm_35", status=UNSUPPORTED)
        heddle("compile", "x.gguf", "--target", "npu:huge", status=USAGE)

    def test_output_that_is_the_input(self):
        source = tiny_model(self.folder)
        before = source.read_bytes()
        heddle("compile", source, "-o", source, status=USAGE)
        self.assertEqual(source.read_bytes(), before)

    def test_file_names_cannot_steer_the_terminal(self):
        done = heddle("run", self.folder / "\x1b[2Jgone.heddle", "--prompt", "x", status=INPUT_OUTPUT)
        self.assertNotIn("\x1b", done.stderr)
        self.assertIn("\\x1b", done.stderr)

    def test_full_disk_is_an_input_output_error(self):
        with open("/dev/full", "w") as full:
            done = subprocess.run([support.BIN / "heddle", "version"], stdout=full, stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, INPUT_OUTPUT)
        self.assertIn("standard output cannot be written", done.stderr)


class Trust(WithTinyModel):
    def test_another_user_must_trust_first(self):
        with tempfile.TemporaryDirectory() as state:
            environment = {**os.environ, "XDG_STATE_HOME": state}
            ids = "tokens=3xi32=1 2 3"
            refused = heddle("run", self.artifact, "--input", ids, status=NOT_TRUSTED, env=environment)
            self.assertIn(f"heddle trust {self.artifact}", refused.stderr)
            shown = heddle("trust", self.artifact, env=environment).stdout
            self.assertIn("weights.bin", shown)
            heddle("run", self.artifact, "--input", ids, env=environment)
            self.assertEqual(os.stat(pathlib.Path(state) / "heddle" / "trusted").st_mode & 0o777, 0o600)

    def test_a_digest_is_trust_for_one_run(self):
        with tempfile.TemporaryDirectory() as state:
            environment = {**os.environ, "XDG_STATE_HOME": state}
            digest = json.loads(heddle("inspect", self.artifact, "--format", "json").stdout)["digest"]
            ids = "tokens=3xi32=1 2 3"
            heddle("run", self.artifact, "--input", ids, "--trust", digest, env=environment)
            wrong = "sha256:" + "0" * 64
            heddle("run", self.artifact, "--input", ids, "--trust", wrong, status=NOT_TRUSTED, env=environment)
            heddle("run", self.artifact, "--input", ids, "--trust", "sha256:xyz", status=USAGE, env=environment)

    def test_a_record_that_others_can_write_counts_for_nothing(self):
        with tempfile.TemporaryDirectory() as state:
            environment = {**os.environ, "XDG_STATE_HOME": state}
            heddle("trust", self.artifact, env=environment)
            os.chmod(pathlib.Path(state) / "heddle" / "trusted", 0o666)
            heddle("run", self.artifact, "--input", "tokens=1xi32=1", status=NOT_TRUSTED, env=environment)


class Tensors(WithTinyModel):
    def test_logits_written_and_compared(self):
        ids, out = "tokens=5xi32=1 2 3 4 5", self.folder / "logits.npy"
        heddle("run", self.artifact, "--input", ids, "--output", f"logits=@{out}")
        heddle("run", self.artifact, "--input", ids, "--expected", f"logits=@{out}")
        done = heddle("run", self.artifact, "--input", "tokens=5xi32=1 2 3 4 6", "--expected", f"logits=@{out}", status=1)
        self.assertIn("above", done.stdout)

    def test_bad_literals_and_names(self):
        for argument, words in {
            "tokens=3xi32=1 2": "the shape has 3 elements, but found 2",
            "tokens=2xi32=1 x": "is not a number",
            "tokens=1xi99=1": "unknown element type 'i99'",
            "tokens=1xf32=1": "expected i32, but found f32",
            "tokens=1xi32=9999999999": "does not fit",
            "toks=1xi32=1": "no input 'toks'; it has tokens",
            "tokens": "takes NAME=VALUE",
        }.items():
            with self.subTest(argument=argument):
                self.assertIn(words, heddle("run", self.artifact, "--input", argument, status=USAGE).stderr)

    def test_token_out_of_range(self):
        done = heddle("run", self.artifact, "--input", "tokens=2xi32=1 999999", status=USAGE)
        self.assertIn("token", done.stderr)

    def test_eval_against_own_logits(self):
        import numpy

        ids, out = self.folder / "ids.npy", self.folder / "own.npy"
        numpy.save(ids, numpy.arange(1, 30, dtype=numpy.int32))
        heddle("eval", self.artifact, "--input", f"tokens=@{ids}", "--output", f"logits=@{out}")
        expected = ["--expected", f"logits=@{out}", "--format", "json"]
        facts = json.loads(heddle("eval", self.artifact, "--input", f"tokens=@{ids}", *expected).stdout)
        self.assertEqual(facts["mean_kl_nats"], 0)
        self.assertEqual(facts["top1_agreement"], 1)
        numpy.save(out, numpy.load(out)[:, ::-1].copy())
        heddle("eval", self.artifact, "--input", f"tokens=@{ids}", *expected, "--max-error", "kl=1e-6", status=ACCURACY)

    def test_memory_limit(self):
        heddle("run", self.artifact, "--input", "tokens=1xi32=1", "--max-memory", "1k", status=LIMIT)


class Determinism(WithTinyModel):
    def test_two_folders_give_the_same_bytes(self):
        with tempfile.TemporaryDirectory() as other:
            moved = pathlib.Path(other) / "tiny.gguf"
            moved.write_bytes(self.source.read_bytes())
            again = pathlib.Path(other) / "again.heddle"
            heddle("compile", moved, "-o", again, "--target", "cpu:x86-64-v3", cwd=other)
            self.assertEqual(again.read_bytes(), self.artifact.read_bytes())

    def test_the_artifact_names_no_folder(self):
        content = self.artifact.read_bytes()
        for path in (support.SOURCE, support.BUILD, self.folder, pathlib.Path.home()):
            self.assertNotIn(os.fsencode(path) + b"/", content)

    def test_inspect_tells_the_memory_of_a_session(self):
        facts = json.loads(heddle("inspect", self.artifact, "--format", "json").stdout)
        memory = facts["memory"]
        pages = facts["max_context_tokens"] // 128
        self.assertGreater(memory["cache_bytes_per_sequence"], 0)
        self.assertEqual(memory["cache_bytes_per_sequence"] % pages, 0)
        self.assertGreater(memory["session_bytes"], memory["cache_bytes_per_sequence"] + memory["arena_bytes"])
        self.assertIn("for a session of one sequence", heddle("inspect", self.artifact).stdout)

    def test_inspect_diff(self):
        heddle("inspect", "--diff", self.artifact, self.artifact)
        other = self.folder / "other.heddle"
        heddle("compile", self.source, "-o", other, "--target", "cpu:x86-64-v3", "--precise")
        self.assertIn("activations", heddle("inspect", "--diff", self.artifact, other, status=1).stdout)


class Explain(WithTinyModel):
    def test_an_artifact_tells_what_was_decided_for_its_model(self):
        fresh = heddle("explain", self.source).stdout
        self.assertIn("heddle-choose-precision", fresh)
        self.assertEqual(heddle("explain", self.artifact).stdout, fresh)
        self.assertEqual(heddle("explain", self.artifact, self.source).stdout, "")
        other = heddle("explain", self.artifact, self.source, "--max-chunk", "64", status=1).stdout
        self.assertIn("+ heddle-specialize-rows", other)
        self.assertIn("5 to 64 rows", other)


class Interrupt(unittest.TestCase):
    def test_a_compilation_leaves_nothing_half_written(self):
        with tempfile.TemporaryDirectory() as folder:
            source = tiny_model(folder, "--layers", "6", "--hidden", "1024", "--intermediate", "2048", "--sparse")
            before = set(os.listdir(folder))
            command = [support.BIN / "heddle", "compile", source, "-o", pathlib.Path(folder) / "out.heddle"]
            for delay in (0.05, 0.4, 0.9):
                child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                time.sleep(delay)
                child.send_signal(signal.SIGINT)
                status = child.wait(timeout=60)
                left = set(os.listdir(folder)) - before
                if status == 0:  # it was faster than the signal
                    self.assertEqual(left, {"out.heddle"})
                    os.unlink(pathlib.Path(folder) / "out.heddle")
                else:
                    # Before main() has run the shell, not heddle, turns the signal into 130.
                    self.assertIn(status, (INTERRUPTED, -signal.SIGINT))
                    self.assertEqual(left, set())


if __name__ == "__main__":
    unittest.main()

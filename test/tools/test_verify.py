"""`heddle verify`: a compiled model proves itself, and what was changed in it is found."""

import hashlib
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib
from unittest import mock

from e2e import support
from e2e.support import heddle

MISMATCH, INVALID, NOT_TRUSTED = 1, 3, 7
LEVELS = ("x86-64-v3", "x86-64-v3-vnni", "x86-64-v4-vnni")


class Artifact:
    """The bytes of an artifact, and where its members lie: stored one after another (docs/artifact.md)."""

    def __init__(self, path):
        self.data = bytearray(pathlib.Path(path).read_bytes())
        at = self.data.rindex(b"PK\x05\x06")
        count, = struct.unpack_from("<H", self.data, at + 10)
        record, = struct.unpack_from("<I", self.data, at + 16)
        self.members = {}  # name: (local header, central record, offset of its bytes, size)
        for _ in range(count):
            size, = struct.unpack_from("<I", self.data, record + 24)
            name_size, extra, comment = struct.unpack_from("<HHH", self.data, record + 28)
            header, = struct.unpack_from("<I", self.data, record + 42)
            name = self.data[record + 46 : record + 46 + name_size].decode()
            local_name, local_extra = struct.unpack_from("<HH", self.data, header + 26)
            self.members[name] = header, record, header + 30 + local_name + local_extra, size
            record += 46 + name_size + extra + comment

    def bytes(self, name):
        _, _, offset, size = self.members[name]
        return self.data[offset : offset + size]

    def replace(self, name, content):
        """New bytes of the same size, with the right CRC-32 in both headers."""
        header, record, offset, size = self.members[name]
        assert len(content) == size
        self.data[offset : offset + size] = content
        for place in header + 14, record + 16:
            struct.pack_into("<I", self.data, place, zlib.crc32(content))

    def replace_with_hash(self, name, content):
        """The same, and its SHA-256 in the manifest: what somebody would do who wants to look honest."""
        old, new = (hashlib.sha256(each).hexdigest().encode() for each in (self.bytes(name), content))
        self.replace(name, content)
        manifest = self.bytes("manifest.json")
        assert manifest.count(old) == 1
        self.replace("manifest.json", manifest.replace(old, new))


class Verify(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.keeper = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.keeper.name)
        # Trust starts anew with each run: changed artifacts are the same bytes every time.
        state = mock.patch.dict(os.environ, XDG_STATE_HOME=str(cls.folder / "state"))
        state.start()
        cls.addClassCleanup(state.stop)
        maker = support.SOURCE / "test" / "e2e" / "models" / "make_tiny_gguf.py"
        cls.source = cls.folder / "tiny.gguf"
        subprocess.run([sys.executable, maker, cls.source, "--format", "q4_k", "--hidden", "256", "--intermediate", "512"], check=True, capture_output=True)
        cls.artifact = cls.folder / "tiny.heddle"
        cls.target = "cpu:" + ",cpu:".join(LEVELS)
        heddle("compile", cls.source, "-o", cls.artifact, "--target", cls.target)

    @classmethod
    def tearDownClass(cls):
        cls.keeper.cleanup()

    def changed(self, artifact):
        path = self.folder / "changed.heddle"
        path.write_bytes(artifact.data)
        return path

    def findings(self, *arguments, status=0):
        return json.loads(heddle("verify", *arguments, "--format", "json", status=status).stdout)["findings"]

    def test_every_level_that_runs_here_is_proven_and_the_others_are_named(self):
        here = {row["target"]: row["runs_here"] for row in json.loads(heddle("targets", "--format", "json").stdout)}
        findings = self.findings(self.artifact)
        for level in LEVELS:
            outcomes = {f["outcome"] for f in findings if f["subject"].startswith(f"code/{level}.elf ") or
                        (f["subject"] == f"code/{level}.elf" and "processor" in f["detail"])}
            self.assertEqual(outcomes, {"proven"} if here[f"cpu:{level}"] else {"not proven"}, level)
        # Every variant, against the program and against the source weights.
        variants = [f for f in findings if "step.rows_" in f["subject"] and f["subject"].startswith(f"code/{LEVELS[0]}.elf ")]
        self.assertEqual({f["subject"].split()[1] for f in variants}, {"step.rows_1_4", "step.rows_5_512"})
        for words in ("program in f64", "source weights in f64"):
            self.assertTrue(any(words in f["detail"] for f in variants), words)

    def test_it_says_what_it_does_not_prove(self):
        self.assertIn("not where the file comes from", heddle("verify", self.artifact).stdout)
        self.assertIn("not where it comes from", heddle("verify", self.artifact, "--integrity").stdout)

    def test_200_flipped_bits_are_found_by_hash(self):
        seed = 20260101
        rng = random.Random(seed)
        pristine = Artifact(self.artifact)
        names = sorted(pristine.members)
        for number in range(200):
            name = names[number % len(names)]
            _, _, offset, size = pristine.members[name]
            place, bit = offset + rng.randrange(size), rng.randrange(8)
            artifact = bytearray(pristine.data)
            artifact[place] ^= 1 << bit
            path = self.folder / "flipped.heddle"
            path.write_bytes(artifact)
            done = subprocess.run([support.BIN / "heddle", "verify", path, "--integrity"], capture_output=True, text=True)
            where = f"bit {bit} of byte {place - offset} of {name} (seed {seed})"
            self.assertIn(done.returncode, (MISMATCH, INVALID), where)
            if done.returncode == MISMATCH:
                self.assertRegex(done.stdout, rf"(?m)^FAILED +{name}", where)

    def wrong_code(self, level):
        """Right hashes, but the code adds where it should multiply: `vmulps` becomes `vaddps`."""
        artifact = Artifact(self.artifact)
        name = f"code/{level}.elf"
        code = bytes(artifact.bytes(name))
        multiply, add = b"\x59", b"\x58"  # opcodes after a VEX prefix
        out, changes = bytearray(code), 0
        for at in range(len(code) - 4):
            if code[at] == 0xC5 and code[at + 2 : at + 3] == multiply and code[at + 1] & 3 == 0:
                out[at + 2] = add[0]
                changes += 1
        self.assertGreater(changes, 0, "no vmulps to change")
        artifact.replace_with_hash(name, bytes(out))
        return artifact

    def test_wrong_code_with_right_hashes_is_found_by_its_outputs(self):
        path = self.changed(self.wrong_code("x86-64-v3"))
        heddle("verify", path, "--integrity")  # all hashes are right
        heddle("verify", path, status=NOT_TRUSTED)  # but it is another artifact now
        heddle("trust", path)
        findings = self.findings(path, "--cpu", "x86-64-v3", status=MISMATCH)
        failed = [f for f in findings if f["outcome"] == "FAILED"]
        self.assertTrue(failed)
        self.assertTrue(all(f["subject"].startswith("code/x86-64-v3.elf") for f in failed), failed)

    def test_code_that_crashes_is_a_finding_and_not_a_crash(self):
        artifact = Artifact(self.artifact)
        name = "code/x86-64-v3.elf"
        code = bytearray(artifact.bytes(name))
        program = {}
        at, = struct.unpack_from("<Q", code, 32)
        for header in range(struct.unpack_from("<H", code, 56)[0]):
            kind, flags, offset, _, _, size = struct.unpack_from("<IIQQQQ", code, at + 56 * header)
            if kind == 1 and flags & 1:
                program = offset, size
        offset, size = program
        code[offset : offset + size] = b"\xcc" * size  # int3
        artifact.replace_with_hash(name, bytes(code))
        path = self.changed(artifact)
        heddle("trust", path)
        failed = [f for f in self.findings(path, "--cpu", "x86-64-v3", status=MISMATCH) if f["outcome"] == "FAILED"]
        self.assertEqual(len(failed), 1)
        self.assertIn("crashed", failed[0]["detail"])

    def test_a_stranger_s_file_is_not_run(self):
        artifact = Artifact(self.artifact)
        manifest = bytes(artifact.bytes("manifest.json"))
        artifact.replace("manifest.json", manifest.replace(b'"seed": 1', b'"seed": 2'))
        path = self.changed(artifact)
        self.assertIn("heddle trust", heddle("verify", path, status=NOT_TRUSTED).stderr)
        heddle("verify", path, "--integrity")

    def test_compiled_again_from_its_source(self):
        self.assertIn("the same bytes", heddle("verify", self.artifact, "--from", self.source, "--cpu", "x86-64-v3").stdout)

    def test_compiled_again_from_another_model(self):
        other = self.folder / "other.gguf"
        other.write_bytes(self.source.read_bytes()[:-1] + b"\x01")
        done = heddle("verify", self.artifact, "--integrity", "--from", other, status=MISMATCH)
        self.assertIn("other bytes", done.stdout)

    def test_embeddings(self):
        maker = support.SOURCE / "test" / "e2e" / "models" / "make_tiny_gguf.py"
        source = self.folder / "bert.gguf"
        subprocess.run([sys.executable, maker, source, "--architecture", "bert"], check=True, capture_output=True)
        out = self.folder / "bert.heddle"
        heddle("compile", source, "-o", out, "--target", "cpu:x86-64-v3")
        proven = [f for f in self.findings(out) if "encode" in f["subject"]]
        self.assertTrue(proven and all(f["outcome"] == "proven" for f in proven), proven)


if __name__ == "__main__":
    unittest.main()

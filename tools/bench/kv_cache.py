#!/usr/bin/env python3
"""`heddle compile --kv-type`: bytes of keys and values a token, what 8 bits do to results on text, time of a decode step.

Each model is its own reference, with a cache of f16. What is compiled stays in build/test/e2e/kv_cache. `--speed` times decode steps
after 2,000 tokens instead, on a quiet machine.
"""

import json
import statistics
import subprocess

import numpy

import common
from heddle_runtime import Model, Session
from llama_peer import LlamaCpp

FOLDER = common.support.WORK / "kv_cache"
TYPES = ("f16", "int8", "fp8")
PIECES, PIECE, COMPARED = 4, 768, 128  # tokens of a piece, and those at its end whose results are compared
CONTEXT, DECODED = 2000, 24


def compiled(name, kind):
    path = FOLDER / f"{name}-{kind}.heddle"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        command = [common.support.BIN / "heddle", "compile", common.support.model(name), "-o", path, "--target", "cpu:native",
                   "--max-context", 2304, "--max-sequences", 1, "--no-samples", "--kv-type", kind]
        subprocess.run(list(map(str, command)), check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return path


def token_bytes(artifact):
    """Of keys and values of all layers."""
    facts = json.loads(common.support.heddle("inspect", artifact, "--format", "json").stdout)
    return facts["memory"]["cache_bytes_per_sequence"] / facts["max_context_tokens"]


def pieces(name):
    peer = LlamaCpp(common.support.model(name), 1)
    tokens = peer.tokenize(common.manual()[1])
    peer.close()
    step = len(tokens) // PIECES
    return [tokens[0:1] + tokens[1 + at:at + PIECE] for at in range(0, PIECES * step, step)]


def log_softmax(logits):
    logits = logits - logits.max(-1, keepdims=True)
    return logits - numpy.log(numpy.exp(logits).sum(-1, keepdims=True, dtype=numpy.float64)).astype(numpy.float32)


def results(artifact, texts):
    """Log probabilities after each of the last tokens of each text, one step a token: all that they see comes from the cache."""
    model = Model(artifact)
    session = Session(model, 2, context=PIECE)
    found = []
    for tokens in texts:
        session.clear()
        before = len(tokens) - COMPARED
        for at in range(0, before, 256):
            session.append(tokens[at:min(at + 256, before)], at, "none")
        found.append(log_softmax(session.append(tokens[before:], before, "all").copy()))
    session.close()
    model.close()
    return found


def errors(name):
    texts, exact, rows = pieces(name), None, []
    for kind in TYPES:
        found = results(compiled(name, kind), texts)
        exact = exact or found
        divergence = numpy.concatenate([(numpy.exp(p) * (p - q)).sum(-1, dtype=numpy.float64) for p, q in zip(exact, found)])
        labels = [numpy.asarray(tokens[len(tokens) - COMPARED + 1:]) for tokens in texts]
        loss = -numpy.concatenate([q[numpy.arange(len(l)), l] for q, l in zip(found, labels)]).mean(dtype=numpy.float64)
        same = numpy.concatenate([p.argmax(-1) == q.argmax(-1) for p, q in zip(exact, found)])
        rows.append({"model": name, "kv_type": kind, "bytes_per_token": token_bytes(compiled(name, kind)), "kl_nats": float(divergence.mean()), "kl_standard_error": float(divergence.std() / len(divergence) ** 0.5),
                     "perplexity": float(numpy.exp(loss)), "same_next_token": float(same.mean())})
    common.table([name, "bytes a token", "KL", "its standard error", "perplexity", "same next token %"],
                 [[row["kv_type"], f"{row['bytes_per_token']:.0f}", f"{row['kl_nats']:.2g}", f"{row['kl_standard_error']:.1g}", f"{row['perplexity']:.2f}", f"{100 * row['same_next_token']:.1f}"] for row in rows])
    return rows


def speed(name, arguments):
    tokens, opened, works = [1000 + number % 500 for number in range(CONTEXT)], [], {}
    for kind in TYPES:
        model = Model(compiled(name, kind))
        session = Session(model, arguments.threads, context=CONTEXT + DECODED)
        opened += [session, model]
        for at in range(0, CONTEXT, 500):
            session.append(tokens[at:at + 500], at, "none")

        def work(session=session):
            # The same positions again: what is stored of them was cut off before.
            session.trim(CONTEXT)
            return common.timed(lambda: [session.append([1000], CONTEXT + at) for at in range(DECODED)]) / DECODED
        works[kind] = work
    times = common.interleaved(works, arguments.rounds)
    for one in opened:
        one.close()
    rows = [{"model": name, "kv_type": kind, "milliseconds": 1000 * statistics.median(values), "spread_percent": common.spread(values)}
            for kind, values in times.items()]
    common.table([f"{name}, {arguments.threads} threads, {CONTEXT} tokens", "decode step ms", "spread %"],
                 [[row["kv_type"], f"{row['milliseconds']:.2f}", f"{row['spread_percent']:.0f}"] for row in rows])
    return rows


def main():
    arguments = common.arguments(__doc__, speed={"action": "store_true"}, rounds={"type": int, "default": 5}, threads={"type": int, "default": 2})
    rows = [row for name in arguments.models.split(",") for row in (speed(name, arguments) if arguments.speed else errors(name))]
    common.save(arguments.json, {"processor": common.processor(), "load": common.load_average(), "results": rows})


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Fitted head gates: what skipping attention heads saves and what it costs, on SmolLM2 and MiniLM.

Gates are fitted on one part of the reference manual that Python carries (pydoc_data.topics) and measured on another, by the
compiled models: perplexity and next-token agreement of SmolLM2, cosine to the embeddings without gates and the ranking of sentence
pairs of MiniLM. --plot writes the curves as SVG. `--decode` times decode steps at 2,000 tokens of context instead; `--ideal`
compares the fitted gates with gates that know each head's cost.
"""

import pathlib
import statistics
import sys
import time

import numpy
from safetensors.numpy import load_file

import common

sys.path.insert(0, str(common.SOURCE / "tools" / "gates"))
import fit as fitting  # noqa: E402
from e2e.models import make_minilm_gguf  # noqa: E402
from heddle_runtime import Model, Session  # noqa: E402
from models import open_model  # noqa: E402

import importlib.util  # noqa: E402

SPEC = importlib.util.spec_from_file_location("gates_cli", common.SOURCE / "tools" / "gates" / "__main__.py")
cli = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(cli)

SHARES = {"smollm2": (10, 20, 25, 30, 38, 50), "minilm": (2, 5, 10, 20, 38)}
CLAIM = {"skipped": 0.38, "loss": 0.012}  # published, with 47 % of attention's arithmetic
LENGTH = {"smollm2": 512, "minilm": 96}


def cut(path, text, model, count, length):
    tokens = cli.tokenizer(path).tokenize(text.encode(), add_bos=False, special=False)
    return cli.sequences(model, tokens, count, length)


def log_softmax(logits):
    logits = logits.astype(numpy.float64)
    logits -= logits.max(-1, keepdims=True)
    return logits - numpy.log(numpy.exp(logits).sum(-1, keepdims=True))


def text_results(artifact, sequences):
    model = Model(artifact)
    session = Session(model, 2, context=1024)
    results = [log_softmax(session.logits(tokens, 512)) for tokens in sequences]
    session.close()
    model.close()
    return results


def compare_texts(exact, gated, sequences):
    loss = agreement = rows = 0
    for p, q, tokens in zip(exact, gated, sequences):
        at, labels = numpy.arange(len(tokens) - 1), numpy.asarray(tokens)[1:]
        loss += (p[at, labels] - q[at, labels]).sum()
        agreement += (p.argmax(-1) == q.argmax(-1)).sum()
        rows += len(tokens)
    return {"loss": float(numpy.expm1(loss / (rows - len(sequences)))), "agreement": float(agreement / rows)}


def embedding_results(artifact, sequences):
    model = Model(artifact)
    session = Session(model, 2)
    results = [session.embed([tokens])[0].copy() for tokens in sequences]
    session.close()
    model.close()
    return results


def compare_embeddings(exact, gated, sequences):
    """1 - cosine, and how often the order of two pairs' similarities is kept (500 random choices of two pairs)."""
    exact, gated = numpy.stack(exact), numpy.stack(gated)
    random = numpy.random.default_rng(0)
    a, b, c, d = random.integers(0, len(exact), (4, 500))
    order = lambda e: (e[a] * e[b]).sum(-1) > (e[c] * e[d]).sum(-1)
    return {"loss": float(1 - (exact * gated).sum(-1).mean()), "agreement": float((order(exact) == order(gated)).mean())}


def skipped_share(model, gates, sequences):
    """Of the first two sequences."""
    runs = [fitting.Run(gates) for _ in sequences[:2]]
    for tokens, run in zip(sequences, runs):
        model.evaluate(tokens, run)
    return float(numpy.mean([run.off for run in runs]))


def fitted(name, model, path, text, arguments):
    """{share: gate file}, fitted unless an earlier run has done so."""
    folder = common.support.WORK / "gates"
    folder.mkdir(parents=True, exist_ok=True)
    files = {share: folder / f"{name}-{arguments.sequences}-{share}.safetensors" for share in SHARES[name]}
    if not all(file.exists() for file in files.values()):
        count = arguments.sequences if name == "smollm2" else 4 * arguments.sequences
        fit = fitting.Fit(fitting.Calibration(model, cut(path, text, model, count, LENGTH[name]), numpy.random.default_rng(0)))
        for share, file in files.items():
            cli.write(file, path, fit.gates(share / 100), {"explained_variance": fit.explained})
    return files


def read_gates(file, model):
    tensors = load_file(file)
    return fitting.Gates(*(numpy.stack([tensors[f"blk.{layer}.attn.gate.{part}"] for layer in range(model.layers)])
                           for part in ("weight", "bias", "skip")))


def curve(name, arguments):
    path = common.support.model("smollm2") if name == "smollm2" else make_minilm_gguf.ensure("f32")
    model, (calibration, held_out) = open_model(path), common.manual()
    files = fitted(name, model, path, calibration, arguments)
    measured = cut(path, held_out, model, 4 if name == "smollm2" else 64, LENGTH[name])
    run, compare = (text_results, compare_texts) if name == "smollm2" else (embedding_results, compare_embeddings)
    target = ("--target", "cpu:native")
    exact, points = run(common.support.compile_once(path, *target), measured), []
    for share, file in files.items():
        artifact = common.support.compile_once(path, *target, "--gates", file)
        points.append({"share": share, "skipped": skipped_share(model, read_gates(file, model), measured),
                       **compare(exact, run(artifact, measured), measured)})
        print(points[-1], flush=True)
    return {"model": name, "points": points}


def ideal(arguments):
    """What gates would reach that know each head's cost, which no gate that skips the head can: the rest of the gap is not a matter
    of prediction. In numpy; the cost is that of the fit, a distance from the head's mean."""
    rows = []
    for name in ("smollm2", "minilm"):
        if name not in arguments.models.replace("gemma3", "minilm").split(","):
            continue
        path = common.support.model("smollm2") if name == "smollm2" else make_minilm_gguf.ensure("f32")
        model, (text, held_out) = open_model(path), common.manual()
        count = arguments.sequences if name == "smollm2" else 4 * arguments.sequences
        calibration = fitting.Calibration(model, cut(path, text, model, count, LENGTH[name]), numpy.random.default_rng(0))
        fit = fitting.Fit(calibration)
        measured = fitting.HeldOut(model, cut(path, held_out, model, 2 if name == "smollm2" else 32, LENGTH[name]))
        skip = fit.masked(numpy.ones((model.layers, model.heads), bool)).skip
        forms = [numpy.stack([w.T @ calibration.metric[layer] @ w for w in model.output_weight(layer).transpose(1, 0, 2)])
                 for layer in range(model.layers)]
        for share in (0.2, 0.38):
            limit = numpy.quantile(fit.costs[:, calibration.counts], share)

            def gated(layer, x, heads, run):
                if run.gates is None:
                    return heads
                distance = heads - skip[layer]
                off = numpy.einsum("rhd,hde,rhe->rh", distance, forms[layer], distance, optimize=True) <= limit
                run.off.append(off.mean(0))
                return numpy.where(off[:, :, None], skip[layer][None], heads)

            model.gated, plain = gated, model.gated
            known = measured.measure(True)
            model.gated = plain
            for kind, figures in (("known cost", known), ("fitted", measured.measure(fit.gates(share)))):
                rows.append([name, kind, f"{figures['skipped']:.1%}", *(f"{value:.4f}" for key, value in figures.items() if key != "skipped")])
                print(rows[-1], [key for key in figures if key != "skipped"], flush=True)
        print(f"{name}: linear gates explain {fit.explained:.0%} of the variance of the logarithm of a head's cost")


def at_loss(points, loss):
    """Share of heads skipped at a loss, between the points of the curve."""
    known = sorted([(0.0, 0.0)] + [(p["skipped"], p["loss"]) for p in points])
    for (s0, l0), (s1, l1) in zip(known, known[1:]):
        if l0 <= loss < l1:
            return s0 + (s1 - s0) * (loss - l0) / (l1 - l0)
    return known[-1][0] if known[-1][1] <= loss else 0.0


def plot(results, path):
    """Loss over heads skipped, one line a model; the published point beside them."""
    width, height, left, top = 560, 320, 60, 20
    most_x, most_y = 0.55, 0.12
    x = lambda value: left + (width - left - 20) * min(value, most_x) / most_x
    y = lambda value: top + (height - top - 50) * (1 - min(max(value, 0), most_y) / most_y)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
             f'<rect width="{width}" height="{height}" fill="white"/>']
    for value in (0, 0.1, 0.2, 0.3, 0.4, 0.5):
        parts.append(f'<line x1="{x(value):.0f}" y1="{y(0):.0f}" x2="{x(value):.0f}" y2="{top}" stroke="#ddd"/>'
                     f'<text x="{x(value):.0f}" y="{y(0) + 16:.0f}" text-anchor="middle">{value:.0%}</text>')
    for value in (0, 0.02, 0.04, 0.06, 0.08, 0.10, 0.12):
        parts.append(f'<line x1="{x(0):.0f}" y1="{y(value):.0f}" x2="{x(most_x):.0f}" y2="{y(value):.0f}" stroke="#ddd"/>'
                     f'<text x="{left - 6}" y="{y(value) + 4:.0f}" text-anchor="end">{value:.0%}</text>')
    parts.append(f'<line x1="{x(0):.0f}" y1="{y(0.012):.0f}" x2="{x(most_x):.0f}" y2="{y(0.012):.0f}" stroke="#888" stroke-dasharray="4"/>')
    labels = {"smollm2": ("SmolLM2: perplexity", "#1565c0"), "minilm": ("MiniLM: 1 - cosine", "#c62828")}
    for number, result in enumerate(results):
        label, colour = labels[result["model"]]
        line = " ".join(f'{x(s):.1f},{y(l):.1f}' for s, l in sorted([(0, 0)] + [(p["skipped"], p["loss"]) for p in result["points"]]))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>'
                     f'<text x="{left + 12}" y="{top + 16 + 16 * number}" fill="{colour}">{label}</text>')
    parts.append(f'<circle cx="{x(CLAIM["skipped"]):.1f}" cy="{y(CLAIM["loss"]):.1f}" r="4" fill="black"/>'
                 f'<text x="{x(CLAIM["skipped"]) + 8:.1f}" y="{y(CLAIM["loss"]) - 6:.1f}">published</text>'
                 f'<text x="{width / 2}" y="{height - 8}" text-anchor="middle">heads skipped</text></svg>')
    path.write_text("\n".join(parts) + "\n")


def decode_times(artifact, tokens, threads, rounds):
    """Median seconds of a decode step after `tokens`."""
    model = Model(artifact)
    session = Session(model, threads, context=len(tokens) + 64)
    for at in range(0, len(tokens), 512):
        session.append(tokens[at:at + 512], at, "none")
    times = []
    for step in range(rounds):
        start = time.perf_counter()
        session.append([tokens[step]], len(tokens) + step, "last")
        times.append(time.perf_counter() - start)
    session.close()
    model.close()
    return statistics.median(times)


def decode(arguments):
    """Attention's time is the difference between a long and a short context, so that all else cancels."""
    path = common.support.model("smollm2")
    model = open_model(path)
    tokens = cut(path, common.manual()[1], model, 2, 2000)[0]
    rows, plain = [], None
    for share in (0, *SHARES["smollm2"]):
        file = common.support.WORK / "gates" / f"smollm2-{arguments.sequences}-{share}.safetensors"
        if share and not file.exists():
            raise SystemExit(f"missing {file}: run this script without --decode first")
        artifact = common.support.compile_once(path, "--target", "cpu:native", *(["--gates", file] if share else []))
        long, short = (min(decode_times(artifact, part, arguments.threads, arguments.rounds) for _ in range(3)) for part in (tokens, tokens[:16]))
        plain = plain or (long, long - short)
        rows.append([share, f"{1000 * long:.2f}", f"{1000 * (long - short):.2f}", f"{1 - (long - short) / plain[1]:.2f}"])
    common.table(["heads skipped %", "step ms at 2,000", "attention ms", "attention saved"], rows)


def main():
    arguments = common.arguments(__doc__, sequences={"type": int, "default": 12}, plot={"type": pathlib.Path}, rounds={"type": int, "default": 24},
                                 threads={"type": int, "default": 2}, decode={"action": "store_true"}, ideal={"action": "store_true"})
    if arguments.decode:
        return decode(arguments)
    if arguments.ideal:
        return ideal(arguments)
    results = [curve(name, arguments) for name in ("smollm2", "minilm") if name in arguments.models.replace("gemma3", "minilm").split(",")]
    common.table(["model", "heads skipped", "loss", "agreement"],
                 [[r["model"], f"{p['skipped']:.1%}", f"{p['loss']:+.2%}", f"{p['agreement']:.1%}"] for r in results for p in r["points"]])
    for result in results:
        result["skipped_at_claimed_loss"] = at_loss(result["points"], CLAIM["loss"])
        print(f"{result['model']}: {result['skipped_at_claimed_loss']:.1%} of heads skipped at a loss of {CLAIM['loss']:.1%}; published: "
              f"{CLAIM['skipped']:.0%}")
    if arguments.plot:
        plot(results, arguments.plot)
    common.save(arguments.json, {"processor": common.processor(), "results": results})


if __name__ == "__main__":
    main()

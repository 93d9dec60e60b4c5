#!/usr/bin/env python3
"""Fitted head gates: what skipping attention heads saves and what it costs, on SmolLM2 and MiniLM.

Gates are fitted on one part of the reference manual that Python carries (pydoc_data.topics) and measured on another, by the
compiled models: perplexity and next-token agreement of SmolLM2, cosine to the embeddings without gates and the ranking of sentence
pairs of MiniLM. Beside gates of single heads stand, for SmolLM2, gates of whole groups. --plot writes the curves as SVG. `--decode`
times decode steps at 2,000 tokens of context instead; `--ideal` compares the fitted gates with gates that know each head's cost.
"""

import functools
import pathlib
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
SERIES = (("smollm2", "head"), ("smollm2", "group"), ("minilm", "head"))  # MiniLM's heads share no keys and values
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


def skipped_shares(model, gates, sequences):
    """Of heads and of whole groups, on the first two sequences."""
    runs = [fitting.Run(gates) for _ in sequences[:2]]
    for tokens, run in zip(sequences, runs):
        model.evaluate(tokens, run)
    return {"skipped": float(numpy.mean([run.off for run in runs])), "groups_skipped": float(numpy.mean([run.groups_off for run in runs]))}


@functools.cache
def open_by_name(name):
    path = common.support.model("smollm2") if name == "smollm2" else make_minilm_gguf.ensure("f32")
    return path, open_model(path)


@functools.cache
def calibrated(name, count):
    path, model = open_by_name(name)
    sequences = cut(path, common.manual()[0], model, count if name == "smollm2" else 4 * count, LENGTH[name])
    return fitting.Calibration(model, sequences, numpy.random.default_rng(0))


def gate_files(name, unit, arguments):
    folder = common.support.WORK / "gates"
    folder.mkdir(parents=True, exist_ok=True)
    return {share: folder / f"{name}-{unit}-{arguments.sequences}-{share}.safetensors" for share in SHARES[name]}


def fitted(name, unit, arguments):
    """{share: gate file}, fitted unless an earlier run has done so."""
    files = gate_files(name, unit, arguments)
    if not all(file.exists() for file in files.values()):
        fit = fitting.Fit(calibrated(name, arguments.sequences), unit)
        for share, file in files.items():
            cli.write(file, open_by_name(name)[0], fit.gates(share / 100), {"explained_variance": fit.explained})
    return files


def read_gates(file, model):
    tensors = load_file(file)
    return fitting.Gates(*(numpy.stack([tensors[f"blk.{layer}.attn.gate.{part}"] for layer in range(model.layers)])
                           for part in ("weight", "bias", "skip")))


def curve(name, unit, arguments):
    path, model = open_by_name(name)
    files = fitted(name, unit, arguments)
    measured = cut(path, common.manual()[1], model, 4 if name == "smollm2" else 64, LENGTH[name])
    run, compare = (text_results, compare_texts) if name == "smollm2" else (embedding_results, compare_embeddings)
    target = ("--target", "cpu:native")
    exact, points = run(common.support.compile_once(path, *target), measured), []
    for share, file in files.items():
        artifact = common.support.compile_once(path, *target, "--gates", file)
        points.append({"share": share, **skipped_shares(model, read_gates(file, model), measured), **compare(exact, run(artifact, measured), measured)})
        print(name, unit, points[-1], flush=True)
    return {"model": name, "unit": unit, "points": points}


class KnowingGates:
    """Skip the units of least cost, which they compute from the very outputs that they skip. As for fitted gates a unit's skip value is
    its mean where it is skipped, which depends on what is skipped: found by repetition."""

    def __init__(self, fit, share):
        self.fit, model, calibration = fit, fit.calibration.model, fit.calibration
        self.forms = [numpy.stack([w.T @ calibration.metric[layer] @ w
                                   for w in model.output_weight(layer).reshape(model.width, fit.units, -1).transpose(1, 0, 2)])
                      for layer in range(model.layers)]
        outputs = [fit.outputs(layer)[calibration.counts] for layer in range(model.layers)]
        self.skip = [o.mean(0) for o in outputs]
        for _ in range(4):
            costs = numpy.stack([self.costs(layer, o) for layer, o in enumerate(outputs)])
            self.limit = numpy.quantile(costs, share)
            self.skip = [numpy.where((off := cost <= self.limit).sum(0)[:, None] > 20,
                                     (o * off[:, :, None]).sum(0) / numpy.maximum(off.sum(0), 1)[:, None], skip)
                         for cost, o, skip in zip(costs, outputs, self.skip)]

    def costs(self, layer, outputs):
        distance = outputs - self.skip[layer]
        return numpy.einsum("rud,ude,rue->ru", distance, self.forms[layer], distance, optimize=True)

    def apply(self, layer, heads):
        """Heads after the gates, and which are off."""
        outputs = heads.reshape(len(heads), self.fit.units, -1)
        off = self.costs(layer, outputs) <= self.limit
        return numpy.where(off[:, :, None], self.skip[layer], outputs).reshape(heads.shape), numpy.repeat(off, self.fit.size, axis=1)


def ideal(arguments):
    """What gates would reach that know each unit's cost, which no gate that skips it can: the rest of the gap is not a matter of
    prediction. In numpy; the cost is that of the fit."""
    for name, unit in chosen(arguments):
        path, model = open_by_name(name)
        fit = fitting.Fit(calibrated(name, arguments.sequences), unit)
        measured = fitting.HeldOut(model, cut(path, common.manual()[1], model, 2 if name == "smollm2" else 32, LENGTH[name]))
        for share in (0.2, 0.38):
            knowing = KnowingGates(fit, share)

            def gated(layer, x, heads, run):
                if run.gates is None:
                    return heads
                result, off = knowing.apply(layer, heads)
                run.note(off, model.kv_heads)
                return result

            model.gated, plain = gated, model.gated
            known = measured.measure(True)
            model.gated = plain
            for kind, figures in (("known cost", known), ("fitted", measured.measure(fit.gates(share)))):
                print(name, unit, kind, {key: f"{value:.4f}" for key, value in figures.items()}, flush=True)
        print(f"{name}: linear gates explain {fit.explained:.0%} of the variance of the logarithm of a {unit}'s cost", flush=True)


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
    labels = {("smollm2", "head"): ("SmolLM2: perplexity", "#1565c0"), ("smollm2", "group"): ("SmolLM2, whole groups", "#2e7d32"),
              ("minilm", "head"): ("MiniLM: 1 - cosine", "#c62828")}
    for number, result in enumerate(results):
        label, colour = labels[result["model"], result["unit"]]
        line = " ".join(f'{x(s):.1f},{y(l):.1f}' for s, l in sorted([(0, 0)] + [(p["skipped"], p["loss"]) for p in result["points"]]))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>'
                     f'<text x="{left + 12}" y="{top + 16 + 16 * number}" fill="{colour}">{label}</text>')
    parts.append(f'<circle cx="{x(CLAIM["skipped"]):.1f}" cy="{y(CLAIM["loss"]):.1f}" r="4" fill="black"/>'
                 f'<text x="{x(CLAIM["skipped"]) + 8:.1f}" y="{y(CLAIM["loss"]) - 6:.1f}">published</text>'
                 f'<text x="{width / 2}" y="{height - 8}" text-anchor="middle">heads skipped</text></svg>')
    path.write_text("\n".join(parts) + "\n")


class Decoding:
    """Steps of one artifact after a long and a short context, each step again and again: its least time counts."""

    def __init__(self, artifact, tokens, threads, steps):
        self.model, self.tokens = Model(artifact), tokens[:steps]
        self.lengths = (len(tokens), steps)
        self.session = Session(self.model, threads, sequences=2, context=len(tokens) + steps)
        self.least = numpy.full((2, steps), numpy.inf)
        for slot, length in enumerate(self.lengths):
            for at in range(0, length, 512):
                self.session.append(tokens[at:min(at + 512, length)], at, "none", slot)

    def repeat(self):
        for slot, length in enumerate(self.lengths):
            for number, token in enumerate(self.tokens):
                start = time.perf_counter()
                self.session.append([token], length + number, "last", slot)
                self.least[slot, number] = min(self.least[slot, number], time.perf_counter() - start)
            self.session.trim(length, slot)

    def milliseconds(self):
        """Of a step after the long context, and of its attention: the difference to the short one, so that all else cancels. The first
        step finds the caches as another artifact left them."""
        long, short = 1000 * self.least[:, 1:].mean(1)
        return long, long - short


def decode(arguments):
    """Shares are those of the timed steps: of the layers' inputs without gates, which are close to those with them."""
    path, model = open_by_name("smollm2")
    tokens = cut(path, common.manual()[1], model, 2, 2000)[0]
    seen = fitting.Run(observe=True)
    model.evaluate([*tokens, *tokens[:arguments.rounds]], seen)
    steps = [x[1 - arguments.rounds:].astype(numpy.float32) for x in seen.inputs]
    kinds = [("none", None)] + [(unit, file) for unit in ("head", "group") for file in gate_files("smollm2", unit, arguments).values()]
    missing = [str(file) for _, file in kinds if file and not file.exists()]
    if missing:
        raise SystemExit(f"missing {', '.join(missing)}: run this script without --decode first")
    artifacts = [common.support.compile_once(path, "--target", "cpu:native", *(["--gates", file] if file else [])) for _, file in kinds]
    runs = [Decoding(artifact, tokens, arguments.threads, arguments.rounds) for artifact in artifacts]
    for _ in range(arguments.repeats):
        for run in runs:
            run.repeat()
    rows, (_, plain) = [], runs[0].milliseconds()
    for (unit, file), run in zip(kinds, runs):
        off = fitting.Run()
        for layer, x in enumerate(steps):
            off.note(read_gates(file, model).off(layer, x) if file else numpy.zeros((len(x), model.heads), bool), model.kv_heads)
        heads, groups, (step, attention) = numpy.mean(off.off), numpy.mean(off.groups_off), run.milliseconds()
        saved = 1 - attention / plain
        rows.append([unit, f"{heads:.1%}", f"{groups:.1%}", f"{step:.2f}", f"{attention:.2f}", f"{saved:.0%}", f"{saved / heads:.2f}" if heads else ""])
    common.table(["gates of", "heads skipped", "groups skipped", "step ms at 2,000", "attention ms", "attention saved", "of the share"], rows)


def chosen(arguments):
    names = arguments.models.replace("gemma3", "minilm").split(",")
    return [(name, unit) for name, unit in SERIES if name in names]


def main():
    arguments = common.arguments(__doc__, sequences={"type": int, "default": 12}, plot={"type": pathlib.Path}, rounds={"type": int, "default": 16}, repeats={"type": int, "default": 10},
                                 threads={"type": int, "default": 2}, decode={"action": "store_true"}, ideal={"action": "store_true"})
    if arguments.decode:
        return decode(arguments)
    if arguments.ideal:
        return ideal(arguments)
    results = [curve(name, unit, arguments) for name, unit in chosen(arguments)]
    common.table(["model", "gates of", "heads skipped", "groups skipped", "loss", "agreement"],
                 [[r["model"], r["unit"], f"{p['skipped']:.1%}", f"{p['groups_skipped']:.1%}", f"{p['loss']:+.2%}", f"{p['agreement']:.1%}"]
                  for r in results for p in r["points"]])
    for result in results:
        result["skipped_at_claimed_loss"] = at_loss(result["points"], CLAIM["loss"])
        print(f"{result['model']}, gates of a {result['unit']}: {result['skipped_at_claimed_loss']:.1%} of heads skipped at a loss of "
              f"{CLAIM['loss']:.1%}; published: {CLAIM['skipped']:.0%}")
    if arguments.plot:
        plot(results, arguments.plot)
    common.save(arguments.json, {"processor": common.processor(), "results": results})


if __name__ == "__main__":
    main()

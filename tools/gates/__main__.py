#!/usr/bin/env python3
"""Fits gates of attention heads for a GGUF model and writes them to a file for `heddle compile --gates`.

    python3 tools/gates model.gguf --calibrate texts/ --max-error perplexity=1.2% -o model.gates.safetensors

The more heads are skipped, the larger the error; the largest share whose error on text that the fit has not seen keeps within the
bound is taken. Skipped heads save arithmetic; keys and values are read for all query heads of a group together, so a long context is
read less only where whole groups are off: --unit group makes their heads go off together. --share takes a share instead, --prune removes heads for all rows; with a bound they are refused past it (exit
code 6). Errors: perplexity (relative change), kl (nats) for text models, cosine (1 - cosine) for embedding models.
"""

import argparse
import hashlib
import json
import pathlib
import sys

import numpy
from safetensors.numpy import save_file

import fit as fitting
from models import Decoder, open_model

EXIT_USAGE, EXIT_BOUND = 2, 6
METRICS = {"perplexity": "perplexity_change", "kl": "kl_nats", "cosine": "cosine_distance"}


def tokenizer(path):
    from llama_cpp import Llama
    return Llama(str(path), vocab_only=True, verbose=False)


def sequences(model, tokens, count, length):
    """`count` sequences of `length` tokens spread over the text, each as the model expects one to begin and end."""
    begin = [model.bos] if isinstance(model, Decoder) and model.bos is not None else [101] if not isinstance(model, Decoder) else []
    end = [] if isinstance(model, Decoder) else [102]
    body = length - len(begin) - len(end)
    if len(tokens) < body:
        raise SystemExit(f"expected at least {body} tokens of text, but found {len(tokens)}")
    count = min(count, len(tokens) // body)
    return [begin + tokens[at:at + body] + end for at in numpy.linspace(0, len(tokens) - body, count).astype(int)]


def read_texts(paths):
    files = [file for path in paths for file in (sorted(path.glob("*.txt")) if path.is_dir() else [path])]
    return "\n\n".join(file.read_text() for file in files)


def search(fit, held_out, metric, bound, report):
    """The largest share, to a hundredth, whose error on one half of the held-out sequences keeps the bound, and on the other."""
    halves = [fitting.HeldOut(fit.calibration.model, part) for part in (held_out[::2], held_out[1::2])]
    low, high = 0, 100
    while high - low > 1:
        middle = (low + high) // 2
        error = halves[0].measure(fit.gates(middle / 100))[metric]
        report(f"{middle} % of heads: {metric} {error:.4g}")
        low, high = (middle, high) if error <= bound else (low, middle)
    while low > 0 and halves[1].measure(fit.gates(low / 100))[metric] > bound:
        report(f"{low} % of heads keep the bound where they were chosen, but not on the other half of the text")
        low -= 1
    return low / 100


def tensors(gates, keep=None):
    """By the names that `heddle compile --gates` expects."""
    named = {}
    for layer in range(len(gates.weight)):
        node = f"blk.{layer}.attn.gate."
        if keep is None or gates.weight[layer].any():
            named[node + "weight"], named[node + "bias"] = gates.weight[layer], gates.bias[layer]
        named[node + "skip"] = gates.skip[layer]
        if keep is not None:
            named[node + "keep"] = keep[layer]
    return {name: numpy.ascontiguousarray(array) for name, array in named.items()}


def write(path, model_path, gates, figures, keep=None):
    digest = hashlib.sha256(pathlib.Path(model_path).read_bytes()).hexdigest()
    save_file(tensors(gates, keep), str(path), metadata={"model_sha256": digest, "figures": json.dumps(figures)})


def saved(model, figures):
    """What skipping saves of a token's work: arithmetic and weights with every head, keys and values with every whole group."""
    heads, per_head = figures["skipped"] * model.layers * model.heads, 2 * model.head_width * model.width
    return {"share_of_attention_arithmetic": round(figures["skipped"], 4), "share_of_keys_and_values_read": round(figures["groups_skipped"], 4),
            "projection_multiplications_per_token": round(heads * per_head)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--calibrate", type=pathlib.Path, nargs="+", required=True, help="texts, or folders of .txt files")
    parser.add_argument("--held-out", type=pathlib.Path, nargs="+", help="texts to measure on; default: every fourth sequence")
    parser.add_argument("--share", type=float, help="share of heads to skip, instead of a search")
    parser.add_argument("--prune", type=float, help="share of heads to remove for all rows")
    parser.add_argument("--unit", choices=("head", "group"), default="head", help="what goes off together: group saves most in long contexts")
    parser.add_argument("--max-error", help="METRIC=VALUE[%%]: perplexity, kl, cosine")
    parser.add_argument("--sequences", type=int, default=12)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    metric = bound = None
    if arguments.max_error:
        name, _, value = arguments.max_error.partition("=")
        if name not in METRICS or not value:
            parser.error(f"--max-error takes METRIC=VALUE with a metric of {', '.join(METRICS)}, but found '{arguments.max_error}'")
        metric, bound = METRICS[name], float(value.rstrip("%")) / (100 if value.endswith("%") else 1)
    if arguments.share is None and arguments.prune is None and bound is None:
        parser.error("expected --max-error, --share or --prune")

    if arguments.prune is not None and arguments.unit == "group":
        parser.error("--prune removes single heads; expected --unit head with it")

    report = lambda text: print(text, file=sys.stderr)
    model = open_model(arguments.model)
    if metric and (metric == "cosine_distance") == isinstance(model, Decoder):
        parser.error(f"--max-error {arguments.max_error}: text models take perplexity or kl, embedding models cosine")
    tokenize = tokenizer(arguments.model)
    tokens = lambda paths: tokenize.tokenize(read_texts(paths).encode(), add_bos=False, special=False)
    chosen = sequences(model, tokens(arguments.calibrate), arguments.sequences, arguments.length)
    if arguments.held_out:
        held_out = sequences(model, tokens(arguments.held_out), max(2, arguments.sequences // 3), arguments.length)
    else:
        held_out, chosen = chosen[3::4], [part for number, part in enumerate(chosen) if number % 4 != 3]
    if len(chosen) < 2 or len(held_out) < 2:
        parser.error(f"expected text for at least 2 sequences to fit and 2 to measure, but found {len(chosen)} and {len(held_out)}")

    fit = fitting.Fit(fitting.Calibration(model, chosen, numpy.random.default_rng(0), report), arguments.unit)
    report(f"gates explain {fit.explained:.0%} of the variance of a skipped {arguments.unit}'s cost")
    keep = None
    if arguments.prune is not None:
        keep = fit.static_mask(arguments.prune)
        gates = fit.masked(keep)
    else:
        share = arguments.share if arguments.share is not None else search(fit, held_out, metric, bound, report)
        gates = fit.gates(share)
    figures = fitting.HeldOut(model, held_out).measure(gates)
    figures |= {"saved": saved(model, figures)}
    print(json.dumps(figures, indent=2))
    if bound is not None and (figures[metric] > bound or figures["skipped"] == 0):
        print(f"the bound {arguments.max_error} does not hold: {metric} is {figures[metric]:.4g} with {figures['skipped']:.1%} of heads "
              "skipped; allow a larger error or calibrate with more text", file=sys.stderr)
        return EXIT_BOUND
    write(arguments.output, arguments.model, gates, figures, keep)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""all-MiniLM-L6-v2 evaluated in numpy from its safetensors file: an evaluation in f32 that shares nothing with Heddle."""

import json

import numpy
from safetensors.numpy import load_file


def erf(x):
    """Error function in f64: its Maclaurin series near 0, its continued fraction elsewhere."""
    x = numpy.asarray(x, numpy.float64)
    size = numpy.abs(x)
    near = numpy.minimum(size, 3)
    term, total = near.copy(), near.copy()
    for n in range(1, 60):
        term = -term * near * near / n
        total += term / (2 * n + 1)
    far = numpy.maximum(size, 3)
    fraction = numpy.zeros_like(far)
    for n in range(40, 0, -1):
        fraction = (n / 2) / (far + fraction)
    tail = 1 - numpy.exp(-far * far) / (numpy.sqrt(numpy.pi) * (far + fraction))
    return numpy.sign(x) * numpy.where(size < 3, 2 / numpy.sqrt(numpy.pi) * total, tail)


def gelu(x):
    return (x * 0.5 * (1 + erf(x / numpy.sqrt(2)))).astype(numpy.float32)


class ReferenceBert:
    def __init__(self, folder):
        self.config = json.loads((folder / "config.json").read_bytes())
        self.weights = load_file(folder / "model.safetensors")

    def linear(self, x, name):
        return x @ self.weights[name + ".weight"].T + self.weights[name + ".bias"]

    def norm(self, x, name):
        wide = x.astype(numpy.float64)
        centred = wide - wide.mean(-1, keepdims=True)
        scaled = centred / numpy.sqrt((centred**2).mean(-1, keepdims=True) + self.config["layer_norm_eps"])
        return (scaled * self.weights[name + ".weight"] + self.weights[name + ".bias"]).astype(numpy.float32)

    def embed(self, tokens):
        """[width]: the normalized mean over the tokens of one text."""
        count, heads = len(tokens), self.config["num_attention_heads"]
        table = "embeddings.{}_embeddings.weight"
        x = (self.weights[table.format("word")][tokens] + self.weights[table.format("position")][:count]
             + self.weights[table.format("token_type")][0])
        x = self.norm(x, "embeddings.LayerNorm")
        for layer in range(self.config["num_hidden_layers"]):
            prefix = f"encoder.layer.{layer}."
            q, k, v = (self.linear(x, prefix + "attention.self." + name).reshape(count, heads, -1).transpose(1, 0, 2)
                       for name in ("query", "key", "value"))
            scores = (q @ k.transpose(0, 2, 1)).astype(numpy.float64) / numpy.sqrt(q.shape[-1])
            weights = numpy.exp(scores - scores.max(-1, keepdims=True))
            weights /= weights.sum(-1, keepdims=True)
            mixed = (weights.astype(numpy.float32) @ v).transpose(1, 0, 2).reshape(count, -1)
            x = self.norm(x + self.linear(mixed, prefix + "attention.output.dense"), prefix + "attention.output.LayerNorm")
            y = self.linear(gelu(self.linear(x, prefix + "intermediate.dense")), prefix + "output.dense")
            x = self.norm(x + y, prefix + "output.LayerNorm")
        mean = x.astype(numpy.float64).mean(0)
        return mean / numpy.linalg.norm(mean)

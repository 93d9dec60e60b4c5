"""Exact evaluation of `bert` GGUF models in numpy, f64 throughout: what compiled embeddings are measured against."""

import math

import numpy
from gguf import GGUFReader
from gguf.quants import dequantize

erf = numpy.vectorize(math.erf, otypes=[numpy.float64])


class ReferenceBert:
    def __init__(self, path):
        reader = GGUFReader(path)
        fields = {name: field.contents() for name, field in reader.fields.items()}
        self.layers, self.heads = fields["bert.block_count"], fields["bert.attention.head_count"]
        self.epsilon = fields["bert.attention.layer_norm_epsilon"]
        self.pooling = fields["bert.pooling_type"]
        self.weights = {t.name: dequantize(t.data, t.tensor_type).astype(numpy.float64) for t in reader.tensors}

    def linear(self, x, name):
        return x @ self.weights[name + ".weight"].T + self.weights[name + ".bias"]

    def norm(self, x, name):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / numpy.sqrt((centred**2).mean(-1, keepdims=True) + self.epsilon)
        return scaled * self.weights[name + ".weight"] + self.weights[name + ".bias"]

    def attention(self, x, block):
        def heads(name):
            return self.linear(x, block + name).reshape(len(x), self.heads, -1).transpose(1, 0, 2)

        q, k, v = heads("attn_q"), heads("attn_k"), heads("attn_v")
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])
        weights = numpy.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        return self.linear((weights @ v).transpose(1, 0, 2).reshape(len(x), -1), block + "attn_output")

    def embedding(self, tokens):
        """The embedding of one sequence, of length 1."""
        w = self.weights
        x = w["token_embd.weight"][numpy.asarray(tokens)] + w["position_embd.weight"][: len(tokens)]
        x = self.norm(x + w["token_types.weight"][0], "token_embd_norm")
        for layer in range(self.layers):
            block = f"blk.{layer}."
            x = self.norm(x + self.attention(x, block), block + "attn_output_norm")
            hidden = self.linear(x, block + "ffn_up")
            hidden = 0.5 * hidden * (1 + erf(hidden / math.sqrt(2)))
            x = self.norm(x + self.linear(hidden, block + "ffn_down"), block + "layer_output_norm")
        pooled = {1: x.mean(0), 2: x[0], 3: x[-1]}[self.pooling]
        return pooled / numpy.linalg.norm(pooled)

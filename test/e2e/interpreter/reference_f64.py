"""Forward passes of GGUF models in f64 numpy, from the architectures' definitions: what the interpreter is checked against.

Numbers that the program itself rounds are rounded here too: weights are the f32 numbers of their blocks, attention scale and
epsilon are f32, RoPE tables f32, cached keys and values f16. All else is f64.
"""

import math

import gguf
import numpy as np

f32, f64 = np.float32, np.float64


def erf(x):
    return np.vectorize(math.erf)(x)


ACTIVATIONS = {
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "gelu_erf": lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))),
}


class Model:
    def __init__(self, path):
        reader = gguf.GGUFReader(path)
        fields = {name: field.contents() for name, field in reader.fields.items()}
        self.architecture = fields["general.architecture"]
        self.fields = {name.removeprefix(self.architecture + "."): value for name, value in fields.items()}
        self.weights = {}
        for tensor in reader.tensors:
            numbers = gguf.dequantize(tensor.data, tensor.tensor_type) if tensor.tensor_type != 0 else tensor.data
            self.weights[tensor.name] = np.asarray(numbers, f32).astype(f64)
        self.heads = self.fields["attention.head_count"]
        self.layers = self.fields["block_count"]

    def linear(self, x, name):
        y = x @ self.weights[name + ".weight"].T
        return y + self.weights[name + ".bias"] if name + ".bias" in self.weights else y


class Decoder(Model):
    """llama, gemma3, qwen2, qwen3."""

    def __init__(self, path):
        super().__init__(path)
        self.kv_heads = self.fields.get("attention.head_count_kv", self.heads)
        self.width = self.fields["embedding_length"]
        self.head_width = self.fields.get("attention.key_length", self.width // self.heads)
        self.epsilon = f64(f32(self.fields["attention.layer_norm_rms_epsilon"]))
        self.gemma = self.architecture == "gemma3"

    def norm(self, x, name):
        if name + ".weight" not in self.weights:
            return x
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + self.epsilon) * self.weights[name + ".weight"]

    def rotate(self, x, base, factors):
        half = self.head_width // 2
        frequencies = base ** (-2.0 * np.arange(half) / self.head_width) / factors
        angles = np.outer(np.arange(len(x)), frequencies)[:, None, :]
        cos, sin = np.cos(angles).astype(f32).astype(f64), np.sin(angles).astype(f32).astype(f64)
        first, second = (slice(0, None, 2), slice(1, None, 2)) if self.architecture == "llama" else (slice(0, half), slice(half, None))
        y = np.empty_like(x)
        y[..., first] = x[..., first] * cos - x[..., second] * sin
        y[..., second] = x[..., first] * sin + x[..., second] * cos
        return y

    def attention(self, x, layer):
        name = f"blk.{layer}.".__add__
        q, k, v = (self.linear(x, name(f"attn_{part}")).reshape(len(x), heads, self.head_width)
                   for part, heads in (("q", self.heads), ("k", self.kv_heads), ("v", self.kv_heads)))
        q, k = self.norm(q, name("attn_q_norm")), self.norm(k, name("attn_k_norm"))
        local = self.gemma and (layer + 1) % 6 != 0
        base = 1e4 if local else self.fields.get("rope.freq_base", 1e4)
        factors = 1.0 if local else self.weights.get("rope_freqs.weight", 1.0)
        q, k = self.rotate(q, base, factors), self.rotate(k, base, factors)
        k, v = k.astype(np.float16).astype(f64), v.astype(np.float16).astype(f64)
        distance = np.arange(len(x))[:, None] - np.arange(len(x))[None, :]
        visible = (distance >= 0) & (distance < (self.fields["attention.sliding_window"] if local else len(x)))
        out = np.empty_like(q)
        for head in range(self.heads):
            shared = head // (self.heads // self.kv_heads)
            scores = f64(f32(self.head_width**-0.5)) * (q[:, head] @ k[:, shared].T)
            scores[~visible] = -np.inf
            p = np.exp(scores - scores.max(-1, keepdims=True))
            out[:, head] = p / p.sum(-1, keepdims=True) @ v[:, shared]
        return self.linear(out.reshape(len(x), -1), name("attn_output"))

    def logits(self, tokens):
        """One row for each token of a sequence that begins with them."""
        x = self.weights["token_embd.weight"][tokens]
        if self.gemma:
            x = x * f64(f32(math.sqrt(self.width)))
        activation = ACTIVATIONS["gelu_tanh" if self.gemma else "silu"]
        for layer in range(self.layers):
            name = f"blk.{layer}.".__add__
            x = x + self.norm(self.attention(self.norm(x, name("attn_norm")), layer), name("post_attention_norm"))
            y = self.norm(x, name("ffn_norm"))
            y = self.linear(activation(self.linear(y, name("ffn_gate"))) * self.linear(y, name("ffn_up")), name("ffn_down"))
            x = x + self.norm(y, name("post_ffw_norm"))
        return self.norm(x, "output_norm") @ self.weights.get("output.weight", self.weights["token_embd.weight"]).T


class Encoder(Model):
    """bert."""

    def norm(self, x, name):
        epsilon = f64(f32(self.fields["attention.layer_norm_epsilon"]))
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon)
        return scaled * self.weights[name + ".weight"] + self.weights[name + ".bias"]

    def embedding(self, tokens):
        """Of one sequence."""
        w = self.weights
        x = w["token_embd.weight"][tokens] + w["position_embd.weight"][: len(tokens)] + w["token_types.weight"][0]
        x = self.norm(x, "token_embd_norm")
        for layer in range(self.layers):
            name = f"blk.{layer}.".__add__
            q, k, v = (self.linear(x, name(f"attn_{part}")).reshape(len(x), self.heads, -1) for part in "qkv")
            scores = f64(f32(q.shape[-1] ** -0.5)) * np.einsum("ihd,jhd->hij", q, k)
            p = np.exp(scores - scores.max(-1, keepdims=True))
            mixed = np.einsum("hij,jhd->ihd", p / p.sum(-1, keepdims=True), v).reshape(len(x), -1)
            x = self.norm(x + self.linear(mixed, name("attn_output")), name("attn_output_norm"))
            y = self.linear(ACTIVATIONS["gelu_erf"](self.linear(x, name("ffn_up"))), name("ffn_down"))
            x = self.norm(x + y, name("layer_output_norm"))
        pooled = x.mean(axis=0) if self.fields["pooling_type"] == gguf.PoolingType.MEAN else x[0]
        return pooled / max(np.linalg.norm(pooled), f64(f32(1e-12)))

"""Exact evaluation of llama and gemma3 GGUF text models in numpy: the weights of the file dequantized to f32, products
in f32, norms and softmax in f64. What compiled models and other programs are measured against; slow and simple."""

import numpy
from gguf import GGUFReader
from gguf.quants import dequantize

GEMMA_LOCAL_ROPE_BASE = 10000.0
GEMMA_GLOBAL_EVERY = 6  # every sixth layer sees the whole context


def interleaved_halves(x, cosine, sine):
    """Rotary embedding of pairs (2i, 2i+1)."""
    out = numpy.empty_like(x)
    even, odd = x[..., ::2], x[..., 1::2]
    out[..., ::2] = even * cosine - odd * sine
    out[..., 1::2] = odd * cosine + even * sine
    return out


def split_halves(x, cosine, sine):
    """Rotary embedding of pairs (i, i + d/2)."""
    low, high = numpy.split(x, 2, axis=-1)
    return numpy.concatenate([low * cosine - high * sine, high * cosine + low * sine], axis=-1)


def silu(x):
    return x / (1 + numpy.exp(-x))


def gelu_tanh(x):
    return 0.5 * x * (1 + numpy.tanh(numpy.sqrt(2 / numpy.pi) * (x + 0.044715 * x**3)))


class ReferenceModel:
    def __init__(self, path):
        reader = GGUFReader(path)
        fields = {name: field.contents() for name, field in reader.fields.items()}
        self.architecture = fields["general.architecture"]
        if self.architecture not in ("llama", "gemma3"):
            raise ValueError(f"{path}: architecture '{self.architecture}'; this reference knows llama and gemma3")
        self.weights = {tensor.name: dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32)
                        for tensor in reader.tensors}

        def field(name, default=None):
            return fields.get(f"{self.architecture}.{name}", default)

        self.layers = field("block_count")
        self.width = field("embedding_length")
        self.heads = field("attention.head_count")
        self.kv_heads = field("attention.head_count_kv", self.heads)
        self.head_width = field("attention.key_length", self.width // self.heads)
        self.epsilon = field("attention.layer_norm_rms_epsilon")
        self.rope_base = field("rope.freq_base", 10000.0)
        self.window = field("attention.sliding_window", 0)
        self.gemma = self.architecture == "gemma3"

    def norm(self, x, name):
        mean_square = (x.astype(numpy.float64) ** 2).mean(-1, keepdims=True)
        return (x / numpy.sqrt(mean_square + self.epsilon)).astype(numpy.float32) * self.weights[name + ".weight"]

    def linear(self, x, name):
        return x @ self.weights[name + ".weight"].T

    def rotate(self, x, base):
        frequencies = base ** (-numpy.arange(0, self.head_width, 2) / self.head_width)
        angles = numpy.outer(numpy.arange(len(x)), frequencies)[:, None, :]
        cosine, sine = numpy.cos(angles).astype(numpy.float32), numpy.sin(angles).astype(numpy.float32)
        return (split_halves if self.gemma else interleaved_halves)(x, cosine, sine)

    def attention(self, x, layer):
        block = f"blk.{layer}."
        count = len(x)
        q = self.linear(x, block + "attn_q").reshape(count, self.heads, self.head_width)
        k = self.linear(x, block + "attn_k").reshape(count, self.kv_heads, self.head_width)
        v = self.linear(x, block + "attn_v").reshape(count, self.kv_heads, self.head_width)
        position = numpy.arange(count)
        visible = position[None, :] <= position[:, None]
        base = self.rope_base
        if self.gemma:
            q, k = self.norm(q, block + "attn_q_norm"), self.norm(k, block + "attn_k_norm")
            if (layer + 1) % GEMMA_GLOBAL_EVERY:
                base = GEMMA_LOCAL_ROPE_BASE
                visible &= position[:, None] - position[None, :] < self.window
        q, k = self.rotate(q, base), self.rotate(k, base)
        out = numpy.empty((count, self.heads, self.head_width), numpy.float32)
        for head in range(self.heads):
            shared = head // (self.heads // self.kv_heads)
            scores = (q[:, head] @ k[:, shared].T).astype(numpy.float64) / numpy.sqrt(self.head_width)
            scores[~visible] = -numpy.inf
            weights = numpy.exp(scores - scores.max(-1, keepdims=True))
            weights /= weights.sum(-1, keepdims=True)
            out[:, head] = weights.astype(numpy.float32) @ v[:, shared]
        return self.linear(out.reshape(count, -1), block + "attn_output")

    def feed_forward(self, x, layer):
        block = f"blk.{layer}."
        gate = self.linear(x, block + "ffn_gate")
        gate = gelu_tanh(gate) if self.gemma else silu(gate)
        return self.linear(gate * self.linear(x, block + "ffn_up"), block + "ffn_down")

    def logits(self, tokens):
        """[len(tokens), vocabulary]: one sequence from position 0."""
        x = self.weights["token_embd.weight"][numpy.asarray(tokens)]
        if self.gemma:
            x = x * numpy.float32(numpy.sqrt(self.width))
        for layer in range(self.layers):
            block = f"blk.{layer}."
            y = self.attention(self.norm(x, block + "attn_norm"), layer)
            x = x + (self.norm(y, block + "post_attention_norm") if self.gemma else y)
            y = self.feed_forward(self.norm(x, block + "ffn_norm"), layer)
            x = x + (self.norm(y, block + "post_ffw_norm") if self.gemma else y)
        head = self.weights.get("output.weight", self.weights["token_embd.weight"])
        return self.norm(x, "output_norm") @ head.T


def log_softmax(logits):
    logits = logits.astype(numpy.float64)
    logits = logits - logits.max(-1, keepdims=True)
    return logits - numpy.log(numpy.exp(logits).sum(-1, keepdims=True))


def kl_divergence(reference, other):
    """KL(reference || other) in nats per row of logits."""
    exact, approximate = log_softmax(reference), log_softmax(other)
    return (numpy.exp(exact) * (exact - approximate)).sum(-1)

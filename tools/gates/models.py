"""GGUF text models (llama) and embedding models (bert) in numpy, f32: with gates of attention heads, with what fitting them
needs to see, and with gradients. Slow and simple; the compiled model is what users run."""

import numpy
from gguf import GGUFReader
from gguf.quants import dequantize

ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)  # Abramowitz and Stegun 7.1.26


def erf(x):
    """Error function, off by at most 1.5e-7."""
    t = 1 / (1 + 0.3275911 * numpy.abs(x))
    tail = sum(c * t ** (power + 1) for power, c in enumerate(ERF)) * numpy.exp(-x * x)
    return (numpy.sign(x) * (1 - tail)).astype(numpy.float32)


def log_softmax(logits):
    logits = logits - logits.max(-1, keepdims=True)
    return logits - numpy.log(numpy.exp(logits).sum(-1, keepdims=True))


class Gates:
    """Of all layers: a head is on where weight @ x + bias > 0; where it is off its output is `skip`."""

    def __init__(self, weight, bias, skip):
        self.weight, self.bias, self.skip = weight, bias, skip  # [layers, heads, width], [layers, heads], [layers, heads, head width]

    def off(self, layer, x):
        return x @ self.weight[layer].T + self.bias[layer] <= 0


class Model:
    def __init__(self, path):
        reader = GGUFReader(path)
        fields = {name: field.contents() for name, field in reader.fields.items()}
        architecture = fields["general.architecture"]
        self.weights = {tensor.name: dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32) for tensor in reader.tensors}
        self.field = lambda name, default=None: fields.get(f"{architecture}.{name}", default)
        self.layers = self.field("block_count")
        self.width = self.field("embedding_length")
        self.heads = self.field("attention.head_count")
        self.kv_heads = self.field("attention.head_count_kv", self.heads)
        self.head_width = self.field("attention.key_length", self.width // self.heads)
        self.bos = fields.get("tokenizer.ggml.bos_token_id")

    def linear(self, x, name):
        y = x @ self.weights[name + ".weight"].T
        return y + self.weights[name + ".bias"] if name + ".bias" in self.weights else y

    def attend(self, q, k, v, visible):
        """[rows, heads, width] and the weights of each head."""
        group, scale = self.heads // self.kv_heads, numpy.float32(self.head_width**-0.5)
        out, weights = numpy.empty_like(q), []
        for head in range(self.heads):
            scores = (q[:, head] @ k[:, head // group].T) * scale
            if visible is not None:
                scores[~visible] = -numpy.inf
            scores = numpy.exp(scores - scores.max(-1, keepdims=True))
            scores /= scores.sum(-1, keepdims=True)
            out[:, head] = scores @ v[:, head // group]
            weights.append(scores)
        return out, weights

    def attend_back(self, gradient, q, k, v, weights):
        group, scale = self.heads // self.kv_heads, numpy.float32(self.head_width**-0.5)
        dq, dk, dv = numpy.empty_like(q), numpy.zeros_like(k), numpy.zeros_like(v)
        for head in range(self.heads):
            p, g = weights[head], head // group
            dp = gradient[:, head] @ v[:, g].T
            dv[:, g] += p.T @ gradient[:, head]
            ds = p * (dp - (dp * p).sum(-1, keepdims=True)) * scale
            dq[:, head] = ds @ k[:, g]
            dk[:, g] += ds.T @ q[:, head]
        return dq, dk, dv

    def gated(self, layer, x, heads, run):
        """Heads after the gates; notes what the caller asked to see."""
        if run.observe:
            run.inputs.append(x.astype(numpy.float16))
            run.outputs.append(heads.astype(numpy.float16))
        if run.gates is None:
            return heads
        off = run.gates.off(layer, x)
        run.note(off, self.kv_heads)
        return numpy.where(off[:, :, None], run.gates.skip[layer][None], heads)

    def output_weight(self, layer):
        """[width, heads, head width]"""
        return self.weights[f"blk.{layer}.attn_output.weight"].reshape(self.width, self.heads, self.head_width)


class Run:
    """What one evaluation is asked for and leaves."""

    def __init__(self, gates=None, observe=False, differentiate=False):
        self.gates, self.observe, self.differentiate = gates, observe, differentiate
        self.inputs, self.outputs, self.off, self.groups_off, self.tape = [], [], [], [], []

    def note(self, off, kv_heads):
        """Shares of the rows for which each head of a layer is off, and each group that shares keys and values as a whole."""
        self.off.append(off.mean(0))
        self.groups_off.append(off.reshape(len(off), kv_heads, -1).all(-1).mean(0))


class Decoder(Model):
    """llama: the result is logits of every row."""

    def norm(self, x, name):
        root = numpy.sqrt((x.astype(numpy.float64) ** 2).mean(-1, keepdims=True) + self.field("attention.layer_norm_rms_epsilon"))
        return (x / root).astype(numpy.float32) * self.weights[name + ".weight"]

    def norm_back(self, x, name, gradient):
        inverse = ((x.astype(numpy.float64) ** 2).mean(-1, keepdims=True) + self.field("attention.layer_norm_rms_epsilon")) ** -0.5
        inverse, scaled = inverse.astype(numpy.float32), gradient * self.weights[name + ".weight"]
        return inverse * scaled - x * inverse**3 * (scaled * x).mean(-1, keepdims=True)

    def rotate(self, x, direction=1):
        frequencies = self.field("rope.freq_base", 10000.0) ** (-numpy.arange(0, self.head_width, 2) / self.head_width)
        angles = numpy.outer(numpy.arange(len(x)), frequencies)[:, None, :]
        cosine, sine = numpy.cos(angles).astype(numpy.float32), direction * numpy.sin(angles).astype(numpy.float32)
        out = numpy.empty_like(x)
        out[..., ::2], out[..., 1::2] = x[..., ::2] * cosine - x[..., 1::2] * sine, x[..., 1::2] * cosine + x[..., ::2] * sine
        return out

    def head(self):
        return self.weights.get("output.weight", self.weights["token_embd.weight"])

    def evaluate(self, tokens, run):
        x = self.weights["token_embd.weight"][numpy.asarray(tokens)]
        count, visible = len(x), numpy.tril(numpy.ones((len(x), len(x)), bool))
        split = lambda y, heads: y.reshape(count, heads, self.head_width)
        for layer in range(self.layers):
            block = f"blk.{layer}."
            n = self.norm(x, block + "attn_norm")
            q = self.rotate(split(self.linear(n, block + "attn_q"), self.heads))
            k = self.rotate(split(self.linear(n, block + "attn_k"), self.kv_heads))
            v = split(self.linear(n, block + "attn_v"), self.kv_heads)
            heads, weights = self.attend(q, k, v, visible)
            heads = self.gated(layer, n, heads, run)
            middle = x + self.linear(heads.reshape(count, -1), block + "attn_output")
            n2 = self.norm(middle, block + "ffn_norm")
            gate, up = self.linear(n2, block + "ffn_gate"), self.linear(n2, block + "ffn_up")
            if run.differentiate:
                run.tape.append((x, q, k, v, weights, middle, gate, up))
            x = middle + self.linear(gate / (1 + numpy.exp(-gate)) * up, block + "ffn_down")
        run.last = x
        return self.norm(x, "output_norm") @ self.head().T

    def gradients(self, run, logits, random):
        """Of -log p(label) with labels drawn from p, by the output of each layer's attention: their second moment is the
        metric in which KL grows."""
        gradient = numpy.exp(log_softmax(logits))
        labels = (gradient.cumsum(-1) < random.random((len(logits), 1))).sum(-1).clip(max=gradient.shape[1] - 1)
        gradient[numpy.arange(len(labels)), labels] -= 1
        dx = self.norm_back(run.last, "output_norm", gradient @ self.head())
        result = [None] * self.layers
        for layer in reversed(range(self.layers)):
            block = f"blk.{layer}."
            weight = lambda name: self.weights[block + name + ".weight"]
            x, q, k, v, weights, middle, gate, up = run.tape[layer]
            count, dz = len(x), dx @ weight("ffn_down")
            sigmoid = 1 / (1 + numpy.exp(-gate))
            silu = gate * sigmoid
            dn = (dz * up * (sigmoid + silu * (1 - sigmoid))) @ weight("ffn_gate") + (dz * silu) @ weight("ffn_up")
            dx = dx + self.norm_back(middle, block + "ffn_norm", dn)
            result[layer] = dx
            heads = (dx @ weight("attn_output")).reshape(count, self.heads, self.head_width)
            dq, dk, dv = self.attend_back(heads, q, k, v, weights)
            dq, dk = self.rotate(dq, -1), self.rotate(dk, -1)
            dn = sum(d.reshape(count, -1) @ weight(name) for d, name in ((dq, "attn_q"), (dk, "attn_k"), (dv, "attn_v")))
            dx = dx + self.norm_back(x, block + "attn_norm", dn)
        return result


class Encoder(Model):
    """bert: the result is the normalized mean over the rows."""

    def norm(self, x, name):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / numpy.sqrt((centred**2).mean(-1, keepdims=True) + self.field("attention.layer_norm_epsilon"))
        return scaled * self.weights[name + ".weight"] + self.weights[name + ".bias"]

    def norm_back(self, x, name, gradient):
        centred = x - x.mean(-1, keepdims=True)
        inverse = ((centred**2).mean(-1, keepdims=True) + self.field("attention.layer_norm_epsilon")) ** -0.5
        scaled, unit = gradient * self.weights[name + ".weight"], centred * inverse
        return inverse * (scaled - scaled.mean(-1, keepdims=True) - unit * (scaled * unit).mean(-1, keepdims=True))

    def evaluate(self, tokens, run):
        count = len(tokens)
        x = (self.weights["token_embd.weight"][numpy.asarray(tokens)] + self.weights["position_embd.weight"][:count]
             + self.weights["token_types.weight"][0])
        x = self.norm(x, "token_embd_norm")
        split = lambda y: y.reshape(count, self.heads, self.head_width)
        for layer in range(self.layers):
            block = f"blk.{layer}."
            q, k, v = (split(self.linear(x, block + name)) for name in ("attn_q", "attn_k", "attn_v"))
            heads, weights = self.attend(q, k, v, None)
            heads = self.gated(layer, x, heads, run)
            sum1 = x + self.linear(heads.reshape(count, -1), block + "attn_output")
            middle = self.norm(sum1, block + "attn_output_norm")
            up = self.linear(middle, block + "ffn_up")
            bell = (1 + erf(up * numpy.float32(0.5**0.5))) / 2
            sum2 = middle + self.linear(up * bell, block + "ffn_down")
            if run.differentiate:
                run.tape.append((q, k, v, weights, sum1, up, bell, sum2))
            x = self.norm(sum2, block + "layer_output_norm")
        run.last = x.mean(0)
        return run.last / numpy.linalg.norm(run.last)

    def gradients(self, run, embedding, random):
        """Of the embedding along a random direction, by the output of each layer's attention."""
        direction = random.standard_normal(self.width).astype(numpy.float32)
        direction -= embedding * (embedding @ direction)
        count = len(run.tape[0][0])
        dx = numpy.tile(direction / numpy.linalg.norm(run.last) / count, (count, 1))
        result = [None] * self.layers
        for layer in reversed(range(self.layers)):
            block = f"blk.{layer}."
            weight = lambda name: self.weights[block + name + ".weight"]
            q, k, v, weights, sum1, up, bell, sum2 = run.tape[layer]
            dsum2 = self.norm_back(sum2, block + "layer_output_norm", dx)
            dup = (dsum2 @ weight("ffn_down")) * (bell + up * numpy.exp(-up * up / 2) * numpy.float32(0.3989422804))
            dsum1 = self.norm_back(sum1, block + "attn_output_norm", dsum2 + dup @ weight("ffn_up"))
            result[layer] = dsum1
            heads = (dsum1 @ weight("attn_output")).reshape(count, self.heads, self.head_width)
            parts = zip(self.attend_back(heads, q, k, v, weights), ("attn_q", "attn_k", "attn_v"))
            dx = dsum1 + sum(d.reshape(count, -1) @ weight(name) for d, name in parts)
        return result


def open_model(path):
    architecture = GGUFReader(path).fields["general.architecture"].contents()
    kinds = {"llama": Decoder, "bert": Encoder}
    if architecture not in kinds:
        raise SystemExit(f"{path}: gates can be fitted for models of architecture {' and '.join(kinds)}, but found '{architecture}'")
    return kinds[architecture](path)

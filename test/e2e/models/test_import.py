"""The graphs that the GGUF frontend builds, evaluated by the reference interpreter, give what numpy gives from the same file."""

import math
import pathlib
import sys
import unittest

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from e2e import support  # noqa: E402
from e2e.models import make_minilm_gguf, make_tiny_gguf  # noqa: E402
from e2e.models.reference_bert import ReferenceBert  # noqa: E402
from e2e.reference_llm import ReferenceModel, kl_divergence  # noqa: E402

TOKENS = [504, 3575, 282, 4649, 314, 11, 253, 7, 40, 1021, 90, 2, 300, 299]
FOLDER = support.WORK / "import"


def tiny(name, *arguments):
    return make_tiny_gguf.make(FOLDER / f"{name}.gguf", *arguments)


def evaluate(path, tokens, lengths=()):
    """Results of import-model for these tokens, one row each."""
    arguments = [f"--tokens={','.join(map(str, tokens))}"]
    if lengths:
        arguments.append(f"--lengths={','.join(map(str, lengths))}")
    done = support.run("import-model", path, *arguments, text=False)
    return np.frombuffer(done.stdout, np.float32).reshape(len(lengths) or len(tokens), -1)


class QwenModel:
    """Qwen 2 and 3 in f64, by the formulas of their papers' code."""

    def __init__(self, path):
        reader = GGUFReader(path)
        fields = {name: field.contents() for name, field in reader.fields.items()}
        architecture = fields["general.architecture"]
        self.layers, self.heads, self.kv_heads, self.width, self.epsilon, self.base = (
            fields[f"{architecture}.{key}"]
            for key in ("block_count", "attention.head_count", "attention.head_count_kv", "attention.key_length",
                        "attention.layer_norm_rms_epsilon", "rope.freq_base")
        )  # fmt: skip
        self.weights = {t.name: dequantize(t.data, t.tensor_type).astype(np.float64) for t in reader.tensors}

    def linear(self, x, name):
        return x @ self.weights[name + ".weight"].T + self.weights.get(name + ".bias", 0)

    def norm(self, x, name):
        if name + ".weight" not in self.weights:
            return x
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + self.epsilon) * self.weights[name + ".weight"]

    def rotate(self, x):
        half = self.width // 2
        angle = np.arange(len(x))[:, None, None] * self.base ** (-np.arange(half) / half)
        if "rope_freqs.weight" in self.weights:
            angle = angle / self.weights["rope_freqs.weight"]
        low, high = x[..., :half], x[..., half:]
        return np.concatenate(
            [low * np.cos(angle) - high * np.sin(angle), high * np.cos(angle) + low * np.sin(angle)], -1
        )

    def logits(self, tokens):
        x = self.weights["token_embd.weight"][np.asarray(tokens)]
        for layer in range(self.layers):
            b, n = f"blk.{layer}.", len(tokens)
            y = self.norm(x, b + "attn_norm")
            q, k, v = (self.linear(y, b + name).reshape(n, -1, self.width) for name in ("attn_q", "attn_k", "attn_v"))
            q, k = self.rotate(self.norm(q, b + "attn_q_norm")), self.rotate(self.norm(k, b + "attn_k_norm"))
            k, v = (np.repeat(z, self.heads // self.kv_heads, axis=1) for z in (k, v))
            scores = np.einsum("ihd,jhd->hij", q, k) / math.sqrt(self.width)
            scores[:, np.triu(np.ones((n, n), bool), 1)] = -np.inf
            p = np.exp(scores - scores.max(-1, keepdims=True))
            mixed = np.einsum("hij,jhd->ihd", p / p.sum(-1, keepdims=True), v).reshape(n, -1)
            x = x + self.linear(mixed, b + "attn_output")
            y = self.norm(x, b + "ffn_norm")
            gate = self.linear(y, b + "ffn_gate")
            x = x + self.linear(gate / (1 + np.exp(-gate)) * self.linear(y, b + "ffn_up"), b + "ffn_down")
        head = "output" if "output.weight" in self.weights else "token_embd"
        return self.linear(self.norm(x, "output_norm"), head)


class Decoders(unittest.TestCase):
    # Keys and values are rounded to f16 in the cache, which is what these differences come from.
    def check(self, path, reference, tokens=TOKENS):
        expected, found = reference(path).logits(tokens), evaluate(path, tokens)
        self.assertEqual(found.shape, expected.shape)
        difference = np.linalg.norm(found - expected) / np.linalg.norm(expected)
        self.assertLess(difference, 2e-3, path.name)
        self.assertLess(kl_divergence(expected, found).mean(), 1e-5, path.name)

    def test_smollm2(self):
        self.check(support.model("smollm2"), ReferenceModel)

    def test_gemma3(self):
        self.check(support.model("gemma3"), ReferenceModel, TOKENS[:6])

    def test_gemma3_beyond_its_window(self):
        path = tiny("gemma3", "--architecture", "gemma3", "--layers", 6, "--window", 4, "--head-width", 32)
        self.check(path, ReferenceModel, [t % 320 for t in TOKENS])

    def test_llama_formats(self):
        for format in make_tiny_gguf.FORMATS:
            with self.subTest(format):
                self.check(tiny(f"llama-{format}", "--format", format), ReferenceModel, [t % 320 for t in TOKENS])

    def test_llama_with_a_head_of_its_own(self):
        self.check(tiny("llama-untied", "--untied"), ReferenceModel, [t % 320 for t in TOKENS])

    def test_qwen2(self):
        self.check(tiny("qwen2", "--architecture", "qwen2"), QwenModel, [t % 320 for t in TOKENS])

    def test_qwen3(self):
        path = tiny("qwen3", "--architecture", "qwen3", "--head-width", 32)
        self.check(path, QwenModel, [t % 320 for t in TOKENS])

    def test_rope_factors(self):
        path = tiny("qwen3-factors", "--architecture", "qwen3", "--rope-factors")
        self.check(path, QwenModel, [t % 320 for t in TOKENS])


class Encoders(unittest.TestCase):
    def check(self, path, limit, sequences):
        reference = ReferenceBert(path)
        found = evaluate(path, sum(sequences, []), [len(s) for s in sequences])
        for row, sequence in zip(found, sequences):
            self.assertGreater(float(row @ reference.embedding(sequence)), limit, path.name)
            self.assertAlmostEqual(float(np.linalg.norm(row)), 1, places=5)

    def test_minilm(self):
        sequences = [[101, 7592, 2088, 102], [101, 102], [101, 1996, 4937, 2938, 2006, 1996, 13523, 1012, 102]]
        for format in make_minilm_gguf.FORMATS:
            with self.subTest(format):
                self.check(make_minilm_gguf.ensure(format), 0.999999, sequences)

    def test_pooling(self):
        for pooling in ("mean", "cls", "last"):
            with self.subTest(pooling):
                path = tiny(f"bert-{pooling}", "--architecture", "bert", "--pooling", pooling)
                self.check(path, 0.999999, [[2, 30, 3], [2, 40, 41, 42, 43, 3]])


if __name__ == "__main__":
    unittest.main()

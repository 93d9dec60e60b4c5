"""Gated attention heads in compiled models: skipping them computes what masking them does, and what numpy computes."""

import hashlib
import pathlib
import sys
import unittest
import zipfile

import numpy
from safetensors.numpy import save_file

from e2e import support
from e2e.models import make_tiny_gguf

sys.path[:0] = [str(support.SOURCE / "tools" / "bench"), str(support.SOURCE / "tools" / "gates")]
from heddle_runtime import Model, Session  # noqa: E402
from models import Gates, Run, open_model  # noqa: E402

# Head widths of several blocks, of one, and of a part of a block of 256; groups of three heads.
SHAPES = {"q8_0": ["--hidden", 192, "--heads", 6, "--kv-heads", 2, "--head-width", 64], "f32": ["--hidden", 96, "--heads", 6, "--kv-heads", 2],
          "q4_1": ["--hidden", 192, "--heads", 6, "--kv-heads", 3], "q4_k": ["--hidden", 256, "--heads", 4, "--kv-heads", 2]}
PRECISE = "--precise"


def tiny(format, *flags):
    options = make_tiny_gguf.parser().parse_args(
        [str(support.WORK / "gating" / f"{format}{''.join(flags)}.gguf"), "--format", format, *map(str, SHAPES[format]), *flags])
    make_tiny_gguf.write(options)
    return options.output


def tokens(count):
    return (numpy.arange(count) * 7919 + 13) % 300 + 3


class Compiled:
    """One artifact, opened."""

    def __init__(self, test, source, *flags):
        self.path = support.compile_once(source, *flags)
        self.model = Model(self.path)
        test.addCleanup(self.model.close)

    def logits(self, ids, chunk, threads=2):
        session = Session(self.model, threads, context=256)
        result = session.logits(ids, chunk)
        session.close()
        return result


def own_gates(reference):
    gate = lambda name: numpy.stack([reference.weights[f"blk.{layer}.attn.gate.{name}"] for layer in range(reference.layers)])
    return Gates(gate("weight"), gate("bias"), numpy.zeros((reference.layers, reference.heads, reference.head_width), numpy.float32))


def difference(a, b):
    return numpy.abs(a - b).max() / numpy.abs(b).max()


class OwnGates(unittest.TestCase):
    """A model whose file has a gate in every layer; a skipped head yields zeros."""

    def check(self, format):
        source, ids = tiny(format, "--gates"), tokens(70)
        skipping, masking = Compiled(self, source, PRECISE), Compiled(self, source, PRECISE, "--dense-gates")
        plain = Compiled(self, tiny(format), PRECISE)
        whole = skipping.logits(ids, 70)
        # The same bits, however the rows meet in a step: a tile of rows with different masks computes what each row alone does.
        for chunk in (1, 3, 5, 31, 70):
            numpy.testing.assert_array_equal(skipping.logits(ids, chunk), whole, f"chunks of {chunk}")
        numpy.testing.assert_array_equal(masking.logits(ids, 70), whole)
        numpy.testing.assert_array_equal(masking.logits(ids, 1), whole)
        self.assertGreater(difference(whole, plain.logits(ids, 70)), 0.01, "gates must matter")

        reference = open_model(source)
        gates, run = own_gates(reference), Run(observe=True)
        exact = reference.evaluate(ids, Run(gates))
        self.assertLess(difference(whole, exact), 0.02)
        run = Run(gates, observe=True)
        reference.evaluate(ids, run)
        off = numpy.stack([gates.off(layer, run.inputs[layer].astype(numpy.float32)) for layer in range(reference.layers)])
        self.assertTrue(0.2 < off.mean() < 0.8, off.mean())
        turned_on = (off[:, :-1] & ~off[:, 1:]).any(-1).any(0)
        self.assertGreater(turned_on.sum(), 10, "heads must be off at a token and on at the next")

    def test_whole_blocks(self):
        self.check("q8_0")

    def test_dense_weights(self):
        self.check("f32")

    def test_narrow_heads(self):
        self.check("q4_1")

    def test_parts_of_a_block(self):
        self.check("q4_k")

    def test_sequences_with_different_masks(self):
        source = tiny("q8_0", "--gates")
        compiled = Compiled(self, source, PRECISE)
        texts = [tokens(40), tokens(60)[20:]]
        alone = [compiled.logits(text, 40) for text in texts]
        session = Session(compiled.model, 2, sequences=2, context=256)
        self.addCleanup(session.close)
        together = session.step(numpy.concatenate(texts), [*range(40), *range(40)], [0] * 40 + [1] * 40, range(80)).copy()
        numpy.testing.assert_array_equal(together, numpy.concatenate(alone))
        step = session.step([5, 9], [40, 40], [0, 1], [0, 1]).copy()
        numpy.testing.assert_array_equal(step[0], compiled.logits([*texts[0], 5], 41)[-1])
        numpy.testing.assert_array_equal(step[1], compiled.logits([*texts[1], 9], 41)[-1])


class GateFile(unittest.TestCase):
    """Gates from a file beside the model, with skip values that are not zero."""

    def write(self, source, name, tensors, **changes):
        digest = hashlib.sha256(pathlib.Path(source).read_bytes()).hexdigest()
        path = support.WORK / "gating" / f"{name}.safetensors"
        save_file({key: numpy.ascontiguousarray(value) for key, value in tensors.items()}, str(path),
                  metadata={"model_sha256": digest, **changes})
        return path

    def gates(self, reference, seed):
        random = numpy.random.default_rng(seed)
        shape = (reference.layers, reference.heads)
        return Gates(random.standard_normal((*shape, reference.width)).astype(numpy.float32), numpy.zeros(shape, numpy.float32),
                     (0.3 * random.standard_normal((*shape, reference.head_width))).astype(numpy.float32))

    def named(self, gates):
        return {f"blk.{layer}.attn.gate.{part}": getattr(gates, part)[layer]
                for layer in range(len(gates.weight)) for part in ("weight", "bias", "skip")}

    def test_skip_values(self):
        source, ids = tiny("q8_0"), tokens(50)
        reference = open_model(source)
        gates = self.gates(reference, 1)
        path = self.write(source, "skip", self.named(gates))
        exact = reference.evaluate(ids, Run(gates))
        skipping = Compiled(self, source, PRECISE, "--gates", path)
        whole = skipping.logits(ids, 50)
        self.assertLess(difference(whole, exact), 0.02)
        numpy.testing.assert_array_equal(skipping.logits(ids, 1), whole)
        # The masked lowering rounds the skip values as part of the activations.
        self.assertLess(difference(Compiled(self, source, PRECISE, "--gates", path, "--dense-gates").logits(ids, 50), exact), 0.02)
        self.assertGreater(difference(whole, reference.evaluate(ids, Run())), 0.05)

    def test_removed_heads(self):
        source, ids = tiny("q8_0"), tokens(50)
        reference = open_model(source)
        keep = numpy.array([[1, 0, 1, 1, 0, 1], [0, 0, 0, 1, 1, 1]], bool)  # one of each group; a whole group
        gates = self.gates(reference, 2)
        gates.weight[:], gates.bias = 0, numpy.where(keep, 1, -1).astype(numpy.float32)
        tensors = {f"blk.{layer}.attn.gate.skip": gates.skip[layer] for layer in range(2)}
        tensors |= {f"blk.{layer}.attn.gate.keep": keep[layer] for layer in range(2)}
        pruned = Compiled(self, source, PRECISE, "--gates", self.write(source, "removed", tensors))
        exact = reference.evaluate(ids, Run(gates))
        self.assertLess(difference(pruned.logits(ids, 50), exact), 0.02)
        self.assertLess(difference(pruned.logits(ids, 1), exact), 0.02)
        whole = Compiled(self, source, PRECISE)
        weights = lambda artifact: zipfile.ZipFile(artifact.path).getinfo("weights.bin").file_size
        row = 192 // 32 * 34  # bytes of a row of 192 numbers in q8_0
        removed = 5 * 2 * 64 * row + 2 * 64 * row  # five heads of both projections, one head of keys and values
        self.assertGreater(weights(whole) - weights(pruned), 0.95 * removed)

    def test_uneven_mask(self):
        source, ids = tiny("q8_0"), tokens(50)
        reference = open_model(source)
        keep = numpy.ones((2, 6), bool)
        keep[0, 2] = False
        gates = self.gates(reference, 3)
        gates.weight[:], gates.bias, gates.skip[:] = 0, numpy.where(keep, 1, -1).astype(numpy.float32), 0
        path = self.write(source, "uneven", {f"blk.{layer}.attn.gate.keep": keep[layer] for layer in range(2)})
        self.assertLess(difference(Compiled(self, source, PRECISE, "--gates", path).logits(ids, 50), reference.evaluate(ids, Run(gates))), 0.02)

    def refused(self, path, status=3):
        return support.heddle("compile", tiny("q8_0"), "--gates", path, "-o", support.WORK / "gating" / "refused.heddle", status=status).stderr

    def test_gates_of_another_model(self):
        source = tiny("q8_0")
        tensors = self.named(self.gates(open_model(source), 1))
        self.assertIn("fitted for another model", self.refused(self.write(source, "other", tensors, model_sha256="0" * 64)))

    def test_unknown_tensor(self):
        path = self.write(tiny("q8_0"), "unknown", {"blk.9.attn.gate.weight": numpy.zeros((6, 192), numpy.float32)})
        self.assertIn("'blk.9.attn.gate.weight' is no 'weight', 'bias', 'skip' or 'keep' of a gate", self.refused(path))

    def test_gate_of_another_shape(self):
        path = self.write(tiny("q8_0"), "shape", {"blk.0.attn.gate.weight": numpy.zeros((6, 96), numpy.float32)})
        self.assertIn("'blk.0.attn.gate.weight': expected [6, 192] of F32, but found [6, 96] of F32", self.refused(path))

    def test_hostile_headers(self):
        good = self.write(tiny("q8_0"), "good", {"blk.0.attn.gate.bias": numpy.zeros(6, numpy.float32)}).read_bytes()
        path = support.WORK / "gating" / "hostile.safetensors"
        for data in (b"", good[:7], good[:40], b"\xff" * 64, good[:8] + b"[" * (len(good) - 8), good.replace(b'[6]', b'[7]'),
                     good.replace(b'"F32"', b'"F33"'), good.replace(b'[0,24]', b'[0,99]')):
            path.write_bytes(data)
            self.assertIn("hostile.safetensors", self.refused(path))


if __name__ == "__main__":
    unittest.main()

"""Gates fitted by tools/gates for a tiny model: what they cost, which heads go off together, what the compiled model makes of them."""

import hashlib
import pathlib
import sys
import unittest

import numpy
from safetensors.numpy import save_file

from e2e import support
from e2e.models import make_tiny_gguf

sys.path[:0] = [str(support.SOURCE / "tools" / "bench"), str(support.SOURCE / "tools" / "gates")]
import fit as fitting  # noqa: E402
from heddle_runtime import Model, Session  # noqa: E402
from models import Run, open_model  # noqa: E402

LAYERS, HEADS, KV_HEADS, GROUP = 2, 6, 2, 3


class Fitting(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        options = make_tiny_gguf.parser().parse_args([str(support.WORK / "gating" / "fitted.gguf"), "--format", "f32", "--hidden", "96",
                                                      "--heads", str(HEADS), "--kv-heads", str(KV_HEADS)])
        make_tiny_gguf.write(options)
        cls.source, random = options.output, numpy.random.default_rng(0)
        cls.model = open_model(cls.source)
        cls.sequences = [random.integers(3, 300, 80) for _ in range(4)]
        cls.calibration = fitting.Calibration(cls.model, cls.sequences, random)

    def test_cost_of_a_group(self):
        fit = fitting.Fit(self.calibration, "group")
        for layer in range(LAYERS):
            outputs = self.calibration.outputs[layer].astype(numpy.float32)
            projection = self.model.weights[f"blk.{layer}.attn_output.weight"]
            for group in range(KV_HEADS):
                heads = slice(GROUP * group, GROUP * (group + 1))
                moved = outputs.copy()
                moved[:, heads] = outputs[self.calibration.counts].mean(0)[heads]
                step = (outputs - moved).reshape(len(outputs), -1) @ projection.T
                expected = numpy.einsum("ri,ij,rj->r", step, self.calibration.metric[layer], step)
                numpy.testing.assert_allclose(fit.costs[layer, :, group], expected, rtol=1e-3, atol=1e-3 * expected.max())

    def test_costs_are_taken_around_the_skip_value(self):
        fit = fitting.Fit(self.calibration)
        fit.fit_around([fit.outputs(layer)[7] for layer in range(LAYERS)])
        self.assertEqual(fit.costs[:, 7].max(), 0)
        self.assertGreater(fit.costs[:, 8:].min(), 0)

    def test_heads_of_a_group_go_off_together(self):
        figures = {}
        for unit in ("head", "group"):
            gates = fitting.Fit(self.calibration, unit).gates(0.4)
            run = Run(gates)
            for layer in range(LAYERS):
                run.note(gates.off(layer, self.calibration.inputs[layer].astype(numpy.float32)), KV_HEADS)
            figures[unit] = numpy.mean(run.off), numpy.mean(run.groups_off)
        self.assertAlmostEqual(figures["group"][0], figures["group"][1], places=6)
        self.assertLess(figures["head"][1], figures["head"][0])
        for heads, _ in figures.values():
            self.assertTrue(0.25 < heads < 0.55, figures)

    def test_compiled(self):
        gates = fitting.Fit(self.calibration, "group").gates(0.4)
        tensors = {f"blk.{layer}.attn.gate.{part}": numpy.ascontiguousarray(getattr(gates, part)[layer])
                   for layer in range(LAYERS) for part in ("weight", "bias", "skip")}
        path = support.WORK / "gating" / "fitted.safetensors"
        save_file(tensors, str(path), metadata={"model_sha256": hashlib.sha256(pathlib.Path(self.source).read_bytes()).hexdigest()})
        compiled = Model(support.compile_once(self.source, "--precise", "--gates", path))
        self.addCleanup(compiled.close)
        session = Session(compiled, 2, context=256)
        self.addCleanup(session.close)
        exact, plain = (self.model.evaluate(self.sequences[0], Run(kind)) for kind in (gates, None))
        relative = lambda a, b: numpy.abs(a - b).max() / numpy.abs(b).max()
        self.assertLess(relative(session.logits(self.sequences[0], 80), exact), 0.02)
        self.assertGreater(relative(plain, exact), 0.02)


if __name__ == "__main__":
    unittest.main()

"""Whole models before and after the CPU passes, in the interpreter: the passes keep what a model computes."""

import sys
import unittest

from e2e import support

sys.path[:0] = [str(support.SOURCE / "test/e2e/interpreter")]
import test_models

# As codegen/Pipelines.cpp has it, without row variants: these have names of their own, which examples do not know.
PASSES = ("canonicalize,heddle-infer-shapes,heddle-split-cache-append,heddle-choose-precision{{activations={0}}},heddle-pack-parameters,"
          "heddle-fuse-for-target{{target=cpu}},heddle-share-kernels,heddle-plan-memory")


class Pipeline(test_models.Models):
    def check(self, model, text, *flags):
        # 16 bits have a bound that is tight enough to show a wrong graph; the others show that both schemes fit together.
        for activations in ("i16", "mixed", "i8"):
            with self.subTest(activations=activations):
                super().check(model, text, *flags, "--pass-pipeline", PASSES.format(activations))

    test_a_wrong_constant_is_found = None  # of the tool, not of passes


if __name__ == "__main__":
    unittest.main()

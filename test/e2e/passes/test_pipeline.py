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
        # 16-bit activations, whose bound is tight enough to show a wrong graph.
        super().check(model, text, *flags, "--pass-pipeline", PASSES.format("i16"))

    test_a_wrong_constant_is_found = None  # of the tool, not of passes


if __name__ == "__main__":
    unittest.main()

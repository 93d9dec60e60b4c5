"""The example plug-in, built out of tree against the installed compiler by the very commands of docs/plugins.md."""

import hashlib
import json
import os
import unittest
import zipfile

from e2e import support
from e2e.models import make_tiny_gguf
from plugin import tutorial

TUTORIAL = (support.SOURCE / "docs" / "plugins.md").read_text()
EXAMPLE = support.SOURCE / "test" / "plugin" / "example"
FOLDER = support.WORK / "plugin"
PLUGIN = FOLDER / "heddle-example" / "example.so"


# Every scale by 3 becomes one by 3.001.
BROKEN_PASS = """
#include "codegen/plugin/Plugin.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"
namespace {
struct Broken : mlir::PassWrapper<Broken, mlir::OperationPass<mlir::ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(Broken)
  llvm::StringRef getArgument() const override { return "broken-scale"; }
  void runOnOperation() override {
    getOperation().walk([](mlir::heddle::ScaleOp op) {
      if (op.getFactor().convertToFloat() == 3.0f)
        op.setFactor(llvm::APFloat(3.001f));
    });
  }
};
void load(heddle::PluginRegistry &registry) {
  registry.addPass<Broken>();
  registry.addToPipeline("broken-scale");
}
} // namespace
HEDDLE_PLUGIN("broken", "1.0", load);
"""

CHAIN = """
#n = #heddle.dim<"n", 1 to 4>
func.func @chain(%x: tensor<?x8xf32> {heddle.dims = [#n]}) -> tensor<?x8xf32>
    attributes {heddle.entry = "chain", heddle.example = [{inputs = [dense<1.5> : tensor<2x8xf32>]}]} {
  %0 = heddle.unary <tanh> %x : tensor<?x8xf32>
  %1 = heddle.scale %0 by 5.0 : tensor<?x8xf32>
  %2 = heddle.scale %1 by 3.0 : tensor<?x8xf32> loc("the_broken_one")
  %3 = heddle.unary <silu> %2 : tensor<?x8xf32>
  %4 = heddle.binary <add> %3, %0 : tensor<?x8xf32>
  return %4 : tensor<?x8xf32>
}
"""


def build_alone(name):
    tutorial.build_alone(FOLDER / f"{name}.cpp", FOLDER / f"{name}.so", FOLDER)


def manifest_of(artifact):
    with zipfile.ZipFile(artifact) as members:
        return json.loads(members.read("manifest.json").rstrip(b"\0"))


class Plugin(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.outputs = tutorial.follow(TUTORIAL, FOLDER)

    def test_the_tutorial_shows_what_is_built(self):
        shown = [block for language in ("cpp", "tablegen", "cmake") for block in tutorial.blocks(TUTORIAL, language)]
        self.assertGreater(len(shown), 5)
        tutorial.assert_shown(self, shown, EXAMPLE)

    def test_an_op_becomes_ops_that_targets_know(self):
        canonical = (FOLDER / "heddle-example/lerp.mlir").read_text()
        self.assertNotIn("example.lerp", canonical)
        self.assertIn("heddle.scale", canonical)
        self.assertIn("numbers agree", self.outputs["build/bin/heddle-run-ir"])

    def test_a_pass_runs_alone_and_in_every_compilation(self):
        source = support.SOURCE / "test/plugin/Inputs/lerp.mlir"
        alone = support.run("heddle-opt", "--plugin", PLUGIN, source, "--pass-pipeline=builtin.module(example-merge-relus,canonicalize)").stdout
        self.assertEqual(alone.count("heddle.unary <relu>"), 1)
        unknown = support.run("heddle-opt", FOLDER / "heddle-example/lerp.mlir", "--pass-pipeline=builtin.module(example-merge-relus)", status=1)
        self.assertIn("example-merge-relus", unknown.stderr)

    def test_an_attention_variant_computes_the_same_compiled(self):
        changed = support.run("heddle-opt", f"--plugin={PLUGIN}", support.SOURCE / "test/e2e/ops/attention.mlir",
                              "-heddle-apply-attention=variant=spatial-channel parameters=width=2,radius=0").stdout
        self.assertIn("arith.maxsi", changed)
        path = FOLDER / "spatial.mlir"
        path.write_text(changed)
        support.run("heddle-random-modules", "--check", path, "--level", "x86-64-v3")

    def test_a_model_is_compiled_with_variant_and_scheme(self):
        model = make_tiny_gguf.make(FOLDER / "tiny.gguf", "--format", "f16")
        plain, changed = FOLDER / "plain.heddle", FOLDER / "changed.heddle"
        support.heddle("compile", model, "-o", plain)
        support.heddle("compile", model, "-o", changed, "--plugin", PLUGIN, "--attention", "spatial-channel:width=4,radius=1",
                       "--quantize", "int4-clipped")
        digest = hashlib.sha256(PLUGIN.read_bytes()).hexdigest()
        self.assertEqual(manifest_of(changed)["plugins"], [{"name": "example", "sha256": digest, "version": "1.0"}])
        self.assertNotIn("plugins", manifest_of(plain))
        self.assertLess(os.path.getsize(changed), os.path.getsize(plain))

    def test_bisect_names_a_broken_pass(self):
        library = FOLDER / "broken.so"
        (FOLDER / "broken.cpp").write_text(BROKEN_PASS)
        build_alone("broken")
        source = FOLDER / "chain.mlir"
        source.write_text(CHAIN)
        reduced = FOLDER / "reduced.mlir"
        support.heddle("bisect", source, "--target", "cpu:x86-64-v3")
        found = support.heddle("bisect", source, "--target", "cpu:x86-64-v3", "--plugin", library, "-o", reduced, status=1).stdout
        self.assertIn("after broken-scale", found)
        self.assertRegex(found, r"op +'heddle.scale' of the_broken_one")
        text = reduced.read_text()
        self.assertIn("heddle.scale", text)
        self.assertNotIn("heddle.unary", text)
        self.assertLess(len(text.splitlines()), 12)
        self.assertIn("// RUN: heddle-random-modules --check %s", text)
        support.run("heddle-random-modules", "--check", reduced, "--level", "x86-64-v3")  # without the plug-in

    def test_what_is_refused(self):
        source = support.SOURCE / "test/plugin/Inputs/lerp.mlir"
        cases = {"example.so": "expected a path with a slash", f"{FOLDER}/missing.so": "missing.so",
                 str(support.BUILD / "lib" / "libHeddleCompiler.so"): "expected the symbol 'heddle_plugin'"}
        code = ('#include "codegen/plugin/Plugin.h"\nstatic void load(heddle::PluginRegistry &) {}\n'
                'extern "C" const heddle::PluginInfo heddle_plugin = {sizeof(heddle::PluginInfo), %s, "%s", "old", "1", load};\n')
        for name, api, llvm, message in (("api", "heddle::kPluginApi + 1", "19.1.7", "plug-in interface"),
                                         ("llvm", "heddle::kPluginApi", "18.1.8", "but found 18.1.8")):
            (FOLDER / f"old-{name}.cpp").write_text(code % (api, llvm))
            build_alone(f"old-{name}")
            cases[f"{FOLDER}/old-{name}.so"] = message
        for path, message in cases.items():
            with self.subTest(path=path):
                self.assertIn(message, support.run("heddle-opt", "--plugin", path, source, status=2).stderr)


if __name__ == "__main__":
    unittest.main()

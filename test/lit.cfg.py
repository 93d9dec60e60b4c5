# lit's configuration: which files are tests, the programs they may call, and the features they may require.
import os
import shutil
import sys

import lit.formats

config.name = "Heddle"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["CMakeLists.txt", "README.md", "Inputs", "unit"]
config.test_source_root = os.path.join(config.heddle_source, "test")
config.test_exec_root = os.path.join(config.heddle_build, "test")

# heddle, heddle-opt, ... come from the build; FileCheck, not, count and split-file from LLVM.
config.environment["PATH"] = os.pathsep.join(
    [os.path.join(config.heddle_build, "bin"), config.llvm_tools, os.environ.get("PATH", "")]
)
for variable in ("HOME", "HEDDLE_CACHE", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "HEDDLE_MUTANT", "HEDDLE_MUTANT_REACHED"):
    if variable in os.environ:
        config.environment[variable] = os.environ[variable]
# Trust is recorded per user: tests must neither see nor change what the person running them trusts.
config.environment["XDG_STATE_HOME"] = os.path.join(config.heddle_build, "test", "state")
config.environment["PYTHONDONTWRITEBYTECODE"] = "1"
config.environment["PYTHONPATH"] = os.path.join(config.heddle_source, "test")
config.environment["HEDDLE_BUILD"] = config.heddle_build

cache = os.environ.get("HEDDLE_CACHE") or os.path.expanduser("~/.cache/heddle")
models = os.path.join(cache, "models")
config.substitutions += [
    ("%python", sys.executable),
    ("%source", config.heddle_source),
    ("%build", config.heddle_build),
    ("%models", models),
    ("%smollm2", os.path.join(models, "SmolLM2-135M-Instruct.Q4_1.gguf")),
    ("%gemma3", os.path.join(models, "gemma-3-270m-q4_k_m.gguf")),
]

# A test that needs a model says `REQUIRES: model-smollm2`; it then counts as skipped for a missing model.
for feature, file in {
    "model-smollm2": "SmolLM2-135M-Instruct.Q4_1.gguf",
    "model-gemma3": "gemma-3-270m-q4_k_m.gguf",
}.items():
    if os.path.exists(os.path.join(models, file)):
        config.available_features.add(feature)

for program in ("cc", "gdb", "musl-gcc", "pkg-config", "ptxas"):
    if shutil.which(program):
        config.available_features.add(program)

# CPU features by the names of /proc/cpuinfo, as `cpu-avx512_vnni`.
with open("/proc/cpuinfo") as cpuinfo:
    for line in cpuinfo:
        if line.startswith("flags"):
            config.available_features.update("cpu-" + flag for flag in line.split(":")[1].split())
            break

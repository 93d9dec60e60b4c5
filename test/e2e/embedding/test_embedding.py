"""The runtime as an embedder meets it: built alone, installed, found, linked with a C compiler and nothing else."""

import os
import pathlib
import re
import shutil
import subprocess
import unittest

from e2e import support

HERE = pathlib.Path(__file__).parent
WORK = support.WORK / "embedding"


def run(*command, **options):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=600, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def build_runtime(name, c, cxx):
    """Builds and installs the runtime alone; returns the prefix."""
    build, prefix = WORK / f"build-{name}", WORK / f"install-{name}"
    shutil.rmtree(prefix, ignore_errors=True)
    run("cmake", "-S", support.SOURCE / "runtime", "-B", build, f"-DCMAKE_C_COMPILER={c}",
        f"-DCMAKE_CXX_COMPILER={cxx}", "-DCMAKE_INSTALL_LIBDIR=lib")
    run("cmake", "--build", build, "--parallel", "2")
    run("cmake", "--install", build, "--prefix", prefix)
    return prefix


class Embedding(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        WORK.mkdir(parents=True, exist_ok=True)
        cls.model = WORK / "toy.heddle"
        support.run("runtime-toy", "write", cls.model)
        cls.prefix = build_runtime("gcc", "gcc", "g++")

    def pkg_config(self, prefix, *args, package="heddle"):
        environment = {**os.environ, "PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig")}
        return run("pkg-config", *args, package, env=environment).split()

    def check_output(self, program, **environment):
        # The toy model's last token always wins.
        output = run(program, self.model, 5, 1, 2, 3, env={**os.environ, **environment})
        self.assertEqual(output.split(), ["99"] * 5)

    def test_pkg_config_and_cc(self):
        program = WORK / "example"
        run("cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", HERE / "example.c",
            *self.pkg_config(self.prefix, "--cflags", "--libs"), "-o", program)
        self.check_output(program, LD_LIBRARY_PATH=str(self.prefix / "lib"))
        mapped = run("ldd", program, env={**os.environ, "LD_LIBRARY_PATH": str(self.prefix / "lib")})
        self.assertEqual(sorted(re.findall(r"(\S+) =>", mapped)), ["libc.so.6", "libheddle.so.1"])

    def test_text_library(self):
        source, program = WORK / "text.c", WORK / "text"
        source.write_text("#include <heddle/text.h>\n#include <stdio.h>\nint main(void) {\n  heddle_text *text;\n"
                          "  static const long long zeros[8];\n"
                          "  printf(\"%d\\n\", heddle_text_open(zeros, sizeof zeros, &text, NULL, 0));\n}\n")
        run("cc", "-std=c11", source, *self.pkg_config(self.prefix, "--cflags", "--libs", package="heddle-text"),
            "-o", program)
        output = run(program, env={**os.environ, "LD_LIBRARY_PATH": str(self.prefix / "lib")})
        self.assertEqual(output, "2\n")  # HEDDLE_TEXT_CORRUPT

    def test_static_library(self):
        program = WORK / "example-static"
        run("cc", "-std=c11", HERE / "example.c", *self.pkg_config(self.prefix, "--cflags"),
            self.prefix / "lib/libheddle.a", "-o", program)
        self.check_output(program)

    def test_cmake_package(self):
        folder = WORK / "consumer"
        folder.mkdir(exist_ok=True)
        (folder / "CMakeLists.txt").write_text(
            "cmake_minimum_required(VERSION 3.20)\nproject(Consumer C)\nfind_package(Heddle 0.1 REQUIRED)\n"
            f"add_executable(shared {HERE}/example.c)\ntarget_link_libraries(shared Heddle::heddle)\n"
            f"add_executable(static {HERE}/example.c)\ntarget_link_libraries(static Heddle::heddle_static)\n")
        run("cmake", "-S", folder, "-B", folder / "build", f"-DCMAKE_PREFIX_PATH={self.prefix}")
        run("cmake", "--build", folder / "build")
        self.check_output(folder / "build/shared")
        self.check_output(folder / "build/static")

    def test_musl(self):
        if not shutil.which("musl-gcc"):
            self.skipTest("no musl-gcc")
        prefix = build_runtime("musl", "musl-gcc", "musl-gcc")
        program = WORK / "example-musl"
        run("musl-gcc", "-std=c11", "-static", HERE / "example.c", f"-I{prefix}/include", prefix / "lib/libheddle.a",
            "-o", program)
        self.check_output(program)

    def test_headers_are_c(self):
        for header in ("runtime.h", "driver.h", "program.h", "artifact.h", "text.h"):
            source = WORK / "header.c"
            source.write_text(f"#include <heddle/{header}>\n#include <heddle/{header}>\n")
            for standard in ("c11", "c17"):
                run("cc", f"-std={standard}", "-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{self.prefix}/include",
                    "-fsyntax-only", source)

    def test_exports(self):
        symbols = run("nm", "-D", "--defined-only", "--with-symbol-versions", self.prefix / "lib/libheddle.so")
        names = re.findall(r"^\S+ [A-Z] (\S+)$", symbols, re.MULTILINE)
        header = (support.SOURCE / "runtime/include/heddle/runtime.h").read_text()
        declared = set(re.findall(r"^HEDDLE_API[^;]*?\b(heddle_\w+)\(", header, re.MULTILINE))
        exported = {name.split("@")[0] for name in names if name.endswith("@@HEDDLE_1")}
        others = {"heddle_driver_cpu", "__jit_debug_descriptor", "__jit_debug_register_code"}
        self.assertEqual(exported - {"HEDDLE_1"}, declared | others)

    def test_inference_loop_has_few_calls(self):
        text = (HERE / "example.c").read_text()
        loop = text[text.index("for (long left"):text.index("free(tokens)")]
        self.assertLessEqual(len(re.findall(r"\bheddle_\w+\(", loop)), 6)


if __name__ == "__main__":
    unittest.main()

"""`heddle explain`, `check` and `compile --print-ir-after|--dump-kernels`: what they say, and the page in a real browser."""

import html.parser
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

from e2e import support
from e2e.support import heddle

USAGE, UNSUPPORTED = 2, 4
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class WithModel(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.keeper = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.keeper.name)
        cls.source = cls.tiny("tiny", "--layers", "12", "--format", "q4_k")

    @classmethod
    def tearDownClass(cls):
        cls.keeper.cleanup()

    @classmethod
    def tiny(cls, name, *flags):
        path = cls.folder / f"{name}.gguf"
        maker = support.SOURCE / "test" / "e2e" / "models" / "make_tiny_gguf.py"
        subprocess.run([sys.executable, maker, path, *flags], check=True, capture_output=True)
        return path


class Nodes(WithModel):
    def test_every_source_node_has_its_kernel_partners_precision_and_cost(self):
        nodes = json.loads(heddle("explain", self.source, "--nodes", "--format", "json").stdout)
        decode = {node["source"]: node for node in nodes if node["variant"] == "step.rows_1_4" and node["family"] == "contraction"}
        gate = decode["blk.7.ffn_gate"]
        self.assertEqual(gate["fused_with"], ["blk.7.ffn_up"])
        self.assertEqual(gate["precision"], "q4_k x i16")
        self.assertTrue(gate["precision_reason"].startswith("i16"), gate)
        self.assertEqual(gate["multiply_adds_per_row"], 2 * 256 * 512)
        self.assertEqual(gate["target"], "cpu")
        prefill = [node for node in nodes if node["variant"] != "step.rows_1_4" and node["source"] == "blk.7.ffn_gate"][0]
        self.assertTrue(prefill["precision_reason"].startswith(prefill["precision"].split(" x ")[1]), prefill)

    def test_equal_layers_are_told_once(self):
        text = heddle("explain", self.source, "--nodes").stdout
        self.assertIn("times:", text)
        self.assertIn("blk.*.ffn_gate", text)
        self.assertLess(text.count("ffn_gate"), 20)

    def test_a_compiled_model_has_no_ir(self):
        out = self.folder / "out.heddle"
        heddle("compile", self.source, "-o", out, "--target", "cpu:x86-64-v3")
        self.assertIn("holds no IR", heddle("explain", out, "--nodes", status=USAGE).stderr)


class Parser(html.parser.HTMLParser):
    """Every tag must be closed in order; collects tags and attributes."""

    VOID = {"meta", "rect", "line"}

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.attributes = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        if tag in self.VOID:
            return
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()


class Page(WithModel):
    def page(self, source, *flags):
        path = self.folder / "page.html"
        heddle("explain", source, "--html", path, *flags)
        return path

    def browser(self):
        for name in BROWSERS:
            if found := shutil.which(name):
                return found
        self.skipTest("no browser: none of " + ", ".join(BROWSERS) + " (apt-get install chromium)")

    def load(self, page, *flags):
        """What the browser makes of the page, as HTML, and what it complained about."""
        command = [self.browser(), "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0",
                   f"--user-data-dir={self.folder}/profile", *flags, "--dump-dom", page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr[-2000:])
        return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]

    def test_well_formed_and_without_anything_active(self):
        text = self.page(self.source).read_text()
        parser = Parser()
        parser.feed(text)
        self.assertEqual(parser.open, [])
        self.assertFalse({"script", "img", "iframe", "link", "object"} & set(parser.tags))
        names = {name for name, _ in parser.attributes}
        self.assertFalse({name for name in names if name.startswith("on")} | ({"src", "style"} & names))
        for name, value in parser.attributes:
            if name == "href":
                self.assertTrue(value.startswith("#"), value)
        self.assertIn("default-src 'none'", text.split("</head>")[0])
        self.assertNotIn("unsafe", text.split("</head>")[0])

    def test_layers_are_groups(self):
        text = self.page(self.source).read_text()
        self.assertIn("times the same", text)
        self.assertLess(text.count("attn_rope"), 400)
        twice = self.page(self.tiny("deep", "--layers", "60", "--format", "q4_k")).read_text()
        self.assertLess(len(twice), 1.25 * len(text))  # bars of the chart, numbers of decisions

    def test_every_pass_and_its_difference(self):
        text = self.page(self.source).read_text()
        for name in ("heddle-choose-precision", "heddle-fuse-for-target", "heddle-plan-memory"):
            self.assertIn(f"<code>{name}</code>", text)
        section = text.split("<summary><code>heddle-choose-precision</code>")[-1].split("<summary><code>heddle")[0]
        self.assertRegex(section, r'class="a">\+ .*heddle\.quantize ')

    def test_a_name_cannot_become_markup(self):
        evil = '</style><script>document.title="owned"</script><img src=x onerror=alert(1)>\x1b[2J'
        source = self.tiny("evil", "--name", evil)
        page = self.page(source)
        text = page.read_text()
        self.assertFalse("<script" in text or "\x1b" in text)
        self.assertTrue("&lt;script&gt;" in text)  # with all of the page as the message nobody would read it
        parser = Parser()
        parser.feed(text)
        self.assertFalse({"script", "img"} & set(parser.tags))

    def test_in_a_browser(self):
        page = self.page(self.source)
        dom, complaints = self.load(page)
        self.assertEqual(complaints, [])  # the policy lets the style sheet through and blocks nothing of the page
        self.assertIn("IR, pass by pass", dom)

    def test_the_style_is_applied(self):
        """Only a style sheet with the right hash is: then the page has its own background instead of white."""
        page = self.page(self.source)
        shot = self.folder / "shot.png"
        for flags, light in (((), True), (("--blink-settings=preferredColorScheme=0",), False)):
            self.load(page, "--hide-scrollbars", "--window-size=1280,900", f"--screenshot={shot}", *flags)
            pixel = first_pixel(shot)
            self.assertNotEqual(pixel, (255, 255, 255))
            self.assertEqual(pixel[0] > 128, light, pixel)

    def title(self, page, script, *flags):
        """What a script finds in the page, which has none and whose policy forbids one: only a test takes that away."""
        measure = self.folder / "measure.html"
        text = re.sub(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>", "", page.read_text())
        measure.write_text(text.replace("</body>", f"<script>document.title = {script}</script></body>"))
        dom, _ = self.load(measure, *flags)
        return re.search(r"<title>(.*?)</title>", dom)[1]

    def test_nothing_is_wider_than_a_phone(self):
        width, view = map(int, self.title(self.page(self.source), "document.documentElement.scrollWidth + ' ' + innerWidth", "--window-size=500,900").split())
        self.assertLessEqual(width, view)

    def test_smollm2_opens_in_two_seconds(self):
        page = self.page(support.model("smollm2"))
        opened, whole = [], []
        for _ in range(4):  # the first start is the browser's own
            start = time.monotonic()
            # From the start of navigation until all is laid out: the height asks for that.
            opened.append(float(self.title(page, "[document.documentElement.scrollHeight, performance.now()][1]")) / 1000)
            whole.append(time.monotonic() - start)
        print(f"page of {page.stat().st_size / 1e6:.2f} MB: {min(opened):.2f} s from navigation to layout; {min(whole):.2f} s with the browser's start and end")
        self.assertLess(min(opened), 2)


def first_pixel(path):
    """The first pixel of a PNG with 8 bits a channel: the first row's filter leaves it as it is, whichever it is."""
    import zlib

    data = path.read_bytes()
    at, packed = 8, b""
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"IDAT":
            packed += data[at + 8 : at + 8 + size]
        at += 12 + size
    return tuple(zlib.decompress(packed)[1:4])


class Check(WithModel):
    def test_what_compiles(self):
        facts = json.loads(heddle("check", self.source, "--format", "json").stdout)
        self.assertTrue(facts["compiles"])
        self.assertGreater(facts["decisions"]["heddle-fuse-for-target"]["fuse"], 12)
        self.assertIn("compiles", heddle("check", self.source).stdout)

    def test_what_does_not(self):
        broken = self.folder / "broken.gguf"
        broken.write_bytes(self.source.read_bytes().replace(b"llama", b"lemma"))
        self.assertIn("lemma", heddle("check", broken, status=UNSUPPORTED).stderr)

    def test_nothing_is_written(self):
        before = sorted(self.folder.iterdir())
        heddle("check", self.source, cwd=self.folder)
        self.assertEqual(sorted(self.folder.iterdir()), before)


class Dumps(WithModel):
    def test_ir_after_a_pass(self):
        done = heddle("compile", self.source, "--emit", "mlir", "-o", "/dev/null", "--print-ir-after", "heddle-choose-precision")
        self.assertIn("heddle.quantize", done.stderr)
        self.assertNotIn("heddle.kernel", done.stderr)

    def test_printed_ir_can_be_read_again(self):
        """Locations included: they name the source nodes."""
        emitted = self.folder / "emitted.mlir"
        done = heddle("compile", self.source, "--emit", "mlir", "-o", emitted, "--print-ir-after", "heddle-choose-precision")
        after = self.folder / "after.mlir"
        after.write_text(done.stderr[done.stderr.index("// ----- IR after"):])
        for path in (emitted, after):
            again = subprocess.run([support.BIN / "heddle-opt", path, "-mlir-print-debuginfo"], capture_output=True, text=True)
            self.assertEqual(again.returncode, 0, again.stderr[:1000])
            self.assertIn('"blk.0.ffn_gate"', again.stdout)

    def test_ir_after_a_pass_that_does_not_exist(self):
        done = heddle("compile", self.source, "--emit", "mlir", "-o", "/dev/null", "--print-ir-after", "fuse", status=USAGE)
        self.assertIn("heddle-fuse-for-target", done.stderr)

    def test_every_kernel_has_ir_and_code(self):
        folder = self.folder / "kernels"
        heddle("compile", self.source, "--dump-kernels", folder, "--target", "cpu:x86-64-v3")
        names = {path.stem for path in folder.glob("*.mlir")}
        self.assertGreater(len(names), 5)
        self.assertEqual({path.stem for path in folder.glob("*.s")}, names)
        gate = next(folder.glob("linear_*_silu_mul.s")).read_text()
        self.assertIn("blk.3.ffn_gate+blk.3.ffn_up", gate)
        self.assertIn("ret", gate)
        self.assertIn("heddle.linear", next(folder.glob("linear_*_silu_mul.mlir")).read_text())


if __name__ == "__main__":
    unittest.main()

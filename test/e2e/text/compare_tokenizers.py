"""Compares token ids with llama.cpp (SmolLM2, Gemma 3) and the `tokenizers` package (MiniLM), and decoded text with the
text it came from.

    compare_tokenizers.py [--lines 5000] [--seed 1] [--only smollm2|gemma3|minilm|splits|unicode]

Prints one row a comparison: lines, ids, mismatches, and of the lines that can be decoded without loss, how many were
not. Exits 1 unless all of these are 0. The seed makes the lines; what differs is printed.
"""

import argparse
import json
import pathlib
import random
import sys
import unicodedata
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from e2e import support  # noqa: E402
from e2e.models import make_minilm_gguf  # noqa: E402

WORK = support.WORK / "text"
SPLITS = ("default", "gpt-2", "smollm", "llama-bpe", "qwen2", "deepseek-v3")
ADD_SPECIAL, PARSE_SPECIAL, SHOW_SPECIAL = 1, 2, 4

SCRIPTS = [(0x41, 0x7B), (0xC0, 0x250), (0x370, 0x400), (0x400, 0x530), (0x530, 0x590), (0x590, 0x600), (0x600, 0x700),
           (0x900, 0x980), (0xB80, 0xC00), (0xE00, 0xE80), (0xF00, 0xFD8), (0x10A0, 0x1100), (0x1100, 0x1200),
           (0x1780, 0x1800), (0x1E00, 0x2000), (0x2C00, 0x2C60), (0x3040, 0x3100), (0x4E00, 0x9FFF), (0xAC00, 0xD7A4),
           (0xFB00, 0xFB07), (0xFF00, 0xFFF0), (0x10330, 0x1034B), (0x12000, 0x12400), (0x1D400, 0x1D800)]
SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2003\u2009\u2028\u2029\u202f\u205f\u3000\u200b\ufeff"
EMOJI = ["😀", "👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇩🇪🇯🇵", "❤️", "1️⃣", "🧑🏿‍🚀", "☺", "🫠"]
CODE = ["for (int i = 0; i < n; ++i) {\n    sum += a[i] * b[i];\n}", "def f(x, *, y=1):\n\treturn x**2 + y  # é\n",
        "#include <stdio.h>\n\n\n\nint main(void) { printf(\"%d\\n\", 0x1F); }", "SELECT * FROM t WHERE a != 'b''c';",
        "<div class=\"x\"><b>bold</b></div>\r\n", "let re = /^\\s+(?!\\S)$/gi;", "a->b::c<d>();;;  //////", "$ ls -la | grep foo > /dev/null",
        "{\"key\": [1, 2.5e-10, null]}", "        if x:\n            pass\n\n\n        else:\n"]
WORDS = ("the of and Hello World I'm we're they'LL don't it's O'Neil naïve café Straße ĳ ŉ İstanbul ıI ǅ ſt K Å é e\u0301 "
         "ﬁnance ½ Ⅷ ² ١٢٣ 12345 3.14 1,000,000 0x1F 2024-01-31 user@example.com https://a.b/c?d=e&f#g ... -- — “quoted” "
         "日本語 こんにちは 안녕하세요 Привет мир שלום مرحبا नमस्ते สวัสดี 中文，测试。 ΑΒΓ Σίσυφος ▁ ▁▁ ## ##ing [MASK] "
         "<|endoftext|> <|im_start|> <bos> </s> <unused7> <0x41> [CLS]").split(" ")
SPECIAL = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<unk>",
           "</s>", "<h1>", "[multimodal]", "<unused12>", "[MASK]", "[SEP]", "[UNK]", "<mask>", "<pad>", "<|im_"]


def scalar(rng, low, high):
    """A code point of [low, high) that is no surrogate."""
    while True:
        c = rng.randrange(low, high)
        if not 0xD800 <= c < 0xE000:
            return chr(c)


def make_piece(rng):
    kind = rng.randrange(14)
    count = rng.choice((1, 1, 2, 3, 5, 8, 20))
    if kind == 0:  # any plane
        return "".join(scalar(rng, 0, 0x110000) for _ in range(count))
    if kind == 1:
        return "".join(scalar(rng, 0, 0x30000) for _ in range(count))
    if kind == 2:
        return "".join(rng.choice(SPACES) for _ in range(count))
    if kind == 3:
        return rng.choice(" \n\t") * rng.choice((1, 2, 3, 4, 7, 16, 33, 70))
    if kind == 4:
        return "".join(rng.choice(EMOJI) for _ in range(min(count, 3)))
    if kind == 5:  # combining marks
        return rng.choice("aeoun日") + "".join(scalar(rng, 0x300, 0x370) for _ in range(count))
    if kind == 6:
        return rng.choice(CODE)
    if kind == 7:
        low, high = rng.choice(SCRIPTS)
        return "".join(scalar(rng, low, high) for _ in range(count))
    if kind == 8:
        return "".join(chr(rng.randrange(0x80)) for _ in range(count))
    if kind == 9:
        return "".join(rng.choice("0123456789٣५") for _ in range(count))
    if kind == 10:
        return "".join(rng.choice("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~¿…«»„“”‘’¡§€£") for _ in range(count))
    if kind == 11:
        return rng.choice(SPECIAL)
    if kind == 12:
        return unicodedata.normalize(rng.choice(("NFC", "NFD", "NFKD")), "".join(scalar(rng, 0xA0, 0x2000) for _ in range(count)))
    return rng.choice((" ", "", "  ")).join(rng.choice(WORDS) for _ in range(count))


def make_lines(count, seed):
    rng = random.Random(seed)
    lines = ["", " ", "  ", "\n", "a", "\0", "\ufffd", "▁", "'", "' ", "'s", " '", "Hello\n", "x" * 3000, " " * 3000, "ab " * 1000]
    while len(lines) < count:
        lines.append(rng.choice(("", " ", "", "\n")).join(make_piece(rng) for _ in range(rng.choice((1, 2, 3, 5, 9)))))
    return lines


def escape(text):
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\0", "\\0")


def unescape(text):
    out, position = [], 0
    while position < len(text):
        if text[position] == "\\":
            position += 1
            out.append({"n": "\n", "r": "\r", "0": "\0"}.get(text[position], text[position]))
        else:
            out.append(text[position])
        position += 1
    return "".join(out)


def pack(source):
    """text.bin of a GGUF file."""
    out = WORK / (source.stem + ".text.bin")
    out.parent.mkdir(parents=True, exist_ok=True)
    support.run("pack-text", source, out)
    return out


def ours(member, lines, flags):
    """(ids, decoded text) of each line."""
    data = "".join(escape(line) + "\n" for line in lines).encode()
    done = support.run("tokenize-lines", member, flags, input=data, text=False)
    rows = done.stdout.decode().split("\n")[:-1]
    assert len(rows) == len(lines), (len(rows), len(lines))
    pairs = [row.split("\t", 1) for row in rows]
    return [(json.loads(ids), unescape(text)) for ids, text in pairs]


def llama(path):
    """llama.cpp's tokenizer; without the package, which takes long to build, the calling test is skipped."""
    try:
        import llama_cpp
    except ModuleNotFoundError:
        raise unittest.SkipTest("missing package llama-cpp-python (run tools/setup.sh bench)")

    global log_sink  # must outlive the model
    log_sink = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(log_sink, None)
    return llama_cpp.Llama(str(path), vocab_only=True, verbose=False)


class Comparison:
    def __init__(self, name):
        self.name, self.lines, self.ids, self.mismatches, self.lossless, self.lost = name, 0, 0, 0, 0, 0

    def add(self, text, got, want):
        self.lines += 1
        self.ids += len(want)
        if got != want:
            self.mismatches += 1
            if self.mismatches <= 5:
                print(f"  {self.name}: {text[:200]!r}\n    heddle    {got[:60]}\n    reference {want[:60]}")

    def decoded(self, text, got):
        self.lossless += 1
        if got != text:
            self.lost += 1
            if self.lost <= 5:
                print(f"  {self.name}: {text[:200]!r} was decoded to {got[:200]!r}")

    def report(self):
        print(f"{self.name:<24} {self.lines:>7} lines {self.ids:>9} ids {self.mismatches:>5} mismatches"
              f"{self.lost:>6} of {self.lossless} not decoded back")
        return self.mismatches == 0 and self.lost == 0


def compare_llama(name, path, lines):
    """One comparison each with special tokens off and on."""
    reference = llama(path)
    member = pack(path)
    results = []
    for title, flags in ((name, 0), (name + " +special", ADD_SPECIAL | PARSE_SPECIAL)):
        comparison = Comparison(title)
        special = bool(flags)
        missing = missing_bytes(reference) if reference.metadata["tokenizer.ggml.model"] == "gpt2" else set()
        for line, (got, text) in zip(lines, ours(member, lines, flags)):
            data = line.encode()
            comparison.add(line, got, reference.tokenize(data, add_bos=special, special=special) if data or special else [])
            # SentencePiece cannot tell U+2581 from a space; a byte-level vocabulary may lack bytes.
            if not special and not missing & set(data) and (missing or "▁" not in line):
                comparison.decoded(line, text)
        results.append(comparison)
    return results


def missing_bytes(reference):
    """Bytes that a byte-level vocabulary has no token for."""
    shown = [b for b in range(256) if 0x21 <= b <= 0x7E or 0xA1 <= b <= 0xAC or b >= 0xAE]
    spelled = {b: chr(b) for b in shown}
    spelled.update({b: chr(256 + i) for i, b in enumerate(b for b in range(256) if b not in shown)})
    import llama_cpp

    vocab = llama_cpp.llama_model_get_vocab(reference.model)
    tokens = {llama_cpp.llama_vocab_get_text(vocab, i) for i in range(llama_cpp.llama_vocab_n_tokens(vocab))}
    return {b for b in range(256) if spelled[b].encode() not in tokens}


def compare_minilm(lines):
    from tokenizers import Tokenizer

    reference = Tokenizer.from_file(str(support.minilm_folder() / "tokenizer.json"))
    reference.no_truncation()
    reference.no_padding()
    member = pack(make_minilm_gguf.ensure("q8_0"))
    comparison = Comparison("minilm +special")  # the package always parses special tokens
    want = reference.encode_batch(lines)
    for line, (got, _), encoded in zip(lines, ours(member, lines, ADD_SPECIAL | PARSE_SPECIAL), want):
        comparison.add(line, got, encoded.ids)
    return [comparison]


def with_split(split):
    """A GGUF without tensors that has SmolLM2's vocabulary and another pre-tokenizer."""
    import gguf

    out = WORK / f"smollm2-{split}.gguf"
    out.parent.mkdir(parents=True, exist_ok=True)
    reader = gguf.GGUFReader(support.model("smollm2"))
    writer = gguf.GGUFWriter(out, "llama")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        value = split if field.name == "tokenizer.ggml.pre" else field.contents()
        kind = field.types[0]
        writer.add_key_value(field.name, value, kind, field.types[1] if kind == gguf.GGUFValueType.ARRAY else None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return out


def unicode_lines():
    """Every assigned code point and every 61st of the others, next to letters, digits, spaces and signs."""
    points = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000
              and (c < 0x33480 or 0xE0000 <= c < 0xE0200 or c % 61 == 0)]
    return [" ".join(f"a{p}b {p}{p} 1{p}.{p}" for p in points[first:first + 64]) for first in range(0, len(points), 64)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lines", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", choices=("smollm2", "gemma3", "minilm", "splits", "unicode"))
    arguments = parser.parse_args()
    wanted = arguments.only or ("smollm2", "gemma3", "minilm", "splits", "unicode")
    lines = make_lines(arguments.lines, arguments.seed)
    print(f"seed {arguments.seed}, {len(lines)} lines")
    results = []
    for name in ("smollm2", "gemma3"):
        if name in wanted:
            results += compare_llama(name, support.model(name), lines)
    if "minilm" in wanted:
        results += compare_minilm(lines)
    if "splits" in wanted:
        for split in SPLITS:
            results += compare_llama("split " + split, with_split(split), lines[: len(lines) // 2])
    if "unicode" in wanted:
        # The default and DeepSeek rules tell all classes apart.
        for split in ("default", "deepseek-v3"):
            results += compare_llama(f"unicode {split}", with_split(split), unicode_lines())[:1]
        minilm = compare_minilm(unicode_lines())
        minilm[0].name = "unicode minilm"
        results += minilm
    return 0 if all([result.report() for result in results]) else 1


if __name__ == "__main__":
    sys.exit(main())

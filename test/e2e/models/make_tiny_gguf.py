"""Writes small models with random weights, for tests that need a shape or a format rather than sense.

    make_tiny_gguf.py OUTPUT [--architecture llama] [--format q4_k] [--layers 2] [--hidden 256] [--sparse] ...

The same arguments give the same bytes. With --sparse the tensors stay a hole in the file (all zeros), of any size.
"""

import argparse
import os
import pathlib
import zlib

import gguf
import numpy as np

ARCHITECTURES = ("llama", "gemma3", "qwen2", "qwen3", "bert")
FORMATS = "f32 f16 bf16 q4_0 q4_1 q5_0 q5_1 q8_0 q2_k q3_k q4_k q5_k q6_k iq4_nl iq4_xs".split()
# Where the f16 fields (scale, minimum) of a block lie, for formats that the gguf package cannot quantize to.
SCALE_FIELDS = {
    "q2_k": (80, 82), "q3_k": (108,), "q4_k": (0, 2), "q5_k": (0, 2), "q6_k": (208,), "iq4_nl": (0,), "iq4_xs": (0,),
}  # fmt: skip


def kind_of(format):
    return gguf.GGMLQuantizationType[format.upper()]


def random_blocks(generator, shape, format, deviation):
    """Random bytes whose scales are set so that the numbers have mean about 0 and this standard deviation."""
    kind = kind_of(format)
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    count = int(np.prod(shape)) // elements
    blocks = generator.integers(0, 256, (count, size), dtype=np.uint8)

    def decoded(scale, minimum):
        for at, value in zip(SCALE_FIELDS[format], (scale, minimum)):
            blocks[:, at : at + 2] = np.frombuffer(np.float16(value).tobytes(), np.uint8)
        return gguf.dequantize(blocks, kind).astype(np.float64)

    with_scale = decoded(1, 0)
    ratio = 0.0
    if len(SCALE_FIELDS[format]) == 2:
        ratio = -with_scale.mean() / decoded(0, 1).mean()
    scale = deviation / decoded(1, ratio).std()
    decoded(scale, ratio * scale)
    return blocks.reshape(*shape[:-1], -1)


class Model:
    """Collects tensors and writes the file."""

    def __init__(self, path, options):
        self.options = options
        self.path = path
        self.writer = gguf.GGUFWriter(path, options.architecture)

    def tensor(self, name, shape, format=None, mean=0.0, deviation=None):
        format = format or self.options.format
        kind = kind_of(format)
        if shape[-1] % gguf.GGML_QUANT_SIZES[kind][0]:
            format, kind = "f32", gguf.GGMLQuantizationType.F32
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        if self.options.sparse:
            nbytes = int(np.prod(shape)) // elements * size
            self.writer.add_tensor_info(name, shape, np.dtype(np.float32), nbytes, raw_dtype=kind)
            return
        generator = np.random.default_rng([self.options.seed, zlib.crc32(name.encode())])
        deviation = deviation or shape[-1] ** -0.5
        if format in SCALE_FIELDS:
            data = random_blocks(generator, shape, format, deviation)
        else:
            values = (mean + deviation * generator.standard_normal(shape)).astype(np.float32)
            data = gguf.quantize(values, kind)
        self.writer.add_tensor(name, data, raw_dtype=kind)

    def vector(self, name, size, mean=0.0):
        self.tensor(name, (size,), "f32", mean, 0.1)

    def norm(self, name, size, bias=False):
        self.vector(f"{name}.weight", size, 1.0)
        if bias:
            self.vector(f"{name}.bias", size)

    def linear(self, name, out, columns, bias=False):
        self.tensor(f"{name}.weight", (out, columns))
        if bias:
            self.vector(f"{name}.bias", out)

    def close(self):
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        if self.options.sparse:
            self.writer.write_ti_data_to_file()
            file = self.writer.fout[0]
            start = -(-file.tell() // 32) * 32
            sizes = [info.nbytes for info in self.writer.tensors[0].values()]
            file.truncate(start + sum(-(-size // 32) * 32 for size in sizes))
        else:
            self.writer.write_tensors_to_file()
        self.writer.close()


def byte_characters():
    """The printable stand-ins of the 256 bytes in byte-level BPE vocabularies."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(0x100, 0x200))
    return [chr(b) if b in plain else chr(next(others)) for b in range(256)]


def add_byte_level(writer, size):
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    letters = byte_characters()
    tokens, merges = specials + letters, []
    for first in "Ġetaoinsrhld":
        for second in "etaoinsrhldu":
            if len(tokens) < size:
                tokens.append(first + second)
                merges.append(f"{first} {second}")
    tokens += [f"<|unused_{i}|>" for i in range(size - len(tokens))]
    types = [gguf.TokenType.CONTROL if t.startswith("<|") else gguf.TokenType.NORMAL for t in tokens]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([t.encode() for t in tokens])
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)


def add_sentence_pieces(writer, size):
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>"] + [f"<0x{b:02X}>" for b in range(256)] + ["\u2581"]
    types = [gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.UNKNOWN] + [gguf.TokenType.BYTE] * 256
    tokens += [chr(c) for c in range(ord("a"), ord("z") + 1)]
    tokens += [a + b for a in "\u2581etaoinsrhld" for b in "etaoinsrhldu"]
    tokens = tokens[:size]
    tokens += [f"<unused{i}>" for i in range(size - len(tokens))]
    types += [gguf.TokenType.NORMAL] * (size - len(types))
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([t.encode() for t in tokens])
    writer.add_token_scores([float(-i) for i in range(size)])
    writer.add_token_types(types)
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(3)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)


def add_word_pieces(writer, size):
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    tokens = specials + ["\u2581" + c for c in letters] + letters
    tokens += ["\u2581" + a + b for a in letters for b in "aeiou"]
    tokens = tokens[:size]
    tokens += [f"\u2581unused{i}" for i in range(size - len(tokens))]
    writer.add_tokenizer_model("bert")
    writer.add_token_list([t.encode() for t in tokens])
    writer.add_token_types([gguf.TokenType.CONTROL if t in specials else gguf.TokenType.NORMAL for t in tokens])
    for name, id in (("pad", 0), ("unk", 1), ("sep", 3), ("mask", 4)):
        getattr(writer, f"add_{name}_token_id")(id)
    writer.add_uint32("tokenizer.ggml.cls_token_id", 2)
    writer.add_token_type_count(2)


def add_decoder(model):
    o, w = model.options, model.writer
    gemma, head_norms = o.architecture == "gemma3", o.architecture in ("gemma3", "qwen3")
    w.add_head_count_kv(o.kv_heads)
    w.add_layer_norm_rms_eps(1e-6)
    w.add_rope_freq_base(1e6 if gemma else 1e4)
    w.add_vocab_size(o.vocabulary)
    head = o.head_width or o.hidden // o.heads
    w.add_key_length(head)
    w.add_value_length(head)
    if gemma:
        w.add_sliding_window(o.window)
        add_sentence_pieces(w, o.vocabulary)
    else:
        w.add_rope_dimension_count(head)
        add_byte_level(w, o.vocabulary)
    model.tensor("token_embd.weight", (o.vocabulary, o.hidden), o.embedding_format, deviation=1.0)
    if o.rope_factors:
        model.vector("rope_freqs.weight", head // 2, 2.0)
    for layer in range(o.layers):
        name = f"blk.{layer}.".__add__
        qkv_bias = o.architecture == "qwen2"
        model.norm(name("attn_norm"), o.hidden)
        model.linear(name("attn_q"), o.heads * head, o.hidden, qkv_bias)
        model.linear(name("attn_k"), o.kv_heads * head, o.hidden, qkv_bias)
        model.linear(name("attn_v"), o.kv_heads * head, o.hidden, qkv_bias)
        if head_norms:
            model.norm(name("attn_q_norm"), head)
            model.norm(name("attn_k_norm"), head)
        model.linear(name("attn_output"), o.hidden, o.heads * head)
        if o.gates:
            model.tensor(name("attn.gate.weight"), (o.heads, o.hidden), "f32")
            model.tensor(name("attn.gate.bias"), (o.heads,), "f32", deviation=0.1)
        model.norm(name("ffn_norm"), o.hidden)
        model.linear(name("ffn_gate"), o.intermediate, o.hidden)
        model.linear(name("ffn_up"), o.intermediate, o.hidden)
        model.linear(name("ffn_down"), o.hidden, o.intermediate)
        if gemma:
            model.norm(name("post_attention_norm"), o.hidden)
            model.norm(name("post_ffw_norm"), o.hidden)
    model.norm("output_norm", o.hidden)
    if o.untied:
        model.tensor("output.weight", (o.vocabulary, o.hidden))


def add_encoder(model):
    o, w = model.options, model.writer
    w.add_layer_norm_eps(1e-12)
    w.add_causal_attention(False)
    w.add_pooling_type(gguf.PoolingType[o.pooling.upper()])
    add_word_pieces(w, o.vocabulary)
    model.tensor("token_embd.weight", (o.vocabulary, o.hidden), o.embedding_format, deviation=1.0)
    model.tensor("position_embd.weight", (o.context, o.hidden), "f32", deviation=0.5)
    model.tensor("token_types.weight", (2, o.hidden), "f32", deviation=0.5)
    model.norm("token_embd_norm", o.hidden, bias=True)
    for layer in range(o.layers):
        name = f"blk.{layer}.".__add__
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            model.linear(name(part), o.hidden, o.hidden, bias=True)
        model.norm(name("attn_output_norm"), o.hidden, bias=True)
        model.linear(name("ffn_up"), o.intermediate, o.hidden, bias=True)
        model.linear(name("ffn_down"), o.hidden, o.intermediate, bias=True)
        model.norm(name("layer_output_norm"), o.hidden, bias=True)


def parser():
    result = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    result.add_argument("output", type=pathlib.Path)
    result.add_argument("--architecture", choices=ARCHITECTURES, default="llama")
    result.add_argument("--format", choices=FORMATS, default="f32", help="of the matrices")
    result.add_argument("--embedding-format", choices=FORMATS, help="of the token embedding; default: --format")
    result.add_argument("--layers", type=int, default=2)
    result.add_argument("--hidden", type=int, default=256)
    result.add_argument("--intermediate", type=int, default=512)
    result.add_argument("--heads", type=int, default=4)
    result.add_argument("--kv-heads", type=int, default=2)
    result.add_argument("--head-width", type=int, help="default: hidden / heads")
    result.add_argument("--vocabulary", type=int, default=320)
    result.add_argument("--context", type=int, default=256)
    result.add_argument("--window", type=int, default=32, help="of local layers, gemma3")
    result.add_argument("--pooling", choices=("mean", "cls", "last"), default="mean", help="bert")
    result.add_argument("--untied", action="store_true", help="with an output matrix of its own")
    result.add_argument("--gates", action="store_true", help="each row gates its heads, llama")
    result.add_argument("--rope-factors", action="store_true", help="with divisors of the RoPE frequencies")
    result.add_argument("--sparse", action="store_true", help="leave the tensors a hole in the file")
    result.add_argument("--name", help="the model's own, of any characters")
    result.add_argument("--seed", type=int, default=1)
    return result


def write(options):
    options.output.parent.mkdir(parents=True, exist_ok=True)
    partial = options.output.with_suffix(f".{os.getpid()}.partial")
    model = Model(partial, options)
    w = model.writer
    w.add_name(options.name or f"tiny {options.architecture} {options.format}")
    w.add_block_count(options.layers)
    w.add_context_length(options.context)
    w.add_embedding_length(options.hidden)
    w.add_feed_forward_length(options.intermediate)
    w.add_head_count(options.heads)
    (add_encoder if options.architecture == "bert" else add_decoder)(model)
    model.close()
    os.replace(partial, options.output)


def make(output, *arguments):
    """Writes the model that `arguments` (as on the command line) describe, unless it is there; returns its path."""
    options = parser().parse_args([str(output), *map(str, arguments)])
    if not options.output.exists():
        write(options)
    return options.output


if __name__ == "__main__":
    write(parser().parse_args())

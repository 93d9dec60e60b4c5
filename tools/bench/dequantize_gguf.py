#!/usr/bin/env python3
"""Writes a GGUF file anew with every tensor in f32: what quantizers are compared on when only quantized weights exist.

    dequantize_gguf.py MODEL.gguf OUTPUT.gguf
"""

import pathlib
import sys

import gguf
import numpy


def values(field):
    """A metadata field's value in the form that GGUFWriter takes."""
    if field.types[0] == gguf.GGUFValueType.ARRAY:
        return [bytes(field.parts[index]).decode(errors="surrogateescape") if field.types[-1] == gguf.GGUFValueType.STRING
                else field.parts[index][0].item() for index in field.data]
    part = field.parts[field.data[0]]
    return bytes(part).decode() if field.types[0] == gguf.GGUFValueType.STRING else part[0].item()


def dequantize(source, target):
    reader = gguf.GGUFReader(source)
    partial = pathlib.Path(f"{target}.part")
    writer = gguf.GGUFWriter(partial, values(reader.fields["general.architecture"]))
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type", "general.quantization_version"):
            continue
        kind = field.types[0]
        sub_type = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, values(field), kind, sub_type=sub_type)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    for tensor in reader.tensors:
        writer.add_tensor_info(tensor.name, [int(size) for size in tensor.shape[::-1]], numpy.dtype(numpy.float32),
                               int(tensor.n_elements) * 4)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in reader.tensors:
        data = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32)
        writer.write_tensor_data(data.reshape([int(size) for size in tensor.shape[::-1]]))
    writer.close()
    partial.rename(target)


if __name__ == "__main__":
    dequantize(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))

#!/usr/bin/env python3
"""Writes all-MiniLM-L6-v2 as ONNX (f32, opset 17), as exporters write BERT, for comparison with ONNX Runtime.

    make_minilm_onnx.py [OUTPUT]       default: models/all-MiniLM-L6-v2.onnx of Heddle's cache
"""

import json
import os
import pathlib
import sys

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

import common


class Graph:
    def __init__(self, weights):
        self.weights = weights
        self.nodes, self.initializers = [], {}

    def constant(self, name, value):
        self.initializers[name] = numpy_helper.from_array(numpy.ascontiguousarray(value), name)
        return name

    def op(self, kind, inputs, **attributes):
        output = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def linear(self, x, name):
        weight = self.constant(name + ".weight", self.weights[name + ".weight"].T)
        return self.op("Add", [self.op("MatMul", [x, weight]), self.constant(name + ".bias", self.weights[name + ".bias"])])

    def norm(self, x, name, epsilon):
        scale, bias = (self.constant(f"{name}.{part}", self.weights[f"{name}.{part}"]) for part in ("weight", "bias"))
        return self.op("LayerNormalization", [x, scale, bias], axis=-1, epsilon=epsilon)

    def gelu(self, x):
        root = self.constant("sqrt2", numpy.float32(numpy.sqrt(2)))
        one, half = self.constant("one", numpy.float32(1)), self.constant("half", numpy.float32(0.5))
        erf = self.op("Erf", [self.op("Div", [x, root])])
        return self.op("Mul", [self.op("Mul", [x, self.op("Add", [erf, one])]), half])


def build(folder):
    config = json.loads((folder / "config.json").read_bytes())
    graph = Graph(load_file(folder / "model.safetensors"))
    heads, width = config["num_attention_heads"], config["hidden_size"]
    epsilon = config["layer_norm_eps"]

    def table(name):
        return graph.constant(name, graph.weights[f"embeddings.{name}_embeddings.weight"])

    length = graph.op("Slice", [graph.op("Shape", ["input_ids"]), graph.constant("one_i", numpy.array([1], numpy.int64)),
                                graph.constant("two_i", numpy.array([2], numpy.int64))])
    zero = graph.constant("zero_i", numpy.array([0], numpy.int64))
    positions = graph.op("Slice", [table("position"), zero, length, zero])
    x = graph.op("Add", [graph.op("Gather", [table("word"), "input_ids"]), positions])
    x = graph.op("Add", [x, graph.constant("token_type", graph.weights["embeddings.token_type_embeddings.weight"][0])])
    x = graph.norm(x, "embeddings.LayerNorm", epsilon)
    mask = graph.op("Cast", ["attention_mask"], to=TensorProto.FLOAT)
    wide = graph.op("Unsqueeze", [mask, graph.constant("axes", numpy.array([1, 2], numpy.int64))])
    penalty = graph.op("Mul", [graph.op("Sub", [graph.constant("one", numpy.float32(1)), wide]),
                               graph.constant("lowest", numpy.float32(numpy.finfo(numpy.float32).min))])
    split = graph.constant("split", numpy.array([0, 0, heads, width // heads], numpy.int64))
    join = graph.constant("join", numpy.array([0, 0, width], numpy.int64))
    scale = graph.constant("scale", numpy.float32(numpy.sqrt(width // heads)))
    for layer in range(config["num_hidden_layers"]):
        prefix = f"encoder.layer.{layer}."

        def head(name, order):
            projected = graph.op("Reshape", [graph.linear(x, prefix + "attention.self." + name), split])
            return graph.op("Transpose", [projected], perm=order)

        query, key, value = head("query", [0, 2, 1, 3]), head("key", [0, 2, 3, 1]), head("value", [0, 2, 1, 3])
        scores = graph.op("Add", [graph.op("Div", [graph.op("MatMul", [query, key]), scale]), penalty])
        mixed = graph.op("MatMul", [graph.op("Softmax", [scores], axis=-1), value])
        mixed = graph.op("Reshape", [graph.op("Transpose", [mixed], perm=[0, 2, 1, 3]), join])
        y = graph.linear(mixed, prefix + "attention.output.dense")
        x = graph.norm(graph.op("Add", [x, y]), prefix + "attention.output.LayerNorm", epsilon)
        y = graph.linear(graph.gelu(graph.linear(x, prefix + "intermediate.dense")), prefix + "output.dense")
        x = graph.norm(graph.op("Add", [x, y]), prefix + "output.LayerNorm", epsilon)
    column = graph.op("Unsqueeze", [mask, graph.constant("last", numpy.array([-1], numpy.int64))])
    rows = graph.constant("rows", numpy.array([1], numpy.int64))
    total = graph.op("ReduceSum", [graph.op("Mul", [x, column]), rows], keepdims=0)
    mean = graph.op("Div", [total, graph.op("ReduceSum", [column, rows], keepdims=0)])
    graph.nodes.append(helper.make_node("LpNormalization", [mean], ["embeddings"], axis=-1, p=2))
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
              for name in ("input_ids", "attention_mask")]
    outputs = [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["batch", width])]
    body = helper.make_graph(graph.nodes, "all-MiniLM-L6-v2", inputs, outputs, list(graph.initializers.values()))
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def ensure(path=None):
    path = path or common.support.CACHE / "models" / "all-MiniLM-L6-v2.onnx"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        onnx.save(build(common.support.minilm_folder()), partial)
        os.replace(partial, path)
    return path


if __name__ == "__main__":
    print(ensure(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else None))

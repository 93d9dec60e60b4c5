#!/usr/bin/env python3
"""all-MiniLM-L6-v2: embeddings beside an independent f32 evaluation, and speed beside ONNX Runtime and llama.cpp.

ONNX Runtime runs the same weights from an ONNX file that make_minilm_onnx.py writes; llama.cpp runs the same GGUF.
"""

import statistics

import numpy
import onnxruntime
from tokenizers import Tokenizer

import common
import make_minilm_onnx
from e2e.models import make_minilm_gguf
from heddle_runtime import Model, Session
from llama_peer import LlamaCpp
from reference_bert import ReferenceBert

LENGTHS = (16, 128)
FORMATS = ("f32", "f16", "q8_0")


def sentences(folder):
    """Texts of mixed lengths, as token ids with [CLS] and [SEP]."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    words = common.text("english").split()
    texts = ["loom", "A heddle lifts the threads.", " ".join(words[:40]), " ".join(words[40:130]), " ".join(words[:20])]
    return [tokenizer.encode(text).ids for text in texts]


def cosine(a, b):
    return float((a * b).sum() / (numpy.linalg.norm(a) * numpy.linalg.norm(b)))


class OnnxRuntime:
    def __init__(self, path, threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def embed(self, batch):
        longest = max(map(len, batch))
        ids, mask = numpy.zeros((2, len(batch), longest), numpy.int64)
        for row, sentence in enumerate(batch):
            ids[row, :len(sentence)], mask[row, :len(sentence)] = sentence, 1
        return self.session.run(None, {"input_ids": ids, "attention_mask": mask})[0]


def accuracy(arguments, figures):
    folder = common.support.minilm_folder()
    batch, reference = sentences(folder), ReferenceBert(folder)
    exact = [reference.embed(sentence) for sentence in batch]
    rows = []

    def row(name, embeddings):
        worst = min(cosine(ours, want) for ours, want in zip(embeddings, exact))
        figures["accuracy"].append({"who": name, "smallest_cosine": worst})
        rows.append([name, f"{worst:.8f}", f"{1 - worst:.1e}"])

    for format in FORMATS:
        model = Model(common.support.compile_once(make_minilm_gguf.ensure(format)), arguments.cpu)
        session = Session(model, 2)
        row(f"Heddle, {format}", session.embed(batch).copy())
        session.close()
        model.close()
    row("ONNX Runtime, f32", OnnxRuntime(make_minilm_onnx.ensure(), 2).embed(batch))
    row("llama.cpp, f32", LlamaCpp(make_minilm_gguf.ensure("f32"), 2, sequences=8, embeddings=True).embed(batch))
    common.table([f"{len(batch)} texts of {min(map(len, batch))} to {max(map(len, batch))} tokens in one batch",
                  "smallest cosine", "distance"], rows)


def speed(arguments, figures):
    model = Model(common.support.compile_once(make_minilm_gguf.ensure("f32")), arguments.cpu)
    onnx = make_minilm_onnx.ensure()
    rows = []
    for threads in (1, 2):
        ours, ort = Session(model, threads), OnnxRuntime(onnx, threads)
        peers = {flash: LlamaCpp(make_minilm_gguf.ensure("f32"), threads, flash=flash, embeddings=True) for flash in (False, True)}
        for length in LENGTHS:
            ids = [101] + [(index * 7919 + 2000) % 28000 + 1000 for index in range(length - 2)] + [102]
            repeat = max(1, 256 // length)

            def loop(work):
                return lambda: common.timed(lambda: [work() for _ in range(repeat)]) / repeat

            times = common.interleaved({
                "heddle": loop(lambda: ours.embed([ids])),
                "onnxruntime": loop(lambda: ort.embed([ids])),
                "llama_cpp, flash off": loop(lambda: peers[False].embed([ids])),
                "llama_cpp, flash on": loop(lambda: peers[True].embed([ids])),
            }, arguments.rounds)
            median = {name: 1000 * statistics.median(values) for name, values in times.items()}
            llama = min(median["llama_cpp, flash off"], median["llama_cpp, flash on"])
            figures["speed"].append({"tokens": length, "threads": threads, "heddle_milliseconds": median["heddle"],
                                     "onnxruntime_milliseconds": median["onnxruntime"], "llama_cpp_milliseconds": llama,
                                     "heddle_spread_percent": common.spread(times["heddle"])})
            rows.append([length, threads, f"{median['heddle']:.2f}", f"{median['onnxruntime']:.2f}", f"{llama:.2f}",
                         f"{median['onnxruntime'] / median['heddle']:.2f}", f"{llama / median['heddle']:.2f}"])
        ours.close()
        for peer in peers.values():
            peer.close()
    model.close()
    common.table(["tokens", "threads", "Heddle ms", "ONNX Runtime ms", "llama.cpp ms", "ORT / Heddle", "llama.cpp / Heddle"], rows)


def main():
    arguments = common.arguments(__doc__, rounds={"type": int, "default": 15})
    figures = {"processor": common.processor(), "load": common.load_average(), "onnxruntime": onnxruntime.__version__,
               "accuracy": [], "speed": []}
    print(f"{figures['processor']}; load {figures['load']:.1f}")
    accuracy(arguments, figures)
    speed(arguments, figures)
    common.save(arguments.json, figures)


if __name__ == "__main__":
    main()

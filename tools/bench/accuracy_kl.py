#!/usr/bin/env python3
"""How far compiled models are from an exact f32 evaluation of the same file, beside llama.cpp on the same tokens.

Mean KL divergence in nats over three texts of 300 tokens, in chunks of 512 and one token at a time. llama.cpp is taken
at its better of flash attention on and off.
"""

import numpy

import common
from heddle_runtime import Model, Session
from llama_peer import LlamaCpp
from reference_llm import ReferenceModel, kl_divergence

TOKENS = 300
CHUNKS = {"chunks of 512": 512, "step by step": 1}


def main():
    arguments = common.arguments(__doc__, flags={"default": "", "help": "flags of heddle compile, such as --precise"})
    figures = {"processor": common.processor(), "flags": arguments.flags, "results": []}
    rows = []
    for name in arguments.models.split(","):
        path = common.support.model(name)
        artifact = common.support.compile_once(path, *arguments.flags.split())
        compiled = Model(artifact, arguments.cpu)
        # One thread each: results do not depend on it, and a busy machine then only takes longer.
        session = Session(compiled, 1, context=1024)
        reference = ReferenceModel(path)
        peers = {"off": LlamaCpp(path, 1, flash=False), "on": LlamaCpp(path, 1, flash=True)}
        exact, ids = {}, {}
        for text in common.TEXTS:
            ids[text] = peers["on"].tokenize(common.text(text))[:TOKENS]
            exact[text] = reference.logits(ids[text])
        for label, chunk in CHUNKS.items():
            ours = {t: kl_divergence(exact[t], session.logits(ids[t], chunk)) for t in common.TEXTS}
            theirs = {flash: {t: kl_divergence(exact[t], peer.logits(ids[t], chunk)) for t in common.TEXTS}
                      for flash, peer in peers.items()}

            def mean(of):
                return float(numpy.concatenate([of[t] for t in common.TEXTS]).mean())

            best = min(theirs, key=lambda flash: mean(theirs[flash]))
            for text in common.TEXTS:
                rows.append([name, label, text, f"{ours[text].mean():.2e}", f"{theirs[best][text].mean():.2e}",
                             f"{ours[text].mean() / theirs[best][text].mean():.4f}"])
            ratio = mean(ours) / mean(theirs[best])
            rows.append([name, label, "all", f"{mean(ours):.2e}", f"{mean(theirs[best]):.2e}", f"{ratio:.4f}"])
            figures["results"].append({"model": name, "mode": label, "heddle_mean_kl_nats": mean(ours), "code": compiled.code,
                                       "llama_cpp_mean_kl_nats": mean(theirs[best]), "flash_attention": best, "ratio": ratio,
                                       "tokens": sum(len(ids[t]) for t in common.TEXTS)})
        session.close()
        compiled.close()
        for peer in peers.values():
            peer.close()
    print(f"{figures['processor']}; code {figures['results'][0]['code']}; compile flags '{arguments.flags}'")
    common.table(["model", "mode", "text", "Heddle KL", "llama.cpp KL", "ratio"], rows)
    common.save(arguments.json, figures)


if __name__ == "__main__":
    main()

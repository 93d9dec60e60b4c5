#!/usr/bin/env python3
"""Prefill and decode speed beside llama.cpp, interleaved in one process, with the read bound of the same run.

Each round measures Heddle, then llama.cpp in each of its variants (flash attention on and off; with and without its
repacked weights, which is also what switches AMX), then the read bound. llama.cpp counts at its best variant's median.
"""

import json
import statistics
import subprocess

import common
from heddle_runtime import BUILD, Model, Session
from llama_peer import LlamaCpp, has_amx

PREFILL, DECODE, WARM = 512, 48, 16


def tokens(count, vocabulary):
    return [(index * 7919 + 17) % vocabulary for index in range(count)]


class Ours:
    def __init__(self, model, threads):
        self.session = Session(model, threads, wanted=1)

    def prefill(self, ids):
        self.session.clear()
        return common.timed(lambda: self.session.append(ids, 0))

    def decode(self, ids):
        self.session.clear()
        self.session.append(ids[:WARM], 0)

        def work():
            for step in range(DECODE):
                self.session.append(ids[step:step + 1], WARM + step)
        return common.timed(work)

    def close(self):
        self.session.close()


class Theirs:
    def __init__(self, path, threads, flash, repack):
        self.peer = LlamaCpp(path, threads, flash=flash, repack=repack)

    def prefill(self, ids):
        self.peer.clear()
        return common.timed(lambda: self.peer.step(ids, 0))

    def decode(self, ids):
        self.peer.clear()
        self.peer.step(ids[:WARM], 0)

        def work():
            for step in range(DECODE):
                self.peer.step(ids[step:step + 1], WARM + step)
        return common.timed(work)

    def close(self):
        self.peer.close()


def read_bound(artifact, threads, cpu):
    """Share of the read bound as `heddle bench` measures it: over the model's own weights, in one run with decode."""
    command = [BUILD / "bin" / "heddle", "bench", artifact, "--threads", str(threads), "--repeat", "5", "--prefill", "32",
               "--format", "json"] + (["--cpu", cpu] if cpu else [])
    decode = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["results"][0]["decode"]
    return decode


def best_of(times, per):
    """(variant, median speed, spread) of the fastest variant."""
    name = min(times, key=lambda key: statistics.median(times[key]))
    return name, per / statistics.median(times[name]), common.spread(times[name])


def main():
    arguments = common.arguments(
        __doc__, threads={"default": "1,2"}, rounds={"type": int, "default": 7},
        flags={"default": "", "help": "flags of heddle compile"})
    figures = {"processor": common.processor(), "load": common.load_average(), "flags": arguments.flags, "results": []}
    rows = []
    for name in arguments.models.split(","):
        path = common.support.model(name)
        artifact = common.support.compile_once(path, *arguments.flags.split())
        model = Model(artifact, arguments.cpu)
        for threads in map(int, arguments.threads.split(",")):
            contestants = {"heddle": Ours(model, threads)}
            for repack in (True, False):
                for flash in (True, False):
                    label = f"flash {'on' if flash else 'off'}, {'repacked' if repack else 'plain'} weights"
                    contestants[label] = Theirs(path, threads, flash, repack)
            ids = tokens(PREFILL, model.info.vocabulary)
            decode_bound = read_bound(artifact, threads, arguments.cpu)
            for what, count in (("prefill", PREFILL), ("decode", DECODE)):
                times = common.interleaved(
                    {label: (lambda c=contestant: getattr(c, what)(ids)) for label, contestant in contestants.items()},
                    arguments.rounds)
                ours = times.pop("heddle")
                speed = count / statistics.median(ours)
                result = {"model": name, "threads": threads, "what": what, "code": model.code,
                          "heddle_tokens_per_second": speed, "heddle_spread_percent": common.spread(ours)}
                sets = {"llama_cpp": times}
                if has_amx():  # two peers: with its AMX kernels, and what any other machine would run
                    sets = {"llama_cpp": times, "llama_cpp_without_amx": {k: v for k, v in times.items() if "plain" in k}}
                for key, of in sets.items():
                    variant, theirs, wide = best_of(of, count)
                    result |= {key + "_tokens_per_second": theirs, key + "_variant": variant,
                               key + "_spread_percent": wide, key + "_ratio": speed / theirs}
                if what == "decode":
                    result["share_of_read_bound"] = decode_bound["share_of_read_bound"]
                    result["read_bound_gigabytes_per_second"] = decode_bound["read_bound_gigabytes_per_second"]
                figures["results"].append(result)
                rows.append([name, what, threads, f"{speed:.0f}", f"{result['llama_cpp_tokens_per_second']:.0f}",
                             f"{result['llama_cpp_ratio']:.2f}",
                             f"{result['llama_cpp_without_amx_ratio']:.2f}" if has_amx() else "-",
                             f"{100 * result['share_of_read_bound']:.0f} %" if what == "decode" else "-",
                             result["llama_cpp_variant"]])
            for contestant in contestants.values():
                contestant.close()
        model.close()
    print(f"{figures['processor']}; load {figures['load']:.1f}; {arguments.rounds} rounds, medians")
    common.table(["model", "what", "threads", "Heddle t/s", "llama.cpp t/s", "ratio", "ratio without AMX",
                  "of read bound", "llama.cpp variant"], rows)
    common.save(arguments.json, figures)


if __name__ == "__main__":
    main()

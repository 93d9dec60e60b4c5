#!/usr/bin/env python3
"""Mutation testing: breaks passes and generators on purpose and says which breaks the tests find.

    tools/mutate.py prepare [--seed 1] [--count 200]    copy the sources, draw mutants, build all of them into the copy
    tools/mutate.py refresh                             copy tests and tools that have changed, and build; the mutants stay
    tools/mutate.py run [--seconds N] [--tests REGEX]   run the tests for each mutant, quick ones first, until one fails
    tools/mutate.py bisect [--seconds N]                whether heddle bisect names pass and op of those that are found
    tools/mutate.py judge NUMBER "REASON"               a survivor that changes nothing anyone can observe: it meets no more tests
    tools/mutate.py confirm [--seed 1] [--count 20]     run the test that found them for so many of those found, drawn by a seed
    tools/mutate.py keep                                write the results into tools/mutants/seed-N.txt
    tools/mutate.py report                              found, survivors, bisect's results

Mutants come from fixed operators over fixed files (mutants/operators.py), drawn by the seed. One that does not compile is
drawn again: it proves nothing. All are built at once, each chosen at run time by HEDDLE_MUTANT=N (mutants/schemata.py).
`run` first runs every test without a mutant to learn its time and which mutants' code it reaches; a mutant then meets
only those. Results are kept in --folder, so that `run` and `bisect` go on where they stopped.
"""

import argparse
import collections
import concurrent.futures
import dataclasses
import json
import pathlib
import random
import re
import shutil
import subprocess
import sys
import time

from mutants import bisecting, operators, schemata, suite

SOURCE = pathlib.Path(__file__).resolve().parents[1]
RESULTS = {"found": "found_by", "equivalent": "equivalent"}  # words of a list, and the key with the test or the reason
TARGETS = ("heddle-opt", "heddle-run-ir", "heddle-random-modules", "heddle-reduce", "heddle-lsp-server", "heddle_tool",
           "heddle-ptx-run", *suite.UNIT_TESTS)


def run(command, timeout, cwd=None):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=timeout)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout


def copy_sources(folder):
    """The tracked files, copied where they differ, so that ninja builds what changed only."""
    listed = run(["git", "-c", f"safe.directory={SOURCE}", "ls-files", "-co", "--exclude-standard"], 60, SOURCE).splitlines()
    for name in listed:
        old, new = SOURCE / name, folder / name
        if old.is_file() and (not new.exists() or new.read_bytes() != old.read_bytes()):
            new.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(old, new)


def configure(folder):
    if not (folder / "build" / "build.ninja").exists():
        run(["cmake", "--preset", "default", "-DHEDDLE_BUILD_TESTS=ON"], 600, folder)
    run(["ninja", "-C", str(folder / "build"), "HeddlePch", "HeddleIRIncGen", "HeddlePassesIncGen", "HeddleNpuIncGen"], 7200)


def build(folder, jobs):
    run(["ninja", "-C", str(folder / "build"), f"-j{jobs}", *TARGETS], 7200)


class State:
    """The drawn mutants and what is known of each, in a file."""

    def __init__(self, folder):
        self.path = folder / "mutants.json"
        self.data = json.loads(self.path.read_text()) if self.path.exists() else None

    def save(self):
        temporary = self.path.with_suffix(".new")
        temporary.write_text(json.dumps(self.data, indent=1))
        temporary.replace(self.path)


def place_of(label):
    """A label without the line: what stays when other lines of the file change."""
    return re.sub(r"^(\S+?):\d+:", r"\1:", label)


def load_list(path, sources):
    """{number: (mutant, result, what)} of those in a list whose place the sources still have, and how many it has."""
    places = {}
    for file, source in sources.items():
        for mutant in operators.candidates(file, source):
            places.setdefault(place_of(mutant.label(source)), []).append(mutant)
    listed = {}
    lines = path.read_text().splitlines() if path.exists() else []
    for number, line in enumerate(lines, 1):
        result, label, what = line.split("\t")
        there = places.get(place_of(label), [])
        taken = {entry[0] for entry in listed.values()}
        old = int(re.match(r"\S+?:(\d+):", label)[1])
        for mutant in sorted(there, key=lambda mutant: abs(mutant.line - old)):
            if mutant not in taken:
                listed[number] = (mutant, result, what)
                break
    return listed, len(lines)


def list_path(seed):
    return SOURCE / "tools" / "mutants" / f"seed-{seed}.txt"


def prepare(arguments, folder):
    state = State(folder)
    sources = {file: (SOURCE / file).read_text() for _, _, files in operators.AREAS for file in files}
    instrumented = {} if not state.data else {file: (folder / file).read_text() for file in sources}
    folder.mkdir(parents=True, exist_ok=True)
    copy_sources(folder)
    for file, text in instrumented.items():  # what is compiled already stays so where the mutants are the same
        (folder / file).write_text(text)
    configure(folder)
    listed, known = load_list(list_path(arguments.seed), sources)
    mutants, refusals = schemata.choose(schemata.Copy(folder), sources, {number: entry[0] for number, entry in listed.items()},
                                        operators.draw(sources, arguments.seed), arguments.count, arguments.jobs)
    state.data = {"seed": arguments.seed, "refused": refusals, "mutants": []}
    for number in range(1, arguments.count + 1):
        entry = {**dataclasses.asdict(mutants[number]), "label": mutants[number].label(sources[mutants[number].file])}
        if number in listed and mutants[number] == listed[number][0] and listed[number][1] in RESULTS:
            entry[RESULTS[listed[number][1]]] = listed[number][2]
        state.data["mutants"].append(entry)
    build(folder, arguments.jobs)
    (folder / "pieces.json").unlink(missing_ok=True)
    state.save()
    print(f"seed {arguments.seed}: {len(mutants)} mutants built, {len(listed)} of {known} in the list are still there, "
          f"{refusals} drawn that do not compile")


def refresh(arguments, folder):
    """What has changed but the files that mutants are drawn from; `run` measures the tests anew."""
    files = {file: (folder / file).read_text() for _, _, files in operators.AREAS for file in files}
    copy_sources(folder)
    for file, text in files.items():
        (folder / file).write_text(text)
    build(folder, arguments.jobs)
    (folder / "pieces.json").unlink(missing_ok=True)


def keep(folder):
    """Writes what is known of each mutant into the list of its seed, which `prepare` starts from."""
    state = State(folder)
    lines = []
    for mutant in state.data["mutants"]:
        result = next((name for name, key in RESULTS.items() if mutant.get(key)), "survives")
        lines.append("\t".join((result, mutant["label"], mutant.get(RESULTS.get(result), ""))) + "\n")
    list_path(state.data["seed"]).write_text("".join(lines))


def measured_pieces(folder, state, last, in_time, wanted):
    """Every wanted piece with its time and reach, the `last` ones only if asked for; a run that stops goes on later."""
    known = suite.load(folder / "pieces.json")
    names = {piece.name for piece in known}
    for piece in suite.pieces_of(folder, folder / "build"):
        if piece.name in names or piece.last > last or not re.search(wanted, piece.name):
            continue
        if not in_time():
            return None
        if not suite.measure(piece, folder, folder / "build", len(state.data["mutants"])):
            print(f"fails without a mutant, and is left out: {piece.name}", flush=True)
            piece.reached = ()
        known.append(piece)
        suite.save(folder / "pieces.json", known)
    return [piece for piece in known if re.search(wanted, piece.name)]


def promising_first(pieces, mutants, file):
    """Quick ones first, those that found other mutants of the same file, and a pass's own test."""
    own = re.sub(r"(?<!^)(?=[A-Z])", "-", pathlib.Path(file).stem).lower()
    kills = collections.Counter(mutant.get("found_by") for mutant in mutants if mutant["file"] == file)
    others = collections.Counter(mutant.get("found_by") for mutant in mutants)
    return sorted(pieces, key=lambda piece: piece.seconds / (1 + 10 * kills[piece.name] + others[piece.name] + 1000 * (own in piece.name)))


def first_failure(folder, pieces, mutants, number, most_seconds, in_time):
    """Runs these pieces until one fails: (whether it came to an end in time, the piece that failed or None)."""
    spent = 0
    for piece in promising_first(pieces, mutants, mutants[number - 1]["file"]):
        if not in_time():
            return False, None
        spent += piece.seconds
        if spent > most_seconds:
            break
        if not suite.passes(piece, folder, folder / "build", 20 + 4 * piece.seconds, mutant=number):
            return True, piece
    return True, None


def run_tests(arguments, folder):
    end = time.monotonic() + arguments.seconds
    in_time = lambda: time.monotonic() < end
    state = State(folder)
    for phase in range(suite.PHASES):
        pieces = measured_pieces(folder, state, phase == suite.PHASES - 1, in_time, arguments.tests)
        if pieces is None:
            return print("time is up; run again to go on")
        pieces = [piece for piece in pieces if piece.phase() == phase]
        left = [number for number, mutant in enumerate(state.data["mutants"], 1)
                if not mutant.get("found_by") and not mutant.get("equivalent") and mutant.get("passed_phases", 0) <= phase]
        left.sort(key=lambda number: sum(piece.seconds for piece in pieces if number in piece.reached))
        with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            jobs = {pool.submit(first_failure, folder, [piece for piece in pieces if number in piece.reached], state.data["mutants"], number,
                                arguments.most_seconds, in_time): number
                    for number in left}
            for job in concurrent.futures.as_completed(jobs):
                number, (ended, piece) = jobs[job], job.result()
                mutant = state.data["mutants"][number - 1]
                if piece:
                    mutant["found_by"], mutant["file_of_test"] = piece.name, piece.file
                    print(f"{number}: {piece.name}: {mutant['label']}", flush=True)
                elif ended and not arguments.tests:
                    mutant["passed_phases"] = phase + 1
                state.save()
        if not in_time():
            return print("time is up; run again to go on")
        print(f"phase {phase} is done", flush=True)


def confirm(arguments, folder):
    """A sample of what a list says is found: its test passes without the mutant and fails with it."""
    state = State(folder)
    found = [number for number, mutant in enumerate(state.data["mutants"], 1) if mutant.get("found_by")]
    pieces = {piece.name: piece for piece in suite.pieces_of(folder, folder / "build")}
    wrong = 0
    for number in sorted(random.Random(arguments.seed).sample(found, min(arguments.count, len(found)))):
        mutant = state.data["mutants"][number - 1]
        piece = pieces.get(mutant["found_by"])
        clean = piece and suite.passes(piece, folder, folder / "build", 1200)
        result = "no such test" if not piece else "fails without it" if not clean else \
            "is missed" if suite.passes(piece, folder, folder / "build", 1200, mutant=number) else "found"
        wrong += result != "found"
        print(f"{number}: {result}: {mutant['found_by']}: {mutant['label']}", flush=True)
    print(f"seed {arguments.seed}: {wrong} of {min(arguments.count, len(found))} are not found as the list says")


def report(folder):
    state = State(folder)
    mutants = list(enumerate(state.data["mutants"], 1))
    found = [each for each in mutants if each[1].get("found_by")]
    equivalent = [each for each in mutants if each[1].get("equivalent")]
    print(f"seed {state.data['seed']}: of {len(mutants)} mutants {len(found)} found, {len(equivalent)} change nothing that can be observed, "
          f"{len(mutants) - len(found) - len(equivalent)} survive; {state.data['refused']} more did not compile")
    pieces = suite.load(folder / "pieces.json")
    for number, mutant in mutants:
        if mutant.get("equivalent"):
            print(f"equivalent {number}: {mutant['equivalent']}: {mutant['label']}")
    for number, mutant in mutants:
        if not mutant.get("found_by") and not mutant.get("equivalent"):
            reaching = sum(number in piece.reached for piece in pieces)
            print(f"survivor {number}, reached by {reaching} tests: {mutant['label']}")
    bisecting.report(mutants)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("prepare", "refresh", "run", "judge", "confirm", "keep", "bisect", "report"))
    parser.add_argument("words", nargs="*", help="of judge: the mutant's number and the reason")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=200, help="mutants; of confirm: those to run again")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after this time; a later call goes on")
    parser.add_argument("--tests", default="", help="of run: only those whose name has this")
    parser.add_argument("--most-seconds", type=float, default=1e9, help="of tests without a mutant, for each mutant and phase")
    parser.add_argument("--folder", type=pathlib.Path, default=SOURCE / "build-mutants", help="sources, build and results")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    if arguments.action == "prepare":
        prepare(arguments, folder)
    elif arguments.action == "run":
        run_tests(arguments, folder)
    elif arguments.action == "judge":
        state = State(folder)
        state.data["mutants"][int(arguments.words[0]) - 1]["equivalent"] = " ".join(arguments.words[1:])
        state.save()
    elif arguments.action == "refresh":
        refresh(arguments, folder)
    elif arguments.action == "confirm":
        confirm(arguments, folder)
    elif arguments.action == "keep":
        keep(folder)
    elif arguments.action == "bisect":
        bisecting.run(State(folder), folder, time.monotonic() + arguments.seconds)
    else:
        report(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())

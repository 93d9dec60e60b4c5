"""Builds many mutants into one copy of the sources, where HEDDLE_MUTANT=N chooses one at run time (Mutant.h)."""

import concurrent.futures
import json
import re
import shlex
import subprocess

from mutants.operators import STATEMENT

INCLUDE = '#include "tools/mutants/Mutant.h" // NOLINT\n'


def groups_of(mutants):
    """[(first, last, kind, [(number, mutant)])] of one file, apart from one another; None when places cross."""
    groups = []
    for number, mutant in sorted(mutants, key=lambda each: (each[1].first, -each[1].last)):
        if groups and mutant.first < groups[-1][1]:
            if mutant.last > groups[-1][1]:
                return None
            groups[-1][3].append((number, mutant))
        else:
            groups.append((mutant.first, mutant.last, mutant.kind, [(number, mutant)]))
    return groups


def instrument(source, mutants):
    """The text of a file with its (number, mutant) built in, and [(first line, last line, number)] of each."""
    text, done, places = INCLUDE, 0, []
    for first, last, kind, members in groups_of(mutants):
        text += source[done:first]
        text += "{" if kind == STATEMENT else "("
        for number, mutant in members:
            changed = source[first : mutant.start] + mutant.text + source[mutant.end : last]
            line = text.count("\n") + 1
            text += f"if (heddle_mutants::on({number})) {{\n{changed}\n}} else " if kind == STATEMENT else \
                f"heddle_mutants::on({number}) ?\n({changed}\n) : "
            places.append((line, text.count("\n") + 1, number))
        text += f"{{ {source[first:last]} }}}}" if kind == STATEMENT else f"({source[first:last]}))"
        done = last
    return text + source[done:], places


class Copy:
    """The copy of the sources and its build."""

    def __init__(self, folder):
        self.folder = folder
        self.build = folder / "build"
        commands = json.loads((self.build / "compile_commands.json").read_text())
        self.commands = {each["file"]: (shlex.split(each["command"]), each["directory"]) for each in commands}

    def errors(self, file):
        """Lines of the file with errors, as the build's own command finds them; 0 for errors elsewhere."""
        command, directory = self.commands[str(self.folder / file)]
        output = command.index("-o")
        command = command[:output] + command[output + 2 :] + ["-fsyntax-only", "-w", "-ferror-limit=0", "-fno-caret-diagnostics"]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
        if done.returncode == 0:
            return []
        found = re.findall(r"^(.*?):(\d+):\d+: (?:fatal )?error:", done.stderr, re.M)
        return [int(line) if path == str(self.folder / file) else 0 for path, line in found] or [0]

    def write(self, file, text):
        path = self.folder / file
        if path.read_text() != text:
            path.write_text(text)

    def refused(self, file, source, mutants):
        """Numbers of those mutants of a file that do not compile. Leaves the others in the file."""
        refused = set()
        while True:
            left = [each for each in mutants if each[0] not in refused]
            text, places = instrument(source, left) if left else (source, [])
            self.write(file, text)
            lines = self.errors(file)
            if not lines:
                return refused
            if not left:
                raise SystemExit(f"{file}: does not compile without a mutant")
            blamed = {number for first, last, number in places for line in lines if first <= line <= last}
            if not blamed:  # an error far from its cause: those that fail alone
                blamed = {each[0] for each in left if self.fails_alone(file, source, each)} or {left[-1][0]}
            refused |= blamed

    def fails_alone(self, file, source, mutant):
        self.write(file, instrument(source, [mutant])[0])
        return bool(self.errors(file))


def choose(copy, sources, listed, drawn, count, jobs):
    """{number: mutant} of `count` mutants that compile, and how many did not. Those listed keep their numbers; what is
    missing is drawn."""
    mutants, new, refusals = dict(listed), set(listed), 0
    while new or len(mutants) < count:
        for number in range(1, count + 1):
            while number not in mutants:
                mutant = next(drawn, None)
                if not mutant:
                    raise SystemExit(f"only {len(mutants)} mutants compile")
                if mutant in mutants.values():
                    continue
                if groups_of([(0, mutant), *((0, each) for each in mutants.values() if each.file == mutant.file)]) is None:
                    refusals += 1
                    continue
                mutants[number] = mutant
                new.add(number)
        files = sorted({mutants[number].file for number in new})
        new = set()
        mine = [[each for each in mutants.items() if each[1].file == file] for file in files]
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            for refused in pool.map(copy.refused, files, [sources[file] for file in files], mine):
                refusals += len(refused)
                for number in refused:
                    del mutants[number]
    for file, source in sources.items():
        if not any(mutant.file == file for mutant in mutants.values()):
            copy.write(file, source)
    return mutants, refusals

#!/usr/bin/env python3
"""Runs every test of a build folder and counts what really happened.

    tools/run_tests.py [--build build] [--only WORDS] [--jobs N] [--verbose]

Runs lit, the Catch2 executables, the Python tests and tools/checks/, reads their machine-readable reports, prints what
failed and what skipped and why, and ends in one line `N passed, N failed, N skipped`. Exits non-zero when something
failed, when nothing ran, and, with CI set, when more than three tests skipped for a missing model.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import time
import unittest
import xml.etree.ElementTree

SOURCE = pathlib.Path(__file__).resolve().parents[1]
MODEL_SKIPS_ALLOWED = 3
TIMEOUT = 1200  # seconds for all of lit, or for one executable, one Python file or one check


class Results:
    """(kind, name, status, detail) of every test; status is passed, failed or skipped."""

    def __init__(self):
        self.rows = []

    def add(self, kind, name, status, detail=""):
        self.rows.append((kind, name, status, detail.strip()))

    def with_status(self, status):
        return [row for row in self.rows if row[2] == status]

    def count(self, status):
        return len(self.with_status(status))

    def missing_models(self):
        return [row for row in self.with_status("skipped") if row[3].startswith("missing model")]


def command_output(command, **options):
    """(exit status, stdout and stderr together); a time-out is a failure that says so."""
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            timeout=TIMEOUT, text=True, errors="replace", **options,
        )
        return done.returncode, done.stdout
    except subprocess.TimeoutExpired as expired:
        output = expired.stdout or b""
        return 124, output.decode(errors="replace") + f"\ntimed out after {TIMEOUT} s"


def run_lit(build, only, jobs, results):
    report = build / "test" / "lit.json"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-c", "import lit.main; lit.main.main()", "-q", "--allow-empty-runs", f"-j{jobs}",
               f"--output={report}", str(build / "test")]
    if only:
        command.append(f"--filter={only}")
    status, output = command_output(command)
    if not report.exists():
        if not (only and status == 0):  # with --only there may be none to run
            results.add("lit", "lit itself", "failed", output)
        return
    for test in json.loads(report.read_text())["tests"]:
        name, code, detail = test["name"].removeprefix("Heddle :: "), test["code"], test["output"]
        if code in ("PASS", "XFAIL", "FLAKYPASS"):
            results.add("lit", name, "passed")
        elif code == "UNSUPPORTED":
            if "unavailable features: model-" in detail:
                detail = "missing model: " + detail
            results.add("lit", name, "skipped", detail)
        elif code not in ("SKIPPED", "EXCLUDED"):  # those were not selected
            results.add("lit", name, "failed", f"{code}\n{detail}")


def run_unit(build, name):
    """One Catch2 executable; its JUnit report names every test case."""
    results = Results()
    report = build / "test" / f"{name}.xml"
    report.unlink(missing_ok=True)
    environment = {**os.environ, "HEDDLE_BUILD": str(build), "HEDDLE_SOURCE": str(SOURCE)}
    status, output = command_output(
        [str(build / "bin" / name), "--reporter", "junit", "--out", str(report)], env=environment)
    try:
        cases = list(xml.etree.ElementTree.parse(report).iter("testcase"))
    except (OSError, xml.etree.ElementTree.ParseError):
        cases = []
    failed = 0
    sections = {}
    for case in cases:  # a case with sections is one row per section: it is one test
        label = case.get("classname", "").split(".")[-1] + "/" + case.get("name", "").split("/")[0]
        bad = [node.text or node.get("message", "") for node in case if node.tag in ("failure", "error")]
        sections.setdefault(label, []).extend(bad)
    for label, bad in sections.items():
        failed += bool(bad)
        results.add("unit", label, "failed" if bad else "passed", "\n".join(bad))
    if not cases or (status != 0 and not failed):
        results.add("unit", name, "failed", f"exit {status}\n{output[-4000:]}")
    return results


class Recorder(unittest.TestResult):
    """Collects results as plain rows."""

    def __init__(self):
        super().__init__()
        self.out = []
        self.sub_failures = set()

    def record(self, test, status, detail=""):
        self.out.append([test.id(), status, detail])

    def addSuccess(self, test):
        super().addSuccess(test)
        if test.id() not in self.sub_failures:
            self.record(test, "passed")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.record(test, "skipped", reason)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.record(test, "failed", self.failures[-1][1])

    def addError(self, test, error):
        super().addError(test, error)
        self.record(test, "failed", self.errors[-1][1])

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error is not None:
            self.sub_failures.add(test.id())
            bad = self.failures if issubclass(error[0], test.failureException) else self.errors
            self.record(subtest, "failed", bad[-1][1])

    def addExpectedFailure(self, test, error):
        super().addExpectedFailure(test, error)
        self.record(test, "passed")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.record(test, "failed", "passed, but is marked as an expected failure")


def run_python_file_here(module, report):
    """In the child: runs one test module and writes its rows."""
    recorder = Recorder()
    unittest.defaultTestLoader.loadTestsFromName(module).run(recorder)
    pathlib.Path(report).write_text(json.dumps(recorder.out))


def run_python(build, path):
    results = Results()
    name = str(path.relative_to(SOURCE / "test"))
    module = name.removesuffix(".py").replace("/", ".")
    report = build / "test" / (module + ".json")
    report.unlink(missing_ok=True)
    environment = {**os.environ, "HEDDLE_BUILD": str(build), "PYTHONDONTWRITEBYTECODE": "1",
                   "PYTHONPATH": str(SOURCE / "test")}
    status, output = command_output(
        [sys.executable, __file__, "--python-module", module, "--report", str(report)], env=environment)
    rows = json.loads(report.read_text()) if report.exists() else []
    for test, outcome, detail in rows:
        results.add("python", test, outcome, detail)
    if not report.exists() or (status != 0 and not results.count("failed")):
        results.add("python", name, "failed", f"exit {status}\n{output[-4000:]}")
    elif not rows:
        results.add("python", name, "failed", "the file holds no test")
    return results


def run_check(build, path):
    results = Results()
    status, output = command_output([str(path), str(build)], cwd=SOURCE,
                                    env={**os.environ, "HEDDLE_BUILD": str(build)})
    outcome = {0: "passed", 77: "skipped"}.get(status, "failed")
    results.add("check", path.name, outcome, "" if outcome == "passed" else output)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=SOURCE / "build")
    parser.add_argument("--only", default="", help="tests whose path contains these words")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--verbose", action="store_true", help="name passed tests too")
    parser.add_argument("--python-module", help=argparse.SUPPRESS)
    parser.add_argument("--report", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.python_module:
        return run_python_file_here(arguments.python_module, arguments.report)

    build = arguments.build.resolve()
    started = time.monotonic()
    results = Results()
    run_lit(build, arguments.only, arguments.jobs, results)

    units = (build / "test" / "unit-tests.txt").read_text().split()
    python_files = sorted((SOURCE / "test").glob("**/test_*.py"))
    checks = sorted(path for path in (SOURCE / "tools" / "checks").iterdir()
                    if path.suffix in (".py", ".sh") and os.access(path, os.X_OK))
    work = [(run_unit, name, "unit/" + name) for name in units]
    work += [(run_python, path, str(path.relative_to(SOURCE / "test"))) for path in python_files]
    work += [(run_check, path, "checks/" + path.name) for path in checks]
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        futures = [pool.submit(run, build, what) for run, what, label in work if arguments.only in label]
        for future in futures:
            results.rows += future.result().rows

    for kind, name, _, _ in results.with_status("passed") if arguments.verbose else []:
        print(f"passed  {kind}: {name}")
    for kind, name, _, detail in results.with_status("skipped"):
        print(f"skipped {kind}: {name}: {' '.join(detail.split())}")
    for kind, name, _, detail in results.with_status("failed"):
        print(f"FAILED  {kind}: {name}\n" + "".join(f"    {line}\n" for line in detail.splitlines()[-60:]))
    missing = results.missing_models()
    too_many_skips = bool(os.environ.get("CI")) and len(missing) > MODEL_SKIPS_ALLOWED
    if too_many_skips:
        print(f"{len(missing)} tests skipped for a missing model; at most {MODEL_SKIPS_ALLOWED} may: run tools/setup.sh test")
    print(f"tests took {time.monotonic() - started:.0f} s", file=sys.stderr)
    counts = {status: results.count(status) for status in ("passed", "failed", "skipped")}
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped", flush=True)
    return 1 if counts["failed"] or not counts["passed"] or too_many_skips else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Runs suites of the system tests with the programs of a build under valgrind,
and judges what that has seen.

    leaks.py BUILDDIR [SUITE...]

A program fails when it has lost memory, has used memory as it may not, or has a
descriptor at its end that it did not have at its start; but yoke, which a
failure ends where it stands, may have its connection. Valgrind up to 3.19
does not know pidfd_open(2), without which there is no runner: the runner is for
LeakSanitizer, and a daemon that starts one runs as it is.
"""

import collections
import glob
import os
import re
import subprocess
import sys
import tempfile

SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
SUITES = ("errors", "events", "examples", "queues", "scope", "threads")
PROGRAMS = ("yoked", "yoke", "examples/*", "tests/system/handlers")
WRAPPER = """#!/bin/sh
export LD_LIBRARY_PATH={build}/.libs
case "$*" in
*runner.start=yes*) exec {real} "$@" ;;
esac
exec valgrind --leak-check=full --show-leak-kinds=definite,indirect \\
    --errors-for-leak-kinds=definite,indirect --track-fds=yes \\
    --log-file={logs}/{name}.%p {real} "$@"
"""
DESCRIPTORS_MAX = {"yoke": 2}  # a socket, and what wakes its thread
SUMMARY = re.compile(r"ERROR SUMMARY: (\d+) errors")
DESCRIPTOR = re.compile(r"(?m)^==\d+== Open .*\n==\d+==    (?!<inherited)")


def is_program(path):
    return os.path.isfile(path) and os.access(path, os.X_OK)


def wrap(build, shadow, logs):
    """A directory like that of a build, with scripts in place of programs."""
    for pattern in PROGRAMS:
        for path in filter(is_program, glob.glob(os.path.join(build, pattern))):
            place, name = os.path.split(os.path.relpath(path, build))
            real = os.path.join(build, place, ".libs", name)
            script = os.path.join(shadow, place, name)
            os.makedirs(os.path.dirname(script), exist_ok=True)
            with open(script, "w") as file:
                file.write(WRAPPER.format(
                    build=build, logs=logs, name=name,
                    real=real if is_program(real) else path))
            os.chmod(script, 0o755)
    for name in "yoke-runner", "tests/system/hostile":
        os.makedirs(os.path.dirname(os.path.join(shadow, name)), exist_ok=True)
        os.symlink(os.path.join(build, name), os.path.join(shadow, name))


def judge(logs):
    """Prints what each program did; whether all was well."""
    counts = collections.defaultdict(lambda: [0, 0, 0, 0])
    for path in sorted(glob.glob(logs + "/*")):
        with open(path, errors="replace") as file:
            text = file.read()
        summary = SUMMARY.findall(text)
        errors = sum(map(int, summary))
        descriptors = len(DESCRIPTOR.findall(text))
        name = os.path.basename(path).split(".")[0]
        descriptors = max(0, descriptors - DESCRIPTORS_MAX.get(name, 0))
        row = counts[name]
        for i, n in enumerate((1, not summary, errors, descriptors)):
            row[i] += n
        if errors or descriptors:
            print(text)
    print("%-16s %6s %8s %7s %12s" % ("", "runs", "killed", "errors",
                                      "descriptors"))
    for name, row in sorted(counts.items()):
        print("%-16s %6d %8d %7d %12d" % (name, *row))
    return counts and not any(row[2] or row[3] for row in counts.values())


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    build = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as shadow, \
            tempfile.TemporaryDirectory() as logs:
        wrap(build, shadow, logs)
        status = subprocess.run(
            [sys.executable, "-B", "-m", "pytest", "-q", "-p",
             "no:cacheprovider", "-k", "not tsan", *(
                 "tests/system/test_%s.py" % suite
                 for suite in sys.argv[2:] or SUITES)],
            cwd=SOURCE, env=dict(os.environ, YOKE_BUILDDIR=shadow)).returncode
        clean = judge(logs)
    sys.exit(0 if status == 0 and clean else 1)


main()

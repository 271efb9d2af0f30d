#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What gcovr found, as a table: the share of lines and branches for each
directory and each file.

usage: coverage.py REPORT.json [PREFIX]
With PREFIX: every line under it that did not run, or not in every direction.
"""

import json
import os
import sys


def counted(file):
    """The lines that count, as [line, branches]; what a pattern of ./dev
    coverage excludes has no branches, or is no code."""
    return [line for line in file["lines"]
            if not line.get("gcovr/noncode") and
            not line.get("gcovr/excluded")]


def sums(file):
    lines = counted(file)
    branches = [b for line in lines for b in line["branches"]]
    return [sum(line["count"] > 0 for line in lines), len(lines),
            sum(b["count"] > 0 for b in branches), len(branches)]


def row(name, figures):
    def share(hit, of):
        return "%6.1f %%" % (100 * hit / of) if of else "       -"

    print("%-34s %s %13s   %s %13s" % (
        name, share(*figures[:2]), "%d/%d" % tuple(figures[:2]),
        share(*figures[2:]), "%d/%d" % tuple(figures[2:])))


def table(files):
    directories = {}
    for file in files:
        directories.setdefault(os.path.dirname(file["file"]), []).append(file)
    print("%-34s %8s %13s   %8s" % ("", "lines", "", "branches"))
    for name, inside in sorted(directories.items()):
        row(name, [sum(n) for n in zip(*map(sums, inside))])
        for file in sorted(inside, key=lambda file: file["file"]):
            row("  " + os.path.basename(file["file"]), sums(file))


def missing(files, prefix):
    for file in files:
        if not file["file"].startswith(prefix):
            continue
        with open(file["file"]) as source:
            text = source.read().split("\n")
        for line in counted(file):
            branches = [b["count"] for b in line["branches"]]
            if line["count"] > 0 and all(branches):
                continue
            what = "never" if line["count"] == 0 else "%d of %d" % (
                branches.count(0), len(branches))
            print("%s:%d: %s: %s" % (file["file"], line["line_number"], what,
                                     text[line["line_number"] - 1].strip()))


def main():
    with open(sys.argv[1]) as report:
        files = json.load(report)["files"]
    if len(sys.argv) > 2:
        missing(files, sys.argv[2])
    else:
        table(files)


main()

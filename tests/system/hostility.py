# SPDX-License-Identifier: BSD-2-Clause
"""Cancellations of hostile jobs (hostile.c), many at once, and what is left.

A lane submits a job, waits until all of it is there (or not so long), cancels
it with no grace, waits for its end, and looks for its processes at once.
"""

import collections
import os
import random
import re
import socket
import subprocess
import threading
import time
import uuid

import harness
from harness import MARK, encode

HOSTILE = os.path.join(harness.BUILD, "tests/system/hostile")
DEEP = 8  # groups within groups
PATIENCE_SECONDS = 60

# What is drawn of a hundred. The last is DEEP groups, each with a job of one of
# the small kinds; the outermost is cancelled.
KINDS = {"stubborn": 14, "daemon": 14, "frozen": 14, "chain": 10, "pipes": 14,
         "hidden": 11, "escaped": 11, "crowd": 3, "nested": 9}
# The processes of each. Of a chain none may be met, or several links, as /proc
# is not read in one moment; and where there are no cgroups, who hides dies with
# the first job that ends.
SIZES = {"stubborn": [1], "daemon": [2], "frozen": [5], "chain": range(1, 100),
         "pipes": [5], "hidden": [1, 2], "escaped": [2], "crowd": [200]}
SMALL = ["stubborn", "daemon", "frozen", "chain", "pipes", "hidden", "escaped"]


class Resp:
    """One connection, replies as they come."""

    def __init__(self, daemon):
        self.socket = daemon.raw()
        self.socket.settimeout(PATIENCE_SECONDS)
        self.file = self.socket.makefile("rb")

    def close(self):
        self.file.close()
        self.socket.close()

    def reply(self):
        line = self.file.readline()
        assert line.endswith(b"\r\n"), "the daemon hung up"
        kind, rest = line[:1], line[1:-2]
        assert kind != b"-", rest.decode()
        if kind == b"+":
            return rest.decode()
        if kind == b":":
            return int(rest)
        if int(rest) < 0:
            return None
        if kind == b"$":
            return self.file.read(int(rest) + 2)[:-2].decode()
        return [self.reply() for _ in range(int(rest))]

    def call(self, *words):
        self.socket.sendall(encode(*words))
        return self.reply()


class Finder:
    """Counts the living processes that carry a mark."""

    def __init__(self):
        self.lock = threading.Lock()
        self.process = subprocess.Popen([HOSTILE, "find"], text=True, bufsize=1,
                                        stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)

    def count(self, mark):
        with self.lock:
            self.process.stdin.write(mark + "\n")
            return int(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(10) == 0
        self.process.stdout.close()


class Ups:
    """Hears from jobs that are there."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        os.chmod(path, 0o777)
        self.said, self.heard = set(), threading.Condition()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while True:
            mark = self.socket.recv(256).decode()
            if not mark:
                return
            with self.heard:
                self.said.add(mark)
                self.heard.notify_all()

    def wait(self, mark, seconds=PATIENCE_SECONDS):
        with self.heard:
            return self.heard.wait_for(lambda: mark in self.said, seconds)

    def close(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self.path)
        self.thread.join()
        self.socket.close()


def cgroup_root():
    """The file by which a process of root moves out of every cgroup."""
    with open("/proc/self/mountinfo") as mounts:
        found = re.search(r"^\S+ \S+ \S+ \S+ (\S+) .* - cgroup2 ", mounts.read(),
                          re.M)
    return found and os.path.join(found.group(1), "cgroup.procs")


class Arena:
    """A daemon with a runner of some mode, and what hostile jobs need."""

    def __init__(self, daemon, directory):
        self.daemon = daemon
        self.finder, self.ups = Finder(), Ups(os.path.join(directory, "up"))
        self.escape = cgroup_root()
        self.series = uuid.uuid4().hex[:12]
        self.latencies = collections.defaultdict(list)  # ms, of each kind
        self.cancelled = collections.Counter()
        self.survivors = []
        self.early = 0
        self.lock = threading.Lock()

    def close(self):
        self.finder.close()
        self.ups.close()

    def payload(self, kind, mark):
        fields = ["env=%s=%s" % (MARK, mark), "env=YOKE_TEST_UP=" + self.ups.path]
        if kind == "escaped" and self.escape:
            fields.append("env=YOKE_TEST_ESCAPE=" + self.escape)
        fields += ["arg=" + HOSTILE, "arg=" + kind]
        return "".join(field + "\0" for field in fields)

    def submit(self, resp, kind, mark, *options):
        return resp.call("SUBMIT", "run", self.payload(kind, mark), *options)

    def nested(self, resp, mark, pick):
        """Groups within groups, a job in each; the outermost, and the marks."""
        groups, marks = [], []
        for depth in range(DEEP):
            inside = ["PARENT", groups[-1]] if groups else []
            groups.append(resp.call("GROUP", "OPEN", "FAIL", "0", *inside))
            marks.append("%s.%d." % (mark, depth))
            self.submit(resp, pick.choice(SMALL), marks[-1], "GROUP", groups[-1])
        return groups[0], marks

    def cancel(self, resp, kind, mark, pick, early):
        """One cancellation; the milliseconds until its end was told."""
        if kind == "nested":
            scope, marks = self.nested(resp, mark, pick)
            words = [["GROUP", "CANCEL", scope, "GRACE", "0"],
                     ["GROUP", "WAIT", scope, "-1"]]
        else:
            marks = [mark]
            scope = self.submit(resp, kind, mark)
            words = [["CANCEL", scope, "GRACE", "0"], ["WAIT", scope, "-1"]]
        for one in marks:
            if early:
                self.ups.wait(one, pick.uniform(0, 0.01))
            else:
                assert self.ups.wait(one), "%s did not start" % kind
        if not early and kind != "nested":
            # What is not found while it runs is not missed afterwards.
            harness.until(lambda: self.finder.count(mark) in SIZES[kind],
                          "all processes of %s are found" % kind)
        began = time.monotonic()
        resp.socket.sendall(encode(*words[0]) + encode(*words[1]))
        resp.reply()
        outcome = harness.pairs(resp.reply())
        took = (time.monotonic() - began) * 1e3
        left = sum(self.finder.count(one) for one in marks)
        assert outcome["outcome"] == "cancelled", outcome
        with self.lock:
            self.cancelled[kind] += 1
            self.early += early
            if left:
                self.survivors.append((kind, mark, left))
            if not early:
                self.latencies[kind].append(took)

    def lane(self, number, works, seed, failures):
        pick, resp = random.Random("%s/%s" % (seed, number)), Resp(self.daemon)
        try:
            for n, (kind, early) in enumerate(works):
                self.cancel(resp, kind, "%s.%d.%d." % (self.series, number, n),
                            pick, early)
        except BaseException as failure:
            failures.append(failure)
        finally:
            resp.close()

    def run(self, works, lanes, seed):
        """Does all of [(kind, early)], divided among the lanes."""
        failures, threads = [], []
        for number in range(lanes):
            threads.append(threading.Thread(target=self.lane, args=(
                number, works[number::lanes], seed, failures)))
            threads[-1].start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        # Nor did any come back.
        if self.finder.count(self.series):
            self.survivors.append(("any", self.series,
                                   self.finder.count(self.series)))


def draw(count, seed):
    """[(kind, early)]: each kind at least twice; every fifth is cancelled at
    some moment of its start."""
    pick = random.Random(seed)
    kinds = 2 * list(KINDS)
    kinds += pick.choices(list(KINDS), KINDS.values(), k=count - len(kinds))
    pick.shuffle(kinds)
    return [(kind, n % 5 == 4) for n, kind in enumerate(kinds)]


def quantile(values, part):
    """The smallest value that so many are not above."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * part // 100) - 1)]


def table(mode, latencies):
    """Of {kind: [ms]}, a line each."""
    lines = ["%-9s %-9s %6s %9s %9s %9s" % (
        "mode", "kind", "n", "p50 ms", "p99 ms", "most ms")]
    for kind, values in latencies.items():
        lines.append("%-9s %-9s %6d %9.1f %9.1f %9.1f" % (
            mode, kind, len(values), quantile(values, 50),
            quantile(values, 99), max(values)))
    return "\n".join(lines)


def floor(count):
    """What the kernel takes for a crowd, without any yoke."""
    return {"crowd": [float(subprocess.run(
        [HOSTILE, "floor", "200"], check=True, capture_output=True,
        text=True).stdout) for _ in range(count)]}

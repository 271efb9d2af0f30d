# SPDX-License-Identifier: BSD-2-Clause
"""Daemons that meet faults: how they are started, and power cuts in numbers."""

import json
import os
import random
import shutil
import signal
import tempfile
import time

import power
from facts import Load, Problem
from harness import Daemon, children

# A journal of small segments; attempts that were lost come back soon.
OPTIONS = {
    "daemon.listen": "none",
    "journal.segment-size": "1M",
    "limits.payload-max": "256K",
    "limits.result-max": "256K",
    "limits.retain-jobs": "100000000",
    "limits.retain-bytes": "1G",
    "limits.lease": "500ms",
    "queue.redeliver": "1000",
    "queue.max-jobs": "100000",
}


def keeping(keep_ms):
    return {"queue.keep": "%dms" % keep_ms,
            "queue.dead-keep": "%dms" % keep_ms}


def quickly(daemon):
    """Starts it and waits until it listens."""
    daemon.spawn()
    deadline = time.monotonic() + 60
    while True:
        try:
            daemon.raw().close()
            return daemon
        except OSError:
            if daemon.process.poll() is not None:
                raise Problem("yoked ended:\n" + daemon.log()[-3000:])
            if time.monotonic() > deadline:
                raise
            time.sleep(0.002)


CUTS_PER_DISK = 25


class PowerCuts:
    """Lives of a daemon on a disk that loses power."""

    def __init__(self, seed, cuts, per_disk=CUTS_PER_DISK):
        self.seed, self.cuts, self.per_disk = seed, cuts, per_disk
        self.counts = {"power cuts": 0, "segments opened": 0,
                       "segments removed": 0, "torn tails": 0}

    def add(self, counts):
        for name, n in counts.items():
            self.counts[name] = self.counts.get(name, 0) + n

    def run(self):
        number = 0
        while self.counts["power cuts"] < self.cuts:
            self.disk_life(self.seed * 1000003 + number, number)
            number += 1
        return self.counts

    def disk_life(self, seed, number):
        chance = random.Random(seed)
        # Outcomes that are kept, and outcomes that make room for others; small
        # commits (synced by the loop itself) and large ones (by a thread).
        keep_ms = (3600000, 200)[number % 2]
        size = (100, 3000, 20000)[number % 3]
        sync = "always" if number % 8 < 7 else "interval"
        load = Load(seed, keep_ms, size, tail=sync != "always",
                    batch=chance.choice((4, 12, 30)))
        disk = power.Disk()
        folder = tempfile.mkdtemp(prefix="yoke-cuts.")
        daemon = Daemon(folder, dict(OPTIONS, **keeping(keep_ms)))
        daemon.options["daemon.state-dir"] = os.path.join(disk.path, "state")
        daemon.options["journal.sync"] = sync
        try:
            quickly(daemon)
            for cut in range(min(self.per_disk,
                                 self.cuts - self.counts["power cuts"])):
                try:
                    self.cut(daemon, disk, load, chance)
                except Problem as problem:
                    raise Problem("seed %d, cut %d, %s: %s\n%s" % (
                        seed, cut, sync, problem, daemon.log()[-2000:]))
            self.add(load.counts)
            self.counts["torn tails"] += daemon.log().count("torn tail")
            numbers = segments(disk.path)
            self.counts["segments opened"] += max(numbers)
            self.counts["segments removed"] += min(numbers) - 1
        finally:
            daemon.kill()
            disk.close()
            shutil.rmtree(folder)

    def cut(self, daemon, disk, load, chance):
        self.counts["power cuts"] += 1
        if load.run(daemon, chance.randrange(1, 120), disk.cut):
            raise Problem("it ended before the cut")
        status = daemon.wait()
        if status == 0:
            raise Problem("a clean end in spite of a failed write")
        disk.restore()
        quickly(daemon)
        load.compare(daemon)


def segments(path):
    return [int(name[:10]) for name in
            os.listdir(os.path.join(path, "state", "journal"))
            if name.endswith(".yj")]


class Script:
    """A fixed piece of work of about 200 jobs; the same at each call."""

    def __init__(self, folder, seed=7):
        self.daemon = Daemon(folder, dict(OPTIONS, **keeping(3600000)))
        self.load = Load(seed, size=9000, batch=16)
        self.folder = folder

    def attack(self, inject, answers=700):
        """True: the fault came. Raises Problem if a promise was broken."""
        plain = self.daemon.command
        self.daemon.command = lambda: [
            "strace", "-f", "-qq", "-o", "/dev/null",
            "-e", "trace=" + inject.split(":")[0], "-e", "inject=" + inject,
        ] + plain()
        env = os.environ.get("ASAN_OPTIONS", "")
        os.environ["ASAN_OPTIONS"] = env + ":detect_leaks=0"
        hit = False
        try:
            try:
                quickly(self.daemon)
            except Problem:
                hit = True
            if not hit:
                hit = self.load.run(self.daemon, answers, self.end)
        finally:
            os.environ["ASAN_OPTIONS"] = env
            self.daemon.command = plain
            self.end()
        quickly(self.daemon)
        self.load.compare(self.daemon)
        self.daemon.kill()
        return hit

    def end(self):
        """The daemon under strace, and strace."""
        for pid in children(self.daemon.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.daemon.wait()


def main():
    import sys

    power.alone()
    print(json.dumps(PowerCuts(int(sys.argv[1]), int(sys.argv[2])).run()))


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: BSD-2-Clause
"""Daemons that meet faults: how they are started, and power cuts in numbers."""

import copy
import errno
import json
import mmap
import multiprocessing
import os
import random
import shutil
import signal
import struct
import subprocess
import tempfile
import time

import harness
import power
from facts import Load, Problem

# Where there is a build without sanitizers: it starts in a fifth of the time,
# and starts are what most of this is made of.
BUILD = os.environ.get("YOKE_PLAIN_BUILDDIR", harness.BUILD)


class Daemon(harness.Daemon):
    program = os.path.join(BUILD, "yoked")


def yoked(*words):
    return subprocess.run([Daemon.program, *words], capture_output=True,
                          text=True, stdin=subprocess.DEVNULL, timeout=120)


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


# On a disk whose outcomes are kept for long; on others. To compare takes as long
# as there is much to compare.
CUTS_PER_DISK = (16, 34)


class PowerCuts:
    """Lives of daemons, one on each processor, on disks that lose power."""

    SYNC = ("always",) * 7 + ("interval",)
    # Payloads that are on the disk only and are read back by a thread, and a
    # journal that is full again and again: what is refused then, and what goes
    # on, and what compaction does for it.
    MEMORY_MAX = ("1G", "1M", "1M")
    DISK_MAX = ("none", "none", "6M")

    def __init__(self, seed, cuts):
        self.seed, self.cuts = seed, cuts

    def run(self):
        disks, left = [], self.cuts
        while left > 0:
            cuts = min(CUTS_PER_DISK[len(disks) % 2], left)
            disks.append((len(disks), cuts))
            left -= cuts
        counts = {"disks": len(disks)}
        with multiprocessing.get_context("fork").Pool() as pool:
            for found in pool.imap_unordered(self.disk_life, disks):
                for name, n in found.items():
                    counts[name] = counts.get(name, 0) + n
        return counts

    def disk_life(self, what):
        number, cuts = what
        seed = self.seed * 1000003 + number
        chance = random.Random(seed)
        # Outcomes that are kept, and outcomes that make room for others; small
        # commits (synced by the loop itself) and large ones (by a thread).
        keep_ms = (3600000, 200)[number % 2]
        size = (100, 3000, 20000)[number % 3]
        sync = self.SYNC[number % len(self.SYNC)]
        load = Load(seed, keep_ms, size, tail=sync != "always",
                    batch=chance.choice((4, 12, 30)))
        disk = power.Disk()
        folder = tempfile.mkdtemp(prefix="yoke-cuts.")
        daemon = Daemon(folder, dict(OPTIONS, **keeping(keep_ms)))
        daemon.options["daemon.state-dir"] = os.path.join(disk.path, "state")
        daemon.options["journal.sync"] = sync
        daemon.options["limits.memory-max"] = chance.choice(self.MEMORY_MAX)
        daemon.options["journal.disk-max"] = chance.choice(self.DISK_MAX)
        try:
            quickly(daemon)
            for cut in range(cuts):
                try:
                    self.cut(daemon, disk, load, chance)
                except Problem as problem:
                    raise Problem("seed %d, cut %d, %s: %s\n%s" % (
                        seed, cut, daemon.options, problem,
                        daemon.log()[-2000:]))
            numbers = segments(disk.path)
            with daemon.client() as client:
                unloaded = client.info()["payload_unloaded_bytes"]
            return {**load.counts, "power cuts": cuts,
                    "torn tails": daemon.log().count("torn tail"),
                    "refused for want of disk": load.refused.get("DISKFULL", 0),
                    "refused for want of memory": load.refused.get("OOM", 0),
                    "disks with payloads that were there only": unloaded > 0,
                    "segments opened": max(numbers),
                    "segments removed": min(numbers) - 1}
        finally:
            daemon.kill()
            disk.close()
            shutil.rmtree(folder)

    @staticmethod
    def cut(daemon, disk, load, chance):
        if load.run(daemon, chance.randrange(1, 120), disk.cut):
            raise Problem("it ended before the cut")
        status = daemon.wait()
        if status == 0:
            raise Problem("a clean end in spite of a failed write")
        disk.restore()
        quickly(daemon)
        load.compare(daemon)


class Lies(PowerCuts):
    """The same, on disks that say at some time that all is synced, and sync
    nothing from then on until the power is cut."""

    SYNC = ("always",)

    @staticmethod
    def cut(daemon, disk, load, chance):
        shim = Shim(daemon.dir)
        daemon.more = shim.environment
        daemon.kill()
        quickly(daemon)
        load.compare(daemon)

        def lie():
            load.doubt()
            shim.lie()

        if load.run(daemon, chance.randrange(1, 300), disk.cut,
                    (chance.randrange(1, 100), lie)):
            raise Problem("it ended before the cut")
        daemon.wait()
        daemon.more = {}
        disk.restore()
        quickly(daemon)
        load.compare(daemon)
        load.tail = False


def segments(path):
    return [int(name[:10]) for name in
            os.listdir(os.path.join(path, "state", "journal"))
            if name.endswith(".yj")]


class Shim:
    """tests/system/faults.c between a program that has this environment and
    its C library. One for each start: what it counts begins with the process.
    """

    LIBRARY = os.path.join(BUILD, "tests/system/faults.so")
    HEAD = struct.Struct("16s7q")
    CALL = struct.Struct("16sq")
    FAIL, KILL, HALF = range(3)
    FOR_EVER = 2 ** 62

    def __init__(self, folder, call="", action=FAIL, error=0, first=1,
                 last=None):
        path = os.path.join(folder, "faults")
        with open(path, "wb") as file:
            file.write(self.HEAD.pack(call.encode(), action, error, first,
                                      last or first, 0, 0, 0).ljust(4096, b"\0"))
        with open(path, "r+b") as file:
            self.page = mmap.mmap(file.fileno(), 4096)
        sanitizers = os.environ.get("ASAN_OPTIONS", "")
        self.environment = {
            "LD_PRELOAD": self.LIBRARY, "YOKE_FAULTS": path,
            "ASAN_OPTIONS": sanitizers + ":verify_asan_link_order=0"}

    def lie(self):
        self.page[56:64] = struct.pack("q", 1)

    def set_clock(self, ahead):
        """The wall clock of the program, so many seconds from that here."""
        self.page[64:72] = struct.pack("q", ahead)

    def take(self):
        """How often the fault came, and how often each call was made."""
        self.came = self.HEAD.unpack_from(self.page)[5]
        self.seen = {
            name.strip(b"\0").decode(): n for name, n in self.CALL.iter_unpack(
                self.page[self.HEAD.size:][:40 * self.CALL.size])}
        self.page.close()
        self.page = None

    def run(self, program, *words, environment=os.environ):
        """One program to its end, which a fault that kills is."""
        done = subprocess.run(
            [os.path.join(BUILD, program), *words], stdin=subprocess.DEVNULL,
            capture_output=True, timeout=120,
            env={**environment, **self.environment})
        self.take()
        if done.returncode != (-signal.SIGKILL if self.came else 0):
            raise Problem(done)


def deaths(directory, call):
    """For each occurrence of a call in a program a shim that kills it there,
    and a folder; the last time it comes to its end."""
    came = True
    n = 0
    while came:
        n += 1
        place = os.path.join(directory, "%s%d" % (call, n))
        os.mkdir(place)
        shim = Shim(place, call, Shim.KILL, first=n)
        yield shim, place
        came = shim.came > 0
        shutil.rmtree(place)


class Script:
    """A fixed piece of work of about 300 jobs. The first half has been done in
    an earlier life of the daemon, which a crash has ended with a torn tail, and
    what ended there is soon forgotten: there is something to replay, to cut off
    and to remove. Half of the payloads are on the disk only, so that a thread
    reads them back."""

    ANSWERS = 300
    OPTIONS = dict(OPTIONS, **{"limits.memory-max": "1M"})

    def __init__(self, folder, seed=7):
        self.folder, self.runs = folder, 0
        self.load = Load(seed, keep_ms=50, size=20000, batch=16, patience=5)
        daemon = quickly(self.daemon(folder))
        self.state = daemon.state
        self.load.run(daemon, 3 * self.ANSWERS, lambda: self.crash(daemon))
        self.tear(os.path.join(self.state, "journal"))
        self.load.keep_ms = 3600000
        twin = self.another()
        self.load.compare(quickly(twin))
        twin.kill()
        self.seen = self.attack().seen

    def crash(self, daemon):
        """What is submitted later is kept for long."""
        self.load.set_keep(daemon, 3600000)
        daemon.kill().wait()

    def fresh_load(self):
        return copy.deepcopy(self.load)

    def another(self):
        """A daemon with the same past."""
        self.runs += 1
        folder = os.path.join(self.folder, "%d.%d" % (os.getpid(), self.runs))
        os.mkdir(folder)
        daemon = self.daemon(folder)
        shutil.copytree(self.state, daemon.state)
        return daemon

    def daemon(self, folder):
        return Daemon(folder, dict(self.OPTIONS,
                                   **keeping(self.load.keep_ms)))

    @staticmethod
    def tear(journal):
        """As if the newest segment had been written with no zeros ahead, and
        the crash had come in the middle of a frame; and as if segments had
        been larger before."""
        newest = max(n for n in os.listdir(journal) if n.endswith(".yj"))
        with open(os.path.join(journal, newest), "r+b") as file:
            end = len(file.read().rstrip(b"\0")) + 512  # what ends in zeros
            file.truncate(end)
            file.seek(end)
            file.write(b"torn")
        for name in os.listdir(journal):
            if name.startswith("spare"):
                os.truncate(os.path.join(journal, name), 2 << 20)

    def each(self, call, every=1, **fault):
        """Every occurrence of a call, of whatever thread, or one of so many,
        meets the fault, once; where that does not end the daemon, all from
        there, too. How many met it, and how many of these ended the daemon."""
        came = ended = n = 0
        most = self.seen[call]
        with multiprocessing.get_context("fork").Pool() as pool:
            while n < most:
                found = pool.starmap(self.once, [
                    (call, i, fault) for i in range(n + 1, most + 1, every)])
                n = most
                for shim in found:
                    came += shim.came > 0
                    ended += shim.came > 0 and shim.ended
                    most = max(most, shim.seen[call])
        return came, ended

    def once(self, call, n, fault):
        shim = self.attack(call, first=n, **fault)
        if shim.came and not shim.ended:
            self.attack(call, first=n, last=Shim.FOR_EVER, **fault)
        return shim

    def attack(self, call="", **fault):
        """The shim, after the daemon has met the fault or done all the work.
        Raises Problem if a promise was broken."""
        load = self.fresh_load()
        # What cannot be read for now is tried again; for ever, it is lost.
        load.unreadable = (fault.get("error") == errno.EIO and
                           fault.get("last") == Shim.FOR_EVER)
        daemon = self.another()
        shim = Shim(daemon.dir, call, **fault)
        daemon.more = shim.environment
        try:
            shim.ended = self.live(daemon, load)
            shim.take()
            if shim.ended:
                self.check_end(daemon, call, fault.get("action", Shim.FAIL))
            daemon.more = {}
            quickly(daemon)
            load.compare(daemon)
        except Problem as problem:
            raise Problem("%s %s: %s\n%s" % (call, fault, problem,
                                             daemon.log()[-2000:]))
        finally:
            daemon.kill()
        shutil.rmtree(daemon.dir)
        return shim

    def live(self, daemon, load):
        """Whether it ended by itself."""
        try:
            quickly(daemon)
        except Problem:
            return True
        try:
            ended = load.run(daemon, self.ANSWERS, daemon.kill)
        except OSError:
            ended = True
        if ended and not self.has_ended(daemon):
            # What was accepted before the disk was full waits for room.
            if "the disk is full" not in daemon.log():
                raise Problem("it does not answer")
            ended = False
            daemon.kill()
        daemon.wait()
        return ended

    @staticmethod
    def has_ended(daemon):
        try:
            daemon.wait(5)
            return True
        except subprocess.TimeoutExpired:
            return False

    @staticmethod
    def check_end(daemon, call, action):
        # 2: a file of the configuration cannot be read. Without memory it ends
        # with an abort.
        expected = ((-signal.SIGKILL,) if action == Shim.KILL else
                    (-signal.SIGABRT, 1, 2) if call == "malloc" else (1, 2))
        status = daemon.process.returncode
        if status not in expected or "Sanitizer" in daemon.log():
            raise Problem("it ended with %d" % status)


def main():
    import sys

    power.alone()
    kind = {"cuts": PowerCuts, "lies": Lies}[sys.argv[1]]
    print(json.dumps(kind(int(sys.argv[2]), int(sys.argv[3])).run()))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Makes a golden journal: one with every record that this yoked writes.

usage: tests/golden/make.py NAME      tests/golden/NAME.tar.xz and NAME.txt

With a NAME that ends in -images all of it was compacted.

Run once for a version of the format, or when records were added; what is there
is never made again (tests/system/test_golden.py reads it for ever). YOKE_BUILDDIR
says where yoked is.
"""

import io
import os
import subprocess
import sys
import tarfile
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../system"))

from harness import YOKED, Daemon  # noqa: E402

OPTIONS = {"journal.segment-size": "1M", "limits.payload-max": "64K",
           "limits.result-max": "64K", "queue.keep": "1d", "queue.grace": "1s",
           "limits.groups-max": "8"}


def fetch(client, queue):
    while True:  # cancels come first
        for given in client.execute_command("FETCH", 1, 1000, queue):
            if given[0] == "job":
                return given[1]



def work(client):
    run = client.execute_command
    run("HELLO")
    for _ in range(9):  # one more than there may be: the first is forgotten
        run("GROUP", "CLOSE", run("GROUP", "OPEN", "DETACHED"))
    run("QUEUE", "SET", "narrow", "MAX-JOBS", 1)
    run("QUEUE", "SET", "fair", "FAIR", 1, "RETRY", 3)
    run("QUEUE", "SET", "paused", "PRIORITY", 2)
    run("QUEUE", "PAUSE", "paused")
    run("LIMITER", "SET", "gpu", "PERMITS", 2)
    run("LIMITER", "SET", "api", "RATE", 100, 1000)
    run("LIMITER", "SET", "gone", "PERMITS", 1)
    run("LIMITER", "DEL", "gone")
    # Queued, in all ways.
    run("SUBMIT", "plain", "queued")
    run("SUBMIT", "plain", "named", "NAME", "a name", "KEY", "a key",
        "PRIORITY", 9, "TIMEOUT", 60000, "EXPIRES", 86400000, "RETRY", 5)
    run("SUBMIT", "plain", "later", "DELAY", 86400000)
    run("SUBMIT", "plain", "limited", "LIMITS", "gpu,api:2")
    moved = run("SUBMIT", "plain", "moved")
    run("RESCHEDULE", moved, "DEADLINE", 4102444800000)
    run("SUBMIT", "plain", "asked once", "ONCE", 1, 0)
    # Running, in all ways.
    run("SUBMIT", "run", "running")
    fetch(client, "run")
    run("SUBMIT", "run", "shielded")
    token = fetch(client, "run")
    run("SHIELD", token, 60000)
    run("CANCEL", token.split(".")[0], "REASON", "kept back")
    run("SUBMIT", "run", "ready")
    run("READY", fetch(client, "run"), "port 80")
    run("SUBMIT", "run", "cancelling")
    token = fetch(client, "run")
    run("CANCEL", token.split(".")[0], "REASON", "no more")
    run("SUBMIT", "run", "joining")
    token = fetch(client, "run")
    below = run("GROUP", "OPEN", "PARENT", token)
    run("SUBMIT", "plain", "below", "GROUP", below)
    run("DONE", token, "body done")
    # Ended, in all ways.
    for payload, how in (("ok", ("DONE", "result")),
                         ("dead", ("FAIL", "exit:1", "no", "detail")),
                         ("retried", ("FAIL", "exit:2", "again"))):
        run("SUBMIT", "ends", payload)
        run(how[0], fetch(client, "ends"), *how[1:])
    run("DEAD", "RETRY", "QUEUE", "ends", "COUNT", 1)
    run("SUBMIT", "fair", "fails and waits", "BACKOFF", 86400000,
        86400000)
    run("FAIL", fetch(client, "fair"), "exit:3", "once more")
    run("SUBMIT", "fair", "many errors", "RETRY", 20, "BACKOFF", 0, 0)
    for n in range(12):  # too many for one record
        run("FAIL", fetch(client, "fair"), "exit:%d" % n, "large",
            "%x" % n * 8000)
    run("SUBMIT", "ends", "released")
    run("RELEASE", fetch(client, "ends"))
    run("CANCEL", run("SUBMIT", "ends", "cancelled"), "REASON", "never")
    # A result that waits for room.
    run("SUBMIT", "narrow", "in the way")
    run("SUBMIT", "first", "goes on", "THEN", "narrow")
    run("DONE", fetch(client, "first"), "waits for room")
    # Groups.
    group = run("GROUP", "OPEN", "DETACHED", "NAME", "read", "FAIL", 0)
    for n in range(3):
        run("SUBMIT", "members", "m%d" % n, "GROUP", group)
    run("GROUP", "CLOSE", group)
    for how in (("DONE", "r"), ("FAIL", "exit:1", "f"), ("DONE", "r")):
        run(how[0], fetch(client, "members"), *how[1:])
    run("GROUP", "NEXT", group, "0", 0, "COUNT", 100)
    group = run("GROUP", "OPEN", "DETACHED", "FAIL", 1, "WIDTH", 2)
    run("SUBMIT", "members", "of a cancelled group", "GROUP", group)
    run("CANCEL", group, "REASON", "cancelled")
    group = run("GROUP", "OPEN", "DETACHED", "TIMEOUT", 86400000)
    run("RESCHEDULE", group, "DEADLINE", 4102444800000)
    inner = run("GROUP", "OPEN", "PARENT", group, "KEY", "group key")
    for n in range(5):
        run("SUBMIT", "plain", "deep %d" % n, "GROUP", inner)
    run("GROUP", "CLOSE", inner, "FAIL", 2, "SUCCEED", 3)


def roll(client, segments):
    """Jobs that come and go, until so many segments were begun: all of the
    above is written again as images."""
    first = client.info("persistence")["store_last_segment"]
    while client.info("persistence")["store_last_segment"] < first + segments:
        pipe = client.pipeline(transaction=False)
        for _ in range(200):
            pipe.execute_command("SUBMIT", "roll", "x" * 1000, "KEEP", 0)
        pipe.execute()
        jobs = client.execute_command("FETCH", 1000, 1000, "roll")
        for job in jobs:
            pipe.execute_command("DONE", job[1], "")
        pipe.execute()


def add(tar, name, data):
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def main():
    name = os.path.join(HERE, sys.argv[1])
    if os.path.exists(name + ".tar.xz"):
        sys.exit("%s is there, and stays as it is" % name)
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(folder, OPTIONS)
        daemon.start()
        with daemon.client() as client:
            work(client)
            if name.endswith("-images"):
                roll(client, 4)
            work_again = client.execute_command("GROUP", "OPEN", "DETACHED")
            client.execute_command("SUBMIT", "plain", "after the images",
                                   "GROUP", work_again)
            daemon.kill()  # all that runs stays so
        journal = os.path.join(daemon.state, "journal")
        with tarfile.open(name + ".tar.xz", "w:xz") as tar:
            for segment in sorted(os.listdir(journal)):
                if segment.endswith(".yj"):
                    with open(os.path.join(journal, segment), "rb") as file:
                        add(tar, segment, file.read())
        said = subprocess.run([YOKED, "--verify-journal", journal,
                               "--list-jobs"], capture_output=True, text=True)
        if said.returncode != 0:
            sys.exit(said.stdout + said.stderr)
        with open(name + ".txt", "w") as file:
            file.write(said.stdout.replace(journal, "DIR"))


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: BSD-2-Clause
"""A group of 100,000 members, and the daemon serves others meanwhile.

The figures are printed (pytest -s) and not judged, but for bounds that only
something broken passes; bench/ measures them on a quiet machine.
"""

import threading
import time

import pytest

from harness import pairs, rss, sanitized

MEMBERS = 100000
BATCH = 1000
# A turn of the loop; its slices take some milliseconds.
SLOWEST_SECONDS = 2


@pytest.fixture
def daemon(start):
    # The journal in memory: the disk is not what is looked at here. All that
    # has ended is kept, also when it has been waited for.
    return start({"journal.store": "memory", "limits.lease": "10m",
                  "limits.retain-jobs": "1000000"})


def submit(client, group):
    pipe = client.pipeline(transaction=False)
    ids = []
    for i in range(MEMBERS):
        pipe.execute_command("SUBMIT", "many", i, "GROUP", group)
        if (i + 1) % BATCH == 0:
            ids += pipe.execute()
    return ids


def work(client):
    """A worker that does nothing, until nothing is left. Tokens as they ended,
    in the order of the queue but for the last of each ten: they end first."""
    ended = []
    while True:
        tokens = [job[1] for job in
                  client.execute_command("FETCH", BATCH, 0, "many")]
        if not tokens:
            return ended
        pipe = client.pipeline(transaction=False)
        for i in range(0, len(tokens), 10):
            ten = tokens[i:i + 10]
            for token in ten[-1:] + ten[:-1]:
                pipe.execute_command("DONE", token)
                ended.append(token[:-2])
        assert set(pipe.execute()) == {"OK"}


def pages(client, *words):
    """All members, page by page."""
    cursor, over, ids = "0", 0, []
    while not over:
        cursor, members, over = client.execute_command(
            *words[:3], cursor, *words[3:], "COUNT", BATCH)
        ids += [pairs(member)["id"] for member in members]
    return ids


def lag(client):
    """Seconds that the longest turn of the loop took, since the start."""
    return client.info("server")["loop_lag_us_max"] / 1e6


class Other:
    """Another client, which asks all the time and keeps its longest wait."""

    def __init__(self, daemon):
        self.daemon, self.longest, self.asked = daemon, 0, 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.over.set()
        self.thread.join()

    def run(self):
        with self.daemon.client() as client:
            while not self.over.is_set():
                began = time.monotonic()
                client.execute_command("SUBMIT", "other", "x")
                [[_, token, *_]] = client.execute_command(
                    "FETCH", 1, 1000, "other")
                client.execute_command("DONE", token)
                self.longest = max(self.longest, time.monotonic() - began)
                self.asked += 1


class Clock:
    def __init__(self):
        self.began = time.monotonic()

    def __call__(self, what):
        now = time.monotonic()
        print("%-40s %8.3f s" % (what, now - self.began))
        self.began = now


def test_a_group_of_100000_runs_and_is_read_in_both_orders(daemon):
    with daemon.client() as client, Other(daemon) as other:
        before, clock = rss(daemon.pid), Clock()
        group = client.execute_command("GROUP", "OPEN")
        ids = submit(client, group)
        client.execute_command("GROUP", "CLOSE", group)
        clock("submit")
        each = (rss(daemon.pid) - before) / MEMBERS
        ended = work(client)
        clock("fetch and done")
        info = pairs(client.execute_command("GROUP", "WAIT", group, 10000))
        assert (info["outcome"], info["ok"], info["members"]) == (
            "ok", MEMBERS, MEMBERS)
        assert pages(client, "GROUP", "RESULTS", group) == ids
        clock("results in the order of submission")
        assert pages(client, "GROUP", "NEXT", group, 0) == ended
        clock("results in the order of the ends")
        assert sorted(ended) == sorted(ids) and ended != ids
        paused = lag(client)
    print("memory of a queued member: %.0f bytes" % each)
    print("longest turn of the loop: %.1f ms; another client waited for at most"
          " %.1f ms (%d times asked)" % (
              paused * 1e3, other.longest * 1e3, other.asked))
    assert other.asked > 0
    assert paused < SLOWEST_SECONDS
    if not sanitized():
        assert each < 1000


def test_a_cancel_of_100000_stops_nobody_else(daemon):
    with daemon.client() as client, Other(daemon) as other:
        group = client.execute_command("GROUP", "OPEN")
        submit(client, group)
        clock, asked = Clock(), other.asked
        client.execute_command("GROUP", "CANCEL", group)
        clock("cancel, answered")
        info = pairs(client.execute_command("GROUP", "WAIT", group, 60000))
        clock("until all have ended")
        assert (info["outcome"], info["cancelled"], info["members"]) == (
            "cancelled", MEMBERS, MEMBERS)
        assert client.execute_command("FETCH", 1, 0, "many") == []
        paused = lag(client)
    print("longest turn of the loop: %.1f ms; another client waited for at most"
          " %.1f ms (%d times asked)" % (
              paused * 1e3, other.longest * 1e3, other.asked - asked))
    assert other.asked > asked
    assert paused < SLOWEST_SECONDS

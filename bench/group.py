# SPDX-License-Identifier: BSD-2-Clause
"""What a group with very many members costs those who do not work on it."""

import threading
import time

from servers import Failure, PAYLOAD, Resp


class Other:
    """Another client, which asks all the time and keeps its longest wait."""

    def __init__(self, server):
        self.resp, self.longest = Resp(server.port), 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.over.set()
        self.thread.join()
        self.resp.__exit__()

    def run(self):
        while not self.over.is_set():
            began = time.monotonic()
            self.resp.call("SUBMIT", "other", PAYLOAD)
            [[_, token, *_]] = self.resp.call("FETCH", "1", "1000", "other")
            self.resp.call("DONE", token)
            self.longest = max(self.longest, time.monotonic() - began)


def submit_group(resp, jobs, batch=1000):
    """A group with so many jobs that nobody works on yet."""
    group = resp.call("GROUP", "OPEN")
    one = resp.encode("SUBMIT", "bench", PAYLOAD, "GROUP", group)
    for i in range(0, jobs, batch):
        n = min(batch, jobs - i)
        resp.socket.sendall(one * n)
        for _ in range(n):
            resp.reply()
    return group


def work_off(resp, batch=1000):
    while True:
        work = resp.call("FETCH", str(batch), "0", "bench")
        if not work:
            return
        resp.socket.sendall(b"".join(
            resp.encode("DONE", job[1]) for job in work))
        for _ in work:
            resp.reply()


def read_group(resp, words, cursor_at):
    """The number of members that the pages of a command have."""
    members, over, words = 0, 0, list(words)
    while not over:
        words[cursor_at], page, over = resp.call(*words)
        members += len(page)
    return members


def longest_turn(resp):
    """Milliseconds, from the daemon's own figure; since its start."""
    for line in resp.call("INFO", "server").splitlines():
        if line.startswith("loop_lag_us_max:"):
            return int(line.split(":")[1]) / 1000
    raise Failure("INFO has no loop_lag_us_max")


def big_group(make, jobs):
    """A group is cancelled while nobody works on it, another one is run and
    read in both orders; another client is served all the time. Seconds are the
    driver's as much as the daemon's.
    """
    def turn():
        with make() as server, Resp(server.port) as resp, \
                Other(server) as other:
            idle = server.rss()
            group = submit_group(resp, jobs)
            size = (server.rss() - idle) / jobs
            clock = [time.monotonic()]
            resp.call("GROUP", "CANCEL", group)
            group_ends(resp, group, "cancelled", jobs)
            clock.append(time.monotonic())
            longest = longest_turn(resp)

            group = submit_group(resp, jobs)
            clock.append(time.monotonic())
            resp.call("GROUP", "CLOSE", group)
            work_off(resp)
            clock.append(time.monotonic())
            for words in (["GROUP", "RESULTS", group, "0", "COUNT", "1000"],
                          ["GROUP", "NEXT", group, "0", "0", "COUNT", "1000"]):
                if read_group(resp, words, 3) != jobs:
                    raise Failure("members are missing")
                clock.append(time.monotonic())
            group_ends(resp, group, "ok", jobs)
            cancel, *spans = [after - before for before, after
                              in zip(clock, clock[1:])]
            return (size, cancel * 1000, longest, *spans, longest_turn(resp),
                    other.longest * 1000)
    return turn


def group_ends(resp, group, how, jobs):
    info = resp.call("GROUP", "WAIT", group, "60000")
    if dict(zip(info[::2], info[1::2]))[how] != jobs:
        raise Failure("not all members are " + how)

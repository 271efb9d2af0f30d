# SPDX-License-Identifier: BSD-2-Clause
"""What a job waits for under a load that does not wait: jobs come at their
times, and each counts from the time at which it was due."""

import threading

from drivers import cycle, output
from servers import PAYLOAD, Resp, SERVER_CORE, TURN_SECONDS, places

MIB = 1 << 20


def windows(text):
    """Of each: p50, p99, p99.9 and the longest, in milliseconds."""
    return [[float(us) / 1000 for us in line.split()[1:]]
            for line in text.splitlines()]


def open_loop(server, rate, seconds, window, producers, workers, batch):
    return windows(output(
        [places.program("bench/cycle"), server.protocol(), str(server.port),
         str(rate * seconds), str(producers), str(workers), "1", str(batch),
         str(rate), str(window)], seconds=seconds + TURN_SECONDS))


def submit_to_fetch(make, rate, seconds):
    """One producer, one worker that takes what is there."""
    def turn():
        with make() as server:
            open_loop(server, rate, 1, 1, 1, 1, 16)
            return open_loop(server, rate, seconds, seconds + 1, 1, 1, 16)[0]
    return turn


def disk_sync(rate, seconds, *how):
    """The disk alone: an append and its sync, as often (bench/disk.c)."""
    def turn():
        command = ["taskset", "-c", SERVER_CORE, places.program("bench/disk"),
                   places.work, str(rate), str(seconds), *how]
        return windows(output(command, pinned=False))[0]
    return turn


class Watch:
    """Looks at the daemon each second."""

    def __init__(self, server, segment):
        self.server, self.segment = server, segment
        self.first = server.figures()
        self.rss = [server.rss()]
        self.fill = 0  # of the journal's bound, the most
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.over.set()
        self.thread.join()
        self.last = self.server.figures()

    def run(self):
        while not self.over.wait(1):
            now = self.server.figures()
            bound = 2 * now["store_live_bytes"] + 2 * self.segment
            self.fill = max(self.fill, now["store_used_bytes"] / bound)
            self.rss.append(self.server.rss())

    def grown(self, name):
        return self.last[name] - self.first[name]


def stand(server, jobs, batch=1000):
    """Jobs of a queue of their own, which nobody takes."""
    with Resp(server.port) as resp:
        batch_bytes = resp.encode("SUBMIT", "old", PAYLOAD) * batch
        for _ in range(0, jobs, batch):
            resp.socket.sendall(batch_bytes)
            for _ in range(batch):
                resp.reply()


def sustained_rate(server, jobs, seconds):
    """Jobs a second over that time, not over the first moments, in which a disk
    may do more than it can go on with; so many jobs tell how many that are."""
    def rate(jobs):
        return jobs / cycle(server, jobs, 4, 4, 256, 128)
    return rate(int(rate(jobs) * seconds))


def soak(make, minutes, standing, probe, segment):
    """Half of what the daemon can do for long, while jobs that nobody takes lie
    in the journal, so that it has to be compacted. A tenth of the time is a
    window, of a minute at most; what it can do is seen over one, too."""
    def turn():
        seconds = int(minutes * 60)
        window = min(60, max(seconds // 10, 1))
        with make() as server:
            stand(server, standing)
            most = sustained_rate(server, probe, window)
        with make() as server:
            stand(server, standing)
            with Watch(server, segment) as watch:
                spans = open_loop(server, int(most / 2), seconds, window,
                                  4, 4, 128)
        p99 = [span[1] for span in spans[:seconds // window]]
        return (most, most / 2, p99[0], max(p99) / p99[0],
                max(span[3] for span in spans),
                watch.last["store_sync_us_max"] / 1000, watch.fill,
                watch.grown("store_compacted_bytes") /
                watch.grown("store_bytes"),
                watch.rss[0] / MIB, max(watch.rss) / MIB)
    return turn

# SPDX-License-Identifier: BSD-2-Clause
"""What jobs that wait cost: memory, and time at the next start."""

import time

from drivers import cycle, redis_benchmark
from servers import Failure, Redis, Yoked


def fill(server, jobs):
    if isinstance(server, Redis):
        redis_benchmark(server, jobs, 50, 32, server.submit())
    else:
        cycle(server, jobs, 4, 0, 256, 1)
    if server.held() < jobs:
        raise Failure(server.name + " does not hold what it took")


def restart(server, jobs):
    """Kills it; the seconds from the start to the first request that it
    serves."""
    server.kill()
    began = time.monotonic()
    server.start()
    held = server.ready()
    seconds = time.monotonic() - began
    if held < jobs:
        raise Failure(server.name + " lost jobs")
    return seconds


def bytes_and_recovery(make, jobs):
    """Two figures from one filling: bytes of memory for each job, and seconds
    from the start after a kill to the first request that is served. What a
    server does not keep by itself is saved before."""
    def turn():
        with make() as server:
            idle = server.rss()
            fill(server, jobs)
            size = (server.rss() - idle) / server.held()
            if isinstance(server, Redis) and not server.aof:
                server.save()
            return size, restart(server, jobs)
    return turn


def short_of_memory(jobs, memory_each):
    """The same where memory-max lets go nearly all payloads: the bytes of a job
    without what is left of them, the share that is on the disk."""
    def turn():
        with Yoked(limits__memory_max=str(jobs * memory_each)) as server:
            idle = server.rss()
            fill(server, jobs)
            now = server.figures()
            left = now["payload_bytes"] - now["payload_unloaded_bytes"]
            size = (server.rss() - idle - left) / jobs
            gone = 100 * now["jobs_unloaded"] / jobs
            return size, gone, restart(server, jobs)
    return turn

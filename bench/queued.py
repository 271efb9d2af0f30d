# SPDX-License-Identifier: BSD-2-Clause
"""What jobs that wait cost: memory, and time at the next start."""

import time

from drivers import cycle, redis_benchmark
from servers import Failure, Redis


def fill(server, jobs):
    if isinstance(server, Redis):
        redis_benchmark(server, jobs, 50, 32, server.submit())
    else:
        cycle(server, jobs, 4, 0, 256, 1)
    if server.held() < jobs:
        raise Failure(server.name + " does not hold what it took")


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
            server.kill()
            began = time.monotonic()
            server.start()
            held = server.ready()
            seconds = time.monotonic() - began
            if held < jobs:
                raise Failure(server.name + " lost jobs")
            return size, seconds
    return turn

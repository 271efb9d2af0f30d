# SPDX-License-Identifier: BSD-2-Clause
"""What is done to the servers as fast as it goes. Each *_rate makes a turn: a
function that starts a fresh server, and returns how much it did in a second;
those by redis-benchmark also the microseconds of processor time that the server
took for one, which says more than the rate where others use the machine, too."""

import csv
import io
import subprocess
import time

from servers import (DRIVER_CORE, Failure, PAYLOAD, Resp, TURN_SECONDS, Yoked,
                     memory_at_hand, places)


def output(command, pinned=True, seconds=TURN_SECONDS):
    if pinned:
        command = ["taskset", "-c", DRIVER_CORE] + command
    done = subprocess.run(command, capture_output=True, text=True,
                          timeout=seconds, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise Failure("%s: %s" % (" ".join(command), done.stderr))
    return done.stdout


def redis_benchmark(server, requests, clients, depth, words):
    """Requests a second. Its one thread is as busy as the server's: where that
    does little, as for a PING, this is the most that the driver can do."""
    out = output(["redis-benchmark", "-p", str(server.port), "--csv",
                  "-c", str(clients), "-P", str(depth),
                  "-n", str(requests)] + words)
    return float(list(csv.reader(io.StringIO(out)))[-1][1])


def rate_and_cost(server, requests, clients, depth, words):
    """After a tenth of it, to warm up."""
    with memory_at_hand():
        redis_benchmark(server, requests // 10, clients, depth, words)
    before = server.cpu_us()
    rate = redis_benchmark(server, requests, clients, depth, words)
    return rate, max(server.cpu_us() - before, 1) / requests


def submit_rate(make, requests, depth, clients=50):
    def turn():
        with make() as server:
            figures = rate_and_cost(server, requests, clients, depth,
                                    server.submit())
            # redis-benchmark may round up to whole pipelines.
            if server.held() < requests + requests // 10:
                raise Failure(server.name + " does not hold what it took")
            return figures
    return turn


def ping_rate(make, requests, depth):
    def turn():
        with make() as server:
            return rate_and_cost(server, requests, 50, depth, ["PING"])
    return turn


def cycle(server, jobs, producers, workers, depth, batch):
    return float(output([places.program("bench/cycle"),
                         server.protocol(), str(server.port), str(jobs),
                         str(producers), str(workers), str(depth),
                         str(batch)]))


def cycle_rate(make, jobs, batch):
    def turn():
        with make() as server:
            rate = jobs / cycle(server, jobs, 4, 4, 256, batch)
            if server.held():
                raise Failure(server.name + " holds jobs that it gave away")
            return rate
    return turn


def runner_rate(jobs):
    def turn():
        config = ("[runner]\nstart = yes\nslots = 2\n"
                  "[run bench]\ncommand = /bin/true\n")
        with Yoked(pinned=False, config=config) as server, \
                Resp(server.port) as resp:
            run_group(resp, jobs // 10)
            return jobs / run_group(resp, jobs)
    return turn


def run_group(resp, jobs):
    """The seconds from the first submit to the end of the last process."""
    group = resp.call("GROUP", "OPEN", "FAIL", "0")
    submits = resp.encode("SUBMIT", "bench", PAYLOAD, "GROUP", group)
    began = time.monotonic()
    resp.socket.sendall(submits * jobs)
    for _ in range(jobs):
        resp.reply()
    resp.call("GROUP", "CLOSE", group)
    info = resp.call("GROUP", "WAIT", group, "-1")
    seconds = time.monotonic() - began
    info = dict(zip(info[::2], info[1::2]))
    if info["ok"] != jobs:
        raise Failure("of %d processes %s are ok" % (jobs, info["ok"]))
    return seconds


def spawn_rate(jobs):
    def turn():
        return jobs / float(output([places.program("bench/spawn"),
                                    str(jobs), "2", "/bin/true"], False))
    return turn


def xargs_rate(jobs):
    def turn():
        lines = "x\n" * jobs
        began = time.monotonic()
        subprocess.run(["xargs", "-P2", "-n1", "/bin/true"], input=lines,
                       text=True, check=True, timeout=TURN_SECONDS)
        return jobs / (time.monotonic() - began)
    return turn

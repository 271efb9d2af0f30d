# SPDX-License-Identifier: BSD-2-Clause
"""What is done to the servers as fast as it goes. Each *_rate makes a turn: a
function that starts a fresh server, and returns how much it did in a second;
those by redis-benchmark also the microseconds of processor time that the server
took for one, which says more than the rate where others use the machine, too."""

import csv
import io
import os
import subprocess
import tempfile
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


def runner_rate(jobs, at_once, pool=False):
    """A process for each job, or so many that serve all."""
    command = ("%s\npool = %d" % (places.program("bench/worker"), at_once)
               if pool else "/bin/true")

    def turn():
        config = ("[runner]\nstart = yes\nslots = %d\n"
                  "[run bench]\ncommand = %s\n" % (at_once, command))
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


def spawn_rate(jobs, at_once):
    def turn():
        return jobs / float(output([places.program("bench/spawn"), str(jobs),
                                    str(at_once), "/bin/true"], False))
    return turn


def from_lines(command):
    """Of what runs a process for each line of its input: a turn, from the
    number of jobs, and how many at once."""
    def make(jobs, at_once):
        def turn():
            lines = "x\n" * jobs
            began = time.monotonic()
            subprocess.run(command + ["-P%d" % at_once, "/bin/true"],
                           input=lines, text=True, check=True,
                           timeout=TURN_SECONDS,
                           env={**os.environ, "PARALLEL_HOME": places.work})
            return jobs / (time.monotonic() - began)
        return turn
    return make


xargs_rate = from_lines(["xargs", "-n1"])
parallel_rate = from_lines(["parallel", "--will-cite"])


def queue_all(jobs, command, environment):
    """Starts a command for each job, one after the other."""
    subprocess.run([places.program("bench/spawn"), str(jobs), "1"] + command,
                   stdout=subprocess.DEVNULL, check=True, timeout=TURN_SECONDS,
                   env={**os.environ, **environment})


def tsp_rate(jobs, at_once):
    """task-spooler: all are queued, then the last ones are awaited."""
    def turn():
        place = tempfile.mkdtemp(prefix="tsp.", dir=places.work)
        environment = {"TS_SOCKET": os.path.join(place, "socket"),
                       "TS_SLOTS": str(at_once), "TMPDIR": place,
                       "TS_MAXFINISHED": str(jobs), "TS_MAXCONN": str(jobs)}

        def tsp(*words):
            return subprocess.run(["tsp", *words], capture_output=True,
                                  text=True, check=True, timeout=TURN_SECONDS,
                                  env={**os.environ, **environment}).stdout
        try:
            began = time.monotonic()
            queue_all(jobs, ["/usr/bin/tsp", "-n", "/bin/true"], environment)
            for last in range(jobs - at_once, jobs):
                tsp("-w", str(last))
            seconds = time.monotonic() - began
            done = tsp("-l").count(" finished ")
        finally:
            tsp("-K")
        if done != jobs:
            raise Failure("tsp has finished %d of %d" % (done, jobs))
        return jobs / seconds
    return turn


def nq_rate(jobs, at_once):
    """nq runs one at a time of each directory: so there are several."""
    def turn():
        queues = [tempfile.mkdtemp(prefix="nq.", dir=places.work)
                  for _ in range(at_once)]
        began = time.monotonic()
        for queue in queues:
            queue_all(jobs // at_once, ["/usr/bin/nq", "-q", "/bin/true"],
                      {"NQDIR": queue})
        for queue in queues:
            subprocess.run(["nq", "-w"], check=True, timeout=TURN_SECONDS,
                           env={**os.environ, "NQDIR": queue})
        seconds = time.monotonic() - began
        done = sum(ended_well(entry) for queue in queues
                   for entry in os.scandir(queue))
        if done != jobs // at_once * at_once:
            raise Failure("nq has finished %d of %d" % (done, jobs))
        return done / seconds
    return turn


def ended_well(entry):
    with open(entry.path) as log:
        return "[exited with status 0.]" in log.read()

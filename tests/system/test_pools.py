# SPDX-License-Identifier: BSD-2-Clause
"""Pools: processes that serve one job after the other keep what is promised of
jobs that are processes."""

import hashlib
import os
import signal
import subprocess

import pytest

from harness import (BUILD, MARK, RUNNER, SOURCE, YOKE, end, marked, pairs,
                     until, wanted)

# What a job does is its payload, a program. It has `say`, `ask`, `token`.
WORKER = r"""
import os, signal, socket, subprocess, sys, time
yoke = socket.socket(fileno=int(os.environ["YOKE_WORKER_FD"])).makefile("rwb")
queue = os.environ["YOKE_QUEUE"]

def reply():
    line = yoke.readline()
    if not line:
        sys.exit()
    kind, rest = line[:1], line[1:-2]
    if kind == b"*":
        return [reply() for _ in range(int(rest))]
    if kind == b"$":
        return None if rest == b"-1" else yoke.read(int(rest) + 2)[:-2]
    return int(rest) if kind == b":" else rest

def say(*words):
    words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
    yoke.write(b"*%d\r\n" % len(words) +
               b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
    yoke.flush()

def ask(*words):
    say(*words)
    return reply()

class Reported(Exception):
    pass

while True:
    for kind, token, _, payload, *_ in ask("FETCH", 1, -1, queue):
        result = os.getpid()
        try:
            exec(payload)
        except Reported:
            continue
        ask("DONE", token, result)
"""
# In place of the end: waits until it is told to stop, and says so.
OBEY = """
[[kind, _, reason, grace]] = ask("FETCH", 0, -1, queue)
assert kind == b"cancel"
ask("FAIL", token, "cancelled", b"told: " + reason)
raise Reported
"""


@pytest.fixture
def pool(start, directory):
    """A daemon, and a runner with a pool for queue p."""

    class Pool:
        def __init__(self):
            # A FETCH waits for a sixth of the lease: longer than any test.
            self.daemon = start({"limits.lease": "10m"})
            self.config = os.path.join(directory, "runner.ini")
            self.worker = os.path.join(directory, "worker.py")
            self.log_path = os.path.join(directory, "runner.log")
            self.process = None
            with open(self.worker, "w") as file:
                file.write(WORKER)

        def write(self, *lines, command=None, runner=""):
            with open(self.config, "w") as file:
                file.write("[runner]\n%s\n[run p]\ncommand = %s\n%s\n" % (
                    runner, command or "/usr/bin/python3 -IS " + self.worker,
                    "\n".join(lines or ("pool = 1",))))

        def run(self, *lines, **more):
            self.write(*lines, **more)
            with open(self.log_path, "wb") as log:
                self.process = subprocess.Popen(
                    [RUNNER, "--connect", self.daemon.socket, "-c",
                     self.config], stdin=subprocess.DEVNULL, stderr=log)
            until(lambda: "connected" in self.log(), "it is connected")

        def log(self):
            with open(self.log_path) as file:
                return file.read()

        def submit(self, payload="", *options):
            with self.daemon.client() as client:
                return client.execute_command("SUBMIT", "p", payload, *options)

        def state(self, job):
            with self.daemon.client() as client:
                return pairs(client.execute_command("STATUS", job))["state"]

        def wait(self, job):
            with self.daemon.client() as client:
                return pairs(client.execute_command("WAIT", job, 30000))

        def do(self, payload="", *options):
            return self.wait(self.submit(payload, *options))

        def cancel(self, job, *options):
            with self.daemon.client() as client:
                client.execute_command("CANCEL", job, *options)

        def began(self, name):
            until(lambda: os.path.exists(os.path.join(directory, name)),
                  "the job says that it began")

        def beginning(self, name):
            return "open(%r, 'w').close()\n" % os.path.join(directory, name)

    p = Pool()
    yield p
    if p.process:
        p.process.send_signal(signal.SIGINT)
        try:
            assert p.process.wait(30) == 0
        finally:
            end(p.process)


def error(outcome):
    [e] = outcome["errors"]
    e = pairs(e) if isinstance(e, list) else e
    return e["class"], e["message"]


def leaving(pool, mark):
    """Two processes in a session of their own, which take no notice of TERM."""
    there = os.path.join(os.path.dirname(pool.config), "child")
    return ("subprocess.Popen(['setsid', 'sh', '-c', 'trap \"\" TERM; : >%s; "
            "sleep 1000 & sleep 1000'], env={%r: %r, "
            "'PATH': os.environ['PATH']})\n"
            "while not os.path.exists(%r): time.sleep(0.01)\n"
            % (there, MARK, mark, there))


def test_one_that_begins_to_serve_gets_its_jobs_although_others_are_waited_for(
        pool, directory):
    gate = os.path.join(directory, "gate")
    os.mkfifo(gate)
    pool.run("pool = 1", "[run other]", "command = /bin/true",
             command="sh -c 'read -r x < %s; exec /usr/bin/python3 -IS %s'" % (
                 gate, pool.worker), runner="slots = 300")
    with pool.daemon.client() as client:
        until(lambda: wanted(client) == 300, "other is waited for")
    job = pool.submit()
    with open(gate, "w") as file:
        file.write("go\n")
    assert pool.wait(job)["outcome"] == "ok"


def test_a_backlog_of_one_queue_keeps_none_back(pool):
    """Not in a pool, and not in the slots, of which two queues have one; that
    most queues have no jobs changes nothing."""
    crowd = 60
    idle = ["[run idle%d]\ncommand = /bin/true" % i for i in range(100)]
    with pool.daemon.client() as client:
        jobs = {queue: [client.execute_command("SUBMIT", queue, "")
                        for _ in range(n)][-1]
                for queue, n in (("p", crowd), ("a", crowd), ("b", 1))}
    pool.run("pool = 1", *idle, "[run a]", "command = /bin/true", "[run b]",
             "command = /bin/true", runner="slots = 1")
    ended = {queue: pool.wait(job)["ended"] for queue, job in jobs.items()}
    assert ended["b"] < ended["p"]
    assert ended["b"] < ended["a"]


def test_few_processes_serve_many_jobs(pool):
    pool.run("pool = 2")
    jobs = [pool.submit("print(token.decode(), flush=True)") for _ in range(50)]
    outcomes = [pool.wait(job) for job in jobs]
    assert {o["outcome"] for o in outcomes} == {"ok"}
    assert 1 <= len({o["result"] for o in outcomes}) <= 2
    # What it prints is the log of the job that it has.
    assert pool.daemon.yoke("logs", jobs[7]).stdout == jobs[7] + ".1\n"


def test_a_process_is_replaced_after_so_many_jobs(pool):
    pool.run("pool = 1", "pool-jobs-max = 3")
    pids = [pool.do()["result"] for _ in range(9)]
    assert pids == [pids[0]] * 3 + [pids[3]] * 3 + [pids[6]] * 3
    assert len(set(pids)) == 3


def test_a_process_that_has_grown_is_replaced(pool):
    pool.run("pool = 1", "pool-memory-max = 64M")
    first = pool.do("import time; time.sleep(0.1)")["result"]
    grown = pool.do("keep = b'x' * (100 << 20); time.sleep(0.1)")["result"]
    assert grown == first
    until(lambda: pool.do("time.sleep(0.1)")["result"] != first,
          "another one serves")


def test_a_process_that_ends_fails_its_job_as_it_did_and_has_a_successor(pool):
    pool.run()
    before = pool.do()["result"]
    assert error(pool.do("os._exit(7)"))[0] == "exit:7"
    assert error(pool.do("os.kill(os.getpid(), 9)"))[0] == "signal:KILL"
    after = pool.do()
    assert after["outcome"] == "ok" and after["result"] != before


def test_a_cancel_is_told_and_the_process_serves_on(pool):
    pool.run()
    before = pool.do()["result"]
    job = pool.submit(pool.beginning("began") + OBEY)
    pool.began("began")
    pool.cancel(job, "REASON", "enough")
    outcome = pool.wait(job)
    assert outcome["outcome"] == "cancelled" and outcome["reason"] == "enough"
    assert pool.do()["result"] == before


@pytest.mark.parametrize("cgroup", ["auto", "off"])
def test_who_ignores_a_cancel_is_killed_with_all_it_started(pool, cgroup):
    pool.run(runner="cgroup = " + cgroup)
    before = pool.do()["result"]
    mark = pool.daemon.socket
    job = pool.submit(leaving(pool, mark) + "time.sleep(1000)")
    pool.began("child")
    assert marked(mark)
    pool.cancel(job, "GRACE", "50")
    assert pool.wait(job)["outcome"] == "cancelled"
    assert marked(mark) == []
    assert pool.do()["result"] not in (None, before)


def test_a_timeout_ends_a_job_of_a_pool(pool):
    pool.run()
    outcome = pool.do("time.sleep(1000)", "TIMEOUT", "100", "GRACE", "0")
    assert outcome["outcome"] == "failed" and error(outcome)[0] == "timeout"
    assert pool.do()["outcome"] == "ok"


@pytest.mark.parametrize("cgroup", ["auto", "off"])
def test_a_job_has_ended_when_nothing_is_left_of_it(pool, cgroup):
    """And its process serves on."""
    pool.run(runner="cgroup = " + cgroup)
    before = pool.do()["result"]
    mark = pool.daemon.socket
    outcome = pool.do(leaving(pool, mark))
    assert outcome["outcome"] == "ok"
    pool.began("child")
    assert marked(mark) == []
    assert pool.do()["result"] == before == outcome["result"]


@pytest.mark.parametrize("words, said", [
    ("say('DONE', 'j1m8je6d6p0000.1', 'x')", "no job of it"),
    ("yoke.write(b'*1\\r\\n$-5\\r\\n'); yoke.flush()", "the protocol"),
])
def test_who_says_what_is_wrong_is_killed_and_its_job_fails(pool, words, said):
    pool.run()
    outcome = pool.do(words + "\ntime.sleep(1000)")
    assert error(outcome)[0] == "worker" and said in error(outcome)[1]
    assert said in pool.log()
    assert pool.do()["outcome"] == "ok"


def test_processes_that_end_at_once_are_told_of_once(pool):
    pool.run("pool = 2", command="/bin/false")
    until(lambda: "ended before it served a job" in pool.log(), "it says so")
    job = pool.submit()
    pool.write("pool = 2")
    pool.process.send_signal(signal.SIGHUP)
    assert pool.wait(job)["outcome"] == "ok"
    assert pool.log().count("ended before it served a job") == 1


def test_a_reload_replaces_who_is_idle_and_lets_others_end_their_jobs(
        pool, directory):
    pool.run("pool = 1")
    gate = os.path.join(directory, "gate")
    old = pool.submit(pool.beginning("began") + "while not os.path.exists(%r): "
                      "time.sleep(0.01)" % gate)
    pool.began("began")
    pool.write("pool = 2")
    pool.process.send_signal(signal.SIGHUP)
    new = pool.do()
    assert new["outcome"] == "ok" and pool.state(old) == "running"
    with open(gate, "w"):
        pass
    outcome = pool.wait(old)
    assert outcome["outcome"] == "ok" and outcome["result"] != new["result"]
    until(lambda: not os.path.exists("/proc/" + outcome["result"]),
          "it is gone then")


def test_a_runner_that_drains_lets_its_pools_end_their_jobs(pool, directory):
    pool.run("pool = 2", runner="drain = 1h")
    gate = os.path.join(directory, "gate")
    job = pool.submit(pool.beginning("began") + "while not os.path.exists(%r): "
                      "time.sleep(0.01)" % gate)
    pool.began("began")
    pool.process.send_signal(signal.SIGTERM)
    until(lambda: "draining running=1" in pool.log(), "it drains")
    with open(gate, "w"):
        pass
    outcome = pool.wait(job)
    assert outcome["outcome"] == "ok"
    assert pool.process.wait(30) == 0
    assert not os.path.exists("/proc/" + outcome["result"])
    pool.process = None


def test_a_process_that_never_asks_again_does_not_hold_up_the_end(pool):
    """It has reported its last job, and hangs."""
    pool.run("pool = 1", runner="drain = 1h\nstop-grace = 100ms")
    job = pool.submit(
        "signal.signal(15, lambda *_: stopped.append(1)); stopped = []\n" +
        pool.beginning("began") +
        "while not os.path.exists(%r): time.sleep(0.01)\n"
        "ask('DONE', token, 'x')\nwhile True: time.sleep(1)\n"
        % (pool.config + ".gate"))
    pool.began("began")
    pool.process.send_signal(signal.SIGTERM)
    until(lambda: "draining running=1" in pool.log(), "it drains")
    with open(pool.config + ".gate", "w"):
        pass
    assert pool.wait(job)["outcome"] == "ok"
    assert pool.process.wait(30) == 0
    pool.process = None


def test_a_process_that_is_large_from_the_beginning_serves(pool):
    pool.run("pool = 1", "pool-memory-max = 1M", runner="log-level = debug")
    job = pool.submit(pool.beginning("began") + "time.sleep(1000)")
    pool.began("began")
    assert "it has grown" not in pool.log()
    pool.cancel(job, "GRACE", "0")


def test_what_was_said_before_the_end_counts(pool):
    """Also behind a request that waits for an answer of the daemon."""
    pool.run()
    for _ in range(20):
        outcome = pool.do("say('TOUCH', token)\nsay('DONE', token, 'said')\n"
                          "os._exit(3)")
        assert (outcome["outcome"], outcome["result"]) == ("ok", "said")


def test_a_runner_that_is_killed_leaves_nothing_of_its_pools(pool):
    pool.run("pool = 3", runner="cgroup = off")
    first = pool.do()["result"]
    job = pool.submit(pool.beginning("began") + "time.sleep(1000)")
    pool.began("began")
    pool.process.kill()
    pool.process.wait(30)
    pool.process = None
    until(lambda: not os.path.exists("/proc/" + first), "they are gone")
    until(lambda: pool.state(job) == "ready", "it is there for others")


def test_what_a_job_of_a_pool_submits_is_below_it(pool):
    pool.run()
    job = pool.submit(
        "result = subprocess.check_output([%r, 'submit', '-q', 'other', '-g', "
        "token, 'x']).strip()" % YOKE)
    until(lambda: pool.state(job) == "joining", "it waits for what is below")
    with pool.daemon.client() as client:
        [below] = client.execute_command("JOBS", "QUEUE", "other")
    pool.cancel(pairs(below)["id"] if isinstance(below, list) else below)
    assert pool.wait(job)["outcome"] == "ok"


@pytest.mark.parametrize("lines, said", [
    (("pool = 1", "slots = 2"), "slots is nothing for a pool"),
    (("pool = 1", "result = fd3"), "result is nothing for a pool"),
    (("pool = 1", "success-exit = 3"), "success-exit is nothing for a pool"),
    (("pool-jobs-max = 2",), "give it `pool = N`"),
    (("pool = 257",), "pool"),
])
def test_what_makes_no_sense_for_a_pool_is_refused(pool, lines, said):
    pool.write(*lines)
    done = subprocess.run([RUNNER, "--check-config", "-c", pool.config],
                          capture_output=True, text=True)
    assert done.returncode == 2 and said in done.stderr


def test_a_worker_of_libyoke_is_the_process_of_a_pool_unchanged(pool):
    program = os.path.join(BUILD, "tests/system/handlers")
    pool.run("pool = 1", command=program + " 2 0 p")
    assert pool.do("echo me")["result"] == "echo me"
    pool.process.send_signal(signal.SIGINT)
    assert pool.process.wait(30) == 0
    pool.process = None
    assert pool.log().count("without a job") == 1  # it prints what it counted


def test_the_example_of_a_pool(pool, directory):
    program = os.path.join(SOURCE, "examples", "redis", "pool.py")
    with open(program) as file:
        assert len(file.readlines()) <= 40
    pool.run("pool = 2", command="/usr/bin/python3 " + program)
    with open(pool.config, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    assert pool.do(pool.config)["result"] == digest
    assert error(pool.do("/nowhere"))[0] == "io"


def test_a_process_that_asks_for_nothing_is_told_of(pool):
    pool.run(command="/bin/sleep 1000")
    until(lambda: "has not asked for a job" in pool.log(), "it is told of", 30)
    assert "queue=p" in pool.log()

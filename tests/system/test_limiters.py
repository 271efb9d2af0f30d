# SPDX-License-Identifier: BSD-2-Clause
"""Limiters by the command line, with real jobs and with workers that die."""

import os
import signal

import pytest
import redis

from harness import hang_up, until


@pytest.fixture
def daemon(start):
    daemon = start(runner=True)
    until(daemon.runner, "its runner is there")
    return daemon


@pytest.fixture
def impatient(start):
    """A silent worker loses its jobs soon."""
    daemon = start({"limits.lease": "1s"}, runner=True)
    until(daemon.runner, "its runner is there")
    return daemon


class Blocked:
    """Jobs that need a permit and run until they are let go, one by one."""

    def __init__(self, daemon, count):
        self.daemon = daemon
        self.fifo = os.path.join(daemon.dir, "fifo")
        os.mkfifo(self.fifo)
        # Open at both ends: a job that reads waits for a line, not for us.
        self.end = os.open(self.fifo, os.O_RDWR)
        self.jobs = [daemon.json(
            "submit", "--limits", "gpu", "-c", "--", "sh", "-c",
            "read line <%s" % self.fifo)["id"] for _ in range(count)]

    def states(self):
        states = [self.daemon.json("status", job)["state"]
                  for job in self.jobs]
        return {state: states.count(state) for state in set(states)}

    def let_go(self):
        os.write(self.end, b"\n")

    def await_states(self, **wanted):
        until(lambda: self.states() == wanted, "%r, not %r" % (
            wanted, self.states()))


def limiter(daemon):
    return daemon.json("limiter", "info", "gpu")


def test_no_more_run_than_there_are_permits(daemon):
    assert daemon.yoke("limiter", "set", "gpu", "2").returncode == 0
    jobs = Blocked(daemon, 3)
    jobs.await_states(running=2, parked=1)
    assert (limiter(daemon)["held"], limiter(daemon)["waiting"]) == (2, 1)
    [waits] = [s for s in map(lambda j: daemon.json("status", j), jobs.jobs)
               if s["state"] == "parked"]
    assert waits["waits_for"] == "gpu"
    # What needs no permit passes.
    assert daemon.yoke("run", "echo", "free").stdout == "free\n"
    for _ in range(3):
        jobs.let_go()
    assert daemon.yoke("wait", *jobs.jobs).returncode == 0
    assert limiter(daemon)["held"] == 0


def test_raising_wakes_at_once_and_lowering_lets_holders_finish(daemon):
    daemon.yoke("limiter", "set", "gpu", "1")
    jobs = Blocked(daemon, 4)
    jobs.await_states(running=1, parked=3)
    daemon.yoke("limiter", "set", "gpu", "3")
    jobs.await_states(running=3, parked=1)
    daemon.yoke("limiter", "set", "gpu", "1")
    assert jobs.states() == {"running": 3, "parked": 1}
    assert (limiter(daemon)["permits"], limiter(daemon)["held"]) == (1, 3)
    jobs.let_go()
    jobs.await_states(finished=1, running=2, parked=1)
    jobs.let_go()
    jobs.await_states(finished=2, running=1, parked=1)
    jobs.let_go()
    jobs.await_states(finished=3, running=1)
    jobs.let_go()
    assert daemon.yoke("wait", *jobs.jobs).returncode == 0


def test_none_is_no_bound_and_0_starts_nothing(daemon):
    daemon.yoke("limiter", "set", "gpu", "0")
    jobs = Blocked(daemon, 2)
    jobs.await_states(parked=2)
    daemon.yoke("limiter", "set", "gpu", "none")
    jobs.await_states(running=2)
    jobs.let_go()
    jobs.let_go()
    assert daemon.yoke("wait", *jobs.jobs).returncode == 0


def test_permits_of_a_lost_attempt_come_back(impatient):
    """Once the worker vanishes, once the runner is killed."""
    daemon = impatient
    daemon.yoke("limiter", "set", "gpu", "1")
    with daemon.client() as silent, daemon.client() as other:
        for name in ("one", "two"):
            other.execute_command("SUBMIT", "mail", name, "LIMITS", "gpu",
                                  "REDELIVER", "0")
        [[_, token, _, _, _]] = silent.execute_command("FETCH", 1, 0, "mail")
        hang_up(silent)
        [[_, second, _, payload, _]] = other.execute_command(
            "FETCH", 1, 10000, "mail")
        assert payload == "two" and second != token
        other.execute_command("DONE", second)
    jobs = Blocked(daemon, 1)
    jobs.await_states(running=1)
    os.kill(daemon.runner(), signal.SIGKILL)
    until(lambda: daemon.json("status", jobs.jobs[0])["attempt"] == 2,
          "it runs again", 60)
    assert limiter(daemon)["held"] == 1
    jobs.let_go()
    assert daemon.yoke("wait", *jobs.jobs).returncode == 0
    assert limiter(daemon)["held"] == 0


def test_permits_are_there_after_a_crash(impatient):
    daemon = impatient
    daemon.yoke("limiter", "set", "gpu", "1", "--rate", "1000/1s")
    with daemon.client() as client:
        for name in ("one", "two"):
            client.execute_command("SUBMIT", "mail", name, "LIMITS", "gpu")
        [job] = client.execute_command("FETCH", 2, 0, "mail")
        assert job[3] == "one"
    daemon.kill().start()
    info = limiter(daemon)
    assert (info["permits"], info["rate"], info["rate_interval"]) == (
        1, 1000, 1000)
    with daemon.client() as client:
        # Its lease ends, or its worker reports: then the next one starts.
        done = []
        while len(done) < 2:
            for _, token, _, payload, _ in client.execute_command(
                    "FETCH", 2, 10000, "mail"):
                held = limiter(daemon)["held"]
                try:
                    client.execute_command("DONE", token)
                except redis.ResponseError as error:
                    # It took longer than the lease: it comes again.
                    assert str(error).startswith("STALE")
                    continue
                assert held == 1
                done.append(payload)
        assert sorted(done) == ["one", "two"]


def test_a_reload_says_what_the_file_says_again(start):
    """Over what LIMITER SET has changed, for what is given; a section that is
    taken away leaves its limiter."""
    daemon = start(config="[limiter gpu]\npermits = 1\n", runner=True)

    def reload(config):
        count = daemon.log().count("reloaded")
        daemon.configure(config)
        daemon.signal(signal.SIGHUP)
        until(lambda: daemon.log().count("reloaded") > count, "it reads it")

    jobs = Blocked(daemon, 3)
    jobs.await_states(running=1, parked=2)
    daemon.yoke("limiter", "set", "gpu", "3", "--rate", "1000/s")
    jobs.await_states(running=3)
    reload("[limiter gpu]\npermits = 2\n")
    info = limiter(daemon)
    assert (info["permits"], info["rate"], info["held"]) == (2, 1000, 3)
    reload("[limiter gpu]\nrate = none\n")
    assert (limiter(daemon)["permits"], limiter(daemon)["rate"]) == (2, 0)
    reload("[limiter api]\nrate = 10/s\n")
    assert limiter(daemon)["permits"] == 2
    assert daemon.json("limiter", "info", "api")["rate"] == 10
    daemon.yoke("limiter", "set", "api", "--rate", "20/s")
    for _ in range(3):
        jobs.let_go()
    assert daemon.yoke("wait", *jobs.jobs).returncode == 0
    daemon.kill().start()  # a start says it again, too
    assert daemon.json("limiter", "info", "api")["rate"] == 10
    assert limiter(daemon)["permits"] == 2


def test_a_reload_that_raises_a_limiter_wakes_who_waits(start):
    daemon = start(config="[limiter gpu]\npermits = 0\n", runner=True)
    jobs = Blocked(daemon, 1)
    jobs.await_states(parked=1)
    daemon.configure("[limiter gpu]\npermits = 1\n")
    daemon.signal(signal.SIGHUP)
    jobs.await_states(running=1)
    jobs.let_go()
    assert daemon.yoke("wait", *jobs.jobs).returncode == 0


def test_limiters_are_shown_and_removed(daemon):
    for words in (["api", "--rate", "10/s"], ["gpu", "2"]):
        assert daemon.yoke("limiter", "set", *words).returncode == 0
    assert [one["name"] for one in daemon.json("limiter", "list")] == [
        "api", "gpu"]
    shown = daemon.yoke("limiter", "list").stdout
    assert "10/1s" in shown and "none" in shown
    job = daemon.yoke("submit", "-q", "mail", "--limits", "gpu:2,api",
                      "x").stdout.strip()
    refused = daemon.yoke("limiter", "del", "gpu")
    assert (refused.returncode, "need 'gpu'" in refused.stderr) == (1, True)
    daemon.yoke("cancel", job)
    assert daemon.yoke("limiter", "del", "gpu").returncode == 0
    gone = daemon.yoke("limiter", "info", "gpu")
    assert (gone.returncode, "NOLIMITER" in gone.stderr) == (1, True)
    refused = daemon.yoke("submit", "-q", "mail", "--limits", "gpu", "x")
    assert (refused.returncode, "NOLIMITER" in refused.stderr) == (1, True)


@pytest.mark.parametrize("words", [
    ["gpu"], ["gpu", "-1"], ["gpu", "x"], ["gpu", "1", "2"],
    ["gpu", "--rate", "10"], ["gpu", "--rate", "0/1s"],
    ["gpu", "--rate", "10/0"], ["gpu", "--rate", "10/soon"]])
def test_what_is_no_limiter_is_a_usage_error(daemon, words):
    done = daemon.yoke("limiter", "set", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "limiter set" in done.stderr


def test_map_and_run_take_limits(daemon):
    daemon.yoke("limiter", "set", "gpu", "1")
    done = daemon.yoke("run", "--limits", "gpu", "echo", "one")
    assert (done.returncode, done.stdout) == (0, "one\n")
    done = daemon.yoke("map", "--limits", "gpu", "echo", ":::", "a", "b")
    assert (done.returncode, done.stdout) == (0, "a\nb\n")
    job = daemon.json("ls", "--state", "finished")[0]["id"]
    assert daemon.json("status", job)["outcome"] == "ok"

# SPDX-License-Identifier: BSD-2-Clause
"""tests/system/groups.c: a program that keeps a thousand groups under way on
one connection, in a loop of libev and of libuv."""

import os
import subprocess
import threading

import pytest
import redis

from harness import BUILD, end, pairs, until

PROGRAM = os.path.join(BUILD, "tests/system/groups")
AT_ONCE = 1000
TOTAL = int(os.environ.get("YOKE_GROUPS", "2000"))
CANCELLED = TOTAL // 11
FAILED = TOTAL // 7 - TOTAL // 77

pytestmark = pytest.mark.skipif(
    not os.path.exists(PROGRAM), reason="libev and libuv were not there")


class Worker(threading.Thread):
    """Does what is asked, also of a daemon that was away."""

    def __init__(self, daemon):
        super().__init__(daemon=True)
        self.make = daemon.client
        self.over = threading.Event()
        self.allowed = threading.Event()
        self.done = 0

    def work(self, client):
        pipe = client.pipeline(transaction=False)
        for job in client.execute_command("FETCH", 1000, 200, "work"):
            if job[0] != "job":
                continue
            if job[3] == "fail":
                pipe.execute_command("FAIL", job[1], "bad", "as asked")
            else:
                pipe.execute_command("DONE", job[1])
        for answer in pipe.execute(raise_on_error=False):
            assert answer == "OK" or str(answer).startswith("STALE"), answer
            self.done += answer == "OK"

    def run(self):
        self.allowed.wait()
        while not self.over.is_set():
            try:
                with self.make() as client:
                    while not self.over.is_set():
                        self.work(client)
            except redis.ConnectionError:
                self.over.wait(0.05)


@pytest.fixture
def daemon(start):
    daemon = start({"limits.lease": "2s"})
    with daemon.client() as client:
        client.execute_command("QUEUE", "SET", "work", "MAX-JOBS", 3 * AT_ONCE)
    return daemon


@pytest.fixture
def worker(daemon):
    worker = Worker(daemon)
    worker.start()
    yield worker
    worker.over.set()
    worker.allowed.set()
    worker.join()


@pytest.fixture(params=["libev", "libuv"])
def program(request, daemon):
    process = subprocess.Popen(
        [PROGRAM, request.param, daemon.socket, str(AT_ONCE), str(TOTAL)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True)
    yield process
    end(process)


def is_right(process):
    out, error = process.communicate(timeout=300)
    assert (process.returncode, error) == (0, "")
    assert out == "ok %d failed %d cancelled %d most %d\n" % (
        TOTAL - FAILED - CANCELLED, FAILED, CANCELLED, AT_ONCE)


def begin(daemon, worker):
    """Lets the jobs be done once all groups that may be are under way."""
    with daemon.client() as client:
        until(lambda: pairs(client.execute_command("QUEUE", "INFO", "work"))
              ["ready"] == 3 * AT_ONCE, "each has its three jobs", 60)
    worker.allowed.set()


def test_a_thousand_groups_are_under_way_on_one_connection(
        daemon, worker, program):
    begin(daemon, worker)
    is_right(program)


def test_they_outlast_a_crash_of_the_daemon(daemon, worker, program):
    begin(daemon, worker)
    until(lambda: worker.done > TOTAL, "a third of the jobs is done", 60)
    daemon.kill().start()
    is_right(program)

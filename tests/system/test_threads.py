# SPDX-License-Identifier: BSD-2-Clause
"""libyoke's worker of threads (tests/system/handlers.c) against a real daemon:
as it is built, and once more under ThreadSanitizer."""

import os
import signal
import subprocess
import time

import pytest

from harness import BUILD, end, pairs, until, wanted

LEASE = 1500  # ms
RESULT_MAX = 300000
SHORT_LEASE = pytest.mark.parametrize("lease", ["%dms" % LEASE])


class Worker:
    def __init__(self, daemon, program, *words):
        self.out = open(os.path.join(daemon.dir, "handlers.out"), "w+")
        self.process = subprocess.Popen(
            [os.path.join(BUILD, "tests/system", program), *words],
            stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.out,
            env=daemon.environment())

    def said(self):
        self.out.seek(0)
        return self.out.read()

    def wait(self):
        return self.process.wait(30)

    def stop(self):
        """Drains, and says how it went."""
        self.process.send_signal(signal.SIGTERM)
        assert self.wait() == 0, self.said()
        return self.said()


@pytest.fixture(params=["handlers", "handlers-tsan"])
def program(request):
    return request.param


@pytest.fixture
def lease():
    return "60s"


@pytest.fixture
def daemon(start, lease):
    return start({"limits.lease": lease, "queue.grace": "30s",
                  "limits.result-max": str(RESULT_MAX)})


@pytest.fixture
def y(daemon):
    client = daemon.client()
    yield client
    client.close()


@pytest.fixture
def work(daemon, program):
    """work(threads, ...) starts a worker, which must not complain."""
    workers = []

    def make(*words):
        workers.append(Worker(daemon, program, *map(str, words)))
        return workers[-1]

    yield make
    for worker in workers:
        print(worker.said())
        end(worker.process)
        assert "Sanitizer" not in worker.said(), worker.said()
        worker.out.close()


def submit(y, payload, *options, queue="work"):
    return y.execute_command("SUBMIT", queue, payload, *options)


def outcome(y, job):
    o = y.execute_command("WAIT", job, 20000)
    assert o is not None, job
    o = pairs(o)
    o["errors"] = [pairs(e) for e in o["errors"]]
    return o


def ready(y, job):
    assert y.execute_command("WAIT", job, 20000, "READY") == "here"


def result(y, payload, *options):
    o = outcome(y, submit(y, payload, *options))
    assert o["outcome"] == "ok", o
    return o["result"]


def error(y, payload):
    o = outcome(y, submit(y, payload))
    assert o["outcome"] == "failed"
    return o["errors"][-1]


# ------------------------------------------------------------------ the ends


def test_a_handler_says_how_its_job_ends(y, work):
    worker = work(2)
    assert result(y, "echo me") == "echo me"
    assert result(y, "nothing") == ""
    assert result(y, "release") == "the second time"
    failed = error(y, "fail")
    assert failed["class"] == "bad" and failed["message"] == "in words"
    assert failed["detail"] == "more"
    assert error(y, "exit 75")["class"] == "exit:75"
    worker.stop()


def test_results_and_payloads_go_up_to_their_bounds(y, work):
    worker = work(2)
    payload = "echo" + "p" * (RESULT_MAX - 4)
    assert result(y, payload) == payload
    assert len(result(y, "size %d" % RESULT_MAX)) == RESULT_MAX
    too_big = error(y, "size %d" % (RESULT_MAX + 1))
    assert too_big["class"] == "result" and "TOOBIG" in too_big["message"]
    worker.stop()


def test_log_and_progress_are_seen(y, work):
    worker = work(1)
    job = submit(y, "progress", "TIMEOUT", 60000)
    ready(y, job)
    assert pairs(y.execute_command("STATUS", job))["progress"] == "half of it"
    assert y.execute_command("LOGS", job, 0, 0)[1] == [[1, "a line\n"]]
    y.execute_command("CANCEL", job)
    assert outcome(y, job)["result"] == "time is left"
    worker.stop()


# -------------------------------------------------------------------- cancel


@pytest.mark.parametrize("how", ["block", "poll", "spin", "interrupted"])
def test_a_cancel_reaches_every_handler(y, work, how):
    worker = work(8)
    jobs = [submit(y, how) for _ in range(6)]
    for job in jobs:
        ready(y, job)
    for job in jobs:
        y.execute_command("CANCEL", job, "REASON", "enough")
    for job in jobs:
        o = outcome(y, job)
        assert (o["outcome"], o["reason"]) == ("cancelled", "enough")
    assert result(y, "echo") == "echo"
    worker.stop()


def test_what_is_done_although_it_was_asked_to_stop_is_ok(y, work):
    worker = work(1)
    job = submit(y, "finish")
    ready(y, job)
    y.execute_command("CANCEL", job, "REASON", "enough")
    o = outcome(y, job)
    assert (o["outcome"], o["result"]) == ("ok", "enough")
    worker.stop()


def test_a_shield_keeps_the_cancel_back(y, work):
    worker = work(4)
    jobs = [submit(y, "shield") for _ in range(4)]
    for job in jobs:
        ready(y, job)
        y.execute_command("CANCEL", job, "REASON", "enough")
    for job in jobs:
        o = outcome(y, job)
        assert (o["outcome"], o["result"]) == ("ok", "after the shield"), o
    worker.stop()


def test_a_timeout_is_a_cancel(y, work):
    worker = work(1)
    o = outcome(y, submit(y, "block", "TIMEOUT", 50))
    assert o["outcome"] == "failed"
    assert o["errors"][-1]["class"] == "timeout"
    worker.stop()


def test_a_handler_that_does_not_stop_is_seen(y, work):
    """It keeps its job for as long as it runs, whatever the lease is."""
    worker = work(2)
    job = submit(y, "stubborn")
    ready(y, job)
    y.execute_command("CANCEL", job, "REASON", "enough", "GRACE", 20)
    o = outcome(y, job)
    assert (o["outcome"], o["result"]) == ("ok", "at last")
    [[stream, line]] = y.execute_command("LOGS", job, 0, 0)[1]
    assert stream == 2 and "has not returned" in line and "enough" in line
    worker.stop()


# -------------------------------------------------------------------- scopes


def test_groups_of_a_handler_are_under_its_job(y, work):
    worker = work(8)
    jobs = [submit(y, "group") for _ in range(4)]
    assert [outcome(y, job)["result"] for job in jobs] == ["3 ok"] * 4
    worker.stop()


def test_a_job_is_joined_with_what_its_handler_leaves(y, work):
    worker = work(2)
    job = submit(y, "leave block")
    until(lambda: pairs(y.execute_command("STATUS", job))["state"]
          == "joining", "it waits for what it left")
    # Its thread, whose handle has submitted it, ends before it does.
    assert y.execute_command("WAIT", job, 0) is None
    y.execute_command("CANCEL", job)
    assert outcome(y, job)["outcome"] == "cancelled"
    assert error(y, "leave fail")["class"] == "group"
    worker.stop()


# --------------------------------------------------------- threads, the lease


def test_a_queue_has_no_more_than_its_slots(y, work):
    worker = work(6, 2)
    jobs = [submit(y, "few", queue="few") for _ in range(40)]
    assert {outcome(y, job)["outcome"] for job in jobs} == {"ok"}
    assert "few: 2\n" in worker.stop()


def test_a_queue_with_few_slots_leaves_the_others_theirs(y, work):
    worker = work(6, 2)
    until(lambda: wanted(y) == 6, "all threads are offered")
    job = submit(y, "poll", queue="few")
    ready(y, job)
    until(lambda: wanted(y) == 5, "the other threads are offered")
    y.execute_command("CANCEL", job)
    worker.stop()


@SHORT_LEASE
def test_busy_handlers_keep_their_lease(y, work):
    """All threads compute for longer than the lease is."""
    worker = work(2)
    jobs = [submit(y, "spin") for _ in range(2)]
    for job in jobs:
        ready(y, job)
    begun = time.monotonic()
    until(lambda: time.monotonic() - begun > 2 * LEASE / 1000, "it is over")
    for job in jobs:
        status = pairs(y.execute_command("STATUS", job))
        assert (status["state"], status["attempt"]) == ("running", 1)
        y.execute_command("CANCEL", job)
        assert outcome(y, job)["outcome"] == "cancelled"
    worker.stop()


def test_many_short_jobs_are_all_done_once(y, work):
    worker = work(8)
    pipe = y.pipeline(transaction=False)
    for i in range(3000):
        pipe.execute_command("SUBMIT", "work", "echo %d" % i)
    jobs = pipe.execute()
    for i, job in enumerate(jobs):
        o = outcome(y, job)
        assert (o["result"], o["errors"]) == ("echo %d" % i, [])
    worker.stop()


# ---------------------------------------------------------------- the daemon


def test_jobs_go_on_while_the_daemon_restarts(daemon, y, work):
    worker = work(2)
    job = submit(y, "finish")
    ready(y, job)
    assert daemon.stop() == 0
    daemon.start()
    with daemon.client() as again:
        until(lambda: "is restored" in worker.said(), "the connection is back")
        again.execute_command("CANCEL", job, "REASON", "enough")
        o = outcome(again, job)
        assert (o["result"], o["attempts"]) == ("enough", 1)
    worker.stop()


@SHORT_LEASE
def test_a_worker_that_is_cut_off_stops_its_jobs(daemon, y, work):
    """The daemon is silent for longer than the lease: what ran is stopped and
    not reported, and runs again."""
    worker = work(2)
    job = submit(y, "finish")
    ready(y, job)
    daemon.signal(signal.SIGSTOP)
    try:
        until(lambda: "connection is lost" in worker.said(), "it is noticed")
    finally:
        daemon.signal(signal.SIGCONT)
    until(lambda: pairs(y.execute_command("STATUS", job))["attempt"] == 2,
          "it runs again")
    ready(y, job)
    y.execute_command("CANCEL", job, "REASON", "enough")
    o = outcome(y, job)
    assert o["result"] == "enough"
    worker.stop()


# ---------------------------------------------------------------------- ends


def test_a_worker_that_is_stopped_waits_for_its_handlers(y, work):
    worker = work(2)
    job, other = submit(y, "finish"), submit(y, "finish")
    ready(y, job)
    ready(y, other)
    late = submit(y, "echo")
    worker.process.send_signal(signal.SIGTERM)
    y.execute_command("CANCEL", job, "REASON", "enough")
    assert outcome(y, job)["result"] == "enough"
    assert worker.process.poll() is None
    y.execute_command("CANCEL", other, "REASON", "enough")
    assert worker.wait() == 0
    assert outcome(y, other)["result"] == "enough"
    assert pairs(y.execute_command("STATUS", late))["attempt"] in (0, 1)


def test_a_worker_that_is_stopped_twice_gives_its_jobs_back(y, work):
    worker = work(2)
    job = submit(y, "block")
    ready(y, job)
    worker.process.send_signal(signal.SIGTERM)
    # Two signals of a kind are one until the first has been taken.
    until(lambda: "stopping" in worker.said(), "the first has been taken")
    worker.process.send_signal(signal.SIGTERM)
    assert worker.wait() == 0
    status = pairs(y.execute_command("STATUS", job))
    assert (status["state"], status["errors"]) == ("ready", 0)


@pytest.mark.parametrize("words, wanted", [
    (["2000"], "at most 1024 threads"),
])
def test_what_cannot_be_is_refused(work, words, wanted):
    worker = work(*words)
    assert worker.wait() == 1
    assert wanted in worker.said()


def test_a_daemon_that_is_not_there_is_said_at_once(daemon, work):
    assert daemon.stop() == 0
    worker = work(1)
    assert worker.wait() == 1
    assert "connect: cannot connect to" in worker.said()

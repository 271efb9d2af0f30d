# SPDX-License-Identifier: BSD-2-Clause
"""Times that move, shields, and what is tried again: with the real programs."""

import os
import time

import pytest

from harness import until, yoke_in_job


@pytest.fixture
def daemon(start):
    return start(runner=True)


def submit(daemon, script, *words):
    done = daemon.yoke("submit", "-c", *yoke_in_job(), *words, "--", "sh",
                       "-c", script)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def status(daemon, job):
    return daemon.json("status", job)


def outcome(daemon, job):
    daemon.yoke("wait", job)
    return status(daemon, job)["outcome"]


def classes(daemon, job):
    return [e["class"] for e in daemon.json("wait", job)[0]["errors"]]


def test_a_deadline_moves_while_the_job_runs(daemon):
    job = submit(daemon, "sleep 1000", "--deadline", "1h")
    until(lambda: status(daemon, job)["state"] == "running", "it runs")
    assert daemon.yoke("reschedule", job, "--deadline", "2h").returncode == 0
    assert status(daemon, job)["deadline"] > time.time() * 1000 + 3700e3
    assert daemon.yoke("reschedule", job, "--deadline", "now").returncode == 0
    assert outcome(daemon, job) == "failed"
    assert classes(daemon, job) == ["deadline"]
    late = daemon.yoke("reschedule", job, "--deadline", "none")
    assert late.returncode != 0 and "ENDED" in late.stderr


def test_a_group_s_deadline_moves_for_its_members(daemon):
    group = daemon.yoke("group", "open", "--deadline", "1h").stdout.strip()
    job = submit(daemon, "sleep 1000", "-g", group)
    until(lambda: status(daemon, job)["state"] == "running", "it runs")
    daemon.yoke("reschedule", group, "--timeout", "0")
    assert outcome(daemon, job) == "cancelled"
    assert status(daemon, job)["reason"] == "deadline"


def test_a_start_moves(daemon):
    job = submit(daemon, "echo ran", "--at", "1h")
    assert status(daemon, job)["state"] == "delayed"
    daemon.yoke("reschedule", job, "--at", "now")
    assert outcome(daemon, job) == "ok"


def test_a_shield_holds_a_cancel_back_from_the_process(daemon, directory):
    go = os.path.join(directory, "go")
    job = submit(daemon, "yoke shield --for 50s && echo up;"
                 "while [ ! -e %s ]; do sleep 0.05; done; echo saved;"
                 "yoke shield --end; sleep 1000" % go)
    until(lambda: status(daemon, job).get("shielded"), "it is shielded")
    daemon.yoke("cancel", job, "--reason", "enough")
    seen = status(daemon, job)
    assert seen["state"] == "running" and seen["reason"] == "enough"
    open(go, "w").close()
    assert outcome(daemon, job) == "cancelled"
    assert daemon.yoke("logs", job).stdout == "up\nsaved\n"
    assert status(daemon, job)["reason"] == "enough"


def test_a_shield_is_bounded_and_says_so(start):
    daemon = start(config="[limits]\nshield-max = 100ms\n", runner=True)
    job = submit(daemon, "yoke shield --for 1h; sleep 1000")
    until(lambda: "shield-max" in daemon.yoke("logs", job).stderr, "it says so")
    daemon.yoke("cancel", job)
    assert outcome(daemon, job) == "cancelled"


def test_a_shield_is_for_jobs(daemon):
    done = daemon.yoke("shield")
    assert done.returncode == 2 and "YOKE_TOKEN" in done.stderr


def test_only_what_is_named_is_tried_again(daemon):
    words = ["--retry", "3", "--backoff", "10ms", "--factor", "1.5",
             "--jitter", "0", "--retry-on", "exit:7?"]
    again = submit(daemon, "exit 75", *words)
    over = submit(daemon, "exit 1", *words)
    assert classes(daemon, again) == ["exit:75"] * 3
    assert classes(daemon, over) == ["exit:1"]


def test_a_queue_has_defaults_for_its_jobs(daemon):
    done = daemon.yoke("queue", "set", "run", "--retry", "2", "--backoff",
                       "10ms,1s", "--factor", "1.25", "--jitter", "0",
                       "--retry-on", "exit:*", "--priority", "6", "--expires",
                       "1h")
    assert done.returncode == 0, done.stderr
    info = daemon.json("queue", "info", "run")
    assert info["factor"] == "1.25" and info["retry_on"] == "exit:*"
    assert info["backoff"] == 10 and info["backoff_cap"] == 1000
    assert info["priority"] == 6 and info["expires"] == 3600000
    job = submit(daemon, "exit 3")
    assert classes(daemon, job) == ["exit:3"] * 2
    assert status(daemon, job)["priority"] == 6
    daemon.yoke("queue", "set", "run", "--retry-on", "none")
    assert daemon.json("queue", "info", "run")["retry_on"] is None

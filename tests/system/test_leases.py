# SPDX-License-Identifier: BSD-2-Clause
"""A worker that falls silent loses its jobs, and cannot report them any more."""

import time

import pytest
import redis

from faulty import Daemon, Shim
from harness import hang_up, pairs, readable, until

LEASE = 0.5


@pytest.fixture
def daemon(start):
    return start({"limits.lease": "500ms", "limits.session-grace": "200ms"})


def test_a_silent_worker_loses_its_job_to_another(daemon):
    with daemon.client() as silent, daemon.client() as other:
        job = other.execute_command("SUBMIT", "mail", "x")
        [[_, first, _, _, _]] = silent.execute_command("FETCH", 1, 0, "mail")
        began = time.monotonic()
        [[_, second, _, payload, about]] = other.execute_command(
            "FETCH", 1, 10000, "mail")
        assert time.monotonic() - began > LEASE / 2
        assert (first, second, payload) == (job + ".1", job + ".2", "x")
        assert pairs(about)["attempt"] == 2
        # The fencing number: the first one is too late and changes nothing.
        for words in (["DONE", first, "late"], ["FAIL", first, "late", "x"],
                      ["TOUCH", first], ["RELEASE", first]):
            with pytest.raises(redis.ResponseError, match="^STALE"):
                silent.execute_command(*words)
        assert pairs(other.execute_command("STATUS", job))["state"] == "running"
        assert other.execute_command("DONE", second, "good") == "OK"
        outcome = pairs(other.execute_command("RESULT", job))
        assert (outcome["outcome"], outcome["result"]) == ("ok", "good")
        assert [pairs(e)["class"] for e in outcome["errors"]] == ["lost"]


def test_a_sign_of_life_keeps_the_lease(daemon):
    with daemon.client() as worker, daemon.client() as other:
        other.execute_command("SUBMIT", "mail", "x")
        [[_, token, _, _, _]] = worker.execute_command("FETCH", 1, 0, "mail")
        began = time.monotonic()
        # The other waits longer than a lease, the worker speaks meanwhile.
        while time.monotonic() - began < 3 * LEASE:
            assert worker.execute_command("TOUCH", token)[0] == 0
            assert other.execute_command("FETCH", 1, 100, "mail") == []
        assert worker.execute_command("DONE", token) == "OK"


def test_quit_gives_leases_back_at_once(start):
    daemon = start({"limits.lease": "1h"})
    with daemon.raw() as s, daemon.client() as other:
        other.execute_command("SUBMIT", "mail", "x")
        with s.makefile("rb") as answers:
            s.sendall(b"FETCH 1 0 mail\r\nQUIT\r\n")
            assert answers.read().endswith(b"+OK\r\n")
        [job] = other.execute_command("FETCH", 1, 5000, "mail")
        assert job[1].endswith(".2")


def test_a_broken_connection_can_be_resumed(start):
    daemon = start({"limits.lease": "1h", "limits.session-grace": "1h"})
    with daemon.client() as other:
        worker = daemon.client()
        hello = pairs(worker.execute_command("HELLO", 2))
        group = worker.execute_command("GROUP", "OPEN")
        other.execute_command("SUBMIT", "mail", "x", "GROUP", group)
        [[_, token, _, _, _]] = worker.execute_command("FETCH", 1, 0, "mail")
        hang_up(worker)
        with daemon.client() as again:
            # The daemon may not have seen the end of the first one yet.
            held = until(lambda: resume(again, hello["session"]), "resumed")
            assert held == [token]
            assert again.execute_command("DONE", token) == "OK"
            assert again.execute_command("GROUP", "CLOSE", group) == "OK"
            assert pairs(again.execute_command(
                "GROUP", "WAIT", group, 5000))["outcome"] == "ok"


def resume(client, session):
    try:
        return client.execute_command("SESSION", "RESUME", session)
    except redis.ResponseError:
        return None


def test_owned_groups_are_cancelled_when_their_session_is_gone(daemon):
    with daemon.client() as other:
        owner = daemon.client()
        group = owner.execute_command("GROUP", "OPEN")
        kept = owner.execute_command("GROUP", "OPEN", "DETACHED")
        owner.execute_command("SUBMIT", "mail", "x", "GROUP", group)
        hang_up(owner)
        info = pairs(other.execute_command("GROUP", "WAIT", group, 10000))
        assert (info["outcome"], info["reason"]) == ("cancelled", "owner-lost")
        assert pairs(other.execute_command(
            "GROUP", "INFO", kept))["state"] == "open"


def test_a_job_that_kills_its_workers_does_not_do_so_for_ever(daemon):
    with daemon.client() as other:
        job = other.execute_command("SUBMIT", "mail", "x", "REDELIVER", 2)
        for attempt in (1, 2, 3):
            worker = daemon.client()
            [[_, token, _, _, _]] = worker.execute_command(
                "FETCH", 1, 10000, "mail")
            assert token == "%s.%d" % (job, attempt)
            hang_up(worker)
        outcome = pairs(other.execute_command("WAIT", job, 10000))
        assert outcome["outcome"] == "failed"
        assert [pairs(e)["class"] for e in outcome["errors"]] == ["lost"] * 3


@pytest.mark.parametrize("ahead", [3600, -3600])
def test_a_clock_that_is_set_moves_no_lease_and_no_wait(directory, ahead):
    lease = 3
    daemon = Daemon(directory, {"limits.lease": "%ds" % lease})
    shim = Shim(daemon.dir)
    daemon.more = shim.environment
    daemon.start()
    try:
        with daemon.client() as silent, daemon.client() as other, \
                daemon.raw() as waits:
            waits.sendall(b"FETCH 1 600000 none\r\n")
            job = other.execute_command("SUBMIT", "mail", "x")
            sent = time.monotonic()
            silent.execute_command("FETCH", 1, 0, "mail")
            got = time.monotonic()
            shim.set_clock(ahead)
            [[_, token, _, _, _]] = other.execute_command(
                "FETCH", 1, 60000, "mail")
            over = time.monotonic()
            assert token == job + ".2"
            assert over - sent > 0.9 * lease  # not at the step
            assert over - got < 1.9 * lease   # nor at half speed
            assert not readable(waits)
    finally:
        assert daemon.stop() in (0, None)

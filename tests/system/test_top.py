# SPDX-License-Identifier: BSD-2-Clause
"""yoke top: what a daemon does, on one screen."""

import json
import os
import re
import signal

import pytest

from harness import encode, end
from terminal import terminal


@pytest.fixture
def daemon(start):
    return start()


@pytest.fixture
def client(daemon):
    with daemon.client() as client:
        client.client_setname("drill")
        yield client


def test_one_screen_tells_what_goes_on(daemon, client):
    client.execute_command("LIMITER", "SET", "gpu", "PERMITS", 2)
    one, two, three = [client.execute_command(
        "SUBMIT", "mail", "x", "LIMITS", "gpu", "TIMEOUT", 3600000, "NAME",
        "\u4f60" * 40) for _ in range(3)]
    client.execute_command("SUBMIT", "mail", "x", "DELAY", 1000000)
    tokens = [client.execute_command("FETCH", 1, 5000, "mail")[0][1]
              for _ in range(2)]
    client.execute_command("QUEUE", "SET", "idle")
    client.execute_command("QUEUE", "PAUSE", "idle")
    with daemon.raw() as other, terminal(daemon, "top") as t:
        other.sendall(encode("CLIENT", "SETNAME", "hungry") +
                      encode("FETCH", "3", "600000", "mail"))
        duration = "[0-9]+m?s"
        text = t.matches(
            "^yoked .* up " + duration,
            "^4 jobs: 2 running, 1 delayed, 1 parked$",
            "^a second: 0.0 submitted, 0.0 started, 0.0 ended",
            "^mail +- +1 +1 +2 +0.0 +0.0 +%s$" % duration,
            "^idle .* paused$",
            "^%s +mail +%s +(59m..s|1h00m) +drill +\u4f60+[.]{3}$" % (
                one, duration),
            "^%s +mail .* drill " % two,
            "^gpu +2/2 +- +1 +%s %s < %s$" % (one, two, three),
            "^drill +2 +- +100% ", "^hungry +0 +3 +0% ")
        assert t.screen.alternate and not t.screen.cursor
        assert not t.screen.wrapped and len(text.splitlines()) <= 24
        client.execute_command("CANCEL", two)
        t.matches(two + " .* cancelling +drill")
        for token in tokens:
            client.execute_command("DONE", token, "fine")
        t.matches("^hungry +1 ")  # the third one runs
        t.key("q")
        assert t.ended() == 0


def test_each_part_has_its_share_of_the_screen(daemon, client):
    """However much there is of all of them; a heading says how much."""
    for n in range(40):
        client.execute_command("LIMITER", "SET", "l%d" % n, "PERMITS", n)
        client.execute_command("SUBMIT", "q%d" % n, "x")
        client.execute_command("FETCH", 1, 5000, "q%d" % n)
    with terminal(daemon, "top") as t:
        for size in ((24, 80), (12, 40), (50, 132)):
            t.resize(*size)
            os.kill(t.process.pid, signal.SIGWINCH)
            parts = ["^%s [1-9][0-9]*/40" % part
                     for part in ("QUEUE", "JOB", "LIMITER")]
            t.matches(*parts, *(["^WORKER"] if size[0] > 12 else []))
            t.until(lambda text: len(text.splitlines()) == size[0],
                    "it uses the whole screen")
            assert not t.screen.wrapped
        t.key("\x03")
        assert t.ended() == -signal.SIGINT


def test_keys_pause_and_go_on(daemon, client):
    with terminal(daemon, "top", "-i", "100ms") as t:
        t.shows("0 jobs")
        t.key("p")
        t.shows("paused; p goes on")
        client.execute_command("SUBMIT", "mail", "x")
        t.key("s")  # draws what was seen
        t.shows("0 jobs")
        t.key("p")
        t.shows("1 jobs", "mail")
        t.process.send_signal(signal.SIGTERM)
        assert t.ended() == -signal.SIGTERM


def test_it_waits_for_its_daemon(daemon, client):
    client.execute_command("QUEUE", "SET", "mail")
    with terminal(daemon, "top", "-i", "100ms") as t:
        t.shows("mail")
        daemon.kill()
        t.shows("the daemon is gone; waiting for it", "mail")
        daemon.start()
        t.until(lambda text: "gone" not in text and "mail" in text,
                "it is back")
        t.key("q")
        assert t.ended() == 0


def test_once_is_plain_text_and_data(daemon, client):
    name = "a-queue-with-a-name-that-is-longer-than-any-screen-gives-it"
    job = client.execute_command("SUBMIT", name, "x", "NAME", "n" * 100)
    client.execute_command("FETCH", 1, 5000, name)
    for words in (["top", "-i", "100ms"], ["top", "--once", "-i", "100ms"]):
        done = daemon.yoke(*words)
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout and "1 jobs: 1 running" in done.stdout
        assert re.search("(?m)^%s " % name, done.stdout)
        assert re.search("(?m)^%s .* drill .* n{100}$" % job, done.stdout)
    data = daemon.json("top", "-i", "100ms")
    assert data["jobs"][0]["id"] == job
    assert data["queues"][0]["name"] == name
    assert data["workers"][0]["held"] == 1
    assert daemon.yoke("top", "-i", "1ms").returncode == 2
    with terminal(daemon, "top", "--once", "-i", "100ms") as t:
        assert t.ended() == 0
        assert job in t.screen.text() and not t.screen.wrapped


def test_rates_are_of_the_time_between_two_looks(daemon, client):
    for _ in range(1000):
        client.execute_command("SUBMIT", "old", "x")
    looking = daemon.yoke_start("--json", "top", "-i", "500ms")
    try:
        while looking.poll() is None:
            client.execute_command("SUBMIT", "mail", "x")
        data = json.loads(looking.communicate()[0])
    finally:
        end(looking)
    queues = {q["name"]: q for q in data["queues"]}
    assert queues["old"]["submit_rate"] == 0
    assert queues["mail"]["submit_rate"] is None or \
        queues["mail"]["submit_rate"] > 0
    assert data["rates"]["submitted"] > 0
    assert data["rates"]["ended"] == 0


def test_what_it_asks_for_is_bounded(daemon, client):
    for n in range(300):
        client.execute_command("LIMITER", "SET", "l%d" % n, "PERMITS", n)
        client.execute_command("SUBMIT", "q%d" % n, "x")
        client.execute_command("FETCH", 1, 5000, "q%d" % n)
    data = daemon.json("top", "-i", "100ms")
    assert data["counts"] == {"queues": 300, "limiters": 300}
    assert {len(data[x]) for x in ("queues", "limiters", "jobs")} == {200}
    assert data["daemon"]["running"] == 300

# SPDX-License-Identifier: BSD-2-Clause
"""yoke tree --watch: the tree as it is, until its group has ended."""

import json
import os
import signal
import time

import pytest

from harness import end, until
from terminal import terminal


@pytest.fixture
def daemon(start):
    return start()


@pytest.fixture
def client(daemon):
    with daemon.client() as client:
        yield client


def fetch(client, queue="mail"):
    [[_, token, *_]] = client.execute_command("FETCH", 1, 5000, queue)
    return token


def open_group(client, *options):
    return client.execute_command("GROUP", "OPEN", "DETACHED", "FAIL", 0,
                                  *options)


def test_the_tree_follows_what_happens_and_stays_at_the_end(daemon, client):
    group = open_group(client, "NAME", "a nice group")
    with terminal(daemon, "tree", "--watch", group) as t:
        t.shows(group, "open", "a nice group")
        assert t.screen.alternate and not t.screen.cursor
        inner = client.execute_command("GROUP", "OPEN", "PARENT", group,
                                       "DETACHED", "NAME", "x" * 100)
        job = client.execute_command("SUBMIT", "mail", "hello", "GROUP", inner,
                                     "NAME", "\u4f60" * 40)
        t.shows("└─ " + inner, "└─ " + job + "  ready")
        token = fetch(client)
        t.shows(job + "  running")
        client.execute_command("FAIL", token, "oops", "it broke")
        t.shows(job + "  failed oops", "it broke")
        for g in (inner, group):
            client.execute_command("GROUP", "CLOSE", g)
        assert t.ended() == 0
        assert not t.screen.wrapped
        lines = t.screen.text().splitlines()
        assert lines[0].startswith(group + "  ok  a nice group")
        assert lines[2].startswith("   └─ " + job + "  failed oops")


def test_what_the_screen_has_no_room_for_is_counted(daemon, client):
    group = open_group(client)
    for _ in range(50):
        client.execute_command("SUBMIT", "mail", "x", "GROUP", group)
    with terminal(daemon, "tree", "--watch", group) as t:
        shown = t.shows("(28 more lines)").splitlines()
        assert shown[0].startswith(group) and len(shown) == 24
        t.resize(10, 30)
        os.kill(t.process.pid, signal.SIGWINCH)
        shown = t.shows("(42 more lines)").splitlines()
        assert len(shown) == 10 and max(map(len, shown)) <= 30
        assert not t.screen.wrapped
        t.key("q")
        assert t.ended() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM,
                                    signal.SIGHUP, signal.SIGQUIT,
                                    signal.SIGALRM, signal.SIGUSR1,
                                    signal.SIGXCPU, signal.SIGSEGV])
def test_the_terminal_is_given_back_by_any_signal(daemon, client, number):
    group = open_group(client)
    with terminal(daemon, "tree", "--watch", group) as t:
        t.shows(group)
        if number == signal.SIGINT:
            t.key("\x03")
        else:
            t.process.send_signal(number)
        t.ended()
        # with the sanitizers a handler of theirs is the last
        assert t.process.returncode == -number or number == signal.SIGSEGV


def test_a_view_waits_for_its_daemon(daemon, client):
    group = open_group(client, "NAME", "before")
    with terminal(daemon, "tree", "--watch", group) as t:
        t.shows("before")
        daemon.kill()
        t.shows("the daemon is gone; waiting for it", "before")
        daemon.start()
        t.until(lambda text: "gone" not in text and group in text, "it is back")
        with daemon.client() as again:
            again.execute_command("GROUP", "CLOSE", group)
        assert t.ended() == 0
        assert t.screen.text().startswith(group + "  ok  before")


def test_without_a_terminal_each_change_is_told(daemon, client):
    group = open_group(client)
    plain = daemon.yoke_start("tree", "--watch", group)
    data = daemon.yoke_start("--json", "tree", "--watch", group)
    try:
        assert plain.stdout.readline() == group + "  open\n"
        assert json.loads(data.stdout.readline())["state"] == "open"
        until(lambda: client.info()["subscriptions"] == 2, "both watch")
        client.execute_command("GROUP", "CLOSE", group)
        out, err = plain.communicate(timeout=30)
        assert (out, err) == ("\n" + group + "  ok\n", "")
        last = data.communicate(timeout=30)[0].splitlines()[-1]
        assert json.loads(last)["outcome"] == "ok"
        assert plain.returncode == 0 and data.returncode == 0
    finally:
        for process in (plain, data):
            if process.returncode is None:
                end(process)


def test_it_is_drawn_ten_times_a_second_at_most(daemon, client):
    group = open_group(client)
    begun = time.monotonic()
    watching = daemon.yoke_start("--json", "tree", "--watch", group)
    try:
        until(lambda: client.info()["subscriptions"] == 1, "it watches")
        for _ in range(1000):
            client.execute_command("SUBMIT", "mail", "x", "GROUP", group)
        client.execute_command("CANCEL", group)
        client.execute_command("GROUP", "CLOSE", group)
        drawn = watching.communicate(timeout=30)[0].count("\n")
    finally:
        end(watching)
    assert 1 <= drawn <= 10 * (time.monotonic() - begun) + 1
    assert watching.returncode == 0


def test_a_group_that_has_ended_is_drawn_once(daemon, client):
    group = open_group(client)
    client.execute_command("GROUP", "CLOSE", group)
    done = daemon.yoke("tree", "--watch", group)
    assert (done.returncode, done.stdout) == (0, group + "  ok\n")
    with terminal(daemon, "tree", "--watch", "g0000000000001") as t:
        assert t.ended() == 1
        assert "NOGROUP" in t.screen.text()

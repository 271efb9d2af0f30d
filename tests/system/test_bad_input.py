# SPDX-License-Identifier: BSD-2-Clause
"""Bad input gets a clear error or a bounded cut; others are not disturbed."""

import os
import random
import resource
import select
import socket
import time

import pytest
import redis

from harness import Lines, encode, rss, sanitized, until

MAX = 1 << 20


@pytest.fixture
def daemon(start):
    return start({"limits.payload-max": str(MAX), "daemon.output-max": "4M",
                  "queue.max-bytes": "1G"})


def answer(daemon, data):
    with daemon.raw() as s:
        s.sendall(data)
        return Lines(s).next()


def alive(daemon):
    began = time.monotonic()
    with daemon.client() as client:
        assert client.ping()
        assert client.execute_command("SUBMIT", "other", "x").startswith("j")
    assert time.monotonic() - began < 5
    return True


@pytest.mark.parametrize("words, error", [
    (["NONSENSE"], "-ERR"),
    (["GROUP", "NONSENSE"], "-ERR"),
    (["SUBMIT"], "-ERR"),
    (["SUBMIT", "mail"], "-ERR"),
    (["PING", "a", "b", "c"], "-ERR"),
    (["SUBMIT", "mail", "x", "TIMEOUT"], "-ERR"),
    (["SUBMIT", "mail", "x", "TIMEOUT", "-5"], "-ERR"),
    (["SUBMIT", "mail", "x", "DELAY", "-2"], "-ERR"),
    (["SUBMIT", "mail", "x", "DELAY", "99999999999999999999"], "-ERR"),
    (["SUBMIT", "mail", "x", "PRIORITY", "10"], "-ERR"),
    (["SUBMIT", "mail", "x", "DELAY", "1", "DELAY", "1"], "-ERR"),
    (["SUBMIT", "mail", "x", "COLOUR", "red"], "-ERR"),
    (["SUBMIT", "-mail", "x"], "-ERR"),
    (["SUBMIT", "m" * 65, "x"], "-ERR"),
    (["SUBMIT", "mail", "x", "NAME", "n" * 129], "-TOOBIG"),
    (["SUBMIT", "mail", "x", "NAME", b"\xff\xfe"], "-ERR"),
    (["SUBMIT", "mail", "x" * (MAX + 1)], "-TOOBIG"),
    (["SUBMIT", "mail", "x", "GROUP", "g0000000000001"], "-NOGROUP"),
    (["STATUS", "j0000000000001"], "-NOJOB"),
    (["STATUS", ""], "-"),
    (["DONE", "j0000000000001.1"], "-"),
    (["QUEUE", "INFO", "nowhere"], "-NOQUEUE"),
    (["FETCH", "-1", "0", "mail"], "-ERR"),
    (["FETCH", "1", "-2", "mail"], "-ERR"),
    (["FETCH", "1", "0"] + [f"q{i}" for i in range(257)], "-ERR"),
    (["FETCH", "1", "0", "/4"], "-ERR"),
    (["FETCH", "1", "0", "mail/1/2"], "-ERR"),
    (["FETCH", "1", "0", "m" * 65 + "/1"], "-ERR"),
    (["FETCH", "1", "0", "a/1", "mail", "mail"], "-ERR"),
    (["WAIT", "j0000000000001", "x"], "-"),
    (["SELECT", "1"], "-ERR"),
    (["HELLO", "9"], "-NOPROTO"),
    (["SESSION", "RESUME", "s0000000000001"], "-NOSESSION"),
])
def test_a_bad_request_is_a_clear_error_and_changes_nothing(
        daemon, words, error):
    with daemon.raw() as s:
        lines = Lines(s)
        s.sendall(encode(*words))
        said = lines.next()
        assert said.startswith(error), said
        assert len(said) > len(error) + 3 and said.isprintable(), said
        s.sendall(encode("PING"))
        assert lines.next() == "+PONG"
    with daemon.client() as client:
        assert client.execute_command("JOBS") == []


@pytest.mark.parametrize("words", [
    ["SUBMIT", "m" * 64, "x"],
    ["SUBMIT", "mail", "x", "NAME", "n" * 128],
    ["SUBMIT", "mail", "x" * MAX],
    ["SUBMIT", "mail", ""],
    ["SUBMIT", "mail", b"\0\r\n\xff"],
])
def test_what_is_just_within_a_limit_is_taken(daemon, words):
    assert answer(daemon, encode(*words)).startswith("j")


def test_a_fetch_names_as_many_queues_as_a_runner_may_have(daemon):
    names = [f"q{i}" for i in range(256)]
    with daemon.client() as client:
        client.execute_command("SUBMIT", names[-1], "x")
        [[_, token, queue, _, _]] = client.execute_command(
            "FETCH", 1, 5000, *names)
        assert queue == names[-1]
        assert client.execute_command("DONE", token) == "OK"


@pytest.mark.parametrize("bound", ["", "x", "-1", "10001", "1.5"])
def test_a_wrong_bound_of_a_fetch_is_named_with_its_queue(daemon, bound):
    with daemon.client() as client, \
            pytest.raises(redis.ResponseError) as error:
        client.execute_command("FETCH", 6, 0, "run/2", f"mail/{bound}")
    assert str(error.value) == (
        "FETCH: the bound of queue 'mail' must be an integer from 0 to 10000, "
        f"not '{bound}'")


def test_a_fetch_bounds_the_jobs_of_each_queue(daemon):
    with daemon.client() as client:
        for queue in ["mail", "run", "rest"] * 3:
            client.execute_command("SUBMIT", queue, "x")
        work = client.execute_command(
            "FETCH", 5, 0, "none/0", "mail/2", "run/1", "rest")
        assert [queue for _, _, queue, _, _ in work] == \
            ["mail", "mail", "run", "rest", "rest"]


@pytest.mark.parametrize("data", [
    b"*2000\r\n", b"*-5\r\n", b"*99999999999999\r\n", b"*1\r\n$-5\r\n",
    b"*1\r\n$99999999999\r\n", b"*1\r\n:1\r\n",
    b"x" * 100000, b"PING \"unbalanced\r\n",
], ids=str)
def test_what_is_no_resp_gets_an_error_and_is_cut(daemon, data):
    with daemon.raw() as s:
        try:
            s.sendall(data)
            said = s.makefile("rb").read()
        except ConnectionResetError:
            said = b"-"
        assert said.startswith(b"-"), said
        assert said.count(b"\n") <= 1
    assert alive(daemon)


def test_binary_nonsense_is_answered_or_cut(daemon):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    before = rss(daemon.pid)
    for _ in range(300):
        data = bytes(chance.randrange(256)
                     for _ in range(chance.randrange(1, 500)))
        if chance.random() < 0.5:
            data = b"*3\r\n$6\r\nSUBMIT\r\n" + data
        with daemon.raw() as s:
            try:
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
                s.makefile("rb").read()
            except (ConnectionResetError, BrokenPipeError):
                pass
    assert alive(daemon)
    if not sanitized():
        assert rss(daemon.pid) - before < 8 << 20


def test_one_byte_at_a_time_gives_the_same_replies(daemon):
    data = encode("PING") + b"ECHO inline\r\n" + encode("NONSENSE") + encode(
        "SUBMIT", "mail", "a\r\nb") + encode("ECHO", "end")
    with daemon.raw(tcp=True) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(len(data)):
            s.sendall(data[i:i + 1])
        lines = Lines(s)
        said = [lines.next() for _ in range(5)]
    assert said[:2] == ["+PONG", "inline"] and said[4] == "end"
    assert said[2].startswith("-ERR") and said[3].startswith("j")


def test_half_a_request_and_silence_costs_little(daemon):
    before = rss(daemon.pid)
    sockets = []
    for _ in range(50):
        s = daemon.raw()
        # A megabyte is promised, a few bytes come.
        s.sendall(b"*3\r\n$6\r\nSUBMIT\r\n$4\r\nmail\r\n$%d\r\nx" % MAX)
        sockets.append(s)
    assert alive(daemon)
    if not sanitized():
        assert rss(daemon.pid) - before < 16 << 20
    for s in sockets:
        s.close()
    with daemon.client() as client:
        until(lambda: len(client.client_list()) == 1, "they are forgotten")


def test_a_reply_that_is_never_read_is_cut_at_the_output_limit(daemon):
    before = rss(daemon.pid)
    echoes = memoryview(encode("ECHO", "e" * 100000) * 500)
    with daemon.raw() as s:
        s.setblocking(False)
        sent, bounded = 0, False
        while not bounded:
            assert sent < len(echoes), "it takes requests for ever"
            # Pushed back by TCP is as bounded as cut.
            bounded = not select.select([], [s], [], 1)[1]
            try:
                sent += s.send(echoes[sent:sent + (1 << 20)])
            except BlockingIOError:
                pass
            except (BrokenPipeError, ConnectionResetError):
                bounded = True
        assert alive(daemon)
        if not sanitized():
            assert rss(daemon.pid) - before < 16 << 20


def test_five_thousand_connections_do_not_disturb(start):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 5200
    assert hard >= wanted, "needs a limit of %d open files" % wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    sockets = []
    try:
        daemon = start({"daemon.clients-max": "5001"})
        for _ in range(5000):
            sockets.append(daemon.raw(tcp=True))
        for s in sockets[::100]:
            s.sendall(encode("PING"))
            assert Lines(s).next() == "+PONG"
        with daemon.client() as client:
            began = time.monotonic()
            assert client.execute_command("SUBMIT", "other", "x")
            assert time.monotonic() - began < 5
            assert len(client.client_list()) == 5001
            # One more than that is told why.
            with daemon.raw() as s:
                assert Lines(s).next().startswith("-LIMIT")
    finally:
        for s in sockets:
            s.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_before_authentication_little_is_accepted(start, directory):
    password = os.path.join(directory, "password")
    with open(password, "w") as file:
        file.write("secret\n")
    os.chmod(password, 0o600)
    daemon = start({"daemon.password-file": password}, password="secret")
    assert answer(daemon, encode("STATUS", "x")).startswith("-NOAUTH")
    assert answer(daemon, encode("AUTH", "wrong")).startswith("-WRONGPASS")
    assert answer(daemon, encode("AUTH", "secret")) == "+OK"
    assert answer(daemon, encode(*["PING"] * 11)).startswith("-")
    assert answer(daemon, encode("ECHO", "x" * 20000)).startswith("-")

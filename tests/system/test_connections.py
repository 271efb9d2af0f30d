# SPDX-License-Identifier: BSD-2-Clause
"""Who talks to the daemon: names, passwords, sessions, what is told of commands,
what is refused, and what happens when there are too many."""

import os
import resource
import socket

import pytest
import redis

from harness import Lines, encode, pairs, until

JOB = "j0000000000001"
TOKEN = JOB + ".1"
GROUP = "g0000000000001"


@pytest.fixture
def daemon(start):
    return start()


def refused(client, *words):
    """The text of the error that the answer is."""
    try:
        answer = client.execute_command(*words)
    except redis.ResponseError as error:
        return str(error)
    raise AssertionError("%s: %s" % (words, answer))


# ------------------------------------------------------------------- refusals


WRONG = [
    ["SUBMIT", "mail", "x", "GROUP", "nobody"],
    ["SUBMIT", "mail", "x", "GROUP", JOB],
    ["SUBMIT", "mail", "x", "KEY", ""],
    ["SUBMIT", "mail", "x", "PRIORITY", "-1"],
    ["SUBMIT", "mail", "x", "BACKOFF", "1"],
    ["SUBMIT", "mail", "x", "BACKOFF", "1", "x"],
    ["SUBMIT", "mail", "x", "FACTOR", "two"],
    ["SUBMIT", "mail", "x", "TIMEOUT", "9" * 19],
    ["SUBMIT", "mail", "x", "ONCE", "0", "1"],
    ["SUBMIT", "mail", "x", "DELAY", "1", "AT", "1"],
    ["STATUS", GROUP], ["STATUS", TOKEN],
    ["RESULT", "x"],
    ["WAIT", "x", "1"], ["WAIT", JOB, "-2"], ["WAIT", JOB, "1", "SOON"],
    ["CANCEL", "s0000000000001"], ["CANCEL", JOB, "REASON"],
    ["CANCEL", JOB, "GRACE", "-1"],
    ["RESCHEDULE", "x", "AT", "1"], ["RESCHEDULE", JOB, "AT", "soon"],
    ["RETRY", GROUP],
    ["LOGS", JOB, "-1", "0"], ["LOGS", JOB, "0", "x"],
    ["LOGS", JOB, "0", "0", "COUNT", "0"], ["LOGS", TOKEN, "0", "0"],
    ["LOGS", GROUP, "0", "0", "SOON"],
    ["JOBS", "STATE", "lost"], ["JOBS", "COUNT", "0"],
    ["JOBS", "GROUP", JOB],
    ["GROUP", "OPEN", "PARENT", "x"], ["GROUP", "OPEN", "FAIL", "-9"],
    ["GROUP", "OPEN", "ONCE", "0", "1"],
    ["GROUP", "CLOSE", JOB], ["GROUP", "CLOSE", GROUP, "SUCCEED", "x"],
    ["GROUP", "WAIT", GROUP, "x"], ["GROUP", "WAIT", JOB, "1"],
    ["GROUP", "NEXT", GROUP, "-1", "0"], ["GROUP", "NEXT", GROUP, "0", "x"],
    ["GROUP", "NEXT", GROUP, "0", "0", "COUNT", "0"],
    ["GROUP", "RESULTS", JOB, "0"], ["GROUP", "RESULTS", GROUP, "x"],
    ["GROUP", "ERRORS", TOKEN, "0"], ["GROUP", "ERRORS", GROUP, "x"],
    ["GROUP", "ERRORS", GROUP, "0", "COUNT", "-1"],
    ["GROUP", "CANCEL", JOB], ["GROUP", "INFO", "x"],
    ["GROUP", "TREE", "x"], ["GROUP", "TREE", GROUP, "COUNT", "0"],
    ["FETCH", "1", "0"], ["FETCH", "x", "0", "mail"],
    ["FETCH", "1", "x", "mail"],
    ["DONE", JOB], ["FAIL", "x", "c", "m"], ["RELEASE", GROUP],
    ["TOUCH", "x"], ["READY", "x", "v"], ["SHIELD", TOKEN, "x"],
    ["SHIELD", "x", "1"], ["UNSHIELD", "x"],
    ["LOG", TOKEN, "9", "x"], ["LOG", "x", "1", "x"],
    ["QUEUE", "SET", "mail", "FAIR", "2"],
    ["QUEUE", "SET", "mail", "MAX-JOBS", "0"],
    ["QUEUE", "CLOSE", "mail", "LATER"], ["QUEUE", "JOIN", "mail", "x"],
    ["DEAD", "LIST", "COUNT", "0"], ["DEAD", "RETRY", "COUNT", "x"],
    ["DEAD", "PURGE", "COUNT", "0"],
    ["LIMITER", "SET", "l", "PERMITS", "-2"],
    ["LIMITER", "SET", "l", "RATE", "1"],
    ["SESSION", "RESUME", JOB],
    ["HELLO", "2", "COLOUR", "red"], ["HELLO", "2", "SETNAME"],
    ["CLIENT", "SETNAME", "two words"],
    ["CLIENT", "SETINFO", "LIB-NAME", "two words"],
    ["CLIENT", "SETINFO", "LIB-COLOUR", "red"],
    ["SELECT", "-1"], ["SHUTDOWN", "NOW"],
]


def test_a_wrong_argument_is_told_and_nothing_is_done(daemon):
    with daemon.client() as client:
        for words in WRONG:
            text = refused(client, *words)
            # It says which one, or which are allowed.
            assert len(text) > 10, (words, text)
        assert client.execute_command("JOBS") == []
        assert client.execute_command("QUEUE", "LIST") == []
        assert client.execute_command("LIMITER", "LIST") == []
        assert client.execute_command("CLIENT", "GETNAME") is None
        # The same, as far as they were right.
        assert client.execute_command("SUBMIT", "mail", "x", "KEY", "k")


def test_what_a_browser_sends_ends_the_connection_at_once(daemon):
    for first in (b"POST / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n"):
        with daemon.raw(tcp=True) as s:
            s.sendall(first + b"SUBMIT mail x\r\n")
            try:
                answers = s.makefile("rb").read().split(b"\r\n")
            except ConnectionResetError:
                answers = [b"-"]
            assert all(a[:1] in (b"-", b"") for a in answers), answers
    with daemon.client() as client:
        assert client.execute_command("JOBS") == []


# --------------------------------------------------------------- who it is


def test_a_client_is_described_as_it_says(daemon):
    with daemon.client() as client, daemon.client() as other:
        client.execute_command("PING")
        assert client.execute_command("CLIENT", "GETNAME") is None
        assert client.execute_command("CLIENT", "SETNAME", "printer") == "OK"
        assert client.execute_command("CLIENT", "GETNAME") == "printer"
        assert client.execute_command(
            "CLIENT", "SETINFO", "LIB-NAME", "press") == "OK"
        assert client.execute_command(
            "CLIENT", "SETINFO", "LIB-VER", "1.5") == "OK"
        number = client.execute_command("CLIENT", "ID")
        [info] = daemon_lines(client, "INFO")
        for word in ("id=%d" % number, "name=printer", "lib-name=press",
                     "lib-ver=1.5"):
            assert word in info.split(" ")
        other.execute_command("HELLO", "2", "SETNAME", "reader")
        both = daemon_lines(client, "LIST")
        assert sum("name=printer" in line for line in both) == 1
        assert sum("name=reader" in line for line in both) == 1
        # An empty one takes it away; a bad one changes nothing.
        refused(client, "HELLO", "2", "SETNAME", "a b")
        refused(client, "CLIENT", "SETNAME", "n" * 129)
        assert client.execute_command("CLIENT", "GETNAME") == "printer"
        assert client.execute_command("CLIENT", "SETNAME", "") == "OK"
        assert client.execute_command("CLIENT", "GETNAME") is None


def daemon_lines(client, what):
    client.set_response_callback("CLIENT " + what, lambda text, **_: text)
    text = client.execute_command("CLIENT " + what)
    return [line for line in text.split("\n") if line]


def test_a_password_is_taken_by_auth_and_by_hello(start, directory):
    path = os.path.join(directory, "password")
    with open(path, "w") as file:
        file.write("secret\n")
    os.chmod(path, 0o600)
    daemon = start({"daemon.password-file": path}, password="secret")
    for words, said in [
            (["HELLO", "2"], "-NOAUTH"),
            (["HELLO", "2", "AUTH", "default", "wrong"], "-WRONGPASS"),
            (["HELLO", "2", "AUTH", "root", "secret"], "-WRONGPASS"),
            (["HELLO", "2", "AUTH", "default"], "-ERR"),
            (["AUTH", "root", "secret"], "-WRONGPASS"),
            (["AUTH", ""], "-WRONGPASS"),
            (["AUTH", "default", "secret"], "+OK"),
            (["HELLO", "2", "AUTH", "default", "secret"], "*18")]:
        with daemon.raw() as s:
            lines = Lines(s)
            s.sendall(encode(*words))
            assert lines.next().startswith(said), words
            if not said.startswith("-"):
                continue
            s.sendall(encode("ECHO", "x"))
            assert lines.next().startswith("-NOAUTH"), words
    with daemon.client() as client:
        assert client.info()["wrong_passwords"] == 4


def test_a_daemon_without_a_password_says_so(daemon):
    with daemon.client() as client:
        assert "no password" in refused(client, "AUTH", "secret")
        assert client.execute_command("AUTH", "default", "any")


def test_who_takes_a_session_over_is_the_only_one_that_has_it(daemon):
    with daemon.client() as worker, daemon.client() as other, \
            daemon.raw() as first, first.makefile("rb") as answers:
        first.sendall(encode("HELLO", "2"))
        said = read(answers)
        session = said[said.index(b"session") + 1].decode()
        other.execute_command("SUBMIT", "mail", "x")
        first.sendall(encode("FETCH", "1", "0", "mail"))
        token = read(answers)[0][1].decode()
        # The old connection still stands, and may be somebody's by now.
        assert worker.execute_command("SESSION", "RESUME", session) == [token]
        assert answers.read() == b""
        assert worker.execute_command("DONE", token) == "OK"


# ---------------------------------------------------------------- of commands


def test_commands_are_told_as_redis_tells_them(daemon):
    with daemon.raw() as s:
        def ask(*words):
            s.sendall(encode(*words))
            return read(s_file)

        s_file = s.makefile("rb")
        all_of_them = ask("COMMAND")
        assert ask("COMMAND", "COUNT") == len(all_of_them)
        assert ask("COMMAND", "INFO") == all_of_them
        names = {row[0]: row for row in all_of_them}
        assert all(len(row) == 10 for row in all_of_them)
        assert names[b"status"][1] == 2 and names[b"submit"][1] == -3
        assert b"write" in names[b"fetch"][2]
        assert b"blocking" in names[b"fetch"][2]
        assert b"readonly" in names[b"ping"][2]
        assert b"loading" in names[b"ping"][2]
        assert b"no_auth" in names[b"auth"][2]
        group = {row[0] for row in names[b"group"][9]}
        assert b"group|open" in group and b"group|tree" in group
        listed = ask("COMMAND", "LIST")
        assert len(listed) == len(set(listed)) and set(names) < set(listed)
        assert group < set(listed)
        [one, two, none] = ask("COMMAND", "INFO", "GROUP|OPEN", "ping", "pong")
        assert (one[0], two[0], none) == (b"group|open", b"ping", None)
        docs = ask("COMMAND", "DOCS")
        assert set(docs[::2]) == set(names)
        [name, text] = ask("COMMAND", "DOCS", "submit", "pong", "x" * 40)
        text = dict(zip(text[::2], text[1::2]))
        assert name == b"submit" and b"job" in text[b"summary"]
        assert b"arguments" in text and b"subcommands" not in text
        assert ask("COMMAND", "DOCS", "pong") == []


def read(file):
    """One answer of RESP2."""
    line = file.readline()[:-2]
    kind, rest = line[:1], line[1:]
    if kind == b"*":
        return [read(file) for _ in range(int(rest))] if rest != b"-1" \
            else None
    if kind == b"$":
        return file.read(int(rest) + 2)[:-2] if rest != b"-1" else None
    if kind == b":":
        return int(rest)
    assert kind == b"+", line
    return rest


def test_settings_are_shown_by_pattern(daemon):
    with daemon.client() as client:
        assert client.config_get("save") == {"save": ""}
        some = client.config_get("DAEMON.SOCK*", "x" * 200)
        assert some["daemon.socket"] == daemon.socket
        assert client.config_get("no-such-*") == {}
        assert len(client.config_get("*")) > 30


# ------------------------------------------------------------------- too many


def test_who_is_too_many_is_turned_away_and_others_are_served(daemon):
    inside = [daemon.raw() for _ in range(3)]
    for s in inside:  # until it has them all
        s.sendall(encode("PING"))
        assert Lines(s).next() == "+PONG"
    opened = len(os.listdir("/proc/%d/fd" % daemon.pid))
    _, hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (opened + 8, hard))
    outside = []
    try:
        def turned_away():
            """Closed by the daemon without a word."""
            s = daemon.raw()
            outside.append(s)
            try:
                s.sendall(encode("PING"))
                s.settimeout(0.2)
                return s.recv(10) == b""
            except socket.timeout:
                return False  # it waits for its turn
            except OSError:
                return True

        until(turned_away, "one is turned away")
        for s in inside:
            s.sendall(encode("PING"))
            assert Lines(s).next() == "+PONG"
    finally:
        for s in outside:
            s.close()

    def comes_in():
        try:
            with daemon.raw() as s:
                s.sendall(encode("PING"))
                return Lines(s).next() == "+PONG"
        except OSError:
            return False  # the daemon has not yet seen that others left

    until(comes_in, "one comes in when there is room again")
    for s in inside:
        s.close()


def test_a_daemon_listens_on_ipv6_and_ipv4_at_once(start):
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("NO IPV6 HERE")
        port = probe.getsockname()[1]
    daemon = start({"daemon.listen": "[::1]:%d 127.0.0.1:%d" % (port, port)})
    for address in ("::1", "127.0.0.1"):
        with socket.create_connection((address, port), 10) as s:
            s.sendall(encode("PING"))
            assert Lines(s).next() == "+PONG"
    with daemon.client() as client:
        assert client.ping()


def test_one_connection_awaits_the_ends_of_many(start):
    daemon = start()
    with daemon.client() as client, daemon.client() as worker:
        jobs = [client.execute_command("SUBMIT", "mail", i, "KEEP", 0)
                for i in range(300)]
        group = client.execute_command("GROUP", "OPEN")
        client.execute_command("SUBMIT", "mail", "x", "GROUP", group)
        client.execute_command("GROUP", "CLOSE", group)
        assert client.execute_command("AWAIT", *jobs, group) == []
        assert client.execute_command(
            "AWAIT", "j0000000000001") == ["j0000000000001"]
        for [_, token, _, payload, _] in worker.execute_command(
                "FETCH", 1000, 5000, "mail"):
            worker.execute_command("DONE", token, payload)
        ends = []
        while len(ends) < 301:
            got = client.execute_command("FETCH", 0, 5000)
            assert got, "an end is missing"
            ends += got
        assert [e[1] for e in ends] == jobs + [group]
        for i, [kind, _, outcome, told] in enumerate(ends[:-1]):
            assert (kind, outcome) == ("ended", "ok")
            assert pairs(told)["result"] == str(i)
        assert pairs(ends[-1][3])["kind"] == "group"
        assert client.execute_command("FETCH", 0, 0) == []

# SPDX-License-Identifier: BSD-2-Clause
"""Every pattern of asyncio works with plain redis-cli: one test for each row of
the table in README.md. A worker is a redis-cli, too.
"""

import json
import subprocess

import pytest

from harness import Lines, encode, end, readable, until


class Cli:
    """A redis-cli that stays: a line in, a line out."""

    def __init__(self, daemon):
        self.process = subprocess.Popen(
            ["redis-cli", "-s", daemon.socket, "--json"], bufsize=0,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL)
        self.got = b""

    def send(self, *words):
        line = " ".join(json.dumps(str(word)) for word in words)
        self.process.stdin.write(line.encode() + b"\n")

    def answer(self):
        while b"\n" not in self.got:
            assert readable(self.process.stdout, 30), "no answer"
            more = self.process.stdout.read(65536)
            assert more, "redis-cli has ended"
            self.got += more
        line, self.got = self.got.split(b"\n", 1)
        if line.startswith(b"error:"):
            return Exception(json.loads(line[len(b"error:"):]))
        return json.loads(line)

    def __call__(self, *words):
        self.send(*words)
        got = self.answer()
        assert not isinstance(got, Exception), got
        return got

    def refused(self, *words):
        """The code of the error."""
        self.send(*words)
        got = self.answer()
        assert isinstance(got, Exception), got
        return str(got).split()[0]


@pytest.fixture
def daemon(start):
    return start()


@pytest.fixture
def cli(daemon):
    """cli() gives one more redis-cli."""
    running = []

    def make():
        running.append(Cli(daemon))
        return running[-1]

    yield make
    for one in running:
        one.process.kill()  # it may wait for an answer
        end(one.process)


@pytest.fixture
def user(cli):
    return cli()


@pytest.fixture
def worker(cli):
    return cli()


def submit(user, group, *names):
    return [user("SUBMIT", "work", name, "GROUP", group, "NAME", name)
            for name in names]


def fetch(worker, count=1):
    """The tokens of new jobs."""
    return [job[1] for job in worker("FETCH", count, 5000, "work")]


def asked(worker):
    """{token: reason} of those that are asked to stop."""
    return {token: reason for _, token, reason, _ in
            worker("FETCH", 0, 5000, "work")}


def outcomes(user, group):
    return [(m["name"], m["outcome"]) for m in user(
        "GROUP", "RESULTS", group, 0)[1]]


def test_taskgroup(user, worker):
    group = user("GROUP", "OPEN")
    submit(user, group, "a", "b", "c")
    user("GROUP", "CLOSE", group)
    a, b, c = fetch(worker, 3)
    worker("FAIL", b, "ValueError", "no")
    assert set(asked(worker)) == {a, c}
    assert user("GROUP", "WAIT", group, 0) is None  # they are awaited
    worker("FAIL", a, "cancelled", "")
    worker("FAIL", c, "cancelled", "")
    assert user("GROUP", "WAIT", group, 5000)["outcome"] == "failed"
    assert outcomes(user, group) == [
        ("a", "cancelled"), ("b", "failed"), ("c", "cancelled")]


def test_error_tree(user, worker):
    outer = user("GROUP", "OPEN", "FAIL", 0)
    inner = user("GROUP", "OPEN", "FAIL", 0, "PARENT", outer)
    submit(user, outer, "a")
    submit(user, inner, "b", "c")
    a, b, c = fetch(worker, 3)
    worker("FAIL", a, "OSError", "gone", "the end of its stderr")
    worker("FAIL", b, "ValueError", "bad")
    worker("DONE", c)
    user("GROUP", "CLOSE", inner)
    user("GROUP", "CLOSE", outer)
    user("GROUP", "WAIT", outer, 5000)
    [group, job] = user("GROUP", "RESULTS", outer, 0, "ERRORS")[1]
    assert (group["id"], job["name"]) == (inner, "a")
    [error] = job["errors"]
    assert (error["class"], error["message"], error["detail"]) == (
        "OSError", "gone", "the end of its stderr")
    [below] = user("GROUP", "RESULTS", inner, 0, "ERRORS")[1]
    assert below["errors"][0]["class"] == "ValueError"

    def tree(*options):
        _, entries, over = user("GROUP", "ERRORS", outer, 0, *options)
        assert over == 1
        return [(depth, node["name"] or "", [e["class"] for e in
                                             node["errors"]])
                for depth, node in entries]

    assert tree() == [(0, "", []), (1, "", []), (2, "b", ["ValueError"]),
                      (1, "a", ["OSError"])]
    assert tree("CLASS", "OS*") == [(0, "", []), (1, "a", ["OSError"])]
    assert tree("EXCEPT", "OS*") == [(0, "", []), (1, "", []),
                                     (2, "b", ["ValueError"])]


def test_timeout(user, worker):
    group = user("GROUP", "OPEN", "TIMEOUT", 3600000)
    [job] = submit(user, group, "a")
    deadline = user("GROUP", "INFO", group)["deadline"]
    assert user("STATUS", job)["deadline"] == deadline  # inherited
    [token] = fetch(worker)
    assert 0 < worker("TOUCH", token)[1] <= 3600000
    late = user("SUBMIT", "work", "x")
    [token] = fetch(worker)
    user("RESCHEDULE", late, "TIMEOUT", 1)
    assert asked(worker) == {token: "timeout"}
    worker("FAIL", token, "cancelled", "")
    [error] = user("WAIT", late, 5000)["errors"]
    assert error["class"] == "timeout"


def test_cancel_cleanup(user, worker):
    [job] = submit(user, "root", "a")
    [token] = fetch(worker)
    user("CANCEL", job, "REASON", "not wanted", "GRACE", 60000)
    assert worker("FETCH", 0, 5000, "work") == [
        ["cancel", token, "not wanted", 60000]]
    worker("LOG", token, 1, "cleaned up")
    assert user("WAIT", job, 0) is None  # asked to is not ended
    worker("FAIL", token, "cancelled", "")
    end = user("WAIT", job, 5000)
    assert (end["outcome"], end["reason"]) == ("cancelled", "not wanted")
    assert user("LOGS", job, 0, 0)[1] == [[1, "cleaned up"]]


def test_shield(user, worker):
    [job] = submit(user, "root", "a")
    [token] = fetch(worker)
    assert worker("SHIELD", token, 5000) == 5000
    user("CANCEL", job, "REASON", "not wanted")
    assert worker("FETCH", 0, 0, "work") == []
    worker("UNSHIELD", token)
    assert asked(worker) == {token: "not wanted"}
    worker("FAIL", token, "cancelled", "")
    assert user("WAIT", job, 5000)["outcome"] == "cancelled"


def test_resources(start):
    """What a worker holds is given back when it is gone."""
    daemon = start({"limits.lease": "1s"})
    user, one, other = Cli(daemon), Cli(daemon), Cli(daemon)
    [job] = submit(user, "root", "a")
    [first] = fetch(one)
    end(one.process)
    [second] = fetch(other)
    assert (first, second) == (job + ".1", job + ".2")
    assert user.refused("DONE", first) == "STALE"
    other("DONE", second)
    end(user.process)
    end(other.process)


def test_gather(user, worker):
    group = user("GROUP", "OPEN", "FAIL", 0)
    submit(user, group, "a", "b", "c")
    a, b, c = fetch(worker, 3)
    worker("DONE", c, 3)
    worker("FAIL", b, "ValueError", "no")
    worker("DONE", a, 1)
    user("GROUP", "CLOSE", group)
    assert user("GROUP", "WAIT", group, 5000)["outcome"] == "ok"
    assert outcomes(user, group) == [
        ("a", "ok"), ("b", "failed"), ("c", "ok")]


def test_as_completed(user, worker):
    group = user("GROUP", "OPEN")
    submit(user, group, "a", "b", "c")
    user("GROUP", "CLOSE", group)
    a, b, c = fetch(worker, 3)
    cursor, seen = "0", []
    for token in (c, a, b):
        user.send("GROUP", "NEXT", group, cursor, 5000)  # waits for one
        worker("DONE", token)
        cursor, members, _ = user.answer()
        seen += [m["name"] for m in members]
    assert seen == ["c", "a", "b"]
    assert user("GROUP", "NEXT", group, cursor, 5000)[1:] == [[], 1]


def test_bounded_queue(cli, user, worker):
    user("QUEUE", "SET", "work", "MAX-JOBS", 1)
    submit(user, "root", "a")
    assert user.refused("SUBMIT", "work", "b", "WAIT", 0) == "QUEUEFULL"
    producer = cli()
    producer.send("SUBMIT", "work", "b")  # waits for room
    until(lambda: user("QUEUE", "INFO", "work")["waiting_producers"] == 1,
          "it waits")
    [a] = fetch(worker)
    assert producer.answer().startswith("j")
    [b] = fetch(worker)
    worker("DONE", a)
    user.send("QUEUE", "JOIN", "work", 5000)
    worker("DONE", b)
    assert user.answer() == 1
    user("QUEUE", "CLOSE", "work")
    assert user.refused("SUBMIT", "work", "c") == "CLOSED"


def test_ready(user, worker):
    [job] = submit(user, "root", "server")
    [token] = fetch(worker)
    user.send("WAIT", job, 5000, "READY")
    worker("READY", token, "127.0.0.1:8080")
    assert user.answer() == "127.0.0.1:8080"
    worker("DONE", token)
    [job] = submit(user, "root", "broken")
    [token] = fetch(worker)
    worker("FAIL", token, "bind", "in use")
    assert user.refused("WAIT", job, 5000, "READY") == "NOTREADY"


def test_width(user, worker):
    group = user("GROUP", "OPEN", "WIDTH", 2)
    submit(user, group, "a", "b", "c")
    a, b = fetch(worker, 3)
    assert worker("FETCH", 1, 0, "work") == []
    worker("DONE", a)
    [c] = fetch(worker)
    assert c not in (a, b)


def test_limiter(user, worker):
    user("LIMITER", "SET", "card", "PERMITS", 2)
    for name, limits in (("a", "card"), ("b", "card"), ("both", "card:2"),
                         ("c", "card")):
        user("SUBMIT", "work", name, "LIMITS", limits)
    user("SUBMIT", "work", "none")  # passes
    first = worker("FETCH", 5, 5000, "work")
    assert [job[3] for job in first] == ["a", "b", "none"]
    info = user("LIMITER", "INFO", "card")
    assert (info["held"], info["waiting"]) == (2, 2)
    worker("DONE", first[0][1])
    assert worker("FETCH", 5, 0, "work") == []  # nobody overtakes
    worker("DONE", first[1][1])
    [both] = worker("FETCH", 5, 5000, "work")
    assert both[3] == "both"
    user("LIMITER", "SET", "card", "PERMITS", 3)
    [c] = worker("FETCH", 5, 5000, "work")
    assert c[3] == "c"
    assert user.refused("SUBMIT", "work", "x", "LIMITS", "no") == "NOLIMITER"


def test_pools(cli, user):
    """Workers of one queue, each with what it takes."""
    group = user("GROUP", "OPEN")
    submit(user, group, "a", "b", "c")
    user("GROUP", "CLOSE", group)
    for one in (cli(), cli(), cli()):
        [token] = fetch(one)
        one("DONE", token)
    assert user("GROUP", "WAIT", group, 5000)["ok"] == 3


def test_any_loop(daemon):
    """A wait ends when its client says something else, so that one connection
    and no thread is enough. redis-cli waits for its answers; a bare socket does
    not have to."""
    with daemon.raw() as s:
        lines = Lines(s)
        s.sendall(encode("FETCH", 1, -1, "work"))
        s.sendall(encode("PING"))
        assert (lines.next(), lines.next()) == ("*0", "+PONG")


def test_fan_out(user, worker):
    group = user("GROUP", "OPEN")
    names = [str(n) for n in range(100)]
    submit(user, group, *names)
    user("GROUP", "CLOSE", group)
    for name, token in zip(names, fetch(worker, 100)):
        worker("DONE", token, int(name) ** 2)
    user("GROUP", "WAIT", group, 5000)
    _, members, over = user("GROUP", "RESULTS", group, 0)
    assert over == 1
    assert [int(m["result"]) for m in members] == [n * n for n in range(100)]


def test_stream(user, worker):
    user("QUEUE", "SET", "next", "MAX-JOBS", 1)
    group = user("GROUP", "OPEN")
    jobs = [user("SUBMIT", "work", n, "GROUP", group, "THEN", "next")
            for n in range(3)]
    for n, token in enumerate(fetch(worker, 3)):
        worker("DONE", token, "result %d" % n)
    states = [user("STATUS", job)["state"] for job in jobs]
    assert states == ["finished", "delivering", "delivering"]
    for n in range(3):  # in order
        [[_, token, _, payload, _]] = worker("FETCH", 1, 5000, "next")
        assert payload == "result %d" % n
        worker("DONE", token)
    user("GROUP", "CLOSE", group)
    assert user("GROUP", "WAIT", group, 5000)["ok"] == 6


def test_retry(user, worker):
    job = user("SUBMIT", "work", "a", "RETRY", 3, "BACKOFF", 1, 1)
    for attempt in (1, 2):
        [token] = fetch(worker)
        assert token == "%s.%d" % (job, attempt)
        worker("FAIL", token, "busy", "")
    [token] = fetch(worker)
    worker("DONE", token, "at last")
    end = user("WAIT", job, 5000)
    assert (end["result"], end["attempts"]) == ("at last", 3)
    assert [e["attempt"] for e in end["errors"]] == [1, 2]


def test_race(user, worker):
    group = user("GROUP", "OPEN", "SUCCEED", 1)
    submit(user, group, "a", "b", "c")
    user("GROUP", "CLOSE", group)
    a, b, c = fetch(worker, 3)
    worker("FAIL", a, "ValueError", "")  # does not win
    worker("DONE", b, "first")
    assert set(asked(worker)) == {c}
    worker("FAIL", c, "cancelled", "")
    assert user("GROUP", "WAIT", group, 5000)["outcome"] == "ok"
    assert outcomes(user, group) == [
        ("a", "failed"), ("b", "ok"), ("c", "cancelled")]


def test_responsive(daemon):
    info = subprocess.run(["redis-cli", "-s", daemon.socket, "INFO", "server"],
                          capture_output=True, text=True, timeout=30).stdout
    lines = dict(line.split(":", 1) for line in info.splitlines()
                 if ":" in line)
    assert 0 <= int(lines["loop_lag_us_last"]) <= int(lines["loop_lag_us_max"])


def test_retrieve(user, worker):
    """Bounded fan-out, a timeout for each, all or nothing."""
    group = user("GROUP", "OPEN", "WIDTH", 2)
    for name, timeout in ("a", 60000), ("slow", 200), ("c", 60000):
        user("SUBMIT", "work", name, "GROUP", group, "NAME", name,
             "TIMEOUT", timeout)
    user("GROUP", "CLOSE", group)
    a, slow = fetch(worker, 3)
    assert asked(worker) == {slow: "timeout"}
    worker("FAIL", slow, "cancelled", "")
    assert set(asked(worker)) == {a}
    worker("FAIL", a, "cancelled", "")
    assert user("GROUP", "WAIT", group, 5000)["outcome"] == "failed"
    assert outcomes(user, group) == [
        ("a", "cancelled"), ("slow", "failed"), ("c", "cancelled")]
    [failed] = user("GROUP", "RESULTS", group, 0, "ERRORS")[1]
    assert failed["errors"][0]["class"] == "timeout"

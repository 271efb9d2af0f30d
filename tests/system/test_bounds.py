# SPDX-License-Identifier: BSD-2-Clause
"""A full queue makes producers wait, in order, and pushes back by TCP."""

import select

import pytest
import redis

from harness import Lines, encode, pairs, readable, rss, sanitized, until

SUBMITS = 100000


@pytest.fixture
def daemon(start):
    daemon = start({"queue.max-jobs": "10"})
    with daemon.client() as client:
        for i in range(10):
            client.execute_command("SUBMIT", "mail", i)
    return daemon


def waiting(client):
    return pairs(client.execute_command(
        "QUEUE", "INFO", "mail"))["waiting_producers"]


def take(client):
    [[_, token, _, payload, _]] = client.execute_command(
        "FETCH", 1, 5000, "mail")
    assert client.execute_command("DONE", token) == "OK"
    return payload


def test_without_a_wait_a_full_queue_refuses(daemon):
    with daemon.client() as client:
        with pytest.raises(redis.ResponseError, match="^QUEUEFULL"):
            client.execute_command("SUBMIT", "mail", "x", "WAIT", 0)
        with pytest.raises(redis.ResponseError, match="^QUEUEFULL"):
            client.execute_command("SUBMIT", "mail", "x", "WAIT", 50)
        assert waiting(client) == 0


def test_waiting_producers_get_in_in_the_order_of_their_arrival(daemon):
    with daemon.client() as client:
        producers = []
        for i in range(10, 15):
            s = daemon.raw()
            s.sendall(encode("SUBMIT", "mail", i))
            producers.append(s)
            until(lambda: waiting(client) == len(producers), "it waits")
        for i, s in enumerate(producers):
            assert not any(readable(p) for p in producers[i:])
            assert take(client) == str(i)
            assert readable(s, 10), "the first of those that wait got in"
            assert Lines(s).next().startswith("j")
        assert [take(client) for _ in range(10)] == [
            str(i) for i in range(5, 15)]
        for s in producers:
            s.close()


def test_who_waits_and_hangs_up_leaves_no_job(daemon):
    with daemon.client() as client:
        s = daemon.raw()
        s.sendall(encode("SUBMIT", "mail", "gone"))
        until(lambda: waiting(client) == 1, "it waits")
        s.close()
        until(lambda: waiting(client) == 0, "it is forgotten")
        taken = [take(client) for _ in range(10)]
        assert "gone" not in taken
        assert client.execute_command("FETCH", 1, 0, "mail") == []


def test_raising_the_bound_lets_producers_in(daemon):
    with daemon.client() as client, daemon.raw() as s:
        s.sendall(encode("SUBMIT", "mail", "x"))
        until(lambda: waiting(client) == 1, "it waits")
        client.execute_command("QUEUE", "SET", "mail", "MAX-JOBS", 11)
        assert Lines(s).next().startswith("j")


def test_bytes_are_bounded_as_jobs_are(start):
    daemon = start({"queue.max-bytes": "1000"})
    with daemon.client() as client:
        client.execute_command("SUBMIT", "mail", "x" * 600)
        client.execute_command("SUBMIT", "mail", "x" * 400)
        with pytest.raises(redis.ResponseError, match="^QUEUEFULL"):
            client.execute_command("SUBMIT", "mail", "x", "WAIT", 0)
        take(client)
        client.execute_command("SUBMIT", "mail", "x" * 600, "WAIT", 0)


def test_a_pipelining_producer_is_pushed_back_by_tcp(daemon):
    """What it sends stays in its own buffers: the daemon stays flat."""
    one = encode("SUBMIT", "mail", "y" * 100)
    data = memoryview(one * SUBMITS)
    with daemon.client() as client, daemon.raw(tcp=True) as s:
        before = rss(daemon.pid)
        s.setblocking(False)
        sent = 0
        # It is pushed back when the socket takes nothing for a second while
        # the daemon serves others.
        while select.select([], [s], [], 1)[1]:
            sent += s.send(data[sent:sent + 65536])
            assert sent < len(data), "everything was taken"
        assert client.ping() and waiting(client) == 1
        if not sanitized():
            assert rss(daemon.pid) - before < 8 << 20
        # When there is room it goes on where it was.
        for i in range(10):
            assert take(client) == str(i)
        assert take(client) == "y" * 100
        info = pairs(client.execute_command("QUEUE", "INFO", "mail"))
        assert info["jobs"] <= 10


def test_memory_max_refuses_and_everything_else_works(start):
    daemon = start({"limits.memory-max": "1M"})
    with daemon.client() as client:
        refused, jobs = [], []
        while not refused:
            pipe = client.pipeline(transaction=False)
            for _ in range(1000):
                pipe.execute_command("SUBMIT", "mail", "x" * 1000,
                                     "KEEP", 0)
            answers = pipe.execute(raise_on_error=False)
            refused = [a for a in answers if isinstance(a, Exception)]
            jobs += [a for a in answers if isinstance(a, str)]
        # What it has no memory for is the jobs, not what is in them.
        assert len(jobs) > 5000
        assert all(str(error).startswith("OOM") for error in refused)
        assert pairs(client.execute_command(
            "STATUS", jobs[-1]))["state"] == "ready"
        for _ in range(5):
            [got] = client.execute_command("FETCH", 1, 0, "mail")
            assert got[3] == "x" * 1000
            client.execute_command("DONE", got[1])
        assert client.execute_command("QUEUE", "PURGE", "mail") > 5000
        assert client.execute_command(
            "SUBMIT", "mail", "x" * 1000).startswith("j")

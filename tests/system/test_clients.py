# SPDX-License-Identifier: BSD-2-Clause
"""Ordinary Redis clients connect and work unchanged."""

import csv
import io
import os
import subprocess

import pytest
import redis

from harness import SOURCE, pairs, until


@pytest.fixture
def daemon(start):
    return start()


def redis_cli(daemon, *words, **options):
    return subprocess.run(
        ["redis-cli", "-p", str(daemon.port)] + list(words),
        capture_output=True, text=True, timeout=30, **options)


@pytest.mark.parametrize("version", ["-2", "-3"])
def test_redis_cli_works(daemon, version):
    def cli(*words):
        done = redis_cli(daemon, version, *words)
        assert done.returncode == 0, done.stderr
        assert "WARNING" not in done.stderr and "AUTH" not in done.stderr
        return done.stdout.strip()

    assert cli("PING") == "PONG"
    assert cli("ECHO", "a b") == "a b"
    assert cli("-n", "0", "PING") == "PONG"
    job = cli("SUBMIT", "mail", "hello")
    assert job.startswith("j") and len(job) == 14
    assert "ready" in cli("STATUS", job)
    token = job + ".1"
    fetched = cli("FETCH", "1", "0", "mail")
    assert token in fetched and "hello" in fetched
    assert cli("DONE", token, "fine") == "OK"
    assert "fine" in cli("RESULT", job)
    assert cli("DONE", token, "again").startswith("STALE")
    assert cli("NO-SUCH-COMMAND").startswith("ERR")
    assert "submit" in cli("COMMAND", "LIST").lower()


def test_redis_cli_speaks_resp3(daemon):
    out = redis_cli(daemon, "-3", "--json", "HELLO", "3").stdout
    assert '"proto":3' in out and '"session":"s' in out


def test_redis_cli_sends_binary_from_stdin(daemon):
    payload = bytes(range(256))
    done = subprocess.run(
        ["redis-cli", "-p", str(daemon.port), "-x", "SUBMIT", "mail"],
        input=payload, capture_output=True, timeout=30)
    assert done.stdout.startswith(b"j")
    with daemon.client(decode_responses=False) as client:
        [job] = client.execute_command("FETCH", 1, 0, "mail")
    assert job[3] == payload


def test_inline_commands_work_from_a_bare_socket(daemon):
    with daemon.raw(tcp=True) as s, s.makefile("rb") as answers:
        s.sendall(b'PING\r\nSUBMIT mail "two words"\r\n')
        assert answers.readline() == b"+PONG\r\n"
        assert answers.readline() == b"$14\r\n"


@pytest.mark.parametrize("depth", [1, 32])
def test_redis_benchmark_works(daemon, depth):
    done = subprocess.run(
        ["redis-benchmark", "-p", str(daemon.port), "--csv", "-c", "20", "-n",
         "3200", "-P", str(depth), "SUBMIT", "mail", "x" * 100],
        capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    rate = float(list(csv.reader(io.StringIO(done.stdout)))[-1][1])
    assert rate > 0
    with daemon.client() as client:
        assert pairs(client.execute_command(
            "QUEUE", "INFO", "mail"))["jobs"] == 3200


@pytest.mark.parametrize("tcp", [False, True])
def test_python_client_works(daemon, tcp):
    if tcp:
        r = redis.Redis(host="127.0.0.1", port=daemon.port, decode_responses=True,
                        client_name="tests", health_check_interval=1)
    else:
        r = redis.Redis(unix_socket_path=daemon.socket, decode_responses=True)
    with r:
        assert r.ping() and r.echo("x") == "x"
        assert r.info()["loading"] == 0
        assert any(c["id"] == str(r.client_id()) or c["cmd"]
                   for c in r.client_list())
        assert r.config_get("result-max") or r.config_get("*")
        assert isinstance(r.time()[0], int)
        group = r.execute_command("GROUP", "OPEN", "FAIL", 0, "WIDTH", 2,
                                  "DETACHED")
        jobs = [r.execute_command("SUBMIT", "mail", "p%d" % i, "GROUP", group)
                for i in range(3)]
        assert r.execute_command("GROUP", "CLOSE", group) == "OK"
        got = r.execute_command("FETCH", 10, 0, "mail")
        assert [job[3] for job in got] == ["p0", "p1"]  # the width
        assert r.execute_command("DONE", got[0][1], "r0") == "OK"
        assert r.execute_command("FAIL", got[1][1], "oops", "it broke") == "OK"
        [last] = r.execute_command("FETCH", 10, 1000, "mail")
        assert r.execute_command("TOUCH", last[1], "half") == [
            0, -1, None, None]
        assert pairs(r.execute_command(
            "STATUS", jobs[2]))["progress"] == "half"
        assert r.execute_command("DONE", last[1]) == "OK"
        info = pairs(r.execute_command("GROUP", "WAIT", group, 5000))
        assert (info["ok"], info["failed"], info["outcome"]) == (2, 1, "ok")
        _, members, over = r.execute_command("GROUP", "RESULTS", group, 0)
        members = [pairs(m) for m in members]
        assert over == 1 and [m["id"] for m in members] == jobs
        assert members[0]["result"] == "r0"
        assert pairs(members[1]["errors"][0])["class"] == "oops"


def test_python_pipeline_keeps_order_and_errors(daemon):
    with daemon.client() as r:
        pipe = r.pipeline(transaction=False)
        for i in range(1000):
            pipe.execute_command("SUBMIT", "mail", i)
            if i % 100 == 0:
                pipe.execute_command("STATUS", "j0000000000001")
        answers = pipe.execute(raise_on_error=False)
        errors = [a for a in answers if isinstance(a, Exception)]
        jobs = [a for a in answers if not isinstance(a, Exception)]
        assert len(errors) == 10 and len(set(jobs)) == 1000
        assert all("NOJOB" in str(e) for e in errors)
        assert isinstance(answers[1], redis.ResponseError)
        got = r.execute_command("FETCH", 1000, 0, "mail")
        assert [job[3] for job in got] == [str(i) for i in range(1000)]


def test_many_clients_of_a_pool_work_at_once(daemon):
    pool = redis.ConnectionPool(host="127.0.0.1", port=daemon.port)
    clients = [redis.Redis(connection_pool=pool) for _ in range(20)]
    assert all(c.ping() for c in clients)
    pool.disconnect()


def test_blocking_fetch_ends_when_its_client_says_something_else(daemon):
    with daemon.raw() as s, s.makefile("rb") as answers:
        s.sendall(b"FETCH 1 -1 mail\r\n")
        with daemon.client() as r:
            until(lambda: pairs(r.execute_command(
                "QUEUE", "INFO", "mail"))["waiting_workers"] == 1
                if "mail" in r.execute_command("QUEUE", "LIST") else False,
                "the worker waits")
        s.sendall(b"PING\r\n")
        assert answers.readline() == b"*0\r\n"
        assert answers.readline() == b"+PONG\r\n"


@pytest.mark.parametrize("script", [
    ["client_ioredis.js"], ["client_redis.js", "2"], ["client_redis.js", "3"]])
def test_node_client_works(daemon, script):
    done = subprocess.run(
        ["node", os.path.join(SOURCE, "tests/system", script[0]),
         str(daemon.port)] + script[1:],
        capture_output=True, text=True, timeout=60,
        env=dict(os.environ, NODE_OPTIONS="--unhandled-rejections=strict"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "all is well\n"

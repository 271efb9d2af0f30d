# SPDX-License-Identifier: BSD-2-Clause
"""Events arrive at whatever is subscribed, as with Redis."""

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess

import pytest
import redis

from harness import asked, encode, end, pairs, readable, until


@pytest.fixture
def daemon(start):
    return start()


def messages(pubsub, n):
    """The next n messages, confirmations left out, as (channel, event)."""
    found = []

    def more():
        message = pubsub.get_message(ignore_subscribe_messages=True,
                                     timeout=0.05)
        if message:
            found.append((message["channel"], json.loads(message["data"])))
        return len(found) >= n

    until(more, "%d messages; so far %s" % (n, found))
    return found


def subscribed(pubsub, n):
    """Until so many subscriptions are confirmed."""
    seen = []

    def more():
        message = pubsub.get_message(timeout=0.05)
        if message:
            assert message["type"].endswith("subscribe")
            seen.append(message)
        return len(seen) == n

    until(more, "%d confirmations" % n)
    return seen


def run_one(client, fail=False):
    job = client.execute_command("SUBMIT", "mail", "hello", "NAME", "é \"x\"")
    [[_, token, *_]] = client.execute_command("FETCH", 1, 5000, "mail")
    client.execute_command("TOUCH", token, "half")
    client.execute_command("READY", token, "here")
    if fail:
        client.execute_command("FAIL", token, "oops", b"not \xff utf-8")
    else:
        client.execute_command("DONE", token, "fine")
    return job


def test_a_subscriber_sees_the_life_of_a_job(daemon):
    with daemon.client() as client, client.pubsub() as events:
        events.subscribe("queue:mail", "queue:other")
        subscribed(events, 2)
        job = run_one(client)
        seen = messages(events, 5)
        assert [e["event"] for _, e in seen] == [
            "accepted", "started", "progress", "ready", "ended"]
        for channel, event in seen:
            assert channel == "queue:mail"
            assert (event["kind"], event["id"]) == ("job", job)
            assert (event["queue"], event["group"]) == ("mail", "root")
            assert event["name"] == "é \"x\""
        assert seen[0][1]["attempt"] == 0 and seen[1][1]["attempt"] == 1
        assert seen[2][1]["progress"] == "half"
        assert seen[3][1]["value"] == "here"
        ended = seen[4][1]
        assert (ended["outcome"], ended["result_bytes"]) == ("ok", 4)
        run_one(client, fail=True)
        ended = messages(events, 5)[4][1]
        assert (ended["outcome"], ended["class"], ended["message"]) == (
            "failed", "oops", "not \ufffd utf-8")


def test_a_job_a_group_and_patterns_have_channels(daemon):
    with daemon.client() as client, client.pubsub() as events:
        outer = client.execute_command("GROUP", "OPEN", "NAME", "outer")
        inner = client.execute_command("GROUP", "OPEN", "PARENT", outer)
        events.subscribe("group:" + outer)
        events.psubscribe("job:*", "nothing*")
        subscribed(events, 3)
        job = client.execute_command("SUBMIT", "mail", "x", "GROUP", inner)
        client.execute_command("CANCEL", outer, "REASON", "enough")
        seen = messages(events, 8)
        told = [(c, e["event"], e["id"]) for c, e in seen]
        assert told == [
            ("job:" + job, "accepted", job),
            ("group:" + outer, "accepted", job),
            ("group:" + outer, "cancel", outer),
            ("group:" + outer, "cancel", inner),
            ("job:" + job, "ended", job),
            ("group:" + outer, "ended", job),
            ("group:" + outer, "ended", inner),
            ("group:" + outer, "ended", outer)]
        assert seen[3][1]["reason"] == "enough"
        assert seen[6][1]["parent"] == outer
        assert seen[7][1]["cancelled"] == 1


def test_subscriptions_end(daemon):
    with daemon.client() as client, client.pubsub() as events:
        events.subscribe("queue:a", "queue:b")
        events.psubscribe("queue:*")
        subscribed(events, 3)
        events.unsubscribe("queue:a")
        assert subscribed(events, 1)[0]["data"] == 2
        events.punsubscribe()
        assert subscribed(events, 1)[0]["channel"] == "queue:*"
        client.execute_command("SUBMIT", "a", "x")
        client.execute_command("SUBMIT", "b", "x")
        assert messages(events, 1)[0][0] == "queue:b"
        assert client.execute_command("PUBSUB", "CHANNELS") == ["queue:b"]
        assert client.pubsub_numsub("queue:a", "queue:b") == [
            ("queue:a", 0), ("queue:b", 1)]
        assert client.pubsub_numpat() == 0
    with daemon.client() as client:
        until(lambda: client.execute_command("PUBSUB", "CHANNELS") == [],
              "who is gone is subscribed to nothing")
        assert client.info()["subscriptions"] == 0


@pytest.mark.parametrize("version", ["-2", "-3"])
def test_redis_cli_subscribes(daemon, version):
    cli = subprocess.Popen(
        ["redis-cli", "-p", str(daemon.port), version, "PSUBSCRIBE", "queue:*"],
        stdout=subprocess.PIPE, text=True)
    try:
        with daemon.client() as client:
            until(lambda: client.pubsub_numpat() == 1, "it is subscribed")
            job = run_one(client)
        out = ""
        while '"ended"' not in out:
            assert select.select([cli.stdout], [], [], 20)[0]
            out += os.read(cli.stdout.fileno(), 65536).decode()
    finally:
        cli.kill()
        cli.wait()
        cli.stdout.close()
    assert "psubscribe" in out and "pmessage" in out
    assert out.count('"id":"%s"' % job) == 5


def read_all(s, wanted):
    """Bytes up to this one."""
    data = b""
    while not data.endswith(wanted):
        assert readable(s, 20), (data, wanted)
        data += s.recv(65536)
    return data


def read_lines(s, n):
    data = b""
    while data.count(b"\r\n") < n:
        assert readable(s, 20), data
        data += s.recv(65536)
    return data


def test_resp2_subscribers_may_say_little_and_resp3_all(daemon):
    with daemon.raw() as s:
        s.sendall(encode("SUBSCRIBE", "queue:mail", "queue:mail", "x"))
        read_all(s, b"*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:2\r\n")
        s.sendall(encode("QUEUE", "LIST") + encode("PING") +
                  encode("PING", "hi"))
        data = read_all(s, b"*2\r\n$4\r\npong\r\n$2\r\nhi\r\n")
        assert data.startswith(b"-ERR QUEUE LIST: ")
        assert b"*2\r\n$4\r\npong\r\n$0\r\n\r\n" in data
        s.sendall(encode("UNSUBSCRIBE"))
        read_all(s, b"$11\r\nunsubscribe\r\n$1\r\nx\r\n:0\r\n")
        s.sendall(encode("UNSUBSCRIBE") + encode("PING"))
        assert read_all(s, b"PONG\r\n") == (
            b"*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n+PONG\r\n")
        s.sendall(encode("SUBSCRIBE", "a") + encode("QUIT"))
        read_all(s, b"+OK\r\n")
        assert s.recv(1) == b""
    with daemon.raw() as s:
        s.sendall(encode("HELLO", "3") + encode("PING"))
        read_all(s, b"+PONG\r\n")
        s.sendall(encode("SUBSCRIBE", "queue:mail"))
        read_all(s, b">3\r\n$9\r\nsubscribe\r\n$10\r\nqueue:mail\r\n:1\r\n")
        # A worker on the same connection: what it waits for and what it is
        # subscribed to come side by side.
        s.sendall(encode("FETCH", "1", "10000", "mail"))
        with daemon.client() as client:
            client.execute_command("SUBMIT", "mail", "hello")
        data = read_all(s, b"root\r\n$4\r\nname\r\n_\r\n")
        assert data.startswith(b">3\r\n$7\r\nmessage\r\n$10\r\nqueue:mail\r\n")
        assert data.count(b">3\r\n") == 2 and data.count(b"*1\r\n*5\r\n") == 1


def test_subscriptions_are_bounded(start):
    daemon = start({"daemon.client-subscriptions-max": "3",
                    "daemon.subscriptions-max": "5",
                    "daemon.patterns-max": "2"})
    with daemon.raw() as a, daemon.raw() as b:
        a.sendall(encode("SUBSCRIBE", "1", "2", "3", "4") + encode("PING"))
        assert re.match(rb"-LIMIT .*client-subscriptions-max.*\r\n\+PONG",
                        read_all(a, b"PONG\r\n"))
        a.sendall(encode("SUBSCRIBE", "1", "2", "3") + encode("PING"))
        read_all(a, b"$4\r\npong\r\n$0\r\n\r\n")
        b.sendall(encode("PSUBSCRIBE", "p", "q", "r") + encode("PING"))
        assert b"(subscriptions-max)" in read_all(b, b"PONG\r\n")
        b.sendall(encode("PSUBSCRIBE", "p", "q") + encode("PING"))
        read_all(b, b"$4\r\npong\r\n$0\r\n\r\n")
        a.sendall(encode("UNSUBSCRIBE") + encode("PSUBSCRIBE", "r") +
                  encode("PSUBSCRIBE", "q") + encode("PING"))
        data = read_all(a, b"$4\r\npong\r\n$0\r\n\r\n")
        assert b"-LIMIT" in data and b"patterns-max" in data
        assert b"$10\r\npsubscribe\r\n$1\r\nq\r\n:1\r\n" in data
        a.sendall(encode("SUBSCRIBE", "x" * 257))
        assert read_all(a, b"\r\n").startswith(b"-TOOBIG")


def test_a_subscriber_that_does_not_read_is_cut(start):
    daemon = start({"daemon.output-max": "1M", "limits.payload-max": "64K",
                    "limits.result-max": "64K"})
    with daemon.raw() as slow, daemon.client() as client, \
            client.pubsub() as events:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(encode("SUBSCRIBE", "queue:mail"))
        events.subscribe("queue:other")
        subscribed(events, 1)
        until(lambda: client.info()["subscriptions"] == 2, "both")

        def cut():
            pipe = client.pipeline(transaction=False)
            for _ in range(1000):
                pipe.execute_command("SUBMIT", "mail", "x", "NAME", "n" * 128)
            pipe.execute()
            return client.info()["clients_cut_for_output"] == 1

        until(cut, "it is cut")
        client.execute_command("SUBMIT", "other", "x")
        assert messages(events, 1)[0][0] == "queue:other"
        assert client.info()["subscriptions"] == 1


def test_subscribers_together_leave_little_unread(start):
    """Who reads goes on; those who do not are cut before they take more than
    the bound, however many they are."""
    bound = 1 << 20
    daemon = start({"daemon.unread-messages-max": "1M"})
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(daemon.client())
        events = stack.enter_context(client.pubsub())
        events.subscribe("queue:mail")
        subscribed(events, 1)
        for _ in range(8):
            slow = stack.enter_context(daemon.raw())
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.sendall(encode("PSUBSCRIBE", "*"))
        until(lambda: client.info()["subscriptions"] == 9, "all of them")
        assert client.info("memory")["subscription_bytes"] > 0

        def cut():
            pipe = client.pipeline(transaction=False)
            for _ in range(500):
                pipe.execute_command("SUBMIT", "mail", "x", "NAME", "n" * 128)
            pipe.execute()
            seen = messages(events, 500)
            assert all(e["event"] == "accepted" for _, e in seen)
            assert client.info("memory")["unread_message_bytes"] <= bound
            return client.info("stats")["subscriptions"] == 1

        until(cut, "all who do not read are cut", 60)
        assert client.info("clients")["clients_cut_for_output"] == 8
        assert client.info("clients")["output_max"] > bound


def subscribe_heavily(watcher):
    """To patterns that no name matches, and that are hard to compare."""
    for n in range(256):
        watcher.sendall(encode("PSUBSCRIBE", "*[%s]%03d" % ("A" * 240, n)))
    read_all(watcher, b":256\r\n")


def test_no_turn_is_filled_by_patterns(daemon):
    """However many requests came at once: what they tell is told in turns,
    and others are served in between."""
    with daemon.client() as client, daemon.raw() as watcher, \
            daemon.raw() as producer:
        subscribe_heavily(watcher)
        before = client.info("server")["loop_turns"]
        producer.sendall(encode("SUBMIT", "mail", "x") * 300)
        read_lines(producer, 600)
        turns = client.info("server")["loop_turns"] - before
        # Each job costs some 2000 units, and a turn has 20000.
        assert turns > 300 * 2000 / 20000 / 2


def test_clients_take_turns_while_much_is_told(daemon):
    with daemon.raw() as watcher, daemon.raw() as one, daemon.raw() as two:
        subscribe_heavily(watcher)
        os.kill(daemon.process.pid, signal.SIGSTOP)
        for s in (one, two):
            s.sendall(encode("SUBMIT", "mail", "x") * 100)
        os.kill(daemon.process.pid, signal.SIGCONT)
        ids = [read_lines(s, 200).split(b"\r\n")[1::2] for s in (one, two)]
        for mine, others in (ids, ids[::-1]):
            assert sum(job < others[-1] for job in mine) > 50


def test_what_was_told_survives_kill_nine(daemon):
    for _ in range(5):
        with daemon.raw() as watcher, daemon.raw() as producer:
            watcher.sendall(encode("SUBSCRIBE", "queue:mail"))
            read_all(watcher, b":1\r\n")
            producer.sendall(encode("SUBMIT", "mail", "x" * 100) * 500)
            data = read_all(watcher, b"}\r\n")
            daemon.kill()
            while True:
                try:
                    more = watcher.recv(65536)
                except ConnectionResetError:
                    break
                if not more:
                    break
                data += more
        told = re.findall(rb'"event":"accepted".*?"id":"(j\w{13})"', data)
        assert told
        daemon.start()
        with daemon.client() as client:
            for job in told:
                assert pairs(client.execute_command(
                    "STATUS", job))["queue"] == "mail"


def test_yoke_shows_events(daemon):
    with daemon.client() as client:
        group = client.execute_command("GROUP", "OPEN", "DETACHED", "FAIL", 0)
        watching = daemon.yoke_start("events", "-g", group, "-q", "mail",
                                     "-n", "7")
        until(lambda: client.info()["subscriptions"] == 2, "it is subscribed")
        for _ in range(2):  # each is told on both channels
            client.execute_command("SUBMIT", "mail", "hello", "GROUP", group,
                                   "NAME", "x" * 70)
        [[_, token, *_]] = client.execute_command("FETCH", 1, 5000, "mail")
        client.execute_command("TOUCH", token, "half")
        client.execute_command("FAIL", token, "oops", "it broke")
        client.execute_command("GROUP", "CLOSE", group)
        client.execute_command("QUEUE", "PAUSE", "mail")
        out, err = watching.communicate(timeout=30)
        assert watching.returncode == 0, err
        lines = [re.sub(r"^\d\d:\d\d:\d\d\.\d{3}  ", "", line)
                 for line in out.splitlines()]
        job = token[:14]
        x = "  (" + "x" * 70 + ")"
        assert lines[0] == job + "  accepted   mail 5 bytes" + x
        assert lines[2:] == [
            job + "  started    mail #1" + x,
            job + "  progress   mail #1 half" + x,
            job + "  ended      mail #1 failed: oops: it broke" + x,
            group + "  closed",
            "mail            paused"]


def test_yoke_shows_as_many_events_as_there_were(daemon):
    """What comes by two channels is one event; what is said twice is two, even
    in one millisecond."""
    with daemon.client() as client:
        job = client.execute_command("SUBMIT", "mail", "hello")
        [[_, token, *_]] = client.execute_command("FETCH", 1, 5000, "mail")
        watching = daemon.yoke_start("--json", "events", "--job", job,
                                     "-q", "mail")
        until(lambda: client.info()["subscriptions"] == 2, "it is subscribed")
        pipe = client.pipeline(transaction=False)
        for _ in range(100):
            pipe.execute_command("TOUCH", token, "half")
        pipe.execute()
        client.execute_command("QUEUE", "PAUSE", "mail")
        seen = []
        while True:
            event = json.loads(watching.stdout.readline())
            if event["event"] == "paused":
                break
            assert event["event"] == "progress"
            seen.append(event)
        watching.kill()
        watching.communicate()
        assert len(seen) == 100


def test_yoke_watches_to_the_end(daemon):
    with daemon.client() as client:
        job = client.execute_command("SUBMIT", "mail", "hello")
        watching = daemon.yoke_start("--json", "events", "--job", job)
        until(lambda: client.info()["subscriptions"] == 1, "it is subscribed")
        until(lambda: asked(client, "STATUS"), "it has seen that it runs")
        client.execute_command("CANCEL", job)
        out, err = watching.communicate(timeout=30)
        assert watching.returncode == 0, err
        [event] = [json.loads(line) for line in out.splitlines()]
        assert (event["event"], event["id"]) == ("ended", job)
        done = daemon.yoke("events", "--job", job)  # it has ended already
        assert (done.returncode, done.stdout) == (0, "")
        done = daemon.yoke("events", "--job", "j0000000000001")
        assert done.returncode == 1 and "NOJOB" in done.stderr
        done = daemon.yoke("events", "-q", "mail", "-t", "10ms")
        assert done.returncode == 124


def test_yoke_watches_on_when_the_daemon_is_back(daemon):
    """It says so; and what ended meanwhile has ended."""
    with daemon.client() as client:
        jobs = [client.execute_command("SUBMIT", "mail", "x") for _ in range(2)]
        watching = [daemon.yoke_start("events", "--job", job) for job in jobs]
        until(lambda: client.info()["subscriptions"] == 2, "both watch")
    daemon.kill()
    try:
        for process in watching:
            assert "the daemon is gone" in process.stderr.readline()
        watching[0].send_signal(signal.SIGSTOP)
        daemon.start()
        assert "the daemon is back" in watching[1].stderr.readline()
        with daemon.client() as client:
            until(lambda: client.info()["subscriptions"] == 1, "it watches")
            for job in jobs:
                client.execute_command("CANCEL", job)
        out, err = watching[1].communicate(timeout=30)
        assert jobs[1] + "  ended " in out and watching[1].returncode == 0
        watching[0].send_signal(signal.SIGCONT)
        out, err = watching[0].communicate(timeout=30)
        assert "the daemon is back" in err and out == ""
        assert watching[0].returncode == 0
    finally:
        for process in watching:
            end(process)


def test_a_full_queue_and_its_doors_are_told(start):
    daemon = start({"queue.max-jobs": "1"})
    with daemon.client() as client, client.pubsub() as events:
        events.subscribe("queue:mail")
        subscribed(events, 1)
        client.execute_command("SUBMIT", "mail", "x")
        with pytest.raises(redis.ResponseError, match="^QUEUEFULL"):
            client.execute_command("SUBMIT", "mail", "x", "WAIT", 0)
        for word in ("PAUSE", "RESUME", "CLOSE", "OPEN"):
            client.execute_command("QUEUE", word, "mail")
        assert [e["event"] for _, e in messages(events, 6)] == [
            "accepted", "full", "paused", "resumed", "closed", "opened"]

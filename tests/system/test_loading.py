# SPDX-License-Identifier: BSD-2-Clause
"""While a start replays its journal: who asks is told, who works waits, and
what was accepted before is there afterwards.

The daemon gets its listening socket from the test, as from systemd, so that
clients have connected and asked before it begins: what they are told does not
depend on how fast anybody is, as long as the journal has more than a few
slices of a turn (1 MiB).
"""

import os
import re
import socket
import subprocess

import pytest
import redis

from harness import BUILD, Daemon, Lines, encode, end, hang_up, pairs, until

JOBS = 120
PAYLOAD = "x" * (256 * 1024)
LOADING = re.compile(r"-LOADING yoked is replaying its journal: (\d+) %$")


def passes_sockets():
    with open(os.path.join(BUILD, "config.h")) as config:
        return "#define HAVE_SYSTEMD 1" in config.read()


pytestmark = pytest.mark.skipif(
    not passes_sockets(), reason="this yoked takes no sockets of systemd")


class Woken(Daemon):
    """A yoked whose socket is there before it is."""

    listener = None

    def listen(self):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.socket)
        self.listener.listen(100)

    def command(self, *more):
        plain = super().command(*more)
        if not self.listener:
            return plain
        return ["bash", "-c", "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\" 3<&%d"
                % self.listener.fileno(), "bash"] + plain

    def spawn(self):
        if self.listener:
            os.set_inheritable(self.listener.fileno(), True)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, cwd=self.dir, close_fds=False)
        return self


def fill(daemon, payload, jobs):
    """Jobs on the disk, and a daemon that has ended."""
    daemon.start()
    with daemon.client() as client:
        for _ in range(0, jobs, 1000):
            pipe = client.pipeline(transaction=False)
            for _ in range(min(jobs, 1000)):
                pipe.execute_command("SUBMIT", "mail", payload)
            pipe.execute()
        hang_up(client)
    assert daemon.stop() == 0
    return daemon


@pytest.fixture
def make(directory):
    """make(password=) gives a daemon that has not begun, with JOBS jobs."""
    daemons = []

    def made(password=None, jobs=JOBS, payload=PAYLOAD):
        daemon = Woken(directory, {"queue.max-bytes": "1G",
                                   "queue.max-jobs": "1000000"})
        if password:
            path = os.path.join(directory, "password")
            with open(path, "w") as file:
                file.write(password + "\n")
            os.chmod(path, 0o600)
            daemon.options["daemon.password-file"] = path
            daemon.password = password
        daemons.append(daemon)
        fill(daemon, payload, jobs)
        if jobs == JOBS:
            daemon.listen()
        return daemon

    yield made
    for daemon in daemons:
        status = daemon.stop()
        if daemon.listener:
            daemon.listener.close()
        assert status in (0, None), daemon.log()
        assert "Sanitizer" not in daemon.log(), daemon.log()


def info_of(text):
    return dict(line.split(":", 1) for line in text.split("\r\n")
                if ":" in line)


def queued(daemon):
    with daemon.client() as client:
        return pairs(client.execute_command("QUEUE", "INFO", "mail"))["jobs"]


def percent(line):
    found = LOADING.match(line)
    assert found, line
    return int(found.group(1))


def test_who_asks_is_told_and_who_works_waits(make):
    daemon = make()
    with daemon.raw() as s:
        s.sendall(encode("PING") + encode("INFO") + encode("PING", "text") +
                  encode("CLIENT", "SETNAME", "early") +
                  encode("CONFIG", "GET", "no-such-setting") +
                  encode("ECHO", "x") + encode("SUBMIT", "mail", "late") +
                  encode("PING") + encode("INFO", "persistence"))
        daemon.spawn()
        answers = Lines(s)
        assert 0 <= percent(answers.next()) < 100
        info = info_of(answers.next())
        assert info["loading"] == "1"
        assert 0 < int(info["loading_entries"]) < JOBS
        assert 0 < int(info["loading_loaded_bytes"]) < int(
            info["loading_total_bytes"])
        assert 0 <= int(info["loading_loaded_perc"]) < 100
        assert int(info["loading_eta_seconds"]) >= 0
        assert int(info["loading_start_time"]) > 0
        percent(answers.next())
        assert [answers.next() for _ in range(3)] == ["+OK", "*0", "x"]
        job = answers.next()
        assert re.match("j[0-9a-z]{13}$", job), job
        assert answers.next() == "+PONG"
        info = info_of(answers.next())
        assert info["loading"] == "0" and "loading_entries" not in info
        assert int(info["store_replayed_entries"]) >= JOBS
    assert queued(daemon) == JOBS + 1
    log = daemon.log()
    assert log.rindex("listening") < log.rindex("replayed") < log.rindex("ready")


def test_all_that_wait_are_served_in_their_order(make):
    daemon = make()
    clients = [daemon.raw() for _ in range(50)]
    for i, s in enumerate(clients):
        s.sendall(encode("HELLO", "2") + b"".join(
            encode("SUBMIT", "q%d" % i, "%d" % n) for n in range(20)) +
            encode("FETCH", 20, 0, "q%d" % i) + encode("QUIT"))
    # What was sent whole is done, whether or not anybody waits for the answer.
    with daemon.raw() as s:
        s.sendall(encode("SUBMIT", "gone", "x"))
    with daemon.raw() as s:
        s.sendall(encode("SUBMIT", "gone", "half")[:-3])
    daemon.spawn()
    for s in clients:
        with s, s.makefile("rb") as file:
            said = file.read()
        # The payloads of what was fetched come after the name of the queue.
        payloads = [int(n) for n in re.findall(
            rb"\r\nq\d+\r\n\$\d+\r\n(\d+)\r\n", said)]
        assert said.startswith(b"*18\r\n") and said.endswith(b"+OK\r\n"), said
        assert said.count(b"\r\n$14\r\nj") == 20
        assert payloads == list(range(20))
    with daemon.client() as client:
        assert pairs(client.execute_command("QUEUE", "INFO", "gone"))[
            "jobs"] == 1


def test_a_password_is_asked_for_meanwhile(make):
    daemon = make("secret")
    with daemon.raw() as s, daemon.raw() as other:
        s.sendall(encode("PING") + encode("AUTH", "wrong") +
                  encode("AUTH", "secret") + encode("PING") +
                  encode("QUEUE", "LIST"))
        other.sendall(encode("QUEUE", "LIST") + encode("INFO"))
        daemon.spawn()
        answers = Lines(s)
        assert answers.next().startswith("-NOAUTH ")
        assert answers.next().startswith("-WRONGPASS ")
        assert answers.next() == "+OK"
        percent(answers.next())
        assert (answers.next(), answers.next()) == ("*1", "mail")
        answers = Lines(other)
        assert answers.next().startswith("-NOAUTH ")
        assert answers.next().startswith("-NOAUTH ")


@pytest.mark.parametrize("words", [["SHUTDOWN"], ["SHUTDOWN", "DRAIN"]])
def test_it_stops_at_once_and_loses_nothing(make, words):
    daemon = make()
    with daemon.raw() as s, daemon.raw() as waits:
        waits.sendall(encode("SUBMIT", "mail", "not accepted"))
        s.sendall(encode("PING") + encode(*words))
        daemon.spawn()
        answers = Lines(s)
        percent(answers.next())
        assert answers.next() == "+OK"
        assert daemon.wait() == 0
        with pytest.raises(ConnectionError):
            Lines(waits).next()
    log = daemon.log()
    assert log.count("replayed") == 1 and log.endswith("ended\n"), log
    daemon.spawn()
    assert queued(daemon) == JOBS


def test_damage_ends_it_and_its_clients(make):
    daemon = make()
    journal = os.path.join(daemon.state, "journal")
    path = os.path.join(journal, sorted(
        name for name in os.listdir(journal) if name.endswith(".yj"))[-2])
    with open(path, "r+b") as segment:
        segment.seek(1 << 20)
        segment.write(b"damage" * 100)
    with daemon.raw() as s:
        s.sendall(encode("PING") + encode("SUBMIT", "mail", "x"))
        daemon.spawn()
        answers = Lines(s)
        percent(answers.next())
        with pytest.raises(ConnectionError):
            answers.next()
    assert daemon.wait() == 1
    assert re.search("cannot read the journal: .*%s: damaged at offset"
                     % os.path.basename(path), daemon.log())


def test_the_programs_wait_until_it_is_there(make):
    daemon = make()
    waiting = daemon.yoke_start("submit", "-q", "mail", "x")
    try:
        daemon.spawn()
        out, err = waiting.communicate(timeout=60)
    finally:
        end(waiting)
    assert waiting.returncode == 0 and out.startswith("j"), err
    assert queued(daemon) == JOBS + 1


# ------------------------------------------------ at the daemon's own speed


def while_loading(daemon, probe):
    """Starts the daemon until it was met loading, which one start in a few may
    be too fast for; probe() says whether it was."""
    for _ in range(20):
        daemon.spawn()
        if until(lambda: probe() or (daemon.answers() and "late"),
                 "yoked is there", 60) != "late":
            return
        assert daemon.stop() == 0
    assert False, "it was never met loading:\n" + daemon.log()


@pytest.fixture
def slow(make):
    return make(jobs=200000, payload="x" * 100)


def test_redis_clients_see_it_loading(slow):
    def cli():
        said = subprocess.run(
            ["redis-cli", "-p", str(slow.port), "PING"],
            capture_output=True, text=True, timeout=30).stdout
        return said.startswith("LOADING ")

    def python():
        with redis.Redis(port=slow.port) as client:
            try:
                client.ping()
            except redis.BusyLoadingError:
                # The same connection is good for work.
                assert client.execute_command("QUEUE", "LIST") == [b"mail"]
                return True
            except redis.ConnectionError:
                pass
        return False

    while_loading(slow, cli)
    until(lambda: queued(slow) == 200000, "all jobs are there", 60)
    assert slow.stop() == 0
    while_loading(slow, python)
    assert queued(slow) == 200000


def test_a_signal_stops_it_at_once_and_nothing_is_lost(slow):
    def stopped():
        try:
            with slow.raw() as s:
                s.sendall(encode("PING"))
                if not LOADING.match(Lines(s).next()):
                    return False
        except OSError:
            return False
        at = len(slow.log())
        assert slow.stop() == 0
        # It may have been done just before the signal came.
        return "replayed" not in slow.log()[at:] or not slow.spawn()

    while_loading(slow, stopped)
    log = slow.log()
    assert log[log.rindex("listening"):].count("replayed") == 0
    slow.start()
    assert queued(slow) == 200000

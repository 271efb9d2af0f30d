# SPDX-License-Identifier: BSD-2-Clause
"""Connections that break, and a daemon that dies, between a client of libyoke
and what it wants: everything is done, and once. YOKE_SEED repeats the cuts."""

import os
import random
import selectors
import signal
import socket
import subprocess
import threading

import pytest

from harness import BUILD, MARK, RUNNER, end, marked, pairs, until

SEED = int(os.environ.get("YOKE_SEED", str(random.randrange(1 << 32))))
THROUGH = os.path.join(BUILD, "tests/system/through")
JOBS = 500
CUTS = 40
MUCH = 6000  # more than is ever under way


class Proxy:
    """Passes bytes on, and cuts each connection after so many of them, so many
    times in all; then it lets everything pass. Neither end is told why."""

    def __init__(self, target, seed, cuts=CUTS):
        self.target = target
        self.random = random.Random(seed)
        self.cuts_left = cuts
        self.connections = 0
        self.useless = 0  # in a row: maybe
        self.open = True  # False: nobody gets through
        self.over = False
        self.pairs = {}  # socket -> (the other one, the budget of both)
        self.selector = selectors.DefaultSelector()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def budget(self):
        if self.cuts_left == 0:
            return [1 << 60]
        self.cuts_left -= 1
        # The first HELLO gets through: yoke_open says how it went. And of six
        # in a row one brings an answer to whatever is sent again on it, or the
        # time for coming back would be up by chance.
        least = (MUCH if self.useless == 5 else
                 1000 if self.connections == 1 else 0)
        most = self.random.choice((200, 2000, 8000))
        budget = least + most * self.random.random()
        self.useless = 0 if budget >= MUCH else self.useless + 1
        return [budget]

    def run(self):
        while not self.over:
            for key, _ in self.selector.select(0.05):
                if key.fileobj is self.listener:
                    self.accept()
                elif key.fileobj in self.pairs:
                    self.forward(key.fileobj)
            if not self.open:
                for s in list(self.pairs):
                    self.cut(s)
        for s in list(self.pairs):
            self.cut(s)
        self.listener.close()

    def accept(self):
        near, _ = self.listener.accept()
        far = socket.socket(socket.AF_UNIX)
        try:
            if not self.open:
                raise ConnectionRefusedError
            far.connect(self.target)
        except OSError:
            near.close()
            far.close()
            return
        self.connections += 1
        budget = self.budget()
        for one, other in ((near, far), (far, near)):
            self.pairs[one] = (other, budget)
            self.selector.register(one, selectors.EVENT_READ)

    def forward(self, s):
        other, budget = self.pairs[s]
        try:
            data = s.recv(65536)
            other.sendall(data[:int(min(budget[0], len(data)))])
            budget[0] -= len(data)
        except OSError:
            data = b""
        if not data or budget[0] <= 0:
            self.cut(s)

    def cut(self, s):
        if s in self.pairs:
            for one in (s, self.pairs[s][0]):
                del self.pairs[one]
                self.selector.unregister(one)
                one.close()

    def close(self):
        self.over = True
        self.thread.join()


@pytest.fixture
def proxies():
    made = []
    yield lambda *a, **k: made.append(Proxy(*a, **k)) or made[-1]
    for proxy in made:
        proxy.close()


def through(*words):
    return subprocess.Popen([THROUGH] + [str(w) for w in words], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def said(process):
    """What it printed; it must have ended well."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, (err, "YOKE_SEED=%d" % SEED)
    return [line.split() for line in out.splitlines()]


def check_work(daemon, produced, worked):
    assert produced.pop() == ["group", "ok=%d" % JOBS, "members=%d" % JOBS]
    assert [p for p, _ in produced] == [str(i) for i in range(JOBS)]
    assert len({job for _, job in produced}) == JOBS
    # Each was begun once, in the attempt that counted.
    assert sorted(int(p) for p, _ in worked) == list(range(JOBS))
    ids = dict(produced)
    with daemon.client() as client:
        queue = pairs(client.execute_command("QUEUE", "INFO", "work"))
        for payload, token in worked:
            job, attempt = token.split(".")
            assert job == ids[payload]
            outcome = pairs(client.execute_command("RESULT", job))
            assert outcome["outcome"] == "ok" and outcome["errors"] == []
            assert outcome["result"] == payload
            assert outcome["attempts"] == int(attempt)
    return queue


def test_what_is_submitted_and_run_through_cuts_is_so_once(start, proxies):
    daemon = start()
    near, far = proxies(daemon.socket, SEED), proxies(daemon.socket, ~SEED)
    producer = through("produce", near.address, JOBS)
    worker = through("work", far.address, JOBS)
    try:
        produced, worked = said(producer), said(worker)
    finally:
        end(producer)
        end(worker)
    queue = check_work(daemon, produced, worked)
    assert (queue["submitted"], queue["ok"]) == (JOBS, JOBS)
    assert near.connections > 5 and far.connections > 5


def test_a_daemon_that_dies_again_and_again_is_survived(start):
    daemon = start()
    producer = through("produce", daemon.socket, JOBS)
    worker = through("work", daemon.socket, JOBS)

    def ended():
        with daemon.client() as client:
            return len(client.execute_command(
                "JOBS", "STATE", "finished", "COUNT", 10000))

    try:
        for share in range(1, 6):
            until(lambda: ended() >= share * JOBS // 8, "work goes on", 60)
            daemon.kill().start()
        produced, worked = said(producer), said(worker)
    finally:
        end(producer)
        end(worker)
    check_work(daemon, produced, worked)


def test_a_client_that_stays_away_loses_what_it_owned(start, proxies):
    daemon = start({"limits.session-grace": "300ms"})
    proxy = proxies(daemon.socket, SEED, cuts=0)
    producer = through("produce", proxy.address, 1)
    try:
        with daemon.client() as client:
            job = until(lambda: client.execute_command("JOBS"), "submitted")
            group = pairs(job[0])["group"]
            proxy.open = False
            info = pairs(client.execute_command("GROUP", "WAIT", group, 20000))
            assert (info["outcome"], info["reason"]) == (
                "cancelled", "owner-lost")
            proxy.open = True
        _, err = producer.communicate(timeout=60)
        assert producer.returncode == 1 and "NOSESSION" in err, err
    finally:
        end(producer)


@pytest.fixture
def runners():
    """runner(address): one that is no child of the daemon, ended at the end."""
    started = []

    def make(address, slots=4):
        started.append(subprocess.Popen(
            [RUNNER, "--connect", address, "--slots", str(slots),
             "--allow-commands", "-o", "runner.cgroup=off"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield make
    for runner in started:
        runner.send_signal(signal.SIGINT)
        try:
            runner.communicate(timeout=30)
        finally:
            end(runner)


def test_map_and_its_jobs_go_on_while_the_daemon_is_started_anew(
        start, runners, mark):
    daemon = start()
    runners(daemon.socket)
    gate = os.path.join(daemon.dir, "gate")
    # Whoever runs when the daemon dies is still there when it is back.
    script = ('echo "$1" >> %s/begun; while [ ! -e %s ]; do sleep 0.1; done; '
              'echo "done $1"' % (daemon.dir, gate))
    path = os.path.join(daemon.dir, "job")
    with open(path, "w") as file:
        file.write("#!/bin/sh\n" + script + "\n")
    os.chmod(path, 0o755)
    mapping = daemon.yoke_start("map", "--width", "4", "--env",
                                "%s=%s" % (MARK, mark), path, "{}", ":::",
                                *map(str, range(40)))
    try:
        until(lambda: len(marked(mark)) >= 4, "four run", 60)
        before = set(marked(mark))
        daemon.kill().start()
        assert before & set(marked(mark))
        with open(gate, "w"):
            pass
        out, err = mapping.communicate(timeout=60)
    finally:
        end(mapping)
    assert mapping.returncode == 0, err
    assert out.splitlines() == ["done %d" % i for i in range(40)], err
    # None was begun twice.
    with open(os.path.join(daemon.dir, "begun")) as begun:
        assert sorted(int(n) for n in begun) == list(range(40))


@pytest.mark.parametrize("verb", ["run", "logs"])
def test_who_reads_what_a_job_prints_goes_on_when_the_daemon_is_started_anew(
        start, runners, verb):
    daemon = start()
    runners(daemon.socket)
    gate = os.path.join(daemon.dir, "gate")
    script = ("echo a line before; while [ ! -e %s ]; do sleep 0.1; done; "
              "echo after" % gate)
    if verb == "run":
        reader = daemon.yoke_start("run", "sh", "-c", script)
    else:
        job = daemon.yoke("submit", "-c", "--", "sh", "-c",
                          script).stdout.strip()
        reader = daemon.yoke_start("logs", "-f", job)
    try:
        assert reader.stdout.readline() == "a line before\n"
        daemon.kill().start()
        with open(gate, "w"):
            pass
        out, err = reader.communicate(timeout=60)
    finally:
        end(reader)
    assert reader.returncode == 0, err
    assert out == "after\n", err


def test_a_runner_that_is_cut_off_stops_its_jobs_within_its_lease(
        start, proxies, runners, mark):
    daemon = start({"limits.lease": "3s"})
    proxy = proxies(daemon.socket, SEED, cuts=0)
    runners(proxy.address)
    with daemon.client() as client:
        job = daemon.yoke("submit", "-c", "--env", "%s=%s" % (MARK, mark), "--",
                          "sleep", "600").stdout.strip()
        until(lambda: marked(mark), "it runs", 60)
        proxy.open = False

        def state():
            return pairs(client.execute_command("STATUS", job))["state"]

        # While the daemon takes it for running it may run; not afterwards.
        until(lambda: state() != "running" or not marked(mark), "over", 60)
        assert state() == "running" and not marked(mark)
        until(lambda: state() == "ready", "the lease ends", 60)
        client.execute_command("CANCEL", job)
        proxy.open = True


def test_ctrl_c_ends_a_wait_while_the_daemon_is_away(start):
    daemon = start()
    job = daemon.yoke("submit", "-q", "mail", "x").stdout.strip()
    waiting = daemon.yoke_start("wait", job)
    try:
        with daemon.client() as client:
            until(lambda: "cmd=WAIT" in client.execute_command(
                "CLIENT", "LIST"), "it waits", 60)
        daemon.kill()
        assert waiting.poll() is None
        waiting.send_signal(signal.SIGINT)
        _, err = waiting.communicate(timeout=60)
        assert waiting.returncode != 0
        assert "could not be restored" not in err
        daemon.start()
        waiting = daemon.yoke_start("wait", job)
        with daemon.client() as client:
            until(lambda: "cmd=WAIT" in client.execute_command(
                "CLIENT", "LIST"), "it waits", 60)
            daemon.kill().start()
        with daemon.client() as client:
            [[_, token, *_]] = client.execute_command("FETCH", 1, 0, "mail")
            assert client.execute_command("DONE", token, "late") == "OK"
        _, err = waiting.communicate(timeout=60)
        assert waiting.returncode == 0, err
    finally:
        end(waiting)


def test_a_job_outlives_a_daemon_that_is_away_for_longer_than_clients_wait(
        start, runners, mark):
    daemon = start({"limits.lease": "60s"})
    runners(daemon.socket)
    gate = os.path.join(daemon.dir, "gate")
    job = daemon.yoke("submit", "-c", "--env", "%s=%s" % (MARK, mark), "--",
                      "sh", "-c", "while [ ! -e %s ]; do sleep 0.1; done"
                      % gate).stdout.strip()
    before = set(until(lambda: marked(mark), "it runs", 60))
    waiting = daemon.yoke_start("wait", job)
    try:
        with daemon.client() as client:
            until(lambda: "cmd=WAIT" in client.execute_command(
                "CLIENT", "LIST"), "it waits", 60)
        daemon.kill()
        waiting.communicate(timeout=60)
        assert waiting.returncode != 0
    finally:
        end(waiting)
    daemon.start()
    assert before & set(marked(mark))
    with open(gate, "w"):
        pass
    with daemon.client() as client:
        outcome = pairs(client.execute_command("WAIT", job, 60000))
    assert (outcome["outcome"], outcome["attempts"]) == ("ok", 1)


def test_a_runner_whose_lease_is_over_goes_on_with_a_daemon_that_comes_late(
        start, runners, mark):
    daemon = start({"limits.lease": "2s"})
    runner = runners(daemon.socket)
    job = daemon.yoke("submit", "-c", "--env", "%s=%s" % (MARK, mark), "--",
                      "sleep", "600").stdout.strip()
    until(lambda: marked(mark), "it runs", 60)
    daemon.kill()
    until(lambda: not marked(mark), "it is stopped", 60)
    daemon.start()
    until(lambda: marked(mark), "it runs again", 60)
    assert runner.poll() is None
    with daemon.client() as client:
        client.execute_command("CANCEL", job)
        assert pairs(client.execute_command("WAIT", job, 60000))[
            "outcome"] == "cancelled"

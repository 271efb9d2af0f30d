# SPDX-License-Identifier: BSD-2-Clause
"""Runners on other machines, and lines that fail: no job runs twice at once, no
stale report is taken, what is lost runs elsewhere within a lease and a second.

Each scenario has machines of its own (machines.py), and all that are asked for
run side by side, since most of what they do is wait for a lease to end.

YOKE_STORMS: how many seeds of bad weather (1), after which YOKE_SEED (1) names
the first; each is printed.
"""

import concurrent.futures
import fcntl
import functools
import os
import random
import shutil
import signal
import socket
import struct
import tempfile
import time

import pytest

from harness import (RUNNER, Daemon, Lines, children, encode, end, pairs,
                     until)
from machines import Direction, Network, missing

STORMS = int(os.environ.get("YOKE_STORMS", "1"))
SEED = int(os.environ.get("YOKE_SEED", "1"))
PORT = 9653
PASSWORD = "of all machines"
SCENARIOS = []

# A job ends when its gate is open. It does not listen to TERM, and what it leaves
# in a session of its own holds its lock, too: whoever else is run meanwhile says
# so. Not one byte of it goes over a line before its end.
JOB = """#!/bin/sh
cd %s || exit 9
read -r name
exec 9>>"lock.$name"
flock -n 9 || echo "$YOKE_TOKEN" >>overlaps
trap '' TERM
setsid sleep 1000 </dev/null >/dev/null 2>&1 &
echo "$YOKE_TOKEN" >>"began.$1"
flock -s "gate.$name" true
echo "$YOKE_TOKEN"
"""


class HubDaemon(Daemon):
    """On the hub, for the others by TCP, for the test by its Unix socket."""

    def __init__(self, directory, hub, lease_ms):
        secret = os.path.join(directory, "password")
        with open(secret, "w", opener=lambda path, flags: os.open(
                path, flags, 0o600)) as file:
            file.write(PASSWORD + "\n")
        super().__init__(directory, {
            "daemon.listen": "%s:%d" % (hub.address, PORT),
            "daemon.password-file": secret,
            "limits.lease": "%dms" % lease_ms})
        self.password, self.hub = PASSWORD, hub

    def command(self, *more):
        return ["setpriv", "--pdeathsig", "KILL"] + super().command(*more)

    def spawn(self):
        return self.hub.run(super().spawn)


class Site:
    """A daemon, so many machines, and the runners that are started on them."""

    def __init__(self, machines=2, lease_ms=2000, seed=0):
        self.lease_ms = lease_ms
        self.dir = tempfile.mkdtemp(prefix="yoke-test.")
        self.net = Network(machines, seed)
        self.machines = self.net.others
        self.daemon = HubDaemon(self.dir, self.net.hub, lease_ms)
        self.restart()
        self.runners = {}  # by machine
        self.gates = {}  # by name of the job: closed ones are locked
        self.job = self.path("job")
        with open(self.job, "w") as file:
            file.write(JOB % self.dir)
        os.chmod(self.job, 0o755)

    def restart(self):
        self.daemon.start()
        self.control = self.daemon.client()

    def path(self, name):
        return os.path.join(self.dir, name)

    def lines(self, name):
        try:
            with open(self.path(name)) as file:
                return file.read().split()
        except FileNotFoundError:
            return []

    # ---------------------------------------------------------------- runners

    def configure(self, n, more=""):
        with open(self.path("runner%d.ini" % n), "w") as file:
            file.write("[runner]\nslots = 8\n[run work]\n"
                       "command = %s %d\n%s\n" % (self.job, n, more))

    def log(self, n):
        with open(self.path("runner%d.log" % n), errors="replace") as log:
            return log.read()

    def run(self, n):
        """The runner of machine n; what it runs is in began.n."""
        self.configure(n)
        with open(self.path("runner%d.log" % n), "ab") as log:
            before = self.log(n).count("connected session=")
            runner = self.runners[n] = self.machines[n].start(
                [RUNNER, "--connect", "%s:%d" % (self.net.hub.address, PORT),
                 "--password-file", self.path("password"), "-c",
                 self.path("runner%d.ini" % n)], stderr=log)
        until(lambda: self.log(n).count("connected session=") > before,
              "runner %d is connected" % n, 60)
        return runner

    def leave(self, n):
        runner = self.runners[n]
        if runner.poll() is None:
            runner.send_signal(signal.SIGINT)
        assert runner.wait(60) == 0, self.log(n)

    # ------------------------------------------------------------------- jobs

    def call(self, *words):
        return self.control.execute_command(*words)

    def shut(self, name):
        self.gates[name] = os.open(self.path("gate." + name),
                                   os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        fcntl.flock(self.gates[name], fcntl.LOCK_EX)

    def open(self, name):
        if name in self.gates:
            os.close(self.gates.pop(name))

    def submit(self, name, *options):
        self.shut(name)
        return self.call("SUBMIT", "work", name + "\n", *options)

    def began(self, n, token):
        until(lambda: token in self.lines("began.%d" % n),
              "%s began on machine %d" % (token, n), 60)

    def begin(self, n, name, *options):
        """A job that runs on machine n: its id."""
        job = self.submit(name, *options)
        self.began(n, job + ".1")
        return job

    def is_free(self, name):
        """Is no process of any of its attempts left?"""
        inode = ":%d " % os.stat(self.path("lock." + name)).st_ino
        with open("/proc/locks") as locks:
            return not any(inode in line for line in locks)

    def status(self, job):
        return pairs(self.call("STATUS", job))

    def wait(self, job):
        return pairs(self.call("WAIT", job, 60000))

    def ends_in_its_first_attempt(self, name, job):
        self.open(name)
        outcome = self.wait(job)
        assert (outcome["outcome"], outcome["attempts"], outcome["errors"],
                outcome["result"]) == ("ok", 1, [], job + ".1\n"), outcome

    def is_lost(self, name, job, line):
        """Its machine is cut off. It ends the job while it is its own, and then
        it is the other one's, in time."""
        until(lambda: self.is_free(name) or
              self.status(job)["state"] != "running", "it is over", 60)
        status = self.status(job)
        assert (status["state"], status["attempt"]) == ("running", 1), (
            "the lease ended before the job")
        assert self.is_free(name)
        self.began(1, job + ".2")
        # The promise is one about time. Both ends of it are the clock's of this
        # machine: what the daemon heard last, and what it says of the start.
        took = self.status(job)["started"] - line.there.heard * 1000
        assert took <= self.lease_ms + 1000, "%d ms until it ran again" % took
        return took

    def close(self):
        for machine in self.machines:
            machine.heal()
            machine.plug(True)
        try:
            for n in self.runners:
                self.leave(n)
                assert "Sanitizer" not in self.log(n), self.log(n)
            self.control.close()
            status, log = self.daemon.stop(), self.daemon.log()
            assert status == 0 and "Sanitizer" not in log, log
            assert self.lines("overlaps") == []
        finally:
            for process in (*self.runners.values(), self.daemon.process):
                end(process)
            self.net.close()
            for name in list(self.gates):
                self.open(name)
            shutil.rmtree(self.dir)


def scenario(machines=2, **options):
    def take(function):
        def play():
            site = Site(machines, **options)
            try:
                function(site)
            except BaseException:
                for n in site.runners:
                    print("runner %d:\n%s" % (n, site.log(n)))
                raise
            finally:
                site.close()
        play.__name__ = function.__name__
        SCENARIOS.append(play)
        return play
    return take


# ------------------------------------------------------------- lines that fail


@scenario(machines=1, lease_ms=3000)
def a_line_that_is_away_for_a_fifth_of_the_lease_costs_nothing(site):
    [line] = site.machines
    site.run(0)
    jobs = {name: site.begin(0, name) for name in ("lost", "down", "after")}
    for name, away, back in (("lost", line.cut, line.heal),
                             ("down", lambda: line.plug(False),
                              lambda: line.plug(True))):
        away()
        site.open(name)  # it ends while nobody can be told
        time.sleep(site.lease_ms / 5000)  # that is what it is away
        back()
        site.ends_in_its_first_attempt(name, jobs[name])
    site.ends_in_its_first_attempt("after", jobs["after"])
    assert len(site.lines("began.0")) == 3


def loses(site, cut):
    line = site.machines[0]
    site.run(0)
    job = site.begin(0, "a")
    site.run(1)
    cut(line)
    site.is_lost("a", job, line)
    site.open("a")
    outcome = site.wait(job)
    assert (outcome["outcome"], outcome["attempts"]) == ("ok", 2)
    [error] = map(pairs, outcome["errors"])
    assert (error["class"], error["attempt"]) == ("lost", 1)
    # It comes back when its line does, and is given work.
    line.heal()
    line.plug(True)
    until(lambda: site.log(0).count("connected session=") == 2, "it is back", 60)
    site.leave(1)
    site.ends_in_its_first_attempt("b", site.begin(0, "b"))


@scenario()
def a_machine_whose_device_is_down_loses_its_jobs_in_time(site):
    loses(site, lambda line: line.plug(False))


@scenario()
def a_machine_that_is_not_heard_loses_its_jobs_in_time(site):
    loses(site, lambda line: line.cut(back=False))


@scenario()
def a_machine_that_hears_nothing_loses_its_jobs_in_time(site):
    loses(site, lambda line: line.cut(there=False))


@scenario(machines=1, lease_ms=4000)
def a_slow_line_keeps_its_leases(site):
    """A round trip of up to 0.6 s, and packets that overtake each other."""
    [line] = site.machines
    line.slow(0.1, 0.3)
    site.run(0)
    jobs = {name: site.begin(0, name) for name in "abcd"}
    began = time.monotonic()
    until(lambda: time.monotonic() > began + 1.2 * site.lease_ms / 1000,
          "they run for longer than a lease")
    for name, job in jobs.items():
        site.ends_in_its_first_attempt(name, job)


@scenario()
def a_job_that_comes_when_its_lease_is_over_is_not_begun(site):
    """The answer to a FETCH is under way for longer than a lease."""
    line = site.machines[0]
    site.run(0)
    slow = 1.25 * site.lease_ms / 1000
    line.back.delay = (slow, slow)
    job = site.submit("a")
    until(lambda: site.status(job)["state"] == "running", "it is given away", 60)
    site.run(1)
    site.began(1, job + ".2")
    line.back.delay = (0, 0)
    site.open("a")
    assert site.wait(job)["outcome"] == "ok"
    site.leave(1)
    other = site.begin(0, "b")
    site.ends_in_its_first_attempt("b", other)
    assert site.lines("began.0") == [other + ".1"]


# ------------------------------------------------------------------ late reports


@scenario()
def a_report_from_before_the_lease_ended_is_stale(site):
    """It lies in the kernel's queue until the line is back."""
    line = site.machines[0]
    site.run(0)
    job = site.begin(0, "a")
    site.run(1)
    late = line.connect((site.net.hub.address, PORT))
    line.cut()
    late.sendall(encode("AUTH", PASSWORD) + encode("DONE", job + ".1", "late"))
    site.is_lost("a", job, line)
    line.heal()
    answers = Lines(late)
    assert answers.next() == "+OK"
    assert answers.next().startswith("-STALE")
    late.close()
    status = site.status(job)
    assert (status["state"], status["attempt"]) == ("running", 2)
    site.open("a")
    outcome = site.wait(job)
    assert (outcome["outcome"], outcome["result"]) == ("ok", job + ".2\n")


@scenario()
def a_runner_that_was_done_too_late_is_stale(site):
    """It has done its job, and cannot say so while it holds the lease."""
    line = site.machines[0]
    site.run(0)
    job = site.begin(0, "a")
    line.cut()
    site.open("a")
    until(lambda: site.is_free("a"), "it is done", 60)
    site.shut("a")
    site.run(1)
    site.began(1, job + ".2")
    took = site.status(job)["started"] - line.there.heard * 1000
    assert took <= site.lease_ms + 1000, "%d ms until it ran again" % took
    line.heal()
    until(lambda: "no longer ours job=%s.1" % job in site.log(0), "STALE", 60)
    status = site.status(job)
    assert (status["state"], status["attempt"]) == ("running", 2)
    site.open("a")
    outcome = site.wait(job)
    assert (outcome["outcome"], outcome["result"]) == ("ok", job + ".2\n")


# ------------------------------------------------- told while the line is away


@scenario()
def a_stopped_runner_that_is_cut_off_loses_its_jobs_in_time(site):
    line = site.machines[0]
    site.run(0)
    job = site.begin(0, "a")
    site.run(1)
    line.cut()
    for pid, name in children(site.runners[0].pid).items():
        if name == "yoke-jobs":
            os.kill(pid, signal.SIGSTOP)
    site.is_lost("a", job, line)
    site.open("a")
    assert site.wait(job)["attempts"] == 2
    line.heal()
    until(lambda: site.log(0).count("connected session=") == 2, "it is back", 60)


@scenario(machines=1, lease_ms=3000)
def settings_that_are_read_meanwhile_disturb_nothing(site):
    [line] = site.machines
    site.run(0)
    job = site.begin(0, "a")
    line.cut()
    site.configure(0, "umask = 077")
    site.runners[0].send_signal(signal.SIGHUP)
    until(lambda: "reloaded queues=1" in site.log(0), "it is reloaded", 60)
    line.heal()
    site.ends_in_its_first_attempt("a", job)


@scenario(machines=1)
def who_is_to_stop_waits_no_longer_than_its_lease(site):
    """Neither with a report that cannot be said, nor with a job."""
    [line] = site.machines
    for ends in (True, False):
        site.run(0)
        job = site.begin(0, "a" if ends else "b")
        line.cut()
        if ends:
            site.open("a")
            until(lambda: site.is_free("a"), "it is done", 60)
        site.runners[0].send_signal(signal.SIGTERM)
        assert site.runners[0].wait(60) == 0
        assert site.is_free("a" if ends else "b")
        # And that was in time: the daemon has given it to nobody.
        assert site.status(job)["attempt"] == 1
        line.heal()
        site.call("CANCEL", job)


# ------------------------------------------------------------- another daemon


@scenario(lease_ms=4000)
def jobs_elsewhere_go_on_and_report_to_a_daemon_that_is_started_anew(site):
    for n in (0, 1):
        site.run(n)
        site.machines[n].slow(0, 0.05)
    jobs = {name: site.submit(name) for name in "abcdefghijkl"}
    until(lambda: len(site.lines("began.0") + site.lines("began.1")) ==
          len(jobs), "all run", 60)
    for name in "abcd":
        site.open(name)
    site.daemon.kill()
    for name in "efgh":
        site.open(name)  # nobody is there to be told
    until(lambda: all(map(site.is_free, "efgh")), "they are done", 60)
    site.restart()
    for name, job in jobs.items():
        site.ends_in_its_first_attempt(name, job)
    assert len(site.lines("began.0") + site.lines("began.1")) == len(jobs)


@scenario(machines=1)
def jobs_of_which_a_daemon_knows_nothing_are_ended(site):
    site.run(0)
    site.begin(0, "a")
    site.daemon.kill()
    shutil.rmtree(site.daemon.state)
    site.restart()
    until(lambda: site.is_free("a"), "it is ended", 60)
    site.ends_in_its_first_attempt("b", site.begin(0, "b"))


# ------------------------------------------------------------------ bad weather


def weather(site, chance):
    """Something happens to a line, or to the daemon."""
    line = chance.choice(site.machines)
    chance.choice((
        line.cut, lambda: line.cut(there=False), lambda: line.cut(back=False),
        lambda: line.plug(False), lambda: line.slow(0, chance.random() / 3),
        lambda: setattr(line.there, "loss", chance.random() / 2),
        lambda: setattr(line.back, "loss", chance.random() / 2)))()
    return line


def clear(line):
    line.heal()
    line.plug(True)
    line.slow(0, 0)
    line.there.loss = line.back.loss = 0.0


def storm(seed):
    """For a while lines fail in any way, jobs come and end; then it is over, and
    each job has ended once, as its last attempt said."""
    chance = random.Random(seed)
    site = Site(2, 2000, seed)
    try:
        for n in (0, 1):
            site.run(n)
        jobs, over = {}, time.monotonic() + 6
        while time.monotonic() < over:
            name = str(len(jobs))
            jobs[name] = site.submit(name, "REDELIVER", 1000)
            if chance.random() < 0.7:
                site.open(chance.choice(list(jobs)))
            if chance.random() < 0.5:
                clear(chance.choice(site.machines))
            else:
                weather(site, chance)
            if chance.random() < 0.05:
                site.daemon.kill()
                site.restart()
            time.sleep(chance.random() * 0.6)  # how long that lasts
        for line in site.machines:
            clear(line)
        lost = 0
        for name, job in jobs.items():
            site.open(name)
            outcome = site.wait(job)
            assert outcome["outcome"] == "ok", outcome
            # Whatever others said, and whenever.
            assert outcome["result"] == "%s.%d\n" % (job, outcome["attempts"])
            classes = {pairs(e)["class"] for e in outcome["errors"]}
            assert classes <= {"lost"}, outcome
            lost += len(outcome["errors"])
        print("YOKE_SEED=%d: %d jobs, %d attempts lost, %d runners killed by "
              "their wardens" % (seed, len(jobs), lost, sum(
                  site.log(n).count("killed with them") for n in site.runners)))
    except BaseException:
        print("YOKE_SEED=%d failed" % seed)
        for n in site.runners:
            print("runner %d:\n%s" % (n, site.log(n)))
        raise
    finally:
        site.close()


# ----------------------------------------------------------------------- tests


SCENARIOS += [functools.partial(storm, seed)
              for seed in range(SEED, SEED + STORMS)]
AT_ONCE = 12


def name_of(play):
    return getattr(play, "__name__", None) or "storm %d" % play.args


@pytest.fixture(scope="module")
def played(request):
    """What became of each that is asked for."""
    lacks = missing()
    if lacks:
        pytest.skip("NO MACHINES HERE: " + lacks)
    wanted = [item.callspec.params["play"] for item in request.session.items
              if "play" in getattr(getattr(item, "callspec", None), "params", ())]
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        yield {play: pool.submit(play) for play in wanted}


@pytest.mark.parametrize("play", SCENARIOS, ids=name_of)
def test(play, played):
    played[play].result()


def test_only_bytes_that_were_not_heard_before_are_news():
    """By it the time is taken from which a lease counts. It needs no machine."""
    def packet(sequence, data):
        ip = struct.pack("!BBHIBBH8x", 0x45, 0, 40 + len(data), 0, 64,
                         socket.IPPROTO_TCP, 0)
        return ip + struct.pack("!HHIIBB6x", 50000, PORT, sequence, 0, 0x50,
                                0x18) + data

    way = Direction()
    heard = [way.is_news(packet(*p)) for p in (
        (7, b"PING"), (7, b"PING"), (11, b""), (11, b"PI"), (11, b"PING"))]
    assert heard == [True, False, False, True, True]

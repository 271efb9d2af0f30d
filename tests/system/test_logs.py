# SPDX-License-Identifier: BSD-2-Clause
"""yoke logs: whose output it is, and to where it goes; the log files of the
runner."""

import json
import os
import pty
import re
import signal
import stat
import subprocess

import pytest

from harness import YOKE, end, pairs, until


class Worker:
    """Runs jobs of the queue by hand."""

    def __init__(self, daemon):
        self.client = daemon.client()

    def submit(self, group, *options):
        return self.client.execute_command("SUBMIT", "mail", "x", "GROUP",
                                           group, *options)

    def fetch(self):
        [[_, token, *_]] = self.client.execute_command("FETCH", 1, 5000, "mail")
        return token

    def say(self, token, stream, data):
        self.client.execute_command("LOG", token, stream, data)

    def release(self, token):
        self.client.execute_command("RELEASE", token)

    def done(self, token):
        self.client.execute_command("DONE", token, "fine")

    def open(self, *options):
        return self.client.execute_command("GROUP", "OPEN", "DETACHED",
                                           *options)

    def close(self, group):
        self.client.execute_command("GROUP", "CLOSE", group)


@pytest.fixture
def daemon(start):
    return start()


@pytest.fixture
def worker(daemon):
    worker = Worker(daemon)
    yield worker
    worker.client.close()


@pytest.fixture
def follow(daemon):
    """Processes that are ended whatever happens."""
    processes = []

    def begin(*words):
        processes.append(daemon.yoke_start(*words))
        return processes[-1]

    yield begin
    for process in processes:
        if process.returncode is None:
            end(process)


def follows(worker, n=1):
    """So many wait for more."""
    until(lambda: worker.client.info()["blocked_clients"] == n,
          "%d wait for output" % n)


def test_lines_of_a_group_carry_their_job(worker, follow):
    """Of what runs already, of what starts later, and of groups below; each
    stream goes to its own."""
    group = worker.open("NAME", "outer")
    inner = worker.open("PARENT", group)
    first = worker.submit(group, "NAME", "the first of them all")
    one = worker.fetch()
    worker.say(one, 1, "early\n")
    watching = follow("logs", "-f", group)
    follows(worker)
    second = worker.submit(inner)
    two = worker.fetch()
    worker.say(two, 1, "below\n")
    worker.say(one, 2, "trouble\n")
    worker.say(one, 1, "late\n")
    for token in (one, two):
        worker.done(token)
    for g in (inner, group):
        worker.close(g)
    out, err = watching.communicate(timeout=30)
    assert watching.returncode == 0
    label = first + " the first of ..."
    lines = [re.sub(" +[|]", " |", line) for line in out.splitlines()]
    assert [x for x in lines if x.startswith(first)] == [
        label + " | early", label + " | late"]
    assert [x for x in lines if x.startswith(second)] == [second + " | below"]
    assert len(lines) == 3
    assert err == label + " | trouble\n"


def test_a_line_that_comes_in_parts_is_one_line(worker, follow):
    group = worker.open()
    job = worker.submit(group)
    token = worker.fetch()
    watching = follow("logs", "-f", group)
    follows(worker)
    worker.say(token, 1, "one\ntw")
    assert watching.stdout.readline() == job + " | one\n"
    worker.say(token, 1, "o\n" + "x" * 8192)
    assert watching.stdout.readline() == job + " | two\n"
    worker.say(token, 1, "yz")
    assert watching.stdout.readline() == job + " | " + "x" * 8192 + "\n"
    worker.done(token)
    worker.close(group)
    assert watching.communicate(timeout=30) == (job + " | yz\n", "")


def test_lines_stand_in_the_order_in_which_they_came(daemon, worker):
    """Of all members, also with times, and for a Redis client."""
    group = worker.open()
    jobs = [worker.submit(group) for _ in range(3)]
    tokens = [worker.fetch() for _ in jobs]
    said = []
    for n in range(12):
        who = n * n % 3
        worker.say(tokens[who], 1, "line %d\n" % n)
        said.append("%s | line %d" % (jobs[who], n))
    assert daemon.yoke("logs", group).stdout.splitlines() == said
    timed = daemon.yoke("logs", "--times", group).stdout.splitlines()
    times = [line.split(" ")[0] for line in timed]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d",
                            time) for time in times), times
    assert times == sorted(times)
    assert [line.split(" ", 1)[1] for line in timed] == said
    _, entries, over = worker.client.execute_command("LOGS", group, 0, 0)
    assert [[stream, token] for stream, _, _, token in entries] == [
        [1, tokens[n * n % 3]] for n in range(12)]
    assert over == 0
    one = daemon.yoke("logs", "--times", jobs[0]).stdout.splitlines()
    assert [line.split(" ", 1)[1] for line in one] == [
        "line %d" % n for n in range(0, 12, 3)]


def test_a_line_ends_with_its_attempt(worker, follow):
    group = worker.open()
    job, other = worker.submit(group), worker.submit(group)
    token, beside = worker.fetch(), worker.fetch()
    watching = follow("logs", "-f", group)
    follows(worker)
    worker.say(token, 1, "begun")
    worker.say(beside, 1, "whole\n")
    assert watching.stdout.readline() == other + " | whole\n"
    worker.release(token)
    again = worker.fetch()
    assert again == job + ".2"
    worker.say(again, 1, "anew")
    assert watching.stdout.readline() == job + " | begun\n"
    worker.done(again)
    # The group goes on.
    assert watching.stdout.readline() == job + ".2 | anew\n"
    worker.done(beside)
    worker.close(group)
    assert watching.communicate(timeout=30) == ("", "")


def test_what_was_dropped_is_said(start):
    daemon = start({"limits.log-max": "1000"})
    worker = Worker(daemon)
    group = worker.open()
    job = worker.submit(group)
    token = worker.fetch()
    for n in range(12):
        worker.say(token, 1, "%99d\n" % n)
    done = daemon.yoke("logs", group)
    assert [int(line.split("|")[1]) for line in done.stdout.splitlines()] == (
        list(range(2, 12)))
    assert "%s: up to 200 bytes were dropped here" % job in done.stderr


def test_who_follows_ends_when_nobody_reads(worker, follow):
    """Also when nothing more is printed."""
    group = worker.open()
    job = worker.submit(group)
    worker.say(worker.fetch(), 1, "one\n")
    both = follow("logs", "-f", group), follow("logs", "-f", job)
    for process in both:
        assert process.stdout.readline().endswith("one\n")
    follows(worker, 2)
    for process in both:
        process.stdout.close()
    for process in both:
        assert process.wait(timeout=30) == 128 + signal.SIGPIPE


@pytest.mark.parametrize("follows", [[], ["-f"]])
def test_the_output_of_a_group_that_is_over_is_told_once(
        daemon, worker, follows):
    group = worker.open()
    jobs = [worker.submit(group) for _ in range(400)]
    for job in jobs:
        token = worker.fetch()
        worker.say(token, 1, "said\n")
        worker.say(token, 2, "cried\n")
        worker.done(token)
    worker.close(group)
    done = daemon.yoke("logs", *follows, group)
    assert done.returncode == 0
    assert sorted(done.stdout.splitlines()) == [
        job + " | said" for job in sorted(jobs)]
    assert sorted(done.stderr.splitlines()) == [
        job + " | cried" for job in sorted(jobs)]
    told = [json.loads(line) for line in
            daemon.yoke("--json", "logs", *follows, group).stdout.splitlines()]
    assert {x["id"] for x in told} == set(jobs)
    assert "".join(x["data"] for x in told if x["stream"] == 2) == (
        "cried\n" * 400)


def test_whoever_follows_waits_for_the_daemon(daemon, worker, follow):
    """Of a job and of a group: they say that it is gone, and go on."""
    group = worker.open()
    old, alone = worker.submit(group), worker.submit("root")
    token, other = worker.fetch(), worker.fetch()
    assert other.startswith(alone)
    worker.say(token, 1, "before\n")
    worker.say(other, 1, "alone\n")
    watching = follow("logs", "-f", group)
    single = follow("logs", "-f", alone)
    assert watching.stdout.readline() == old + " | before\n"
    assert single.stdout.readline() == "alone\n"
    daemon.kill()
    for process in (watching, single):
        assert "the daemon is gone" in process.stderr.readline()
    daemon.start()
    worker.client = daemon.client()
    for process in (watching, single):
        assert process.stderr.readline() == "yoke: the daemon is back\n"
    worker.done(token)
    worker.done(other)
    worker.submit(group)
    new = worker.fetch()
    worker.say(new, 1, "after\n")
    worker.done(new)
    worker.close(group)
    out, err = watching.communicate(timeout=30)
    assert (watching.returncode, err) == (0, "")
    assert out == new.split(".")[0] + " | after\n"
    assert single.communicate(timeout=30) == ("", "")
    assert single.returncode == 0


def test_labels_have_colours_on_a_terminal_alone(daemon, worker):
    group = worker.open()
    job = worker.submit(group, "NAME", "ev\u202eil")
    token = worker.fetch()
    worker.say(token, 1, "said\n")
    worker.done(token)
    worker.close(group)
    ours, theirs = pty.openpty()
    with subprocess.Popen([YOKE, "logs", group], stdout=theirs,
                          env=daemon.environment(TERM="xterm",
                                                 LC_ALL="C.UTF-8")):
        os.close(theirs)
        shown = os.read(ours, 4096).decode()
    os.close(ours)
    assert re.fullmatch("\x1b\\[3[0-9]m%s ev[?]il\x1b\\[0m "
                        "\x1b\\[2m[|]\x1b\\[0m said\r\n" % job, shown), shown
    assert daemon.yoke("logs", group).stdout.endswith("| said\n")
    assert "\x1b" not in daemon.yoke("logs", group).stdout


def test_a_group_that_is_not_there_is_an_error(daemon):
    for words in (["logs"], ["logs", "-f"]):
        done = daemon.yoke(*words, "g0000000000001")
        assert done.returncode == 1 and "NOGROUP" in done.stderr, done


def run_printing(start, log_file, more=""):
    """Three jobs of a queue with a log file: their ids and outcomes."""
    daemon = start(config="[run q]\nlog-file = %s\ncommand = /bin/sh -c "
                   "'read n; echo out $n; printf err-$n >&2'\n%s"
                   % (log_file, more), runner=True)
    with daemon.client() as client:
        jobs = [client.execute_command("SUBMIT", "q", "%d\n" % n)
                for n in range(3)]
        outcomes = [pairs(client.execute_command("WAIT", job, 30000))["outcome"]
                    for job in jobs]
    return daemon, jobs, outcomes


def test_a_job_that_has_ended_has_its_lines_in_the_log_file(start, tmp_path):
    path = tmp_path / "q.log"
    _, jobs, outcomes = run_printing(start, path)
    assert outcomes == ["ok"] * 3
    lines = path.read_text().splitlines()
    assert len(lines) == 6
    for n, job in enumerate(jobs):
        of_job = [line.split(" ", 2) for line in lines if job in line]
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time)
                   for time, _, _ in of_job)
        assert {(token, text) for _, token, text in of_job} == {
            (job + ".1", "out out %d" % n), (job + ".1", "err err-%d" % n)}
    assert stat.S_IMODE(path.stat().st_mode) & 0o027 == 0


def test_a_log_file_that_cannot_be_written_stops_no_job(start, tmp_path):
    path = tmp_path / "nowhere" / "q.log"
    daemon, _, outcomes = run_printing(start, path)
    assert outcomes == ["ok"] * 3
    assert daemon.log().count(
        'to=%s reason="No such file or directory"' % path) == 1

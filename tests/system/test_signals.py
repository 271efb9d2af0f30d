# SPDX-License-Identifier: BSD-2-Clause
"""yoked as a service: how it starts, reloads, stops; its runner."""

import os
import re
import signal
import subprocess

import pytest
import redis

from harness import MARK, RUNNER, YOKED, end, marked, pairs, until


def test_term_stops_cleanly_and_a_restart_keeps_the_jobs(start):
    daemon = start()
    with daemon.client() as client:
        jobs = [client.execute_command("SUBMIT", "mail", i, "PRIORITY", i % 10)
                for i in range(100)]
        group = client.execute_command("GROUP", "OPEN", "DETACHED")
        member = client.execute_command("SUBMIT", "mail", "m", "GROUP", group)
        client.execute_command("QUEUE", "PAUSE", "mail")
    assert daemon.stop() == 0
    assert not os.path.exists(daemon.socket)
    daemon.start()
    with daemon.client() as client:
        assert client.execute_command("FETCH", 1, 0, "mail") == []
        client.execute_command("QUEUE", "RESUME", "mail")
        got = client.execute_command("FETCH", 200, 0, "mail")
        assert {g[1] for g in got} == {j + ".1" for j in jobs + [member]}
        order = [int(g[3]) % 10 for g in got if g[3] != "m"]
        assert order == sorted(order, reverse=True)
        assert pairs(client.execute_command(
            "STATUS", member))["group"] == group


def test_term_ends_the_jobs_of_its_runner(start, mark):
    daemon = start({"runner.stop-grace": "1s"}, runner=True)
    process = daemon.yoke_start("run", "--env", "%s=%s" % (MARK, mark),
                                "sleep", "1000")
    until(lambda: marked(mark), "the job runs")
    assert daemon.stop() == 0
    assert marked(mark) == []
    end(process)


def test_who_waits_is_told_when_the_daemon_stops(start):
    daemon = start()
    with daemon.raw() as s, s.makefile("rb") as answers:
        s.sendall(b"SUBMIT mail x\r\nFETCH 0 -1\r\n")
        assert answers.readline().startswith(b"$")
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
        answers.read()  # ends


def test_drain_does_not_wait_for_what_will_not_start(start):
    daemon = start()
    with daemon.client() as client:
        job = client.execute_command("SUBMIT", "mail", "x")
        [[_, token, *_]] = client.execute_command("FETCH", 1, 0, "mail")
        child = client.execute_command("SUBMIT", "mail", "y", "GROUP", token)
        client.execute_command("SHUTDOWN", "DRAIN")
        client.execute_command("DONE", token)
    assert daemon.wait() == 0
    daemon.start()
    with daemon.client() as client:
        for id, state in ((job, "joining"), (child, "ready")):
            assert pairs(client.execute_command(
                "STATUS", id))["state"] == state


def test_hup_reads_the_configuration_again(start):
    daemon = start(config="[queue mail]\nmax-jobs = 1\n")

    def bound():
        with daemon.client() as client:
            return pairs(client.execute_command(
                "QUEUE", "INFO", "mail"))["max_jobs"]

    assert bound() == 1
    daemon.configure("[queue mail]\nmax-jobs = 7\n")
    daemon.signal(signal.SIGHUP)
    until(lambda: bound() == 7, "the new bound holds")
    # What is wrong is said, and changes nothing.
    daemon.configure("[queue mail]\nmax-jobs = none at all\n")
    daemon.signal(signal.SIGHUP)
    until(lambda: "none at all" in daemon.log(), "it complains")
    assert bound() == 7


def test_no_job_is_larger_than_the_files_that_there_are(start):
    """Those of another size come with the next start only."""
    daemon = start({"journal.segment-size": None},
                   "[limits]\npayload-max = 256K\nresult-max = 256K\n"
                   "[journal]\nsegment-size = 1M\n")
    large = "[limits]\npayload-max = 2M\n[journal]\nsegment-size = 64M\n"
    daemon.configure(large)
    daemon.signal(signal.SIGHUP)
    until(lambda: "not reloaded" in daemon.log(), "it complains")
    with daemon.client() as client:
        with pytest.raises(redis.ResponseError, match="TOOBIG"):
            client.execute_command("SUBMIT", "mail", "x" * 1500000)
    daemon.kill()
    daemon.start()
    with daemon.client() as client:
        client.execute_command("SUBMIT", "mail", "x" * 1500000)


def test_shutdown_is_a_command(start):
    daemon = start()
    with daemon.raw() as s:
        s.sendall(b"SHUTDOWN\r\n")
        assert daemon.wait() == 0


@pytest.mark.parametrize("text, line, words", [
    ("[daemon]\nlisten = 127.0.0.1:0\ncolour = red\n", 3, ["colour"]),
    ("[limits]\nlease = soon\n", 2, ["lease", "soon", "expected"]),
    ("[limits]\n\nlease = 1us\n", 3, ["lease", "1us", "expected"]),
    ("[queue]\nmax-jobs = 0\n", 2, ["max-jobs", "0", "expected"]),
    ("[kitchen]\nsink = 1\n", 1, ["kitchen"]),
    ("[daemon]\n[kitchen]\n", 2, ["kitchen", "expected daemon"]),
    ("[journal]\nsync = sometimes\n", 2, ["sync", "sometimes", "always"]),
    ("[limiter gpu]\npermits = -1\n", 2, ["permits", "-1", "expected none"]),
    ("[limiter gpu]\nrate = 10\n", 2, ["rate", "10", "10/1s"]),
    ("[queue mail]\nfair = perhaps\n", 2, ["fair", "perhaps", "no or yes"]),
    ("max-jobs = 5\n", 1, ["max-jobs"]),
    ("[daemon]\nnonsense\n", 2, []),
])
def test_errors_of_the_configuration_name_file_and_line(
        directory, text, line, words):
    path = os.path.join(directory, "yoked.ini")
    with open(path, "w") as file:
        file.write(text)
    done = subprocess.run([YOKED, "-c", path, "--check-config"],
                          capture_output=True, text=True, timeout=10)
    assert done.returncode == 2, done.stderr
    assert "%s:%d" % (path, line) in done.stderr, done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


def test_a_good_configuration_is_good(directory):
    done = subprocess.run([YOKED, "-c", "/dev/null", "--check-config"],
                          capture_output=True, text=True, timeout=10)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("settings, word", [
    ("allow-commands = yes\numask = 999\n", "umask"),
    ("", "there is no queue to serve"),
])
@pytest.mark.parametrize("check", [True, False])
def test_a_runner_that_could_not_run_is_not_started(
        directory, settings, word, check):
    path = os.path.join(directory, "yoked.ini")
    with open(path, "w") as file:
        file.write("[daemon]\nlisten = none\nsocket = %s/s\n"
                   "state-dir = %s/state\n[runner]\nstart = yes\n%s"
                   % (directory, directory, settings))
    done = subprocess.run(
        [YOKED, "-c", path] + (["--check-config"] if check else []),
        capture_output=True, text=True, timeout=10)
    assert done.returncode == 2, done.stderr
    assert word in done.stderr, done.stderr


def test_a_killed_runner_comes_back_later_and_later(start):
    daemon = start(runner=True)
    seen = []
    for _ in range(4):
        runner = until(lambda: daemon.runner() not in (None, *seen) and
                       daemon.runner(), "a runner")
        seen.append(runner)
        os.kill(runner, signal.SIGKILL)
    until(lambda: daemon.runner() not in (None, *seen), "the last runner")
    assert daemon.yoke("run", "echo", "here").stdout == "here\n"
    times = [hours * 3600 + minutes * 60 + seconds
             for hours, minutes, seconds, what in (
                 (int(h), int(m), float(s), w) for h, m, s, w in re.findall(
                     r"T(\d+):(\d+):([\d.]+)Z .*runner (ended|started)",
                     daemon.log())) if what][1:]
    # ended, started, ended, started ...: each pause longer than the one
    # before.
    pauses = [(b - a) % 86400 for a, b in zip(times[::2], times[1::2])]
    assert len(pauses) == 4 and pauses == sorted(pauses), pauses
    assert pauses[-1] > pauses[0] * 2


def test_a_runner_of_its_own_connects_and_stops(start, mark, directory):
    daemon = start()
    log = os.path.join(directory, "runner.log")
    with open(log, "wb") as file:
        runner = subprocess.Popen(
            [RUNNER, "--connect", daemon.socket, "--allow-commands"],
            stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    try:
        done = daemon.yoke("run", "--env", "%s=%s" % (MARK, mark), "--", "sh",
                           "-c", "echo out; echo err >&2; exit 3")
        assert (done.returncode, done.stdout, done.stderr) == (
            3, "out\n", "err\n")
        process = daemon.yoke_start("run", "--env", "%s=%s" % (MARK, mark),
                                    "sleep", "1000")
        until(lambda: marked(mark), "the job runs")
        runner.send_signal(signal.SIGINT)
        assert runner.wait(30) == 0
        assert marked(mark) == []
        end(process)
    finally:
        end(runner)


def test_a_configured_command_gets_the_payload(start):
    daemon = start({"runner.allow-commands": "no"}, runner=True,
                   config="[run shout]\ncommand = tr a-z A-Z\n")
    with daemon.client() as client:
        job = client.execute_command("SUBMIT", "shout", "hello")
        outcome = pairs(client.execute_command("WAIT", job, 20000))
        assert (outcome["outcome"], outcome["result"]) == ("ok", "HELLO")
        # And no payload can name one.
        job = client.execute_command("SUBMIT", "run", "arg=/bin/true\0")
        assert client.execute_command("WAIT", job, 200) is None


def test_third_interrupt_ends_yoke_although_the_daemon_is_silent(start):
    daemon = start(runner=True)
    process = daemon.yoke_start("run", "sleep", "1000")
    with daemon.client() as client:
        until(lambda: client.execute_command("JOBS", "STATE", "running"),
              "the job runs")
    daemon.signal(signal.SIGSTOP)
    try:
        process.send_signal(signal.SIGINT)
        process.stderr.readline()  # "cancelling ..."
        until(lambda: process.send_signal(signal.SIGINT) or
              process.poll() is not None, "yoke has ended")
        assert process.returncode == -signal.SIGINT
    finally:
        daemon.signal(signal.SIGCONT)
        end(process)

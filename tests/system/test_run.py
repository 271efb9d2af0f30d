# SPDX-License-Identifier: BSD-2-Clause
"""Whatever dies - the command, its yoke, the runner, the daemon - its
processes do, and before they are started again."""

import os
import signal
import time

import pytest

from harness import MARK, YOKE, end, marked, until

SESSION_GRACE = 1


@pytest.fixture
def daemon(start):
    return start({"limits.session-grace": "%ds" % SESSION_GRACE}, runner=True)


def run_sleep(daemon, mark, *words):
    process = daemon.yoke_start("run", "--env", "%s=%s" % (MARK, mark), "--",
                                *(words or ("sleep", "1000")))
    until(lambda: marked(mark), "the job runs")
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM,
                                    signal.SIGHUP])
def test_the_process_is_gone_before_yoke_returns(daemon, mark, number):
    process = run_sleep(daemon, mark)
    process.send_signal(number)
    status = process.wait(20)
    assert marked(mark) == []
    assert status == 128 + number
    end(process)


def test_ctrl_c_waits_for_a_job_that_cleans_up(daemon, mark):
    process = run_sleep(
        daemon, mark, "sh", "-c",
        "trap 'echo cleaned; exit 0' TERM; echo up; while :; do sleep 0.1; "
        "done")
    # The trap is set when the job has said so.
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert marked(mark) == []
    assert out == "cleaned\n"
    assert process.returncode == 130


def test_a_second_ctrl_c_does_not_wait(start, mark):
    daemon = start({"queue.grace": "5s"}, runner=True)
    process = run_sleep(
        daemon, mark, "sh", "-c",
        "trap '' TERM; echo up; while :; do sleep 0.1; done")
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGINT)
    with daemon.client() as client:
        until(lambda: client.execute_command("JOBS", "STATE", "cancelling"),
              "it is asked to stop")
    process.send_signal(signal.SIGINT)
    assert process.wait(3) == 130
    end(process)
    until(lambda: not marked(mark), "the cancel goes on")


def test_kill_nine_of_yoke_ends_the_job_within_the_session_grace(
        daemon, mark):
    process = run_sleep(daemon, mark)
    process.kill()
    began = time.monotonic()
    end(process)
    until(lambda: not marked(mark), "the job is gone")
    assert time.monotonic() - began < SESSION_GRACE + 1.5


def test_nothing_runs_twice_when_the_runner_is_killed(start, mark, directory):
    """50 jobs, each with a lock of its own: who finds it taken says so."""
    daemon = start({"runner.slots": "50", "limits.lease": "2s"}, runner=True)
    job = os.path.join(directory, "job")
    with open(job, "w") as file:
        file.write("""#!/bin/sh
cd "%s" || exit 9
exec 9>"lock.$1"
flock -n 9 || echo "$1" >>overlap
echo "$1" >>started
[ "$(grep -cx "$1" started)" = 1 ] || exit 0
trap '' TERM
(setsid sleep 100 &)
sleep 100
""" % directory)
    os.chmod(job, 0o755)

    def started():
        try:
            with open(os.path.join(directory, "started")) as file:
                return file.read().split()
        except OSError:
            return []

    process = daemon.yoke_start("map", "--env", "%s=%s" % (MARK, mark), job,
                                "{}", ":::", *map(str, range(50)))
    until(lambda: len(started()) == 50, "50 jobs run")
    runner = until(daemon.runner, "there is a runner")
    os.kill(runner, signal.SIGKILL)
    until(lambda: daemon.runner() not in (None, runner), "a new runner")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    # The descriptor of the lock is inherited: it is free when the last
    # process of the first attempt is gone.
    assert not os.path.exists(os.path.join(directory, "overlap"))
    assert sorted(started()) == sorted(map(str, list(range(50)) * 2))


def test_kill_nine_of_the_daemon_ends_its_jobs(daemon, mark):
    process = run_sleep(daemon, mark, "sh", "-c",
                        "trap '' TERM; (setsid sleep 1000 &); sleep 1000")
    daemon.kill()
    until(lambda: not marked(mark), "the jobs are gone")
    end(process)


def test_kill_nine_of_daemon_and_runner_leaves_nothing(daemon, mark):
    """Both at once: the next runner sweeps before anything is run again."""
    process = run_sleep(daemon, mark, "sh", "-c",
                        "trap '' TERM; (setsid sleep 1000 &); sleep 1000")
    before = set(marked(mark))
    runner = daemon.runner()
    daemon.process.kill()
    os.kill(runner, signal.SIGKILL)
    daemon.wait()
    process.kill()
    end(process)
    daemon.start()
    until(lambda: not before & set(marked(mark)), "the first run is gone")
    until(lambda: not marked(mark), "its session is gone, so the second, too")


def test_a_job_finds_the_daemon_it_belongs_to(start, monkeypatch):
    monkeypatch.setenv("YOKE_SERVER", "/nowhere/else.sock")
    daemon = start(runner=True)
    done = daemon.yoke("run", "--", "sh", "-c",
                       "echo $YOKE_SERVER; yoke() { %s \"$@\"; }; yoke ping "
                       ">/dev/null && yoke run -- echo inner" % YOKE)
    assert done.stdout.splitlines() == [daemon.socket, "inner"], done.stderr


def test_output_that_was_dropped_is_told_once(start):
    """Twice more is printed than the log holds, while yoke does not read."""
    daemon = start({"limits.log-max": "64K"}, runner=True)
    process = daemon.yoke_start(
        "run", "--dir", daemon.dir, "--", "sh", "-c",
        "echo; for i in 1 2; do while ! test -e go$i; do sleep 0.05; done; "
        "yes | head -c 1000000; done")
    seen = len(process.stdout.readline())
    job = daemon.json("ls")[0]["id"]
    with daemon.client() as client:
        for i in (1, 2):
            process.send_signal(signal.SIGSTOP)
            open(os.path.join(daemon.dir, "go%d" % i), "w").close()
            least = 500000 if i == 1 else 1500000
            until(lambda: dropped(client, job) > least, "output is dropped")
            process.send_signal(signal.SIGCONT)
            seen += len(process.stdout.read(1))
    out, err = process.stdout.read(), process.stderr.read()
    assert process.wait(20) == 0
    end(process)
    told = [line for line in err.splitlines() if "dropped" in line]
    assert len(told) == 1, err
    assert int(told[0].split()[1]) + seen + len(out) == 2000001


def dropped(client, job):
    stream, data = client.execute_command("LOGS", job, 0, 0)[1][0]
    return int(data) if int(stream) == 0 else 0


def test_an_empty_command_is_refused_in_words(daemon):
    done = daemon.yoke("run", "--", "")
    assert done.returncode == 125
    assert done.stderr == "yoke: the command is an empty word\n"

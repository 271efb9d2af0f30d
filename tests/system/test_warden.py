# SPDX-License-Identifier: BSD-2-Clause
"""What is left of a runner that was killed or stopped: nothing, and before its
jobs are given to another one. With cgroups, without them, and not as root."""

import fcntl
import os
import signal
import socket
import subprocess

import pytest

from harness import BUILD, MARK, RUNNER, children, marked, pairs, until
from test_attributes import AS_NOBODY, root

# The descriptor of the lock is inherited: it is free when the last process of
# an attempt is gone. All but the main process have left its session, and their
# parents.
JOB = """
cd %s || exit 9
exec 9>>lock
flock -n 9 || echo overlap >>overlap
echo started >>started
[ "$(wc -l <started)" = 1 ] || exit 0
trap '' TERM
(setsid sh -c '(setsid sleep 1000 &) ; sleep 1000' &)
sleep 1000
"""
PROCESSES = 4  # of the first attempt

MODES = ["cgroup", "sweep", pytest.param("not root", marks=root)]


@pytest.fixture
def daemon(start):
    daemon = start({"limits.lease": "2s", "limits.session-grace": "500ms"})
    os.chmod(daemon.socket, 0o777)
    return daemon


@pytest.fixture
def runner(daemon, directory):
    """runner(mode) gives the process that is started as a runner, and its
    child, the runner proper."""
    processes = []
    os.chmod(directory, 0o777)

    def run(mode="cgroup", *more):
        options = AS_NOBODY if mode == "not root" else {}
        with open(os.path.join(directory, "runner.log"), "ab") as log:
            process = subprocess.Popen(
                [RUNNER, "--connect", daemon.socket, "--allow-commands",
                 "-o", "runner.cgroup=%s" % ("off" if mode == "sweep"
                                             else "auto"),
                 "--slots", "8", *more],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options)
        processes.append(process)
        return process, until(lambda: proper(process.pid), "a runner")

    yield run
    for process in processes:
        if process.poll() is None:
            process.terminate()
            assert process.wait(30) == 0
    assert "Sanitizer" not in said(directory), said(directory)


def proper(warden):
    for pid, name in children(warden).items():
        if name == "yoke-jobs":
            return pid
    return None


def submit(daemon, mark, script, *options):
    done = daemon.yoke("submit", "--queue", "run", "--env",
                       "%s=%s" % (MARK, mark), *options, "--command", "--",
                       "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def outcome(daemon, job):
    with daemon.client() as client:
        return pairs(client.execute_command("WAIT", job, 30000))["outcome"]


def said(directory):
    with open(os.path.join(directory, "runner.log")) as log:
        return log.read()


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("which", ["runner killed", "warden killed",
                                   "runner stopped"])
def test_an_attempt_is_gone_before_the_next_one_starts(
        daemon, runner, directory, mark, mode, which):
    warden, jobs = runner(mode)
    job = submit(daemon, mark, JOB % directory)
    until(lambda: len(marked(mark)) >= PROCESSES, "all of the job runs")
    runner(mode)  # who may get it next
    if which == "runner killed":
        os.kill(jobs, signal.SIGKILL)
    elif which == "warden killed":
        warden.kill()
    else:
        os.kill(jobs, signal.SIGSTOP)
    assert outcome(daemon, job) == "ok"
    assert not os.path.exists(os.path.join(directory, "overlap"))
    assert marked(mark) == []
    until(lambda: not alive(jobs), "the runner itself is gone")
    if which == "runner stopped":
        until(lambda: proper(warden.pid), "another runner in its place")
    else:
        assert warden.wait(30) == -signal.SIGKILL


@pytest.mark.parametrize("mode", MODES)
def test_chains_of_forks_do_not_outrun_it(daemon, runner, directory, mark,
                                          mode):
    """Whoever is found of a chain has gone on already."""
    warden, jobs = runner(mode)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as up, \
            open(os.path.join(directory, "lock"), "w") as lock:
        up.bind(os.path.join(directory, "up"))
        up.settimeout(60)
        for path in (up.getsockname(), lock.name):
            os.chmod(path, 0o666)
        for _ in range(8):
            # The lock is free when nobody has the descriptor any more.
            submit(daemon, mark, "exec 9<%s; flock -s 9; exec %s chain" % (
                lock.name, os.path.join(BUILD, "tests/system/hostile")),
                "--env", "YOKE_TEST_UP=" + up.getsockname(), "--redeliver",
                "0")
        for _ in range(8):
            up.recv(100)
        os.kill(jobs, signal.SIGKILL)
        assert warden.wait(60) == -signal.SIGKILL
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("mode", MODES)
def test_two_runners_of_one_name_are_two(daemon, runner, directory, mark,
                                         mode):
    """Each has its jobs, and the end of one is nothing to the other."""
    one = ("--name", "twin", "--slots", "1")
    pair = dict(runner(mode, *one) for _ in range(2))
    jobs = [submit(daemon, mark, "until [ -e go ]; do sleep 0.01; done",
                   "--dir", directory) for _ in range(2)]
    until(lambda: all(map(children, pair.values())), "each has one of them")
    with daemon.client() as client:
        twins = [each for each in client.client_list()
                 if each["name"] == "twin"]
        assert [each["held"] for each in twins] == ["1", "1"]
        first = next(iter(pair))
        first.kill()
        assert first.wait(30) == -signal.SIGKILL
        open(os.path.join(directory, "go"), "w").close()
        ends = [pairs(client.execute_command("WAIT", job, 30000))
                for job in jobs]
    assert [end["outcome"] for end in ends] == ["ok", "ok"]
    assert sorted(end["attempts"] for end in ends) == [1, 2]


def test_it_ends_as_the_runner_has(runner):
    warden, jobs = runner()
    os.kill(jobs, signal.SIGSEGV)
    assert warden.wait(30) == -signal.SIGSEGV


def test_a_signal_to_both_counts_once(daemon, runner, directory, mark):
    warden, jobs = runner()
    job = submit(daemon, mark, "echo >%s/ready; while [ ! -e %s/go ]; do "
                 "sleep 0.01; done" % (directory, directory))
    until(lambda: os.path.exists(os.path.join(directory, "ready")),
          "the job runs")
    os.kill(jobs, signal.SIGTERM)
    warden.terminate()
    until(lambda: "signal=TERM" in said(directory), "it has heard of it")
    open(os.path.join(directory, "go"), "w").close()
    # A second one would have asked it to stop, and it would be run again.
    assert outcome(daemon, job) == "ok"
    assert warden.wait(30) == 0
    assert said(directory).count("signal=TERM") == 1, said(directory)


def test_a_stopped_runner_can_be_ended(runner, directory):
    warden, jobs = runner()
    until(lambda: "connected" in said(directory), "it listens")
    os.kill(jobs, signal.SIGSTOP)
    warden.terminate()
    assert warden.wait(30) == 0


def test_only_a_second_interrupt_kills_at_once(daemon, runner, directory,
                                              mark):
    """A terminal sends one to the process group: the runner has another."""
    warden, jobs = runner()
    assert os.getpgid(jobs) != os.getpgid(warden.pid)
    assert os.getsid(jobs) == jobs
    submit(daemon, mark, JOB % directory)
    until(lambda: len(marked(mark)) >= PROCESSES, "all of the job runs")
    warden.send_signal(signal.SIGINT)
    until(lambda: "stopping" in said(directory), "it is stopping")
    assert warden.poll() is None  # the job does not listen, and has its grace
    warden.send_signal(signal.SIGINT)
    assert warden.wait(30) == 0
    assert said(directory).count("stopping") == 2, said(directory)
    assert marked(mark) == []

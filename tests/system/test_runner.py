# SPDX-License-Identifier: BSD-2-Clause
"""A runner that is told to change while its jobs run: what starts goes by the new
settings, what runs is left alone, what is wrong changes nothing. And one that is
told to stop: it lets them end, for a while."""

import glob
import os
import signal
import subprocess

import pytest

from harness import RUNNER, end, pairs, until, wanted

GATE = (": >%(dir)s/began.$0.$$; while [ ! -e %(dir)s/$0 ]; do sleep 0.02; done; "
        "echo $0 $YOKE_QUEUE")


@pytest.fixture
def runner(start, directory):
    """A daemon, and a runner of its own whose file can be changed."""

    class Runner:
        def __init__(self):
            self.daemon = start()
            self.config = os.path.join(directory, "runner.ini")
            self.log_path = os.path.join(directory, "runner.log")
            self.process = None

        def gated(self, name, *more):
            """A queue whose jobs end when the file of that name is there, and
            say what they ran as."""
            return "[run %s]\ncommand = sh -c '%s' %s\n%s\n" % (
                name.split()[0], GATE % {"dir": directory}, name.split()[-1],
                "\n".join(more))

        def write(self, *sections):
            with open(self.config, "w") as file:
                file.write("".join(sections))

        def run(self, *sections):
            self.write(*sections)
            with open(self.log_path, "wb") as log:
                self.process = subprocess.Popen(
                    [RUNNER, "--connect", self.daemon.socket, "-c",
                     self.config], stdin=subprocess.DEVNULL, stderr=log)
            until(lambda: "connected" in self.log(), "it is connected")
            return self

        def log(self):
            with open(self.log_path) as file:
                return file.read()

        def reload(self, *sections, says="reloaded queues="):
            self.write(*sections)
            before = self.log().count(says)
            self.process.send_signal(signal.SIGHUP)
            until(lambda: self.log().count(says) > before, says)

        def began(self, name, count=1):
            """So many jobs of that name are more than held by the runner."""
            pattern = os.path.join(directory, "began.%s.*" % name)
            until(lambda: len(glob.glob(pattern)) == count, "they began")

        def open(self, name):
            with open(os.path.join(directory, name), "w"):
                pass

        def submit(self, queue, payload=""):
            with self.daemon.client() as client:
                return client.execute_command("SUBMIT", queue, payload)

        def state(self, job):
            with self.daemon.client() as client:
                return pairs(client.execute_command("STATUS", job))["state"]

        def wait(self, job):
            with self.daemon.client() as client:
                return pairs(client.execute_command("WAIT", job, 20000))

    r = Runner()
    yield r
    if r.process:
        r.process.send_signal(signal.SIGINT)
        try:
            assert r.process.wait(30) == 0
        finally:
            end(r.process)


def test_a_queue_that_is_full_leaves_the_others_their_slots(runner):
    runner.run("[runner]\nslots = 6\n", runner.gated("few", "slots = 1"),
               runner.gated("some", "slots = 3"), runner.gated("many"))
    with runner.daemon.client() as client:
        until(lambda: wanted(client) == 6, "all its slots are asked for")
        job = runner.submit("some")
        runner.began("some")
        until(lambda: wanted(client) == 5, "all that are left are asked for")
        jobs = [runner.submit("few") for _ in range(2)]
        runner.began("few")
        until(lambda: wanted(client) == 4, "some/2 and many are asked for")
        assert sorted(map(runner.state, jobs)) == ["ready", "running"]
        runner.open("few")
        runner.open("some")
        assert [runner.wait(j)["outcome"] for j in [job, *jobs]] == ["ok"] * 3


def test_what_runs_goes_on_as_it_started_and_what_starts_goes_by_the_new(runner):
    runner.run(runner.gated("a old"))
    old = runner.submit("a")
    runner.began("old")
    runner.reload(runner.gated("a new"))
    new = runner.submit("a")
    runner.open("new")
    assert runner.wait(new)["result"] == "new a\n"
    assert runner.state(old) == "running"
    runner.open("old")
    assert runner.wait(old)["result"] == "old a\n"


def test_jobs_do_not_wait_for_a_reload(runner):
    """What many queues ask for takes a while to try."""
    queues = ["[run q%d]\ncommand = x\nnice = 1\n" % i for i in range(255)]
    runner.run("[runner]\nlog-level = debug\n",
               "[run job]\ncommand = true\n", *queues)
    begun = "the settings are read again"
    for n in range(1, 30):
        runner.process.send_signal(signal.SIGHUP)
        until(lambda: runner.log().count(begun) == n, "it begins")
        assert runner.wait(runner.submit("job"))["outcome"] == "ok"
        under_way = runner.log().count("reloaded queues=") < n
        until(lambda: runner.log().count("reloaded queues=") == n, "it ends")
        if under_way:
            break
    assert under_way


def test_queues_come_and_go(runner):
    runner.run(runner.gated("a"), runner.gated("b"))
    going = runner.submit("a")
    runner.began("a")
    coming = runner.submit("c")
    runner.reload(runner.gated("b"), runner.gated("c"))
    until(lambda: runner.state(coming) == "running", "the new queue is served")
    left = runner.submit("a")
    for name in "abc":
        runner.open(name)
    assert runner.wait(going)["result"] == "a a\n"
    assert runner.wait(coming)["result"] == "c c\n"
    assert runner.wait(runner.submit("b"))["result"] == "b b\n"
    assert runner.state(left) == "ready"
    runner.reload(runner.gated("a"))
    assert runner.wait(left)["result"] == "a a\n"


def test_jobs_of_before_count_for_the_slots_of_their_queue(runner):
    slots = "[runner]\nslots = 4\n"
    runner.run(slots, runner.gated("a", "slots = 2"), runner.gated("b"))
    jobs = [runner.submit("a") for _ in range(3)]
    until(lambda: [runner.state(j) for j in jobs] ==
          ["running", "running", "ready"], "two run")
    runner.began("a", 2)
    runner.reload(slots, runner.gated("b"), runner.gated("a", "slots = 1"))
    # It asks in vain, and another queue is served.
    other = runner.submit("b")
    until(lambda: runner.state(other) == "running", "another queue is served")
    assert runner.state(jobs[2]) == "ready"
    runner.open("a")
    for job in jobs:
        assert runner.wait(job)["result"] == "a a\n"
    runner.open("b")


@pytest.mark.parametrize("section, said", [
    ("[run a]\ncommand = x\nslots = many\n", "[run a] slots: 'many' is not"),
    ("[run a]\ncommand = x\n[run b]\nuser = no-such-user-here\n",
     "queue 'b' has nothing to run"),
    ("[run a]\ncommand = x\nuser = no-such-user-here\n", "there is no user"),
    ("[run a]\ncommand = x\nnice = 1\nrlimits = nofile=9G\n", "nofile"),
    ("[runner]\nslots = 3\n", "there is no queue to serve"),
    ("[run a]\ncommand = x\nmemory-max = 1G\n", "memory-max: "),
])
def test_what_is_wrong_or_cannot_be_given_changes_nothing(
        runner, section, said):
    runner.run("[runner]\ncgroup = off\n", runner.gated("a"))
    first = runner.submit("a")
    until(lambda: runner.state(first) == "running", "it runs")
    runner.reload(section, says="not reloaded")
    assert said in runner.log()
    if "memory-max" not in section:  # this one is the machine's to say
        done = subprocess.run([RUNNER, "--check-config", "-c", runner.config,
                               "--fd", "3"], capture_output=True, text=True)
        assert done.returncode == 2
        assert done.stderr.split("yoke-runner: ")[1].strip() in runner.log()
    runner.open("a")
    for job in first, runner.submit("a"):
        assert runner.wait(job)["result"] == "a a\n"


def test_what_holds_from_the_start_on_is_named_and_left(runner):
    runner.run(runner.gated("a"), "[runner]\nname = one\n")
    runner.reload(runner.gated("a"), "[runner]\nname = two\ncgroup = off\n",
                  says="at the next start only: name cgroup")
    runner.open("a")
    assert runner.wait(runner.submit("a"))["result"] == "a a\n"
    with runner.daemon.client() as client:
        clients = client.execute_command("CLIENT", "LIST")
    assert "name=one" in clients and "name=two" not in clients


def test_reloads_under_load_lose_nothing(runner):
    """Jobs that are fetched ahead, asked for, or on their way meanwhile."""
    sections = ["[runner]\nslots = 4\n[run q]\ncommand = cat\n",
                "[run other]\ncommand = cat\n[run q]\ncommand = cat\n"]
    runner.run(sections[0])
    with runner.daemon.client() as client:
        for i in range(400):
            client.execute_command("SUBMIT", "q", i)
    for i in range(12):
        runner.reload(sections[i % 2])
    with runner.daemon.client() as client:
        client.execute_command("QUEUE", "CLOSE", "q")
        client.execute_command("QUEUE", "JOIN", "q", 60000)
        info = pairs(client.execute_command("QUEUE", "INFO", "q"))
    assert (info["submitted"], info["ok"]) == (400, 400)


def test_a_reload_of_the_daemon_is_one_of_its_runner(start):
    daemon = start(runner=True, config="[run a]\ncommand = echo one\n")
    process = daemon.runner()
    daemon.configure("[run a]\ncommand = echo two\n")
    daemon.signal(signal.SIGHUP)
    until(lambda: "reloaded queues=" in daemon.log(), "the runner is told")
    with daemon.client() as client:
        job = client.execute_command("SUBMIT", "a", "")
        outcome = pairs(client.execute_command("WAIT", job, 20000))
    assert outcome["result"] == "two\n"
    assert daemon.runner() == process


@pytest.fixture
def draining(runner):
    """draining(drain) gives a job that runs in a runner that was told to
    stop, and one that waits."""
    def make(drain="1h"):
        runner.run("[runner]\ndrain = %s\nslots = 1\n" % drain,
                   runner.gated("a"))
        jobs = [runner.submit("a"), runner.submit("a")]
        runner.began("a")
        runner.process.send_signal(signal.SIGTERM)
        until(lambda: "draining running=1" in runner.log(), "it drains")
        return jobs
    return make


def test_term_lets_what_runs_end_and_takes_nothing_else(runner, draining):
    running, waiting = draining()
    runner.open("a")
    assert runner.wait(running)["result"] == "a a\n"
    assert runner.process.wait(30) == 0
    assert runner.state(waiting) == "ready"


def test_a_second_signal_stops_what_runs(runner, draining):
    running, _ = draining()
    runner.process.send_signal(signal.SIGTERM)
    assert runner.process.wait(30) == 0
    assert runner.state(running) == "ready"


def test_a_drain_has_an_end(runner, draining):
    running, _ = draining("200ms")
    assert runner.process.wait(30) == 0
    assert runner.state(running) == "ready"


def test_a_cancel_reaches_what_a_drain_waits_for(runner, draining):
    running, _ = draining()
    with runner.daemon.client() as client:
        client.execute_command("CANCEL", running)
    assert runner.wait(running)["outcome"] == "cancelled"
    assert runner.process.wait(30) == 0

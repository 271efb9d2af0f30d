# SPDX-License-Identifier: BSD-2-Clause
"""examples/redis: workers and producers in other languages, each on an ordinary
Redis client, keep the promises of a scope. What they run is sha256sum; one that
reads a FIFO goes on until somebody writes into it."""

import glob
import hashlib
import os
import signal
import subprocess
import sys

import pytest

from harness import SOURCE, hang_up, marked, pairs, until

FOLDER = os.path.join(SOURCE, "examples", "redis")
# Those in Go are shown, not run.
LANGUAGES = {"py": sys.executable, "js": "node", "sh": "bash"}
SECONDS = 30
# In place of sha256sum: says that it is there, and does not stop when asked.
STUBBORN = """#!/bin/sh
trap '' TERM
echo up >"$1"
while :; do sleep 0.1; done
"""


def program(kind, language):
    return [LANGUAGES[language],
            os.path.join(FOLDER, "%s.%s" % (kind, language))]


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


class Place:
    """A daemon, files to be hashed, and the programs that were started here."""

    def __init__(self, daemon, mark):
        self.daemon = daemon
        self.mark = mark
        self.url = "redis://127.0.0.1:%d" % daemon.port
        self.bin = os.path.join(daemon.dir, "bin")
        os.mkdir(self.bin)
        self.started = []
        self.client = daemon.client()
        self.ask = self.client.execute_command

    def run(self, kind, language, *words, **options):
        process = subprocess.Popen(
            program(kind, language) + [self.url, *words], text=True,
            cwd=self.daemon.dir, stdin=subprocess.DEVNULL,
            env=dict(os.environ, YOKE_TEST_MARK=self.mark,
                     PATH=self.bin + ":" + os.environ["PATH"]), **options)
        self.started.append(process)
        return process

    def worker(self, language):
        return self.run("worker", language)

    def producer(self, language, *words):
        return self.run("producer", language, *words, stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE)

    def file(self, name, text):
        path = os.path.join(self.daemon.dir, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def fifo(self):
        path = os.path.join(self.daemon.dir, "fifo")
        os.mkfifo(path)
        return path

    def feed(self, path):
        """Lets the one that reads the FIFO end."""
        with open(path, "w") as file:
            file.write("water\n")
        return hashlib.sha256(b"water\n").hexdigest()

    def submit(self, path, *options):
        return self.ask("SUBMIT", "sha256", path, *options)

    def status(self, job):
        return pairs(self.ask("STATUS", job))

    def hashing(self):
        """The processes that hash."""
        found = []
        for pid in marked(self.mark):
            try:
                with open("/proc/%d/comm" % pid) as comm:
                    if comm.read() == "sha256sum\n":
                        found.append(pid)
            except OSError:
                pass  # it has ended meanwhile
        return found

    def until_hashing(self):
        until(self.hashing, "something is hashed", SECONDS)

    def end_of(self, job):
        """Its outcome, when it has one, and nothing of it is left."""
        end = self.ask("WAIT", job, SECONDS * 1000)
        assert end, self.status(job)
        assert self.hashing() == []
        return pairs(end)

    def works(self):
        """Whether there is a worker who goes on."""
        path = self.file("another", "fire\n")
        assert self.end_of(self.submit(path))["result"] == digest(path)

    def close(self):
        for process in self.started:
            if process.poll() is None:
                process.terminate()
        for process in self.started:
            try:
                process.communicate(timeout=SECONDS)
            finally:
                process.kill()
        hang_up(self.client)
        until(lambda: marked(self.mark) == [], "nothing is left", SECONDS)


@pytest.fixture
def place(request, start, mark):
    lease = getattr(request, "param", "30s")
    place = Place(start({"limits.lease": lease,
                         "limits.session-grace": "500ms"}), mark)
    yield place
    place.close()


@pytest.fixture(params=LANGUAGES)
def language(request):
    return request.param


def test_none_has_more_than_forty_lines():
    paths = glob.glob(os.path.join(FOLDER, "*"))
    assert sorted(map(os.path.basename, paths)) == ["pool.py"] + sorted(
        kind + "." + name for kind in ("producer", "worker")
        for name in [*LANGUAGES, "go"])  # test_pools.py has the pool's
    for path in paths:
        with open(path) as file:
            assert len(file.readlines()) <= 40, path


# ----------------------------------------------------------------- the workers


def test_worker_works_off_a_batch(place, language):
    paths = [place.file("file%d" % i, "%d\n" % i) for i in range(8)]
    jobs = [place.submit(path) for path in paths]
    missing = place.submit(place.daemon.dir + "/missing")
    place.worker(language)
    for path, job in zip(paths, jobs):
        end = pairs(place.ask("WAIT", job, SECONDS * 1000))
        assert (end["outcome"], end["result"]) == ("ok", digest(path))
    end = place.end_of(missing)
    [error] = map(pairs, end["errors"])
    assert (end["outcome"], error["class"]) == ("failed", "exit:1")
    assert "missing: No such file" in error["message"]


def test_cancelled_job_is_stopped_and_the_worker_goes_on(place, language):
    """By TERM: its grace is longer than anybody waits here."""
    place.worker(language)
    job = place.submit(place.fifo(), "GRACE", SECONDS * 2000)
    place.until_hashing()
    place.ask("CANCEL", job, "REASON", "enough")
    end = place.end_of(job)
    assert (end["outcome"], end["reason"]) == ("cancelled", "enough")
    place.works()


def test_job_that_ignores_term_is_killed_after_its_grace(place, language):
    with open(place.bin + "/sha256sum", "w") as file:
        file.write(STUBBORN)
    os.chmod(place.bin + "/sha256sum", 0o755)
    said = place.daemon.dir + "/said"
    place.worker(language)
    job = place.submit(said, "GRACE", 1000)
    until(lambda: os.path.exists(said), "it ignores TERM", SECONDS)
    place.ask("CANCEL", job)
    assert place.end_of(job)["outcome"] == "cancelled"
    os.unlink(place.bin + "/sha256sum")
    place.works()


@pytest.mark.parametrize("limit", ["timeout", "deadline"])
def test_job_is_stopped_when_its_time_is_up(place, language, limit):
    place.worker(language)
    job = place.submit(place.fifo(), "GRACE", SECONDS * 2000)
    place.until_hashing()
    now = int(place.ask("TIME")[0]) * 1000
    place.ask("RESCHEDULE", job, limit, 1 if limit == "timeout" else now)
    end = place.end_of(job)
    assert end["outcome"] == "failed"
    assert [pairs(error)["class"] for error in end["errors"]] == [limit]
    place.works()


@pytest.mark.parametrize("place", ["8s"], indirect=True)
def test_job_that_takes_longer_than_a_lease_is_kept(place, language):
    place.worker(language)
    path = place.fifo()
    job = place.submit(path)
    place.until_hashing()
    started = place.status(job)["started"]

    def now():
        seconds, micros = map(int, place.ask("TIME"))
        return seconds * 1000 + micros // 1000

    until(lambda: now() > started + 8500, "a lease is over", SECONDS)
    wanted = place.feed(path)
    end = place.end_of(job)
    assert (end["result"], end["attempts"]) == (wanted, 1)


def test_worker_that_is_stopped_gives_its_job_back(place, language):
    worker = place.worker(language)
    job = place.submit(place.fifo())
    place.until_hashing()
    worker.terminate()
    assert worker.wait(SECONDS) == 0
    assert place.hashing() == []
    status = place.status(job)
    assert (status["state"], status["errors"]) == ("ready", 0)


@pytest.mark.parametrize("place", ["6s"], indirect=True)
def test_worker_that_is_cut_off_stops_its_job_and_comes_back(place, language):
    place.worker(language)
    path = place.fifo()
    job = place.submit(path)
    place.until_hashing()
    hang_up(place.client)
    place.daemon.kill()
    until(lambda: not place.hashing(), "the job has been stopped", SECONDS)
    place.daemon.start()
    place.until_hashing()
    wanted = place.feed(path)
    end = place.end_of(job)
    assert end["result"] == wanted and end["attempts"] > 1


# --------------------------------------------------------------- the producers


@pytest.fixture
def workers(place):
    """One of each language."""
    return [place.worker(name) for name in LANGUAGES]


def test_producer_prints_results_and_errors(place, workers, language):
    paths = [place.file("file%d" % i, "%d\n" % i) for i in range(12)]
    producer = place.producer(language, "60", *paths, "missing")
    out, error = producer.communicate(timeout=SECONDS)
    assert sorted(out.splitlines()) == sorted(
        "%s %s" % (digest(path), path) for path in paths)
    assert error.startswith("missing: failed: exit:1") and "No such" in error
    assert producer.returncode == 1


def test_producer_is_content_when_all_is_well(place, workers, language):
    path = place.file("file", "water\n")
    producer = place.producer(language, "60", path)
    out, error = producer.communicate(timeout=SECONDS)
    assert (out, error) == ("%s %s\n" % (digest(path), path), "")
    assert producer.returncode == 0


def test_producer_is_over_when_its_time_is_up(place, workers, language):
    producer = place.producer(language, "1", place.fifo())
    out, error = producer.communicate(timeout=SECONDS)
    assert out == "" and "cancelled: deadline" in error
    assert producer.returncode == 1
    assert place.hashing() == []


def running_group(place):
    place.until_hashing()
    [job] = map(pairs, place.ask("JOBS", "STATE", "running"))
    return job["group"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_producer_that_is_interrupted_leaves_nothing(
        place, workers, language, number):
    producer = place.producer(language, "60", place.fifo())
    group = running_group(place)
    producer.send_signal(number)
    producer.communicate(timeout=SECONDS)
    assert producer.returncode != 0
    assert place.hashing() == []
    info = pairs(place.ask("GROUP", "INFO", group))
    assert (info["state"], info["outcome"]) == ("ended", "cancelled")


def test_producer_that_is_killed_leaves_nothing(place, workers, language):
    producer = place.producer(language, "60", place.fifo())
    group = running_group(place)
    producer.kill()
    info = pairs(place.ask("GROUP", "WAIT", group, SECONDS * 1000))
    assert (info["outcome"], info["reason"]) == ("cancelled", "owner-lost")
    assert place.hashing() == []

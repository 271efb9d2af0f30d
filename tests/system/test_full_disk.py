# SPDX-License-Identifier: BSD-2-Clause
"""A disk that is full, read-only, or somebody else's."""

import os
import subprocess

import pytest
import redis

from harness import YOKED, pairs, until

MEGABYTES = 16


@pytest.fixture
def small_disk(directory):
    """A file system of a few megabytes; needs root."""
    path = os.path.join(directory, "disk")
    os.mkdir(path)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%dm" % MEGABYTES,
                    "yoke-test", path], check=True)
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def fill(path):
    """Takes all room that is left, with a file."""
    name = os.path.join(path, "ballast")
    with open(name, "ab", buffering=0) as file:
        block = b"x" * 65536
        while block:
            try:
                file.write(block)
            except OSError:
                block = block[:len(block) // 2]
    return name


def submit_until_refused(client):
    jobs = []
    for _ in range(MEGABYTES * 20):
        try:
            jobs.append(client.execute_command("SUBMIT", "mail", "x" * 65536))
        except redis.ResponseError as error:
            return jobs, str(error)
    raise AssertionError("the disk has no end")


def test_a_full_disk_refuses_submits_and_lets_jobs_finish(start, small_disk):
    daemon = start({"daemon.state-dir": os.path.join(small_disk, "state"),
                    "limits.payload-max": "256K",
                    "limits.result-max": "256K",
                    "journal.segment-size": "1M"})
    with daemon.client() as client:
        running = client.execute_command("SUBMIT", "early", "x")
        [[_, token, _, _, _]] = client.execute_command("FETCH", 1, 0, "early")
        ballast = fill(small_disk)
        jobs, error = submit_until_refused(client)
        assert error.startswith("DISKFULL"), error
        # Running jobs can finish, questions are answered.
        assert client.execute_command("DONE", token, "r") == "OK"
        assert pairs(client.execute_command(
            "RESULT", running))["outcome"] == "ok"
        # Room again: it goes on without a restart.
        os.unlink(ballast)
        jobs.append(until(lambda: try_submit(client), "it recovers"))
        known = {pairs(j)["id"] for j in client.execute_command(
            "JOBS", "QUEUE", "mail", "COUNT", 10000)}
        assert known == set(jobs)
    # And what was acknowledged is there after a kill -9, too.
    daemon.kill()
    daemon.start()
    with daemon.client() as client:
        known = {pairs(j)["id"] for j in client.execute_command(
            "JOBS", "QUEUE", "mail", "COUNT", 10000)}
        assert known == set(jobs)
        assert pairs(client.execute_command(
            "RESULT", running))["outcome"] == "ok"


def try_submit(client):
    try:
        return client.execute_command("SUBMIT", "mail", "again")
    except redis.ResponseError as error:
        assert str(error).startswith("DISKFULL"), error
        return None


def refused(daemon):
    """The words of a yoked that does not start, and its status."""
    done = subprocess.run(daemon.command(), capture_output=True, text=True,
                          timeout=30, stdin=subprocess.DEVNULL)
    assert done.returncode == 1, done
    return done.stderr


def test_a_read_only_directory_is_refused_at_start(start, small_disk):
    daemon = start({"daemon.state-dir": os.path.join(small_disk, "state")})
    assert daemon.stop() == 0
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    words = refused(daemon)
    assert small_disk in words and "Read-only" in words, words


def test_a_second_daemon_on_the_same_directory_is_refused(start, directory):
    daemon = start()
    other = dict(daemon.options)
    other["daemon.socket"] = os.path.join(directory, "other.sock")
    other["daemon.listen"] = "none"
    done = subprocess.run(
        [YOKED, "-c", daemon.config_path] + [
            word for name, value in other.items()
            for word in ("-o", "%s=%s" % (name, value))],
        capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert daemon.state in done.stderr, done.stderr
    with daemon.client() as client:
        assert client.ping()


def test_a_second_daemon_on_the_same_socket_is_refused(start, directory):
    daemon = start()
    done = subprocess.run(
        [YOKED, "-c", daemon.config_path, "-o", "daemon.listen=none", "-o",
         "daemon.socket=" + daemon.socket, "-o",
         "daemon.state-dir=" + os.path.join(directory, "other")],
        capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert daemon.socket in done.stderr, done.stderr
    with daemon.client() as client:
        assert client.ping()


def test_a_directory_that_cannot_be_made_is_refused(directory):
    done = subprocess.run(
        [YOKED, "-c", "/dev/null", "-o", "daemon.listen=none", "-o",
         "daemon.socket=" + os.path.join(directory, "s"), "-o",
         "daemon.state-dir=/proc/no/such/place"],
        capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert "/proc/no/such/place" in done.stderr, done.stderr

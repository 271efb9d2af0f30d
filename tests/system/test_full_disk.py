# SPDX-License-Identifier: BSD-2-Clause
"""A disk that is full, read-only, or somebody else's."""

import os
import re
import shutil
import subprocess

import pytest
import redis

from harness import YOKED, Daemon, encode, pairs, traced, until

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


def fill(path, client):
    """Takes all room that is left, with a file."""
    until(lambda: client.info("persistence")["store_disk_bytes"] >= 3 << 20,
          "the spares are there")
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
        ballast = fill(small_disk, client)
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


def small(small_disk):
    """Options of a daemon that a few jobs fill the disk of."""
    return {"daemon.state-dir": os.path.join(small_disk, "state"),
            "limits.payload-max": "256K",
            "limits.result-max": "256K",
            "journal.segment-size": "1M"}


def fetched(client, queue, count):
    """The tokens of so many jobs that run now."""
    for _ in range(count):
        client.execute_command("SUBMIT", queue, "x")
    return [token for _, token, _, _, _ in
            client.execute_command("FETCH", count, 0, queue)]


def done(client, token, size):
    """Reports a result; False when there is no room for it."""
    try:
        return client.execute_command("DONE", token, "r" * size) == "OK"
    except redis.ResponseError as error:
        assert str(error).startswith("DISKFULL"), error
        return False


def use_up(client, tokens):
    """While nothing new is taken in, what jobs answer takes the last segment,
    until nothing starts either."""
    while not client.info("persistence")["store_full"]:
        assert done(client, tokens.pop(), 100000)


def test_a_backlog_is_worked_off_on_a_full_disk(start, small_disk):
    """Nothing was running when it filled up: what waits must start."""
    daemon = start(small(small_disk))
    with daemon.client() as client:
        for _ in range(2):
            jobs, _ = submit_until_refused(client)
            for job in jobs:
                [[_, token, *_]] = client.execute_command(
                    "FETCH", 1, 10000, "mail")
                assert token.rpartition(".")[0] == job
                assert done(client, token, 100)
            until(lambda: try_submit(client), "it recovers")
            client.execute_command("QUEUE", "PURGE", "mail")


def test_nothing_that_grows_eats_the_reserve(start, small_disk):
    daemon = start(small(small_disk))
    with daemon.client() as client:
        token, *tokens = fetched(client, "early", 40)
        fill(small_disk, client)
        jobs, _ = submit_until_refused(client)
        use_up(client, tokens)
        for i in range(0, 20000, 100): # a megabyte of records, were they made
            pipe = client.pipeline(transaction=False)
            for k in range(i, i + 100):
                pipe.execute_command("RESCHEDULE", jobs[0], "TIMEOUT", 10 + k)
                pipe.execute_command("QUEUE", "SET", "mail", "GRACE",
                                     20000 + k)
                pipe.execute_command("FETCH", 1, 0, "mail")
            answers = pipe.execute(raise_on_error=False)
            assert {"empty" if a == [] else str(a)[:8] for a in answers} == {
                "DISKFULL", "empty"}
        assert done(client, token, 100000)
        client.execute_command("CANCEL", jobs[0])
        assert pairs(client.execute_command(
            "RESULT", jobs[0]))["outcome"] == "cancelled"


def test_results_beyond_the_reserve_are_refused_until_there_is_room(
        start, small_disk):
    daemon = start(small(small_disk))
    with daemon.client() as client:
        tokens = fetched(client, "early", 40)
        ballast = fill(small_disk, client)
        submit_until_refused(client)
        before = client.info("persistence")
        said = [done(client, token, 100000) for token in tokens]
        assert said[0] and not said[-1], said
        after = client.info("persistence")
        assert before["store_narrow"] == 1 and after["store_full"] == 1
        assert after["store_room"] > 0
        assert after["store_held"] == 0
        assert client.ping()
        # Room again: what was refused is said once more.
        os.unlink(ballast)
        for token in tokens:
            until(lambda t=token: done(client, t, 100000), "it recovers")
        for token in tokens:
            assert len(pairs(client.execute_command(
                "RESULT", token.split(".")[0]))["result"]) == 100000


def test_a_restart_on_a_full_disk_keeps_what_was_acknowledged(
        start, small_disk):
    daemon = start(small(small_disk))
    with daemon.client() as client:
        tokens = fetched(client, "early", 40)
        ballast = fill(small_disk, client)
        jobs, _ = submit_until_refused(client)
        acknowledged = [t for t in tokens if done(client, t, 100000)]
    for _ in range(3): # each of them adds nothing
        daemon.kill()
        daemon.start()
        with daemon.client() as client:
            assert try_submit(client) is None
            assert client.execute_command("FETCH", 1, 0, "mail") == []
            for token in acknowledged:
                assert pairs(client.execute_command(
                    "RESULT", token.split(".")[0]))["outcome"] == "ok"
    os.unlink(ballast)
    with daemon.client() as client:
        jobs.append(until(lambda: try_submit(client), "it recovers"))
        known = {pairs(j)["id"] for j in client.execute_command(
            "JOBS", "QUEUE", "mail", "COUNT", 10000)}
        assert known == set(jobs)


def test_a_disk_full_of_what_was_cancelled_makes_room_by_itself(
        start, small_disk):
    daemon = start(small(small_disk))
    with daemon.client() as client:
        jobs, _ = submit_until_refused(client)
        kept = jobs[::8] # some in each segment
        for job in set(jobs) - set(kept):
            assert client.execute_command("CANCEL", job) == "OK"
        kept += [until(lambda: try_submit(client), "it recovers")
                 for _ in range(20)]
    daemon.kill()
    daemon.start()
    with daemon.client() as client:
        known = {pairs(j)["id"] for j in client.execute_command(
            "JOBS", "QUEUE", "mail", "STATE", "ready", "COUNT", 10000)}
        assert known == set(kept)


def test_a_segment_that_is_nearly_empty_makes_room(start, small_disk):
    """However much of the others lives."""
    daemon = start(small(small_disk))
    with daemon.client() as client:
        first = client.execute_command("SUBMIT", "mail", "small")
        jobs, _ = submit_until_refused(client)
        # Little of the first segment, for there may be little room.
        kept = jobs[16:]
        for job in set(jobs) - set(kept):
            assert client.execute_command("CANCEL", job) == "OK"
        before = client.info("persistence")
        assert before["store_narrow"] == 1
        assert before["store_used_bytes"] < 1.7 * before["store_live_bytes"]
        kept += [first, until(lambda: try_submit(client), "it recovers")]
    daemon.kill()
    daemon.start()
    with daemon.client() as client:
        known = {pairs(j)["id"] for j in client.execute_command(
            "JOBS", "QUEUE", "mail", "STATE", "ready", "COUNT", 10000)}
        assert known == set(kept)


def uptime(client):
    return client.info("server")["uptime_in_seconds"]


def test_what_lives_is_not_written_again_for_nothing(start, small_disk):
    daemon = start(small(small_disk))
    with daemon.client() as client:
        tokens = fetched(client, "early", 40)
        last = [tokens.pop() for _ in range(3)]
        jobs, _ = submit_until_refused(client)
        use_up(client, tokens)
        # Longer than what lives by more than it may be, and all of the oldest
        # segment lives.
        for job in jobs[len(jobs) // 3:]:
            assert client.execute_command("CANCEL", job) == "OK"
        before = client.info("persistence")
        assert before["store_full"] == 1
        assert before["store_used_bytes"] > (1.7 * before["store_live_bytes"]
                                             + (1 << 20))
        began = uptime(client)
        until(lambda: uptime(client) > began + 2, "it has had time for it")
        assert client.info("persistence")["store_compacted_bytes"] == 0
        said = [done(client, token, 10000) for token in last]
        assert all(said), said


def test_who_waits_for_room_need_not_ask(start, small_disk):
    daemon = start(small(small_disk))
    with daemon.client() as client:
        tokens = fetched(client, "early", 40)
        ballast = fill(small_disk, client)
        jobs, _ = submit_until_refused(client)
        use_up(client, tokens)
    daemon.configure("[queue late]\nmax-jobs = 7\n")
    daemon.kill()
    daemon.start()
    assert "queue is not set" in daemon.log()
    with daemon.raw() as worker:
        worker.sendall(encode("FETCH", 1, 60000, "mail"))
        os.unlink(ballast)
        assert jobs[0].encode() in worker.recv(65536)
    with daemon.client() as client:
        until(lambda: "late" in client.execute_command("QUEUE", "LIST"),
              "the configuration is in force")
        assert pairs(client.execute_command(
            "QUEUE", "INFO", "late"))["max_jobs"] == 7


def test_the_runner_says_again_what_the_disk_had_no_room_for(
        start, small_disk, directory):
    daemon = start(small(small_disk), runner=True)
    go, log = os.path.join(directory, "go"), os.path.join(directory, "runs")
    job = daemon.json(
        "submit", "-c", "--", "sh", "-c", "echo run >>%s; until [ -e %s ]; do "
        "sleep 0.05; done; head -c 200000 /dev/zero | tr '\\0' x"
        % (log, go))["id"]
    until(lambda: os.path.exists(log), "the job runs")
    with daemon.client() as client:
        tokens = fetched(client, "early", 20)
        ballast = fill(small_disk, client)
        submit_until_refused(client)
        while done(client, tokens.pop(), 100000):
            pass
        open(go, "w").close()
        until(lambda: "waits for room" in daemon.log(), "it is refused")
        os.unlink(ballast)
        result = pairs(until(
            lambda: client.execute_command("RESULT", job), "it is told"))
        assert result["outcome"] == "ok", result
        assert len(result["result"]) == 200000
    with open(log) as file:
        assert file.read() == "run\n" # once


def try_submit(client):
    try:
        return client.execute_command("SUBMIT", "mail", "again")
    except redis.ResponseError as error:
        assert str(error).startswith("DISKFULL"), error
        return None


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not there")
def test_directories_that_are_made_outlast_a_power_cut(directory):
    """Each is synced by its name, before anything is acknowledged."""
    daemon = Daemon(directory)
    log = os.path.join(directory, "strace")
    done = subprocess.run(
        ["strace", "-f", "-qq", "-y", "-o", log, "-e", "trace=mkdir,fsync",
         "-e", "inject=fsync:error=EIO:when=2"] + daemon.command(),
        capture_output=True, text=True, timeout=60, env=traced(),
        stdin=subprocess.DEVNULL)
    assert done.returncode == 1, done
    assert "cannot make the directory" in done.stderr, done.stderr
    with open(log) as file:
        calls = re.findall(r'(mkdir|fsync)\((?:"|\d+<)(%s[^">]*)' % directory,
                           file.read())
    journal = os.path.join(daemon.state, "journal")
    assert calls == [("mkdir", daemon.state), ("fsync", directory),
                     ("mkdir", journal), ("fsync", daemon.state)]


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


def test_a_directory_of_another_user_is_refused(start):
    daemon = start()
    assert daemon.stop() == 0
    journal = os.path.join(daemon.state, "journal")
    os.chown(journal, 12345, 12345)
    plain = daemon.command()
    # Root that is nobody special to files.
    daemon.command = lambda: [
        "setpriv", "--bounding-set=-dac_override,-dac_read_search"] + plain
    words = refused(daemon)
    assert journal in words and "Permission denied" in words, words


def test_a_journal_of_a_newer_version_is_refused(start):
    daemon = start()
    assert daemon.stop() == 0
    path = os.path.join(daemon.state, "journal", "0000000001.yj")
    with open(path, "r+b") as file:
        file.seek(8)
        file.write(b"\7\0\0\0")
    words = refused(daemon)
    assert path + ": " in words and "by a newer yoked" in words, words


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
    assert (daemon.state + "/journal/lock: in use by another process"
            in done.stderr), done.stderr
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

# SPDX-License-Identifier: BSD-2-Clause
"""disk-max: the journal takes no more of the disk than it may."""

import os
import signal
import subprocess

import redis

from harness import YOKED, pairs, until

MEGABYTE = 1 << 20
MAX = 6 * MEGABYTE


def bounded(start):
    """Its disk-max is in the file, so that a reload can change it."""
    return start({"limits.payload-max": "256K", "limits.result-max": "256K",
                  "journal.segment-size": "1M"},
                 "[journal]\ndisk-max = 6M\n")


def disk_bytes(daemon):
    """What the files of the journal take, by their sizes."""
    total = 0
    with os.scandir(os.path.join(daemon.state, "journal")) as files:
        for file in files:
            try:
                total += file.stat().st_size
            except FileNotFoundError:
                pass # it has gone meanwhile, or has another name
    return total


def submit(client):
    try:
        return client.execute_command("SUBMIT", "mail", "x" * 65536)
    except redis.ResponseError as error:
        assert str(error).startswith("DISKFULL"), error
        assert "disk-max" in str(error), error
        return None


def submit_all(daemon, client):
    jobs = []
    while job := submit(client):
        jobs.append(job)
        assert disk_bytes(daemon) <= MAX
    return jobs


def known(client):
    return {pairs(j)["id"] for j in client.execute_command(
        "JOBS", "QUEUE", "mail", "COUNT", 10000)}


def test_at_disk_max_submits_are_refused_and_jobs_finish(start):
    daemon = bounded(start)
    with daemon.client() as client:
        running = client.execute_command("SUBMIT", "early", "x")
        [[_, token, _, _, _]] = client.execute_command("FETCH", 1, 0, "early")
        jobs = submit_all(daemon, client)
        assert len(jobs) > 3 * 15
        info = client.info("persistence")
        assert info["store_disk_max"] == MAX
        assert info["store_disk_bytes"] <= MAX
        assert info["store_narrow"] == 1 and info["store_bounded"] == 1
        assert "disk-max" in daemon.log()
        assert client.execute_command("DONE", token, "r") == "OK"
        assert pairs(client.execute_command(
            "RESULT", running))["outcome"] == "ok"
        assert known(client) == set(jobs)
    daemon.kill()
    daemon.start()
    with daemon.client() as client:
        jobs += submit_all(daemon, client)
        assert known(client) == set(jobs)
    assert disk_bytes(daemon) <= MAX


def test_it_recovers_by_itself_when_jobs_have_gone(start):
    daemon = bounded(start)
    with daemon.client() as client:
        for _ in range(3):
            jobs = submit_all(daemon, client)
            for job in jobs:
                client.execute_command("CANCEL", job)
            until(lambda: submit(client), "it recovers")
            assert disk_bytes(daemon) <= MAX


def test_a_backlog_is_worked_off_at_disk_max(start):
    """Nothing was running when it was reached: what waits must start."""
    daemon = bounded(start)
    with daemon.client() as client:
        for _ in range(3):
            jobs = submit_all(daemon, client)
            for job in jobs:
                [[_, token, *_]] = client.execute_command(
                    "FETCH", 1, 10000, "mail")
                assert token.rpartition(".")[0] == job
                client.execute_command("DONE", token, "")
                assert disk_bytes(daemon) <= MAX
            until(lambda: submit(client), "it recovers")
            client.execute_command("QUEUE", "PURGE", "mail")


def test_what_is_dead_makes_room_however_much_of_the_oldest_lives(start):
    daemon = bounded(start)
    with daemon.client() as client:
        kept = [client.execute_command("SUBMIT", "kept", "x" * 65536)
                for _ in range(16)]
        for _ in range(3):
            for job in submit_all(daemon, client):
                client.execute_command("CANCEL", job)
            until(lambda: submit(client), "it recovers")
            client.execute_command("QUEUE", "PURGE", "mail")
        assert kept == [pairs(j)["id"] for j in client.execute_command(
            "JOBS", "QUEUE", "kept", "COUNT", 100)]


def test_what_there_is_no_room_for_is_not_written_again(start):
    """Results that came later are written again with the oldest jobs: more
    than the last segments have room for, and then nothing would go on."""
    daemon = start({"limits.payload-max": "256K", "limits.result-max": "256K",
                    "journal.segment-size": "1M"},
                   "[journal]\ndisk-max = 12M\n")
    with daemon.client() as client:
        for _ in range(60):
            client.execute_command("SUBMIT", "early", "x")
        tokens = [token for _, token, *_ in
                  client.execute_command("FETCH", 60, 0, "early")]
        for token in tokens[:40]:
            client.execute_command("DONE", token, "r" * 100000)
        jobs = []
        while job := submit(client):
            jobs.append(job)
        for job in jobs[:-1]:
            client.execute_command("CANCEL", job)
        before = client.info("persistence")
        began = client.info("server")["uptime_in_seconds"]
        until(lambda: client.info("server")["uptime_in_seconds"] > began + 2,
              "it has had time for it")
        info = client.info("persistence")
        assert info["store_narrow"] == 1 and info["store_full"] == 0
        assert before["store_compacted_bytes"] == info["store_compacted_bytes"]
        # Jobs start and end meanwhile.
        [[_, token, *_]] = client.execute_command("FETCH", 1, 0, "mail")
        assert client.execute_command("DONE", token, "r") == "OK"
        for token in tokens[40:]:
            assert client.execute_command("DONE", token, "r") == "OK"
        daemon.configure("[journal]\ndisk-max = 24M\n")
        daemon.signal(signal.SIGHUP)
        until(lambda: submit(client), "it recovers")
        for token in tokens[:40]:
            assert len(pairs(client.execute_command(
                "RESULT", token.partition(".")[0]))["result"]) == 100000


def test_a_reload_moves_it(start):
    daemon = bounded(start)
    with daemon.client() as client:
        jobs = submit_all(daemon, client)
        daemon.configure("[journal]\ndisk-max = none\n")
        daemon.signal(signal.SIGHUP)
        jobs.append(until(lambda: submit(client), "it grows"))
        assert client.info("persistence")["store_disk_max"] == -1
        for _ in range(50):
            jobs.append(submit(client))
        above = disk_bytes(daemon)
        assert above > MAX
        # What is there stays, and no more comes.
        daemon.configure("[journal]\ndisk-max = 5M\n")
        daemon.signal(signal.SIGHUP)
        until(lambda: "reloaded" in daemon.log().split("has room again")[-1],
              "it is reloaded")
        while job := submit(client):
            jobs.append(job)
        assert disk_bytes(daemon) <= above + MEGABYTE
        assert known(client) == set(jobs)
        for job in jobs:
            client.execute_command("CANCEL", job)
        until(lambda: submit(client), "it recovers")
        until(lambda: disk_bytes(daemon) <= 5 * MEGABYTE, "it shrinks")


def test_less_than_five_segments_is_refused(directory):
    done = subprocess.run(
        [YOKED, "-c", "/dev/null", "--check-config",
         "-o", "daemon.listen=none",
         "-o", "daemon.socket=" + os.path.join(directory, "s"),
         "-o", "journal.segment-size=4M", "-o", "journal.disk-max=19M"],
        capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
    assert done.returncode == 2, done
    assert "disk-max" in done.stderr and "20971520" in done.stderr, done.stderr

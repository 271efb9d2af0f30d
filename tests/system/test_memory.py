# SPDX-License-Identifier: BSD-2-Clause
"""Payloads need no memory: many times what memory-max allows is accepted, and
comes back from the journal in order; a damaged one fails alone."""

import glob
import os

import pytest
import redis

from harness import pairs, rss, sanitized

SIZE = 4000
JOBS = 6000
LIMITS = {"limits.memory-max": "4M", "limits.payload-max": "1M",
          "limits.result-max": "64K", "journal.segment-size": "2M",
          "queue.max-jobs": "1000000", "queue.max-bytes": "1G"}


def payload(number):
    return ("%08d" % number) * (SIZE // 8)


def submit(client, queue, first, count, *options):
    ids = []
    for at in range(first, first + count, 100):
        pipe = client.pipeline(transaction=False)
        for number in range(at, min(at + 100, first + count)):
            pipe.execute_command("SUBMIT", queue, payload(number), *options)
        ids += pipe.execute()
    return ids


def work_off(client, queue, count, first=0, batch=7):
    """In order, and at once although nobody waits."""
    done = first
    while done < first + count:
        jobs = client.execute_command("FETCH", min(
            batch, first + count - done), 0, queue)
        assert jobs, "there are jobs, and FETCH says that there are none"
        pipe = client.pipeline(transaction=False)
        for job in jobs:
            assert job[3] == payload(done)
            pipe.execute_command("DONE", job[1], "")
            done += 1
        assert set(pipe.execute()) == {"OK"}


@pytest.fixture
def small(start):
    return start(LIMITS)


def test_many_times_memory_max_is_accepted_and_comes_in_order(small):
    with small.client() as client:
        before = rss(small.pid)
        submit(client, "q", 0, JOBS, "KEEP", 0)
        info = client.info()
        assert info["payload_bytes"] == JOBS * SIZE
        assert info["payload_unloaded_bytes"] > (JOBS * SIZE) // 2
        assert info["used_memory"] < 4 << 20
        if not sanitized():
            assert rss(small.pid) - before < 16 << 20
        work_off(client, "q", 1000)
        work_off(client, "q", JOBS - 1000, 1000, 100)
        assert client.execute_command("FETCH", 1, 0, "q") == []
        info = client.info()
        assert info["jobs_unloaded"] == info["payload_bytes"] == 0
        assert info["store_reads"] > 0
        if not sanitized():
            assert rss(small.pid) - before < 16 << 20


def test_after_a_kill_they_are_there_and_in_order(small):
    with small.client() as client:
        submit(client, "q", 0, JOBS, "KEEP", 0)
    small.kill()
    small.start()
    with small.client() as client:
        info = client.info()
        assert info["used_memory"] < 4 << 20
        assert info["payload_unloaded_bytes"] > (JOBS * SIZE) // 2
        if not sanitized():
            assert rss(small.pid) < 48 << 20
        work_off(client, "q", JOBS // 2, 0, 30)
    small.kill()
    small.start()
    with small.client() as client:
        work_off(client, "q", JOBS // 2, JOBS // 2, 100)


def test_a_restart_keeps_to_memory_max_with_small_ones(small):
    """What was let in first has its payload, and must give it up again."""
    with small.client() as client:
        for _ in range(30):
            pipe = client.pipeline(transaction=False)
            for number in range(1000):
                pipe.execute_command("SUBMIT", "q", "%0100d" % number)
            pipe.execute()
    small.kill()
    small.start()
    with small.client() as client:
        assert client.info()["used_memory"] < 4 << 20
        [job] = client.execute_command("FETCH", 1, 0, "q")
        assert job[3] == "%0100d" % 0


def test_they_come_while_their_segments_are_compacted(small):
    with small.client() as client:
        submit(client, "q", 0, 2000, "KEEP", 0)
        for turn in range(20):
            submit(client, "short", 0, 300, "KEEP", 0)
            work_off(client, "short", 300, 0, 100)
            work_off(client, "q", 50, turn * 50, 10)
        assert client.info()["store_compacted_bytes"] > 0
        work_off(client, "q", 1000, 1000, 100)


def test_a_lost_attempt_gets_it_again(small):
    with small.client() as client:
        submit(client, "q", 0, 2000)
        for number in range(3):
            [job] = client.execute_command("FETCH", 1, 0, "q")
            assert job[3] == payload(0)
            client.execute_command("RELEASE", job[1])


def test_the_dead_are_retried_with_theirs(small):
    with small.client() as client:
        submit(client, "q", 0, 1500)
        taken = 0
        while taken < 1500:
            jobs = client.execute_command("FETCH", 50, 0, "q")
            pipe = client.pipeline(transaction=False)
            for job in jobs:
                pipe.execute_command("FAIL", job[1], "exit:1", "no")
            pipe.execute()
            taken += len(jobs)
        dead = [pairs(job)["id"] for job in
                client.execute_command("DEAD", "LIST", "COUNT", 1500)]
        assert len(dead) == 1500
        assert client.info()["jobs_unloaded"] > 0
        one = client.execute_command("RETRY", dead[0])
        last = client.execute_command("RETRY", dead[-1])
        retried = 2
        while retried < 1500:
            ids = client.execute_command("DEAD", "RETRY", "COUNT", 1000)
            assert ids
            retried += len(ids)
        seen = [client.execute_command("FETCH", 1, 0, "q")[0]
                for _ in range(1500)]
        assert seen[0][1].startswith(one) and seen[1][1].startswith(last)
        assert [job[3] for job in seen] == [
            payload(n) for n in [0, 1499] + list(range(1, 1499))]


def damage(daemon, number):
    """One wrong byte in the payload, in each segment that has it."""
    wanted = payload(number).encode()
    found = []
    for name in glob.glob(os.path.join(daemon.state, "**", "*.yj"),
                          recursive=True):
        with open(name, "r+b") as segment:
            at = segment.read().find(wanted)
            if at >= 0:
                segment.seek(at + SIZE // 2)
                segment.write(b"#")
                found.append(name)
    assert found
    return found


def test_a_damaged_one_fails_its_job_alone_and_says_where(small):
    with small.client() as client:
        ids = submit(client, "q", 0, 1200, "RETRY", 5)
        damage(small, 1000)
        work_off(client, "q", 1000, 0, 50)
        done = 1000
        while done < 1199:
            for job in client.execute_command("FETCH", 50, 1000, "q"):
                done += 1
                assert job[3] == payload(done)
        outcome = pairs(client.execute_command("RESULT", ids[1000]))
        assert outcome["outcome"] == "failed"
        [error] = [pairs(e) for e in outcome["errors"]]
        assert error["class"] == "damaged"
        assert ".yj: offset " in error["message"]
        with pytest.raises(redis.ResponseError, match="damaged"):
            client.execute_command("RETRY", ids[1000])


def test_files_that_are_away_for_a_while_cost_no_job(small):
    """Their queue waits, and keeps its order; all else goes on."""
    with small.client() as client:
        ids = submit(client, "q", 0, 3000)
        segments = sorted(glob.glob(
            os.path.join(small.state, "**", "*.yj"), recursive=True))[:-1]
        for name in segments:
            os.rename(name, name + ".aside")
        head = 0
        while True:  # what was read before
            jobs = client.execute_command("FETCH", 7, 0, "q")
            if not jobs:
                break
            for job in jobs:
                assert job[3] == payload(head)
                head += 1
        assert head < 2000 and client.info()["store_reads_put_off"] > 0
        submit(client, "other", 0, 10)
        work_off(client, "other", 10)
        client.execute_command("CANCEL", ids[head])
        assert pairs(client.execute_command(
            "RESULT", ids[head]))["outcome"] == "cancelled"
        for name in segments:
            os.rename(name + ".aside", name)
        [job] = client.execute_command("FETCH", 1, 20000, "q")
        assert job[3] == payload(head + 1)
        work_off(client, "q", 100, head + 2, 1)


def test_the_others_of_a_damaged_segment_are_written_again(small):
    """From memory, or read one by one where they lie."""
    with small.client() as client:
        ids = submit(client, "q", 0, 3000)
        [bad] = damage(small, 2000)
        at = 0
        while os.path.exists(bad):
            assert at < 60000
            submit(client, "short", at, 300, "KEEP", 0)
            work_off(client, "short", 300, at, 100)
            at += 300
        outcome = pairs(client.execute_command("RESULT", ids[2000]))
        [error] = [pairs(e) for e in outcome["errors"]]
        assert (outcome["outcome"], error["class"]) == ("failed", "damaged")
    assert small.stop() == 0
    small.start()
    with small.client() as client:
        work_off(client, "q", 2000, 0, 50)
        work_off(client, "q", 999, 2001, 50)


def test_oom_is_what_does_not_fit_without_payloads(small):
    with small.client() as client:
        refused = None
        for at in range(0, 200000, 1000):
            pipe = client.pipeline(transaction=False)
            for number in range(1000):
                pipe.execute_command("SUBMIT", "q", "x" * 200)
            answers = pipe.execute(raise_on_error=False)
            refused = [a for a in answers if isinstance(a, Exception)]
            if refused:
                break
        assert refused and "OOM" in str(refused[0])
        info = client.info()
        assert info["jobs"] > 20000
        assert info["payload_unloaded_bytes"] > 0.9 * info["payload_bytes"]
        [job] = client.execute_command("FETCH", 1, 0, "q")
        assert job[3] == "x" * 200

# SPDX-License-Identifier: BSD-2-Clause
"""The journal is as long as what lives in it justifies."""

import os

from harness import pairs, until

SEGMENT = 1 << 20
ROUNDS = 60
BATCH = 1000


def journal_bytes(daemon):
    """Of the segments, without spares."""
    return sum(os.stat(os.path.join(root, name)).st_size
               for root, _, names in os.walk(daemon.state)
               for name in names if name.endswith(".yj"))


def run_batch(client):
    """Jobs that come, are done, and are forgotten."""
    pipe = client.pipeline(transaction=False)
    for _ in range(BATCH):
        pipe.execute_command("SUBMIT", "short", "x" * 100, "KEEP", 0)
    pipe.execute()
    done = 0
    while done < BATCH:
        jobs = client.execute_command("FETCH", BATCH, 1000, "short")
        pipe = client.pipeline(transaction=False)
        for job in jobs:
            pipe.execute_command("DONE", job[1], "")
        pipe.execute()
        done += len(jobs)


def segments(daemon):
    return sorted(os.path.join(root, name)
                  for root, _, names in os.walk(daemon.state)
                  for name in names if name.endswith(".yj"))


def test_what_cannot_be_read_any_more_is_written_from_memory(start):
    daemon = start({"journal.segment-size": "1M",
                    "limits.payload-max": "64K",
                    "limits.result-max": "64K"})
    with daemon.client() as client:
        group = client.execute_command("GROUP", "OPEN", "DETACHED")
        old = [client.execute_command("SUBMIT", "old", "y%d" % n,
                                      "GROUP", group) for n in range(300)]
        last = fails_and_waits(client, "d" * 8000)
        [oldest] = segments(daemon)
        with open(oldest, "r+b") as file:
            file.seek(4096 + 10000)
            file.write(b"damage")
        for _ in range(ROUNDS):
            run_batch(client)
        until(lambda: oldest not in segments(daemon), "it goes", 30)
        said = [line for line in daemon.log().splitlines()
                if "written again from memory" in line]
        assert len(said) == 1 and oldest + ": damaged at offset" in said[0]
        for _ in range(10):
            run_batch(client)
        info = client.info()
        assert info["store_used_bytes"] <= (2 * info["store_live_bytes"]
                                            + 2 * SEGMENT + SEGMENT // 4)
    daemon.kill()
    daemon.start()
    with daemon.client() as client:
        state = pairs(client.execute_command("STATUS", last))
        assert (state["state"], state["errors"]) == ("delayed", 1)
        jobs = client.execute_command("FETCH", len(old) + 1, 0, "old")
        assert [job[1].split(".")[0] for job in jobs] == old
        assert [job[3] for job in jobs] == ["y%d" % n for n in range(300)]
        state = pairs(client.execute_command("GROUP", "INFO", group))
        assert (state["members"], state["running"]) == (300, 300)


def fails_and_waits(client, detail):
    """A job with an error that will be run again some day."""
    job = client.execute_command("SUBMIT", "errors", "z", "RETRY", 9,
                                 "BACKOFF", 86400000, 86400000)
    [[_, token, _, _, _]] = client.execute_command("FETCH", 1, 0, "errors")
    client.execute_command("FAIL", token, "exit:1", "no", detail)
    return job


def test_errors_of_jobs_that_go_on_live(start):
    daemon = start({"journal.segment-size": "1M",
                    "limits.payload-max": "64K",
                    "limits.result-max": "64K"})
    with daemon.client() as client:
        jobs = [fails_and_waits(client, "d" * 8000) for _ in range(500)]
        for _ in range(10):
            run_batch(client)
        info = client.info()
        assert info["store_live_bytes"] > 500 * 8000
        assert info["store_used_bytes"] <= (2 * info["store_live_bytes"]
                                            + 2 * SEGMENT + SEGMENT // 4)
        # It was long enough only now and then.
        assert info["store_compacted_bytes"] < 3 * info["store_live_bytes"]
    daemon.kill()
    daemon.start()
    with daemon.client() as client:
        state = pairs(client.execute_command("STATUS", jobs[0]))
        assert (state["state"], state["errors"]) == ("delayed", 1)


def test_old_jobs_among_short_ones_hold_no_more_than_themselves(start):
    daemon = start({"journal.segment-size": "1M",
                    "limits.payload-max": "64K",
                    "limits.result-max": "64K"})
    with daemon.client() as client:
        group = client.execute_command("GROUP", "OPEN", "DETACHED")
        old = [client.execute_command("SUBMIT", "old", "y" * 500)
               for _ in range(200)]
        old += [client.execute_command("SUBMIT", "old", "y" * 500,
                                       "GROUP", group) for _ in range(50)]
        [[_, token, _, _, _]] = client.execute_command("FETCH", 1, 0, "old")
        client.execute_command("FAIL", token, "exit:1", "no")
        for _ in range(ROUNDS):
            run_batch(client)
            info = client.info()
            # And what comes while the oldest segment goes.
            most = 2 * info["store_live_bytes"] + 2 * SEGMENT + SEGMENT // 4
            assert info["store_used_bytes"] <= most, info
            # Files have their whole size from the beginning, and one that
            # goes is there until the keeper has had its turn.
            until(lambda: journal_bytes(daemon) <= most + SEGMENT,
                  "segments go", 30)
        # What was appended is many times what may be there.
        assert info["store_bytes"] > 8 * SEGMENT
        assert info["store_compacted_bytes"] > 0
    daemon.kill()
    daemon.start()
    with daemon.client() as client:
        dead = pairs(client.execute_command("RESULT", old[0]))
        assert dead["outcome"] == "failed"
        jobs = client.execute_command("FETCH", len(old), 0, "old")
        assert [job[1].split(".")[0] for job in jobs] == old[1:]
        assert all(job[3] == "y" * 500 for job in jobs)
        state = pairs(client.execute_command("GROUP", "INFO", group))
        assert (state["members"], state["running"]) == (50, 50)

# SPDX-License-Identifier: BSD-2-Clause
"""A disk that changes what was written while the daemon runs."""

import glob
import os

from harness import pairs, until

BATCH = 500


def turn_over(client):
    """Jobs that come, are done, and are forgotten."""
    pipe = client.pipeline(transaction=False)
    for _ in range(BATCH):
        pipe.execute_command("SUBMIT", "short", "x" * 500, "KEEP", 0)
    pipe.execute()
    pipe = client.pipeline(transaction=False)
    for job in client.execute_command("FETCH", BATCH, 0, "short"):
        pipe.execute_command("DONE", job[1], "")
    pipe.execute()


def test_a_segment_that_turns_bad_is_said_once_and_work_goes_on(start):
    daemon = start({"journal.segment-size": "1M",
                    "limits.payload-max": "64K",
                    "limits.result-max": "64K"})
    with daemon.client() as client:
        old = [client.execute_command("SUBMIT", "old", word * 500)
               for word in "abc"]
        # What compaction will read first.
        [first] = glob.glob(os.path.join(daemon.state, "**", "*.yj"),
                            recursive=True)
        with open(first, "r+b") as file:
            file.seek(file.read().index(b"b" * 500) + 200)
            file.write(b"?")

        def said():
            turn_over(client)
            return "the journal is damaged" in daemon.log()

        until(said, "the damage is said", 60)
        # Nothing that is needed goes; the journal grows instead.
        before = client.info()["store_used_bytes"]
        for _ in range(6):
            turn_over(client)
        assert client.info()["store_used_bytes"] > before + (1 << 20)
        assert os.path.exists(first)
        assert daemon.log().count("the journal is damaged") == 1
        assert os.path.basename(first) in daemon.log()
        # The jobs are still there.
        jobs = client.execute_command("FETCH", 9, 0, "old")
        assert [job[1] for job in jobs] == [job + ".1" for job in old]
        assert client.execute_command("DONE", jobs[2][1], "done") == "OK"
        assert pairs(client.execute_command(
            "RESULT", old[2]))["outcome"] == "ok"
    # And a start says where, and does not begin.
    daemon.stop()
    daemon.spawn()
    assert daemon.wait() != 0
    assert "damaged at offset" in daemon.log()
    daemon.process = None

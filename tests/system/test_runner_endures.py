# SPDX-License-Identifier: BSD-2-Clause
"""A runner after many jobs is as it was after some: no descriptor and no memory
is left of a job, whether it ended or was cancelled.

YOKE_JOBS: how many (2000).
"""

import os

import pytest

from harness import children, pairs, rss, sanitized, until

JOBS = int(os.environ.get("YOKE_JOBS", "2000")) // 2  # in each of two modes
ROUND = 200
CANCELLED = 4  # of each round
GROWTH_BYTES = 1 << 20  # from the first fifth on: 26 bytes a job, of 40,000


def cost(daemon):
    """Descriptors and bytes of the runner, and of its warden."""
    warden = until(daemon.runner, "there is a runner")
    pids = [warden] + [pid for pid, name in children(warden).items()
                       if name == "yoke-jobs"]
    assert len(pids) == 2
    return (sum(len(os.listdir("/proc/%d/fd" % pid)) for pid in pids),
            sum(map(rss, pids)))


def round_of_jobs(client):
    """Jobs that end, with something to print, beside those that are cancelled
    while they run."""
    short, long = (client.execute_command("GROUP", "OPEN", "FAIL", 0)
                   for _ in range(2))
    pipe = client.pipeline(transaction=False)
    for _ in range(CANCELLED):
        pipe.execute_command("SUBMIT", "long", "", "GROUP", long)
    for n in range(ROUND - CANCELLED):
        pipe.execute_command("SUBMIT", "short", "line\n" * (n % 50), "GROUP",
                             short)
    pipe.execute()
    for group in short, long:
        client.execute_command("GROUP", "CLOSE", group)
    ended = pairs(client.execute_command("GROUP", "WAIT", short, 120000))
    assert ended["ok"] == ROUND - CANCELLED, ended
    client.execute_command("GROUP", "CANCEL", long, "GRACE", 0)
    ended = pairs(client.execute_command("GROUP", "WAIT", long, 120000))
    assert ended["cancelled"] == CANCELLED, ended


@pytest.mark.parametrize("cgroup", ["auto", "off"])
def test_a_runner_does_not_grow(start, cgroup):
    daemon = start({"runner.slots": str(2 * CANCELLED),
                    "runner.cgroup": cgroup, "journal.store": "memory"},
                   config="[run short]\ncommand = /bin/cat\nslots = %d\n"
                   "[run long]\ncommand = /bin/sleep 1000\n" % CANCELLED,
                   runner=True)
    samples = []
    with daemon.client() as client:
        for done in range(ROUND, JOBS + 1, ROUND):
            round_of_jobs(client)
            samples.append((done, *cost(daemon)))
    print("\ncgroup=%s" % cgroup)
    for jobs, fds, memory in samples[::len(samples) // 5] + samples[-1:]:
        print("%7d jobs, %d of them cancelled: %3d descriptors, %6d KiB" % (
            jobs, jobs // ROUND * CANCELLED, fds, memory >> 10))
    early, last = samples[len(samples) // 5], samples[-1]
    # The cgroups that are kept for the next jobs have two each.
    assert last[1] <= early[1] + 2 * CANCELLED
    if not sanitized():  # which keeps what was freed
        assert last[2] - early[2] < GROWTH_BYTES

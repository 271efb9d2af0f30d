# SPDX-License-Identifier: BSD-2-Clause
"""The durable path under attack: power cuts, a kill and an error at each of its
system calls. What was acknowledged is there afterwards, and nothing else.

YOKE_CUTS: how many power cuts (1000); YOKE_SEED: another load.
"""

import json
import os
import subprocess
import sys

import pytest

import faulty
import power

CUTS = int(os.environ.get("YOKE_CUTS", "1000"))
SEED = int(os.environ.get("YOKE_SEED", "1"))

# Of each call, and of each of its occurrences. A KILL comes before the call is
# made; an error instead of it.
KILLED = ["fdatasync", "fsync", "pwrite64", "write", "rename", "unlink"]
FAILED = ["fdatasync:error=EIO", "pwrite64:error=EIO", "pwrite64:error=ENOSPC",
          "fsync:error=EIO", "rename:error=EIO"]


def test_what_was_acknowledged_survives_power_cuts():
    reason = power.why_not()
    if reason:
        pytest.skip("NO POWER CUTS HERE: " + reason)
    done = subprocess.run(
        [sys.executable, "-B", faulty.__file__, str(SEED), str(CUTS)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    print(done.stdout)
    counts = json.loads(done.stdout)
    assert counts["power cuts"] == CUTS
    assert counts["acknowledged"] > CUTS
    assert counts["lost"] == 0
    assert counts["segments opened"] >= CUTS // faulty.CUTS_PER_DISK


def each_occurrence(directory, what):
    """Until there is none left; how many there were."""
    n = 0
    while True:
        folder = os.path.join(directory, "%d" % n)
        os.mkdir(folder)
        if not faulty.Script(folder).attack("%s:when=%d" % (what, n + 1)):
            print("%s: %d times" % (what, n))
            return n
        n += 1


@pytest.mark.parametrize("call", KILLED)
def test_a_kill_at_any_call_loses_nothing(directory, call):
    hits = each_occurrence(directory, call + ":signal=KILL")
    assert hits > 0 or call == "unlink"


@pytest.mark.parametrize("fault", FAILED)
def test_an_error_of_any_call_acknowledges_nothing_that_is_lost(directory,
                                                                fault):
    assert each_occurrence(directory, fault) > 0

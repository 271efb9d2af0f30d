# SPDX-License-Identifier: BSD-2-Clause
"""Cancels of jobs that do not want to end: when a cancel is reported, no process
of the job is left, in each mode of the runner.

YOKE_CANCELS: how many in all (150); YOKE_SEED: others. Latencies are printed and
not judged.
"""

import os
import pwd
import signal
import subprocess

import pytest

from harness import RUNNER
from hostility import Arena, DEEP, KINDS, draw, floor, table

CANCELS = int(os.environ.get("YOKE_CANCELS", "150"))
SEED = int(os.environ.get("YOKE_SEED", "1"))
LANES = 8
SLOTS = 2 * LANES * DEEP  # a lane may have nested groups
ALONE = 1 + CANCELS // 100  # of each kind, for the times

MODES = {"cgroup": "auto", "sweep": "off", "not root": "off"}


@pytest.fixture(params=MODES)
def arena(request, start, directory):
    mode, options = request.param, {}
    if mode == "not root":
        if os.geteuid() != 0:
            pytest.skip("the runner of all modes is not root here")
        nobody = pwd.getpwnam("nobody")
        options = {"user": nobody.pw_uid, "group": nobody.pw_gid,
                   "extra_groups": []}
    os.chmod(directory, 0o711)
    daemon = start({"daemon.socket-mode": "0660"})
    os.chmod(daemon.socket, 0o777)
    log_path = os.path.join(directory, "runner.log")
    with open(log_path, "wb") as log:
        runner = subprocess.Popen(
            [RUNNER, "--connect", daemon.socket, "--allow-commands",
             "--slots", str(SLOTS), "-o", "runner.cgroup=" + MODES[mode]],
            stdout=log, stderr=log, cwd="/", **options)
    arena = Arena(daemon, directory)
    arena.mode = mode
    try:
        yield arena
    finally:
        arena.close()
        runner.send_signal(signal.SIGINT)  # TERM would let what is left go on
        status = runner.wait(30)
    with open(log_path) as log:
        said = log.read()
    if mode == "cgroup" and "cgroups=yes" not in said:
        pytest.skip("NO CGROUPS HERE: " + said)
    assert status == 0 and "Sanitizer" not in said, said


def test_a_cancel_is_reported_when_nothing_of_the_job_is_left(arena):
    arena.run(draw(CANCELS // len(MODES), SEED), LANES, SEED)
    print("\n%s, %d at once: %d cancels, %d of them while the job started; "
          "survivors: %d" % (arena.mode, LANES, sum(arena.cancelled.values()),
                             arena.early, len(arena.survivors)))
    print(table(arena.mode, arena.latencies))
    assert set(arena.cancelled) == set(KINDS)
    assert arena.survivors == []


def test_how_long_a_cancel_takes_alone(arena):
    arena.run([(kind, False) for kind in KINDS for _ in range(ALONE)], 1, SEED)
    print("\n%s, one at a time" % arena.mode)
    print(table(arena.mode, arena.latencies))
    print(table("floor", floor(ALONE)))
    assert arena.survivors == []

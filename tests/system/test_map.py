# SPDX-License-Identifier: BSD-2-Clause
"""A group of real processes: a failure stops the siblings, all of them, and
what has ended has left nothing behind."""

import os
import re
import time

import pytest

from harness import MARK, YOKE, marked, until

GRACE = 2

# Jobs are scripts: $1 is the input. Whoever gets 3 fails after a second and
# leaves word of when.
FAILING = 'if [ "$1" = 3 ]; then sleep 1; touch "%s/failed"; exit 7; fi\n'

BODIES = {
    "children": "sleep 60 & (sleep 60; true) & sleep 60\n",
    # Out of the session, the process group and the reach of TERM.
    "daemons": "trap '' TERM\n"
               "(setsid sh -c 'sleep 60 & setsid sleep 60 & sleep 60' &)\n"
               "sleep 60\n",
}


@pytest.fixture
def daemon(start):
    return start({"queue.grace": "%ds" % GRACE}, runner=True)


def script(daemon, text):
    path = os.path.join(daemon.dir, "job")
    with open(path, "w") as file:
        file.write("#!/bin/sh\n" + text)
    os.chmod(path, 0o755)
    return path


@pytest.mark.parametrize("body", sorted(BODIES))
def test_a_failure_cancels_the_siblings_and_waits_for_them(
        daemon, mark, body):
    job = script(daemon, FAILING % daemon.dir + BODIES[body])
    done = daemon.yoke("map", "--width", "8", "--halt", "fail=1", "--env",
                       "%s=%s" % (MARK, mark), job, "{}", ":::",
                       *map(str, range(1, 101)))
    left = marked(mark)
    ended = time.time()
    took = ended - os.stat(os.path.join(daemon.dir, "failed")).st_mtime
    assert left == []
    assert took < GRACE + 1
    assert done.returncode == 1
    assert re.search(r"\b1 failed", done.stderr), done.stderr
    assert re.search(r"\b99 cancelled", done.stderr), done.stderr
    assert "exit:7" in done.stderr
    with daemon.client() as client:
        assert client.execute_command("JOBS", "STATE", "running") == []


def test_the_report_as_json_counts_the_same(daemon, mark):
    job = script(daemon, FAILING % daemon.dir + BODIES["children"])
    report = daemon.json("map", "--width", "8", "--env", "%s=%s" % (
        MARK, mark), job, "{}", ":::", *map(str, range(1, 101)))
    group = report["group"]
    assert (group["outcome"], group["failed"], group["cancelled"],
            group["members"]) == ("failed", 1, 99, 100)
    [failed] = [m for m in report["members"] if m["outcome"] == "failed"]
    assert failed["input"] == "3"
    assert failed["errors"][0]["class"] == "exit:7"


def test_what_a_job_left_behind_is_gone_when_its_end_is_reported(
        daemon, mark):
    job = script(daemon, BODIES["daemons"].replace("\nsleep 60", "\n") +
                 "echo done\n")
    done = daemon.yoke("run", "--env", "%s=%s" % (MARK, mark), "--", job)
    assert marked(mark) == []
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_a_member_sees_its_sibling_gone_before_the_group_ends(daemon, mark):
    """Success=1: the first wins, the losers are cancelled and awaited."""
    job = script(daemon, 'if [ "$1" = 2 ]; then echo won; exit 0; fi\n' +
                 BODIES["daemons"])
    began = time.monotonic()
    done = daemon.yoke("map", "--halt", "success=1", "--env",
                       "%s=%s" % (MARK, mark), job, "{}", ":::", "1", "2", "3")
    assert marked(mark) == []
    assert (done.returncode, done.stdout) == (0, "won\n")
    assert time.monotonic() - began < GRACE + 10


def test_a_job_in_a_job_ends_with_it(daemon, mark):
    """The scope reaches inner yoke commands through the environment."""
    job = script(daemon, '"%s" submit -c -- sleep 60 >"%s/inner"\n'
                 'exit 5\n' % (YOKE, daemon.dir))
    done = daemon.yoke("run", "--env", "YOKE_SERVER=" + daemon.socket, "--env",
                       "%s=%s" % (MARK, mark), "--", job)
    assert done.returncode == 5, done.stderr
    with open(os.path.join(daemon.dir, "inner")) as inner:
        status = daemon.json("status", inner.read().strip())
    status = status[0] if isinstance(status, list) else status
    assert (status["state"], status["outcome"]) == ("finished", "cancelled")
    until(lambda: not marked(mark), "nothing is left")

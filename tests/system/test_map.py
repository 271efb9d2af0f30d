# SPDX-License-Identifier: BSD-2-Clause
"""A group of real processes: a failure stops the siblings, all of them, and
what has ended has left nothing behind."""

import os
import re
import subprocess
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


# --------------------------------------------------------------- percentages


def only_group(daemon):
    """The one group that the root has, as soon as it is there."""
    [group] = until(lambda: daemon.json("tree", "-a")["below"], "a group")
    return group


@pytest.mark.parametrize("halt,inputs,fail,succeed", [
    ("fail=20%", 10, 2, 0), ("fail=20%", 11, 3, 0), ("fail=1%", 3, 1, 0),
    ("success=50%", 5, 0, 3), ("fail=100%,success=25%", 4, 4, 1)])
def test_a_share_of_inputs_on_the_command_line_is_known_at_once(
        daemon, halt, inputs, fail, succeed):
    report = daemon.json("map", "--halt", halt, "true", ":::",
                         *map(str, range(inputs)))
    group = report["group"]
    assert (group["fail"], group["succeed"]) == (fail, succeed)
    assert group["outcome"] == "ok"


def test_a_share_of_failures_stops_the_rest(daemon, mark):
    """Two of ten are 20 %: whoever sleeps is cancelled and awaited."""
    done = daemon.yoke(
        "map", "--halt", "fail=20%", "--env", "%s=%s" % (MARK, mark), "sh",
        "-c", '[ $0 -gt 2 ] || exit 3; sleep 60', "{}", ":::",
        *map(str, range(1, 11)))
    assert marked(mark) == []
    assert done.returncode == 2
    assert re.search("2 failed, 8 cancelled", done.stderr), done.stderr


def test_a_share_of_successes_is_enough(daemon, mark):
    done = daemon.yoke(
        "map", "--halt", "success=50%", "--env", "%s=%s" % (MARK, mark), "sh",
        "-c", '[ $0 -gt 2 ] || exit 0; sleep 60', "{}", ":::", "1", "2", "3",
        "4")
    assert marked(mark) == []
    assert (done.returncode, done.stderr) == (0, "")


def test_a_share_of_a_stream_is_known_when_that_has_ended(daemon, mark):
    """Before its end nothing is halted, however many have failed; then those
    count that failed before, too."""
    process = daemon.yoke_start(
        "map", "--halt", "fail=50%", "--env", "%s=%s" % (MARK, mark), "sh",
        "-c", '[ $0 -gt 3 ] || exit 3; sleep 60', "{}",
        stdin=subprocess.PIPE)
    process.stdin.write("1\n2\n3\n")
    process.stdin.flush()
    until(lambda: only_group(daemon)["failed"] == 3, "three have failed")
    process.stdin.write("4\n5\n6\n")
    process.stdin.flush()
    until(lambda: only_group(daemon)["running"] == 3, "the others run")
    group = only_group(daemon)
    assert (group["state"], group["fail"]) == ("open", 0)
    _, report = process.communicate(timeout=30)
    assert process.returncode == 3
    assert re.search("3 failed, 3 cancelled", report), report
    assert marked(mark) == []
    group = only_group(daemon)
    assert (group["outcome"], group["fail"]) == ("failed", 3)


def test_a_group_gets_its_share_when_it_is_closed(daemon):
    group = daemon.json("group", "open", "--halt", "never")["id"]
    for code in 1, 1, 0, 0, 0:
        daemon.yoke("submit", "-g", group, "-c", "--", "sh", "-c",
                    "exit %d" % code)
    until(lambda: daemon.json("status", group)["failed"] == 2, "both failed")
    daemon.yoke("submit", "-g", group, "-c", "--", "sleep", "60")
    assert daemon.yoke("group", "close", "--halt", "fail=25%",
                       group).returncode == 0
    assert daemon.yoke("group", "wait", group).returncode == 1
    status = daemon.json("status", group)
    assert (status["outcome"], status["fail"], status["cancelled"]) == (
        "failed", 2, 1)


@pytest.mark.parametrize("halt", ["fail=0%", "fail=101%", "success=%", "20%",
                                  "fail=2.5%", "fail=10%,fail=2"])
def test_nonsense_is_refused_with_what_would_be_right(daemon, halt):
    for words in (("map", "--halt", halt, "true", ":::", "1"),
                  ("group", "close", "--halt", halt, "g0000000000000")):
        done = daemon.yoke(*words)
        assert done.returncode in (2, 125)
        assert "'%s' is not" % halt in done.stderr
        assert "1% to 100%" in done.stderr


def test_who_cannot_know_the_number_of_members_refuses_a_share(daemon):
    for words in ("group", "open"), ("group", "run"):
        done = daemon.yoke(*words, "--halt", "fail=20%", "true")
        assert done.returncode in (2, 125)
        assert "yoke group close --halt" in done.stderr

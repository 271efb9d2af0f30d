# SPDX-License-Identifier: BSD-2-Clause
"""Scopes from inside: yoke in jobs and scripts, and yoke group run."""

import json
import signal

import pytest

from harness import YOKE, asked, end, marked, pairs, until, yoke_in_job


@pytest.fixture
def daemon(start):
    return start(runner=True)


def inside(daemon, script, *words):
    return daemon.yoke("run", *yoke_in_job(), *words, "--", "sh", "-c",
                       script)


def status(daemon, job):
    return daemon.json("status", job)


def test_a_job_submitted_inside_a_job_is_joined_by_it(daemon):
    done = inside(daemon, "yoke submit -c -- sh -c 'sleep 0.3; exit 0'")
    assert done.returncode == 0, done.stderr
    child = status(daemon, done.stdout.strip())
    assert child["outcome"] == "ok"  # run returns after the join
    group = daemon.json("status", child["group"])
    assert group["parent"].startswith("j") and group["outcome"] == "ok"


def test_a_child_that_fails_fails_the_job(daemon):
    done = inside(daemon, "yoke submit -c -- false")
    assert done.returncode == 125
    assert "group" in done.stderr


def test_children_go_with_a_cancelled_job(daemon):
    process = daemon.yoke_start(
        "run", *yoke_in_job(), "--", "sh", "-c",
        "yoke submit -c -- sleep 1000; sleep 1000")
    child = process.stdout.readline().strip()
    until(lambda: status(daemon, child)["state"] == "running", "it runs")
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert status(daemon, child)["outcome"] == "cancelled"
    end(process)


def test_detached_leaves_the_scope(daemon):
    done = inside(daemon, "yoke submit --detached -q other --payload x")
    assert done.returncode == 0, done.stderr
    child = status(daemon, done.stdout.strip())
    assert (child["group"], child["state"]) == ("root", "ready")


def test_a_job_knows_itself(daemon):
    done = daemon.yoke("run", "--timeout", "1m", "--", "sh", "-c",
                       "echo $YOKE_JOB.$YOKE_ATTEMPT $YOKE_SCOPE $YOKE_TOKEN "
                       "$YOKE_QUEUE $YOKE_TIMEOUT $YOKE_SERVER")
    token, scope, own, queue, timeout, server = done.stdout.split()
    assert token == scope == own
    assert (queue, timeout, server) == ("run", "60000", daemon.socket)


def test_a_script_that_changes_its_scope_is_still_swept(daemon):
    done = daemon.yoke(
        "run", "--env", "YOKE_TEST_MARK=scoped", "--", "sh", "-c",
        "YOKE_SCOPE=root setsid sleep 1000 >/dev/null 2>&1 & true")
    assert done.returncode == 0, done.stderr
    assert marked("scoped") == []


# -------------------------------------------------------------------- ready


def test_a_server_says_when_it_listens(daemon):
    job = daemon.yoke("submit", *yoke_in_job(), "-c", "--", "sh", "-c",
                      "yoke ready 127.0.0.1:8080; sleep 1000").stdout.strip()
    done = daemon.yoke("wait", "--ready", job)
    assert (done.returncode, done.stdout) == (0, "127.0.0.1:8080\n")
    assert daemon.json("wait", "--ready", job) == [
        {"id": job, "ready": "127.0.0.1:8080"}]
    assert status(daemon, job)["ready"] == "127.0.0.1:8080"
    daemon.yoke("cancel", "--wait", job)


def test_a_server_that_ends_before_it_listens(daemon):
    job = daemon.yoke("submit", "-c", "--", "sleep", "1000").stdout.strip()
    waiting = daemon.yoke_start("wait", "--ready", job)
    with daemon.client() as client:
        until(lambda: asked(client, "WAIT"), "it is waited for")
        client.execute_command("CANCEL", job)
    _, err = waiting.communicate(timeout=30)
    assert waiting.returncode == 1 and "before it was ready" in err
    assert daemon.yoke("ready", "x").returncode == 2  # not inside a job


def test_a_job_says_how_far_it_is(daemon):
    job = daemon.yoke("submit", *yoke_in_job(), "-c", "-t", "1h", "--", "sh",
                      "-c", "yoke --json progress 'page 3'; "
                      "yoke ready x; sleep 1000").stdout.strip()
    daemon.yoke("wait", "--ready", job)
    assert status(daemon, job)["progress"] == "page 3"
    daemon.yoke("cancel", "--wait", job)
    said = json.loads(daemon.yoke("logs", job).stdout)
    assert said["cancelled"] is False
    assert 0 < said["remaining_ms"] <= 3600000
    for verb in (("progress", "x"), ("shield",)):  # not inside a job
        assert daemon.yoke(*verb).returncode == 2


# --------------------------------------------------------------------- then


def test_a_pipeline_of_queues(daemon):
    with daemon.client() as c:
        c.execute_command("QUEUE", "SET", "second", "MAX-JOBS", 1)
        group = c.execute_command("GROUP", "OPEN", "DETACHED")
        jobs = [c.execute_command("SUBMIT", "first", "x%d" % i, "THEN",
                                  "second,third", "GROUP", group)
                for i in range(3)]
        c.execute_command("GROUP", "CLOSE", group)

        def work(queue):
            [entry] = c.execute_command("FETCH", 1, 0, queue)
            c.execute_command("DONE", entry[1], entry[3] + queue[0])
            return entry[3]

        for i in range(3):
            assert work("first") == "x%d" % i
        assert [status(daemon, j)["state"] for j in jobs] == [
            "finished", "delivering", "delivering"]
        assert [work("second") for _ in range(3)] == ["x0f", "x1f", "x2f"]
        outcome = pairs(c.execute_command("RESULT", jobs[2]))
        assert status(daemon, outcome["next"])["queue"] == "second"
        assert [work("third") for _ in range(3)] == ["x0fs", "x1fs", "x2fs"]
        info = pairs(c.execute_command("GROUP", "WAIT", group, 1000))
        assert (info["outcome"], info["ok"]) == ("ok", 9)


def test_submit_takes_a_chain(daemon):
    job = daemon.yoke("submit", "--then", "after", "-c", "--", "echo",
                      "out").stdout.strip()
    outcome = daemon.json("wait", job)[0]
    assert status(daemon, outcome["next"])["queue"] == "after"


# ---------------------------------------------------------------- group run


def group_run(daemon, script, *words):
    return daemon.yoke("group", "run", *words, "--", "sh", "-c",
                       'yoke() { "%s" "$@"; }; %s' % (YOKE, script))


def test_group_run_waits_for_what_the_script_began(daemon):
    done = group_run(daemon, "yoke submit -c -- sleep 0.4; echo $YOKE_SCOPE")
    assert done.returncode == 0, done.stderr
    job, group = done.stdout.split()
    assert status(daemon, job)["outcome"] == "ok"
    assert status(daemon, job)["group"] == group
    assert status(daemon, group)["outcome"] == "ok"
    assert done.stderr == ""


def test_group_run_cancels_when_the_script_fails(daemon):
    done = group_run(daemon, "yoke submit -c -- sleep 1000; exit 3")
    assert done.returncode == 3
    job = status(daemon, done.stdout.strip())
    assert job["outcome"] == "cancelled"
    assert "the script failed" in done.stderr


def test_a_member_that_fails_stops_the_script(daemon):
    done = group_run(daemon, "yoke submit -c -- sh -c 'echo why >&2; exit 7'; "
                     "sleep 1000")
    assert done.returncode == 1
    assert "exit:7" in done.stderr and "why" in done.stderr


def test_a_script_that_ignores_term_is_killed_with_all_it_started(daemon):
    done = group_run(
        daemon, "trap '' TERM; export YOKE_TEST_MARK=stubborn; "
        "(setsid sleep 1000 >/dev/null 2>&1 &) ; yoke submit -c -- false; "
        "sleep 1000; sleep 1000", "--grace", "300ms")
    assert done.returncode == 1, done.stderr
    assert marked("stubborn") == []


def test_group_run_has_a_deadline(daemon):
    done = group_run(daemon, "sleep 1000", "--deadline", "300ms")
    assert done.returncode == 124
    assert "deadline" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_group_run_that_is_interrupted_cancels_and_waits(daemon, number):
    process = daemon.yoke_start("group", "run", "--", "sh", "-c",
                                "'%s' submit -c -- sleep 1000; sleep 1000"
                                % YOKE)
    job = process.stdout.readline().strip()
    until(lambda: status(daemon, job)["state"] == "running", "it runs")
    process.send_signal(number)
    assert process.wait(20) == 128 + number
    assert status(daemon, job)["outcome"] == "cancelled"
    end(process)


def test_group_run_nests(daemon):
    done = group_run(daemon, "'%s' group run -- sh -c 'echo $YOKE_SCOPE'"
                     % YOKE)
    assert done.returncode == 0, done.stderr
    inner = status(daemon, done.stdout.strip())
    assert inner["parent"].startswith("g")


def test_group_run_prints_json(daemon):
    report = daemon.json("group", "run", "--halt", "never", "--", "sh", "-c",
                         "'%s' submit -c -- false >/dev/null" % YOKE)
    assert report["script"] == 0
    assert report["group"]["failed"] == 1
    [member] = report["errors"]["members"]
    assert member["errors"][0]["class"] == "exit:1"


@pytest.mark.parametrize("word, expected", [("/no/such/script", 127),
                                            ("/etc/passwd", 126)])
def test_a_script_that_cannot_be_run(daemon, word, expected):
    done = daemon.yoke("group", "run", "--", word)
    assert done.returncode == expected
    assert word in done.stderr


# ---------------------------------------------------------------- redis-py


def test_plain_clients_join_by_token(daemon):
    with daemon.client() as c:
        c.execute_command("SUBMIT", "q", "parent")
        token = c.execute_command("FETCH", 1, 0, "q")[0][1]
        child = c.execute_command("SUBMIT", "q", "child", "GROUP", token)
        assert c.execute_command("DONE", token) == "OK"
        parent = token.split(".")[0]
        assert pairs(c.execute_command("STATUS", parent))["state"] == "joining"
        token = c.execute_command("FETCH", 1, 0, "q")[0][1]
        assert token.startswith(child)
        c.execute_command("DONE", token)
        assert pairs(c.execute_command("STATUS", parent))["outcome"] == "ok"

# SPDX-License-Identifier: BSD-2-Clause
"""Queues as wholes, their dead, and keys, by the command line."""

import re

import pytest

from harness import encode, end, until


@pytest.fixture
def daemon(start):
    return start()


def submit(daemon, *words):
    done = daemon.yoke("submit", "-q", "mail", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def state(daemon, job):
    status = daemon.json("status", job)
    return status["outcome"] or status["state"]


def take(client, count=1):
    """The tokens of new jobs."""
    return [job[1] for job in
            client.execute_command("FETCH", count, 5000, "mail")]


# ------------------------------------------------------------ close and join


def test_a_closed_queue_refuses_producers_and_is_worked_off(daemon):
    daemon.yoke("queue", "set", "--max-jobs", "1", "mail")
    first = submit(daemon, "one")
    producer = daemon.yoke_start("submit", "-q", "mail", "two")
    until(lambda: daemon.json("queue", "info", "mail")["waiting_producers"],
          "the producer waits")
    assert daemon.yoke("queue", "close", "mail").returncode == 0
    _, err = producer.communicate(timeout=20)
    assert (producer.returncode, "CLOSED" in err) == (1, True)
    refused = daemon.yoke("submit", "-q", "mail", "three")
    assert (refused.returncode, "CLOSED" in refused.stderr) == (1, True)
    assert "closed" in daemon.yoke("queue", "list").stdout
    with daemon.client() as worker:
        [token] = take(worker)
        worker.execute_command("DONE", token)
    assert state(daemon, first) == "ok"
    assert daemon.yoke("queue", "open", "mail").returncode == 0
    submit(daemon, "four")


def test_closed_now_what_has_not_started_is_cancelled(daemon):
    with daemon.client() as worker:
        running = submit(daemon, "one")
        [token] = take(worker)
        waiting = submit(daemon, "two")
        assert daemon.yoke("queue", "close", "--now", "mail").returncode == 0
        assert daemon.json("wait", waiting)[0]["reason"] == "queue closed"
        assert state(daemon, running) == "running"
        worker.execute_command("DONE", token)
        assert daemon.yoke("wait", running).returncode == 0


def test_join_ends_when_nothing_is_unfinished(daemon):
    daemon.yoke("queue", "set", "mail")
    assert daemon.yoke("queue", "join", "mail").returncode == 0
    submit(daemon, "one")
    late = daemon.yoke("queue", "join", "-t", "50ms", "mail")
    assert late.returncode == 124
    assert "1 queued, 0 running" in late.stderr
    with daemon.client() as worker:
        [token] = take(worker)
        joining = daemon.yoke_start("queue", "join", "mail")
        worker.execute_command("DONE", token)
    _, err = joining.communicate(timeout=20)
    assert (joining.returncode, err) == (0, "")


def test_drain_closes_and_waits(daemon):
    submit(daemon, "one")
    draining = daemon.yoke_start("queue", "drain", "mail")
    until(lambda: daemon.json("queue", "info", "mail")["closed"], "closed")
    assert draining.poll() is None
    with daemon.client() as worker:
        [token] = take(worker)
        worker.execute_command("DONE", token)
    assert draining.wait(20) == 0
    end(draining)
    assert daemon.yoke("submit", "-q", "mail", "two").returncode == 1


def test_purge_cancels_what_has_not_started_and_counts_it(daemon):
    with daemon.client() as worker:
        running = submit(daemon, "0")
        [token] = take(worker)
        jobs = [submit(daemon, str(n)) for n in range(1, 4)]
        assert daemon.yoke("queue", "purge", "mail").stdout == "3 cancelled\n"
        assert {state(daemon, job) for job in jobs} == {"cancelled"}
        assert state(daemon, running) == "running"
        worker.execute_command("DONE", token)
    assert daemon.json("queue", "purge", "mail") == {"purged": 0}


def test_a_queue_that_is_not_there_is_told(daemon):
    for words in (["close"], ["open"], ["join"], ["drain"], ["purge"],
                  ["pause"], ["resume"], ["info"], ["dead"]):
        done = daemon.yoke("queue", *words, "nowhere")
        assert (done.returncode, "NOQUEUE" in done.stderr) == (1, True), words


def test_queue_set_takes_what_queue_info_shows(daemon):
    assert daemon.yoke(
        "queue", "set", "--dead-keep", "2d", "--fair", "yes", "--factor",
        "1.5", "--retry-on", "exit:75", "mail").returncode == 0
    info = daemon.json("queue", "info", "mail")
    assert (info["dead_keep"], info["fair"]) == (2 * 86400000, 1)
    assert (info["factor"], info["retry_on"]) == ("1.5", "exit:75")
    shown = daemon.yoke("queue", "info", "mail").stdout
    assert re.search("fair +yes\n", shown) and "2d00h" in shown
    wrong = daemon.yoke("queue", "set", "--fair", "perhaps", "mail")
    assert (wrong.returncode, "yes or no" in wrong.stderr) == (2, True)


# ------------------------------------------------------------------ the dead


def fail(daemon, count=1):
    with daemon.client() as worker:
        for token in take(worker, count):
            worker.execute_command("FAIL", token, "oops", "it broke")


def test_the_dead_are_listed_and_run_once_more(daemon):
    first, second = submit(daemon, "a"), submit(daemon, "--name", "x", "b")
    fail(daemon, 2)
    for words in (["dead", "list"], ["queue", "dead", "mail"]):
        shown = daemon.yoke(*words).stdout
        assert first in shown and second in shown and "oops" in shown
        assert " \n" not in shown  # blanks at the end of a line
    assert [o["id"] for o in daemon.json("dead", "list")] == [first, second]
    again = daemon.yoke("retry", second).stdout.strip()
    assert daemon.json("status", again)["name"] == "x"
    [other] = daemon.json("dead", "retry", "-q", "mail")
    assert len({first, second, again, other["id"]}) == 4
    refused = daemon.yoke("retry", second)
    assert (refused.returncode, "retried already" in refused.stderr) == (
        1, True)
    assert daemon.json("dead", "list") == []
    with daemon.client() as worker:
        for token in take(worker, 2):
            worker.execute_command("DONE", token)
    assert daemon.yoke("wait", again, other["id"]).returncode == 0


def test_the_dead_that_are_purged_are_retried_no_more(daemon):
    job = submit(daemon, "a")
    fail(daemon)
    assert daemon.yoke("dead", "purge", "-n", "5").stdout == "1 purged\n"
    assert daemon.json("dead", "purge") == {"purged": 0}
    refused = daemon.yoke("retry", job)
    assert (refused.returncode, "purged" in refused.stderr) == (1, True)
    assert daemon.json("result", job)["outcome"] == "failed"  # it is kept


def test_a_job_that_kills_its_runner_every_time_ends_as_dead(start):
    """Attempts are counted durably before they start: it is no loop."""
    daemon = start({"queue.redeliver": "1"}, runner=True)
    until(daemon.runner, "its runner is there")
    job = daemon.json("submit", "-c", "--", "sh", "-c",
                      "kill -9 $PPID; sleep 60")["id"]
    assert daemon.yoke("wait", "-t", "30", job).returncode == 1
    [dead] = daemon.json("dead", "list")
    assert (dead["id"], dead["outcome"], dead["attempts"]) == (
        job, "failed", 2)
    assert [e["class"] for e in dead["errors"]] == ["lost", "lost"]
    # Others go on.
    assert daemon.yoke("run", "echo", "here").stdout == "here\n"


# ---------------------------------------------------------------------- keys


def test_a_key_leads_to_the_first_job_also_after_a_crash(daemon):
    first = submit(daemon, "--key", "k1", "one")
    assert submit(daemon, "--key", "k1", "two") == first
    daemon.kill().start()
    assert submit(daemon, "--key", "k1", "three") == first
    assert submit(daemon, "--key", "k2", "four") != first
    with daemon.client() as client:
        jobs = client.execute_command("FETCH", 9, 0, "mail")
        assert [job[3] for job in jobs] == ["one", "four"]


def test_a_key_leads_to_the_first_group_also_after_a_crash(daemon):
    def open_group(*words):
        return daemon.json("group", "open", *words)["id"]

    first = open_group("--key", "nightly")
    assert open_group("--key", "nightly", "--name", "again") == first
    assert open_group("--key", "nightly", "--parent", first) != first
    daemon.kill().start()
    assert open_group("--key", "nightly") == first
    assert open_group("--key", "weekly") != first


def test_who_does_not_know_whether_a_submit_arrived_sends_it_again(daemon):
    """The daemon is killed with submits on their way: after that there is one
    job for each key, whether it was acknowledged or not."""
    count = 50
    for round in range(5):
        keys = ["%d-%d" % (round, n) for n in range(count)]
        with daemon.raw() as s:
            s.sendall(b"".join(encode("SUBMIT", "mail", k, "KEY", k)
                               for k in keys))
            for _ in range(round * 5):
                assert s.recv(1)
            daemon.kill()
        daemon.start()
        with daemon.client() as client:
            ids = [client.execute_command("SUBMIT", "mail", k, "KEY", k)
                   for k in keys]
            assert len(set(ids)) == count
            jobs = client.execute_command("FETCH", 1000, 0, "mail")
            assert sorted(job[3] for job in jobs) == sorted(keys)
            for job in jobs:
                client.execute_command("DONE", job[1])


def test_run_with_a_known_key_shows_that_job(start):
    daemon = start(runner=True)
    first = daemon.yoke("run", "--key", "k", "sh", "-c", "echo once; exit 3")
    again = daemon.yoke("run", "--key", "k", "echo", "twice")
    assert (first.stdout, first.returncode) == ("once\n", 3)
    assert (again.stdout, again.returncode) == ("once\n", 3)


def test_run_that_shows_a_job_of_others_does_not_end_it(start):
    daemon = start(runner=True)
    job = daemon.json("submit", "--key", "k", "-c", "--", "sh", "-c",
                      "echo there; sleep 1000")["id"]
    watcher = daemon.yoke_start("run", "--key", "k", "true")
    assert watcher.stdout.readline() == "there\n"
    watcher.terminate()
    _, err = watcher.communicate(timeout=20)
    assert watcher.returncode == 143
    assert "goes on" in err
    assert state(daemon, job) == "running"
    daemon.yoke("cancel", "--wait", job)

# SPDX-License-Identifier: BSD-2-Clause
"""A damaged journal: the daemon refuses it, yoked says what is whole, and keeps
that."""

import fcntl
import os
import random
import shutil
import subprocess

import pytest

import faulty
from harness import YOKED, pairs

SEGMENT = 1 << 20


def yoked(*words):
    return subprocess.run([YOKED] + list(words), capture_output=True,
                          text=True, stdin=subprocess.DEVNULL, timeout=120)


def journal(daemon):
    return os.path.join(daemon.state, "journal")


def verify(daemon, *more):
    return yoked("--verify-journal", journal(daemon), *more)


def counts(done):
    """The lines that are a word and a number."""
    words = [line.split() for line in done.stdout.splitlines()]
    return {w[0]: int(w[1]) for w in words
            if len(w) == 2 and w[1].isdigit()}


def listed(done, word):
    """{id: the rest} of the lines that begin with it."""
    words = [line.split() for line in done.stdout.splitlines()]
    return {w[1]: w[2:] for w in words if w[0] == word}


def segments(directory):
    return sorted(name for name in os.listdir(directory)
                  if name.endswith(".yj"))


def contents(directory):
    found = {}
    for name in os.listdir(directory):
        with open(os.path.join(directory, name), "rb") as file:
            found[name] = file.read()
    return found


def fill(daemon, jobs=600):
    """Some of everything, over several segments; the ids in order."""
    with daemon.client() as client:
        group = client.execute_command("GROUP", "OPEN", "DETACHED")
        client.execute_command("LIMITER", "SET", "few", "PERMITS", 2)
        ids = []
        for i in range(jobs):
            more = ["GROUP", group] if i % 3 == 0 else []
            ids.append(client.execute_command(
                "SUBMIT", "q%d" % (i % 4), "%06d" % i + "p" * 6000, *more))
        done = client.execute_command("FETCH", 30, 0, "q1")
        for job in done[:20]:
            client.execute_command("DONE", job[1], "result of " + job[0])
    daemon.kill()
    return ids


def smash(path, offset, length, seed):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(random.Random(seed).randbytes(length))


@pytest.fixture
def small(start):
    return start({"journal.segment-size": "1M", "limits.payload-max": "64K",
                  "limits.result-max": "64K", "queue.max-jobs": "1000"})


def test_a_whole_journal_is_told_and_not_changed(small):
    ids = fill(small, 60)
    before = contents(journal(small))
    done = verify(small, "--list-jobs")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("journal whole")
    assert set(listed(done, "job")) == set(ids)
    assert counts(done)["jobs"] == 60
    assert counts(done)["finished"] == 15
    assert counts(done)["queues"] == 4
    assert counts(done)["groups"] == 1
    assert contents(journal(small)) == before
    done = yoked("--repair", journal(small))
    assert done.returncode == 0 and "nothing to repair" in done.stdout
    assert contents(journal(small)) == before


def test_a_journal_in_use_is_left_alone(small):
    for option in "--verify-journal", "--repair":
        done = yoked(option, journal(small))
        assert done.returncode == 1
        assert "in use" in done.stderr


def test_what_is_no_journal_is_told(directory):
    for path in directory, os.path.join(directory, "nothing"):
        for option in "--verify-journal", "--repair":
            assert yoked(option, path).returncode == 1
    # The directory around it is taken for it easily.
    os.makedirs(os.path.join(directory, "state", "journal"))
    for option in "--verify-journal", "--repair":
        done = yoked(option, os.path.join(directory, "state"))
        assert done.returncode == 1
        assert done.stderr.endswith(
            "state: no journal: expected %s/state/journal\n" % directory)
        assert os.listdir(os.path.join(directory, "state")) == ["journal"]
        assert yoked(option, "").returncode == 2
    with open(os.path.join(directory, "backup"), "w") as file:
        file.write("first-segment 1\nlast-entry 24\n")
    assert not yoked("--verify-journal", directory).stdout
    assert yoked("--verify-journal").returncode == 2
    assert yoked("--list-jobs").returncode == 2
    assert yoked("--repair", "a", "--verify-journal", "b").returncode == 2


def test_what_was_not_copied_to_its_end_is_no_damage(small):
    fill(small, 20)
    with open(os.path.join(journal(small), "unfinished"), "w"):
        pass
    before = contents(journal(small))
    for option in "--verify-journal", "--repair":
        done = yoked(option, journal(small))
        assert done.returncode == 1
        assert "broken off" in done.stderr and not done.stdout
    assert contents(journal(small)) == before


def refuses(daemon):
    daemon.spawn()
    assert daemon.wait() == 1
    assert "--verify-journal" in daemon.log()
    assert "--repair" in daemon.log()


def repaired(daemon):
    """Repairs, and starts again: the answers of all jobs that are known."""
    directory = journal(daemon)
    before = contents(directory)
    done = yoked("--repair", directory)
    assert done.returncode == 0, done.stdout + done.stderr
    [aside] = [line.split(" ", 1)[1] for line in done.stdout.splitlines()
               if line.startswith("aside ")]
    kept = contents(aside)
    for name, data in before.items():
        assert kept[name] == data, name
    assert not os.path.exists(directory + ".repairing")
    assert verify(daemon).returncode == 0
    return done


@pytest.mark.parametrize("seed", range(4))
def test_jobs_whose_entries_are_whole_outlive_damage(small, seed):
    ids = fill(small)
    names = segments(journal(small))
    assert len(names) > 3
    path = os.path.join(journal(small), names[1 + seed % 2])
    smash(path, 4096 + 100000 * (seed + 1), 30000, seed)
    refuses(small)

    done = verify(small, "--list-jobs")
    assert done.returncode == 3
    assert "damage " + os.path.basename(path) in done.stdout
    known = listed(done, "job")
    n = counts(done)
    assert 0 < n["missing-entries"] < 12
    assert set(known) <= set(ids)
    assert len(known) >= len(ids) - n["missing-entries"]
    assert done.stdout.splitlines()[-1] == "journal damaged"

    repaired(small)
    small.start()
    with small.client() as client:
        place = {job: i for i, job in enumerate(ids)}
        for job, (queue, state, _) in known.items():
            told = pairs(client.execute_command("STATUS", job))
            assert told["queue"] == queue == "q%d" % (place[job] % 4)
            if state == "finished":
                assert told["outcome"] == "ok"
        waiting = [job for job in ids
                   if job in known and known[job][:2] == ["q2", "ready"]]
        jobs = client.execute_command("FETCH", 1000, 0, "q2")
        assert [job[1].split(".")[0] for job in jobs] == waiting
        for job in jobs:
            i = place[job[1].split(".")[0]]
            assert job[3] == "%06d" % i + "p" * 6000
        assert client.execute_command("SUBMIT", "q0", "new") not in ids


def test_a_missing_segment_costs_its_own_jobs(small):
    ids = fill(small)
    names = segments(journal(small))
    os.unlink(os.path.join(journal(small), names[1]))
    refuses(small)
    done = verify(small, "--list-jobs")
    assert done.returncode == 3
    known = listed(done, "job")
    assert len(known) > len(ids) - 200
    repaired(small)
    small.start()
    with small.client() as client:
        for job in known:
            client.execute_command("STATUS", job)


def test_a_repair_that_was_interrupted_is_done_again(small):
    fill(small)
    directory = journal(small)
    smash(os.path.join(directory, segments(directory)[1]), 300000, 100, 1)
    fresh = directory + ".repairing"
    os.mkdir(fresh)
    for name in "unfinished", "lock", "0000000001.yj":
        with open(os.path.join(fresh, name), "w") as file:
            file.write("rest")
    done = repaired(small)
    # The names were exchanged, and the old journal not yet set aside.
    [aside] = [line.split(" ", 1)[1] for line in done.stdout.splitlines()
               if line.startswith("aside ")]
    os.rename(aside, fresh)
    done = yoked("--repair", directory)
    assert done.returncode == 0
    assert "nothing to repair" in done.stdout
    assert not os.path.exists(fresh)
    small.start()


def test_a_second_repair_at_once_is_refused(small):
    fill(small, 60)
    directory = journal(small)
    with open(os.path.join(directory, "lock"), "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert yoked("--repair", directory).returncode == 1
        assert yoked("--verify-journal", directory).returncode == 1


def test_any_bit_flip_and_any_cut_is_told_and_costs_little(small, directory):
    ids = set(fill(small, 40))
    whole = journal(small)
    copy = os.path.join(directory, "copy")
    chance = random.Random(7)
    [name] = segments(whole)
    end = len(contents(whole)[name].rstrip(b"\0"))
    for round in range(40):
        shutil.copytree(whole, copy)
        path = os.path.join(copy, name)
        at = chance.randrange(end if round % 4 else 4096)
        if round % 5 == 4:
            os.truncate(path, at)
        else:
            with open(path, "r+b") as file:
                file.seek(at)
                byte = file.read(1)[0] ^ 1 << chance.randrange(8)
                file.seek(at)
                file.write(bytes([byte]))
        told = yoked("--verify-journal", copy, "--list-jobs")
        assert told.returncode in (0, 3), told
        if told.returncode == 0:
            assert counts(told)["torn-bytes"] > 0 or round % 5 == 4, at
        known = listed(told, "job")
        assert set(known) <= ids
        assert round % 5 == 4 or len(known) >= len(ids) - 1, (at, told)
        done = yoked("--repair", copy)
        assert done.returncode == 0, done
        told = yoked("--verify-journal", copy, "--list-jobs")
        assert told.returncode == 0, told
        assert listed(told, "job") == known
        for left in os.listdir(directory):
            if left.startswith("copy"):
                shutil.rmtree(os.path.join(directory, left))


def test_a_newer_journal_is_refused_and_stays(small):
    fill(small, 20)
    directory = journal(small)
    path = os.path.join(directory, segments(directory)[0])
    with open(path, "r+b") as file:
        file.seek(8)
        file.write(b"\7\0\0\0")
        file.seek(100)
        file.write(b"more")
    before = contents(directory)
    for option in "--verify-journal", "--repair":
        done = yoked(option, directory)
        assert done.returncode == 1 and "newer" in done.stderr
    assert contents(directory) == before


def test_a_link_to_a_journal_stays(small, directory):
    fill(small, 60)
    real = os.path.join(directory, "disk", "it")
    os.makedirs(os.path.dirname(real))
    os.rename(journal(small), real)
    os.symlink(real, journal(small))
    smash(os.path.join(real, segments(real)[0]), 200000, 100, 1)
    assert yoked("--repair", journal(small)).returncode == 0
    assert os.readlink(journal(small)) == real
    assert verify(small).returncode == 0
    assert [name.startswith("it.damaged-")
            for name in sorted(os.listdir(os.path.dirname(real)))] == [
                False, True]


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_a_repair_that_cannot_be_leaves_nothing_behind(small, directory):
    fill(small, 60)
    disk = os.path.join(directory, "disk")
    os.mkdir(disk)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6M", "yoke-test",
                    disk], check=True)
    try:
        damaged = os.path.join(disk, "journal")
        os.mkdir(damaged)
        for name in segments(journal(small)):
            shutil.copy(os.path.join(journal(small), name), damaged)
        smash(os.path.join(damaged, segments(damaged)[0]), 200000, 100, 1)
        with open(os.path.join(disk, "hog"), "wb") as file:
            with pytest.raises(OSError):
                file.write(b"x" * (8 << 20))
                file.flush()
        done = yoked("--repair", damaged)
        assert done.returncode == 1
        assert "no room for the first segment" in done.stderr
        assert sorted(os.listdir(disk)) == ["hog", "journal"]
        for name in segments(damaged):
            os.rename(os.path.join(damaged, name), os.path.join(disk, name))
        done = yoked("--repair", disk)
        assert done.returncode == 1 and "mounted here" in done.stderr
        assert not os.path.exists(disk + ".repairing")
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_what_root_has_repaired_is_the_daemons(small):
    fill(small, 60)
    directory = journal(small)
    os.chown(directory, 12345, 54321)
    smash(os.path.join(directory, segments(directory)[0]), 200000, 100, 1)
    repaired(small)
    for name in [""] + segments(directory) + ["lock"]:
        st = os.stat(os.path.join(directory, name))
        assert (st.st_uid, st.st_gid) == (12345, 54321), name


@pytest.mark.parametrize("call", [
    "mkdir", "open", "pwrite", "fdatasync", "fsync", "chown", "unlink",
    "rename"])
def test_a_repair_killed_at_any_call_is_done_again(small, directory, call):
    fill(small, 60)
    damaged = journal(small)
    smash(os.path.join(damaged, segments(damaged)[0]), 200000, 100, 1)
    wanted = listed(verify(small, "--list-jobs"), "job")
    killed = 0
    for shim, place in faulty.deaths(directory, call):
        copy = os.path.join(place, "journal")
        shutil.copytree(damaged, copy)
        shim.run("yoked", "--repair", copy)
        killed += shim.came
        assert faulty.yoked("--repair", copy).returncode == 0
        told = faulty.yoked("--verify-journal", copy, "--list-jobs")
        assert told.returncode == 0
        assert listed(told, "job") == wanted
        assert any(name.startswith("journal.damaged-")
                   for name in os.listdir(place))
    assert killed > 0

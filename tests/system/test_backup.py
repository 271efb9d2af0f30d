# SPDX-License-Identifier: BSD-2-Clause
"""A backup of a daemon that runs, and a daemon that starts on it."""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import threading
import time

import pytest
import redis

import faulty
from harness import YOKED, Daemon, hang_up, pairs, until

SMALL = {"journal.segment-size": "1M", "limits.payload-max": "256K",
         "limits.result-max": "256K", "queue.max-jobs": "100000"}


def yoked(*words):
    return subprocess.run([YOKED] + list(words), capture_output=True,
                          text=True, stdin=subprocess.DEVNULL, timeout=120)


def segments(directory):
    return sorted(name for name in os.listdir(directory)
                  if name.endswith(".yj"))


def journal(daemon):
    return os.path.join(daemon.state, "journal")


def verified(directory, yoked=yoked):
    """{job: state} of a journal that must be whole."""
    done = yoked("--verify-journal", directory, "--list-jobs")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "journal whole"
    words = [line.split() for line in done.stdout.splitlines()]
    return {w[1]: w[3] for w in words if w[0] == "job"}


def restore(daemon, backup):
    return subprocess.run(
        daemon.command("--restore", backup), capture_output=True, text=True,
        stdin=subprocess.DEVNULL, timeout=120)


def other(daemon, tmp):
    """Another daemon, with a state directory of its own; not started."""
    os.mkdir(tmp)
    return Daemon(tmp, dict(SMALL))


def submit(client, count, size=20000):
    return [client.execute_command("SUBMIT", "mail", "x" * size)
            for _ in range(count)]


class Work:
    """Clients that submit and end jobs as fast as they can; remembers what was
    acknowledged."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.accepted, self.ended = [], []
        self.stopping = False
        self.threads = [threading.Thread(target=self.run, args=(act,))
                        for act in (self.submit, self.submit, self.work)]

    def run(self, act):
        with self.daemon.client() as client:
            while not self.stopping:
                act(client)

    def submit(self, client):
        self.accepted += submit(client, 1, 10000)

    def work(self, client):
        for job in client.execute_command("FETCH", 3, 100, "mail"):
            client.execute_command("DONE", job[1], "r")
            self.ended.append(job[1].split(".")[0])

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        for thread in self.threads:
            thread.join()


def test_what_was_acknowledged_before_it_is_in_it(start, directory):
    daemon = start(SMALL)
    taken = []
    with Work(daemon) as work:
        for i in range(4):
            enough = len(work.accepted) + 150
            until(lambda: len(work.accepted) > enough, "jobs are accepted")
            accepted, ended = list(work.accepted), list(work.ended)
            target = os.path.join(directory, "backup%d" % i)
            done = daemon.yoke("backup", target)
            assert done.returncode == 0, done.stderr
            taken.append((target, accepted, ended))
    for target, accepted, ended in taken:
        assert sorted(os.listdir(target)) == sorted(
            ["backup", "lock"] + segments(target))
        states = verified(target)
        assert set(accepted) <= set(states)
        assert {states[job] for job in ended} <= {"finished"}
        # And nothing that the daemon has not accepted.
        assert set(states) <= set(work.accepted)
        assert len(segments(target)) > 1
    # The last one, as a daemon.
    twin = other(daemon, os.path.join(directory, "twin"))
    done = restore(twin, target)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "restored " + journal(twin)
    assert verified(journal(twin)) == states
    twin.start()
    with twin.client() as client:
        for job in accepted:
            told = pairs(client.execute_command("STATUS", job))
            assert told["queue"] == "mail", told
        job = client.execute_command("SUBMIT", "mail", "new")
        assert job not in work.accepted
    assert twin.stop() == 0
    # It is a journal of its own from now on.
    assert job in {j for j in verified(journal(twin))}


def test_it_may_be_slower_than_it_could_be(start, directory):
    daemon = start(SMALL)
    with daemon.client() as client:
        submit(client, 100)
    target = os.path.join(directory, "backup")
    begun = time.monotonic()
    done = daemon.json("backup", "--rate", "2M", target)
    assert done["dir"] == target and done["segments"] == len(segments(target))
    # All but the last piece, which nothing waits for.
    assert time.monotonic() - begun > (done["bytes"] - (512 << 10)) / 2097152
    for rate in "0", "-1", "fast":
        assert daemon.yoke("backup", "--rate", rate,
                           target + "2").returncode == 2


def begin(client):
    return pairs(client.execute_command("BACKUP", "START"))


def pieces(client):
    while (piece := client.execute_command("BACKUP", "NEXT")) is not None:
        piece = {k.decode(): v for k, v in pairs(piece).items()}
        yield piece["segment"], piece["offset"], piece["bytes"]


def copied(some):
    files = {}
    for segment, offset, data in some:
        file = files.setdefault(segment, bytearray())
        assert len(file) == offset
        file += data
    return files


def binary(daemon):
    return daemon.client(decode_responses=False)


def test_several_at_once_do_not_meet(start):
    daemon = start(SMALL)
    with daemon.client() as client, binary(daemon) as a, binary(daemon) as b:
        submit(client, 120)
        begin(a)
        submit(client, 60)
        begin(b)
        submit(client, 60)
        one, two, got = pieces(a), pieces(b), ([], [])
        for _ in range(1000):
            for take, to in (one, got[0]), (two, got[1]):
                piece = next(take, None)
                if piece is not None:
                    to.append(piece)
        first, second = copied(got[0]), copied(got[1])
        last = max(first)
        for number, data in first.items():
            if number < last:
                assert second[number] == data
            else: # it has grown
                assert second[number].startswith(data)
        assert len(second) > len(first) > 2
        for number, data in second.items():
            with open(os.path.join(journal(daemon), "%010d.yj" % number),
                      "rb") as file:
                assert file.read(len(data)) == data


def test_no_more_than_four_at_once(start):
    daemon = start(SMALL)
    clients = [daemon.client() for _ in range(5)]
    for client in clients[:4]:
        begin(client)
    with pytest.raises(redis.ResponseError, match="4 backups are under way"):
        begin(clients[4])
    assert clients[4].info("persistence")["backups"] == 4
    # To begin again needs no other place; who stops or hangs up leaves his.
    begin(clients[0])
    assert clients[1].execute_command("BACKUP", "STOP") == "OK"
    begin(clients[4])
    hang_up(clients[2])
    until(lambda: clients[4].info("persistence")["backups"] == 3, "it is gone")
    with pytest.raises(redis.ResponseError, match="has begun no backup"):
        clients[1].execute_command("BACKUP", "NEXT")
    for client in clients:
        client.close()


def test_segments_stay_until_they_were_copied(start):
    daemon = start(SMALL)
    with daemon.client() as client, binary(daemon) as copier:
        jobs = submit(client, 200)
        first = begin(copier)[b"first_segment"]
        for job in jobs:
            client.execute_command("CANCEL", job)
        # Whatever compaction has to write until they could go.
        until(lambda: submit(client, 5) and client.info("persistence")[
            "store_pinned_segments"] > 2, "they are kept for the backup")
        assert "%010d.yj" % first in segments(journal(daemon))
        files = copied(pieces(copier))
        assert min(files) == first
        until(lambda: "%010d.yj" % first not in segments(journal(daemon)),
              "they go")
        info = client.info("persistence")
        assert info["store_pinned_segments"] == 0
        assert info["backups"] == 0


def test_it_gives_way_where_the_journal_needs_the_room(start):
    daemon = start(dict(SMALL, **{"journal.disk-max": "8M"}))
    with daemon.client() as client, binary(daemon) as copier:
        jobs = submit(client, 200)
        begin(copier)
        next(pieces(copier)) # of several
        for job in jobs:
            client.execute_command("CANCEL", job)
        for _ in range(400): # twice what there is room for
            until(lambda: try_submit(client), "there is room")
            client.execute_command("QUEUE", "PURGE", "mail")
        with pytest.raises(redis.ResponseError, match="DISKFULL.*broken off"):
            for _ in pieces(copier):
                pass
        assert "a backup is broken off" in daemon.log()
        with pytest.raises(redis.ResponseError, match="has begun no backup"):
            copier.execute_command("BACKUP", "NEXT")
        assert client.info("persistence")["store_pinned_segments"] == 0
        assert len(copied_anew(copier)) >= 1


def try_submit(client):
    try:
        return submit(client, 1)
    except redis.ResponseError as error:
        assert str(error).startswith("DISKFULL"), error
        return None


def copied_anew(copier):
    begin(copier)
    return copied(pieces(copier))


def test_who_does_not_read_holds_up_nobody(start):
    daemon = start(SMALL)
    with daemon.client() as client, daemon.raw() as lazy:
        submit(client, 200)
        lazy.sendall(b"BACKUP START\r\n" + b"BACKUP NEXT\r\n" * 1000)
        until(lambda: client.info("persistence")["backups"] == 1, "it begins")
        submit(client, 200)
        lines = client.execute_command("CLIENT", "LIST").splitlines()
        unread = max(int(re.search(r"omem=(\d+)", line)[1]) for line in lines)
        assert unread < 3 << 20


def test_who_is_silent_is_given_up(start):
    daemon = start(dict(SMALL, **{"journal.backup-idle": "1s"}))
    with daemon.client() as client, binary(daemon) as copier, \
            daemon.raw() as lazy:
        jobs = submit(client, 200)
        begin(copier)
        next(pieces(copier)) # of several
        lazy.sendall(b"BACKUP START\r\n" + b"BACKUP NEXT\r\n" * 1000)
        for job in jobs:
            client.execute_command("CANCEL", job)
        until(lambda: submit(client, 5) and client.info("persistence")[
            "backups"] == 0, "both are given up")
        assert client.info("persistence")["store_pinned_segments"] == 0
        assert daemon.log().count("its client is silent") == 2
        with pytest.raises(redis.ResponseError, match="broken off: nothing"):
            copier.execute_command("BACKUP", "NEXT")
        assert len(copied_anew(copier)) >= 1
        with pytest.raises(redis.ResponseError, match="has begun no backup"):
            copier.execute_command("BACKUP", "NEXT")


def test_who_is_slow_is_not_silent(start, directory):
    daemon = start(dict(SMALL, **{"journal.backup-idle": "1s"}))
    with daemon.client() as client:
        submit(client, 30)
    begun = time.monotonic()
    done = daemon.yoke("backup", "--rate", "128K",
                       os.path.join(directory, "backup"))
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - begun > 3 # with one piece


def test_a_piece_may_be_more_than_output_max(start):
    daemon = start({"journal.segment-size": "4M", "limits.payload-max": "2M",
                    "daemon.output-max": "2112K"})
    with daemon.client() as client, binary(daemon) as copier:
        submit(client, 1, 500000)
        submit(client, 1, 2 << 20)
        begin(copier)
        assert max(len(data) for _, _, data in pieces(copier)) > 2112 << 10


def test_a_daemon_that_dies_meanwhile_is_told(start, directory):
    daemon = start(SMALL)
    target = os.path.join(directory, "backup")
    with daemon.client() as client:
        submit(client, 50)
        daemon.signal(signal.SIGSTOP) # so it is under way
        run = daemon.yoke_start("backup", target)
        daemon.kill()
        out, errors = run.communicate(timeout=60)
    assert run.returncode == 1 and errors, (out, errors)
    assert not os.path.exists(target)
    daemon.start()
    assert daemon.yoke("backup", target).returncode == 0


# ----------------------------------------------------------------- the target


def refused(daemon, target, why):
    done = daemon.yoke("backup", target)
    assert done.returncode == 1, done
    assert done.stderr == "yoke: no backup was made: %s\n" % why


def test_what_is_there_is_not_written_over(start, directory):
    daemon = start(SMALL)
    target = os.path.join(directory, "backup")
    os.mkdir(target)
    refused(daemon, target, target + " is there already")
    refused(daemon, target + "///", target + " is there already")
    assert os.listdir(target) == []
    os.rmdir(target)
    # Things of somebody else's, and a journal that is called so.
    for name in "thing", "0000000001.yj":
        os.mkdir(target + ".part")
        with open(os.path.join(target + ".part", name), "w") as file:
            file.write("mine")
        refused(daemon, target, target + ".part is there already, and is no "
                "unfinished backup")
        with open(os.path.join(target + ".part", name)) as file:
            assert file.read() == "mine"
        shutil.rmtree(target + ".part")
    assert daemon.yoke("backup", target).returncode == 0
    before = os.listdir(target)
    refused(daemon, target, target + " is there already")
    assert os.listdir(target) == before


def test_an_unfinished_one_is_begun_again(start, directory):
    daemon = start(SMALL)
    target = os.path.join(directory, "backup")
    os.mkdir(target + ".part")
    for name in "lock", "unfinished", "backup", "0000000007.yj":
        with open(os.path.join(target + ".part", name), "w") as file:
            file.write("rest")
    done = yoked("--verify-journal", target + ".part")
    assert done.returncode == 1 and "broken off" in done.stderr
    with open(os.path.join(target + ".part", "lock")) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused(daemon, target, target +
                ".part: another backup is being written there")
        assert len(os.listdir(target + ".part")) == 4
    done = daemon.yoke("backup", target)
    assert done.returncode == 0, done.stderr
    assert not os.path.exists(target + ".part")
    assert segments(target) == ["0000000001.yj"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_that_gets_a_signal_leaves_nothing_behind(
        start, directory, number):
    daemon = start(SMALL)
    with daemon.client() as client:
        submit(client, 100)
        target = os.path.join(directory, "backup")
        backup = daemon.yoke_start("backup", "--rate", "10K", target)
        until(lambda: os.path.exists(target + ".part/0000000001.yj"),
              "it has begun")
        backup.send_signal(number)
        assert "no backup was made: " in backup.communicate(timeout=60)[1]
        assert backup.returncode == 128 + number
        assert not os.path.exists(target)
        assert not os.path.exists(target + ".part")
        until(lambda: client.info("persistence")["backups"] == 0,
              "the daemon lets go")


def test_where_nothing_can_be_written_is_told(start, directory):
    daemon = start(SMALL)
    file = os.path.join(directory, "file")
    with open(file, "w"):
        refused(daemon, file + "/backup", file + "/backup: Not a directory")
    target = os.path.join(directory, "no", "backup")
    refused(daemon, target, target + ".part: No such file or directory")
    refused(daemon, "/proc/backup",
            "/proc/backup.part: No such file or directory")
    refused(daemon, "", "its directory needs a name")
    done = daemon.yoke("backup")
    assert done.returncode == 2
    daemon.options["journal.store"] = "memory"
    assert daemon.stop() == 0
    daemon.start()
    done = daemon.yoke("backup", os.path.join(directory, "backup"))
    assert done.returncode == 1
    assert "[journal] store is memory" in done.stderr
    assert not os.path.exists(os.path.join(directory, "backup.part"))


def test_a_full_target_leaves_nothing_behind(start, directory):
    daemon = start(SMALL)
    disk = os.path.join(directory, "disk")
    os.mkdir(disk)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512K", "yoke-test",
                    disk], check=True)
    try:
        with daemon.client() as client:
            submit(client, 100)
        target = os.path.join(disk, "backup")
        refused(daemon, target, target + ".part/0000000001.yj: No space left "
                "on device")
        assert os.listdir(disk) == []
        with daemon.client() as client:
            until(lambda: client.info("persistence")["backups"] == 0,
                  "the daemon lets go")
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.parametrize("call", ["mkdir", "open", "write", "fsync", "unlink",
                                  "rename"])
def test_killed_at_any_call_it_is_whole_or_begun_again(
        start, directory, call):
    daemon = start(SMALL)
    with daemon.client() as client:
        jobs = set(submit(client, 120))
    killed = 0
    for shim, place in faulty.deaths(directory, call):
        target = os.path.join(place, "backup")
        shim.run("yoke", "backup", target, environment=daemon.environment())
        killed += shim.came
        if not os.path.exists(target):
            done = daemon.yoke("backup", target)
            assert done.returncode == 0, done.stderr
            assert sorted(os.listdir(target)) == sorted(
                ["backup", "lock"] + segments(target))
        assert set(verified(target, faulty.yoked)) == jobs
        assert not os.path.exists(target + ".part")
    assert killed > 0


# ---------------------------------------------------------------- the restore


@pytest.fixture
def taken(start, directory):
    """A daemon, a backup of it, its jobs, and one that could be restored."""
    daemon = start(SMALL)
    backup = os.path.join(directory, "backup")
    with daemon.client() as client:
        jobs = set(submit(client, 150))
    assert daemon.yoke("backup", backup).returncode == 0
    assert len(segments(backup)) > 2
    return daemon, backup, jobs, other(daemon, os.path.join(directory, "twin"))


def not_restored(daemon, backup, *why):
    done = restore(daemon, backup)
    assert done.returncode == 1, done
    for words in why:
        assert words in done.stdout + done.stderr, done
    return done


def test_it_is_not_restored_over_a_journal(taken):
    daemon, backup, jobs, twin = taken
    not_restored(daemon, backup, "in use")
    assert daemon.stop() == 0
    before = os.listdir(journal(daemon))
    not_restored(daemon, backup, journal(daemon), "move it away first")
    not_restored(daemon, journal(daemon), "that is the journal itself")
    assert os.listdir(journal(daemon)) == before
    os.rename(journal(daemon), journal(daemon) + ".old")
    assert restore(daemon, backup).returncode == 0
    assert set(verified(journal(daemon))) == jobs
    daemon.start()


def test_what_is_no_whole_backup_is_not_restored(taken):
    daemon, backup, jobs, twin = taken
    names = segments(backup)
    spoiled = backup + ".spoiled"

    def spoil(change, *why):
        shutil.copytree(backup, spoiled)
        change()
        not_restored(twin, spoiled, "not restored: it is damaged", *why)
        assert segments(journal(twin)) == []
        assert "unfinished" not in os.listdir(journal(twin))
        if segments(spoiled):
            assert yoked("--verify-journal", spoiled).returncode == 3
        shutil.rmtree(spoiled)

    def path(name):
        return os.path.join(spoiled, name)

    def flip(name, at):
        with open(path(name), "r+b") as file:
            file.seek(at)
            byte = file.read(1)[0] ^ 4
            file.seek(at)
            file.write(bytes([byte]))

    spoil(lambda: os.unlink(path(names[0])), "missing segments 1 to 1")
    spoil(lambda: os.unlink(path(names[1])), "damage " + names[1])
    spoil(lambda: os.unlink(path(names[-1])), "missing entries")
    spoil(lambda: flip(names[0], 50000), "damage " + names[0])
    spoil(lambda: flip(names[-1], 50), "damage " + names[-1])
    spoil(lambda: flip(names[-1], 5000), "missing entries")
    spoil(lambda: os.truncate(path(names[-1]), 70000), "missing entries")
    with open(os.path.join(backup, "unfinished"), "w"):
        not_restored(twin, backup, "not finished")
    os.unlink(os.path.join(backup, "unfinished"))
    assert restore(twin, backup).returncode == 0
    assert set(verified(journal(twin))) == jobs


def test_where_there_is_no_backup_nothing_is_made(taken):
    daemon, backup, jobs, twin = taken

    def refused(source, why):
        done = not_restored(twin, source)
        assert done.stderr == "yoked: %s: %s\n" % (source, why)
        assert not os.path.exists(twin.state)

    nothing = backup + ".nothing"
    refused(nothing, "No such file or directory")
    refused(os.path.join(backup, "backup"), "Not a directory")
    os.mkdir(nothing)
    refused(nothing, "no backup: there is no file like 0000000001.yj")
    os.rename(backup, os.path.join(nothing, "it"))
    refused(nothing, "no backup: there is no file like 0000000001.yj")
    os.rename(os.path.join(nothing, "it"), os.path.join(nothing, "journal"))
    refused(nothing, "no backup: expected %s/journal" % nothing)
    for what in "--verify-journal", "--repair":
        done = yoked(what, backup)
        assert done.returncode == 1
        assert done.stderr == "yoked: %s: No such file or directory\n" % backup


@pytest.mark.parametrize("call", ["mkdir", "open", "write", "fsync", "unlink",
                                  "chown"])
def test_a_restore_killed_at_any_call_is_done_again(taken, directory, call):
    daemon, backup, jobs, twin = taken
    twin.program = faulty.Daemon.program
    killed = 0
    for shim, _ in faulty.deaths(directory, call):
        shim.run("yoked", *twin.command("--restore", backup)[1:])
        killed += shim.came
        whole = os.path.isdir(journal(twin)) and not os.path.exists(
            os.path.join(journal(twin), "unfinished"))
        if not (whole and segments(journal(twin))):
            if os.path.isdir(journal(twin)) and not whole:
                assert faulty.yoked(
                    "--verify-journal", journal(twin)).returncode == 1
                twin.spawn()
                assert twin.wait() == 1
                assert "a restore was broken off" in twin.log()
            assert restore(twin, backup).returncode == 0
        assert set(verified(journal(twin), faulty.yoked)) == jobs
        shutil.rmtree(twin.state)
    assert killed > 0


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_the_files_belong_to_whom_the_state_belongs(taken):
    daemon, backup, jobs, twin = taken
    os.mkdir(twin.state)
    os.chown(twin.state, 12345, 54321)
    assert restore(twin, backup).returncode == 0
    for name in [""] + os.listdir(journal(twin)):
        st = os.stat(os.path.join(journal(twin), name))
        assert (st.st_uid, st.st_gid) == (12345, 54321), name
    shutil.rmtree(twin.state)

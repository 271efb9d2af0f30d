# SPDX-License-Identifier: BSD-2-Clause
"""kill -9 of yoked at random moments under load: what was acknowledged is
there, once, with one outcome. YOKE_KILLS says how often, YOKE_SEED repeats the
moments."""

import os
import random
import threading

import redis

from harness import Lines, encode, pairs, until

KILLS = int(os.environ.get("YOKE_KILLS", "20"))
SEED = int(os.environ.get("YOKE_SEED", str(random.randrange(1 << 32))))
DEPTH = 16


class Load:
    """Producers and workers; what was said to them, and what they asked."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.lock = threading.Lock()
        self.acknowledged = {}  # payload -> id
        self.asked = set()  # payloads of submits that were sent
        self.reports = {}  # id -> outcomes that were sent
        self.confirmed = {}  # id -> outcome that was acknowledged
        self.failures = []
        self.serial = 0
        self.killed = False
        self.stop = threading.Event()

    def run(self, kill_after):
        threads = [threading.Thread(target=self.guard, args=(work,))
                   for work in [self.produce] * 3 + [self.work] * 3]
        for thread in threads:
            thread.start()
        # The kill comes when so many answers have been seen: a moment that
        # is random for the daemon and waits for no clock.
        until(lambda: len(self.acknowledged) + len(self.confirmed) >=
              kill_after or self.failures, "the load runs", 20)
        self.killed = True
        self.daemon.kill()
        self.stop.set()
        for thread in threads:
            thread.join(30)
        assert not self.failures, (self.failures, self.daemon.log())

    def guard(self, work):
        try:
            with self.daemon.raw() as s:
                work(s, Lines(s))
        except Exception as failure:  # reported by the main thread
            cut = isinstance(failure, (OSError, redis.ConnectionError))
            if not (cut and self.killed):
                self.failures.append(repr(failure))

    def produce(self, s, answers):
        while not self.stop.is_set():
            with self.lock:
                names = ["p%d" % (self.serial + i) for i in range(DEPTH)]
                self.serial += DEPTH
                self.asked.update(names)
            s.sendall(b"".join(encode("SUBMIT", "mail", name)
                               for name in names))
            for name in names:
                job = answers.next()
                assert job.startswith("j"), job
                with self.lock:
                    self.acknowledged[name] = job

    def work(self, s, answers):
        client = self.daemon.client()
        ok = True
        while not self.stop.is_set():
            for _, token, _, _, _ in client.execute_command(
                    "FETCH", DEPTH, 100, "mail"):
                ok = not ok
                job = token.split(".")[0]
                with self.lock:
                    outcome = "ok" if ok else "failed"
                    self.reports.setdefault(job, set()).add(outcome)
                if ok:
                    client.execute_command("DONE", token, "r" + job)
                else:
                    client.execute_command("FAIL", token, "oops", "r" + job)
                with self.lock:
                    assert job not in self.confirmed, "two outcomes"
                    self.confirmed[job] = outcome


def check(daemon, load):
    with daemon.client() as client:
        ids = {}
        pipe = client.pipeline(transaction=False)
        known = sorted(load.acknowledged.values())
        assert len(set(known)) == len(known), "an id was given twice"
        for job in known:
            pipe.execute_command("STATUS", job)
        for job, status in zip(known, pipe.execute(raise_on_error=False)):
            assert isinstance(status, list), (job, status)
            ids[job] = pairs(status)
        for job, outcome in load.confirmed.items():
            if job in ids:
                assert ids[job]["outcome"] == outcome, ids[job]
        for job, status in ids.items():
            if status["state"] == "finished":
                assert status["outcome"] in load.reports.get(job, ()), status
            else:
                assert job not in load.confirmed, status


def drain(daemon, load):
    """What is left is given out once each, and is what was asked for."""
    taken = set()
    with daemon.client() as client:
        while True:
            jobs = client.execute_command("FETCH", 1000, 0, "mail")
            if not jobs:
                info = pairs(client.execute_command("QUEUE", "INFO", "mail"))
                if info["jobs"] == 0 and info["running"] == 0:
                    break
                # Attempts that the dead held come back after their lease.
                jobs = client.execute_command("FETCH", 1000, 5000, "mail")
            # Whose lease is over before we report gets STALE, and comes again.
            pipe = client.pipeline(transaction=False)
            tokens = []
            for _, token, _, payload, _ in jobs:
                job = token.split(".")[0]
                assert payload in load.asked, "invented"
                assert job not in load.confirmed, "it had an outcome"
                assert job not in taken, "given out twice"
                assert load.acknowledged.get(payload, job) == job
                tokens.append(token)
                pipe.execute_command("DONE", token)
            for token, said in zip(tokens, pipe.execute(raise_on_error=False)):
                if said == "OK":
                    taken.add(token.split(".")[0])
                else:
                    assert str(said).startswith("STALE"), said
    lost = set(load.acknowledged.values()) - taken
    with daemon.client() as client:
        for job in lost:
            outcome = pairs(client.execute_command("STATUS", job))["outcome"]
            assert outcome in load.reports.get(job, ()), (job, outcome)


def test_what_was_acknowledged_survives(start):
    print("seed", SEED)
    chance = random.Random(SEED)
    daemon = start({"limits.lease": "500ms", "queue.redeliver": "1000",
                    "queue.max-jobs": "1000",
                    "limits.retain-jobs": "100000000",
                    "limits.members-max": "1000000000",
                    "limits.payload-max": "256K",
                    "limits.result-max": "256K",
                    "limits.retain-bytes": "1G", "journal.segment-size": "1M"})
    for kill in range(KILLS):
        load = Load(daemon)
        load.serial = kill * 1000000
        load.run(chance.randrange(1, 1500))
        daemon.start()
        check(daemon, load)
        drain(daemon, load)

# SPDX-License-Identifier: BSD-2-Clause
"""A client that remembers what it was told.

Load asks for things in batches, on several connections at once, and keeps every
acknowledged fact: a job that was accepted, an attempt that began, an outcome
that was taken, a cancel, a group that was opened, closed or cancelled. compare()
holds a daemon that was started anew against that: each fact is there, and
nothing is there that was not asked for.

One thread, so what happens is a function of the seed and of the daemon alone;
stop_after says after how many answers `stop` is called, in the middle of things.
"""

import random
import select
import time

from harness import encode, pairs


class Problem(AssertionError):
    """What was promised is not so."""


class Broken(Exception):
    """The connection ended."""


class Job:
    def __init__(self, name, payload, group, keep_ms):
        self.name, self.payload, self.group = name, payload, group
        self.keep_ms = keep_ms
        self.id = None
        self.attempt = 0  # the last that we were given
        self.said = set()  # outcomes that were asked for in this life
        self.outcome = None  # the one that holds
        self.cancel = False  # it holds
        self.over_at = None  # since when it may be on its way to be forgotten


class Group:
    group = None

    def __init__(self, keep_ms):
        self.keep_ms = keep_ms
        self.id = None
        self.asked = set()  # of close, cancel, in this life
        self.holds = set()  # of close, cancel
        self.over_at = None


class Wire:
    """One connection; what was asked on it and is not answered yet."""

    def __init__(self, daemon, patience=30):
        self.socket = daemon.raw()
        self.socket.settimeout(patience)
        self.file = self.socket.makefile("rb", 1 << 16)
        self.asked = []

    def send(self, asked, *words):
        self.asked.append((asked, words))

    def flush(self):
        data = b"".join(encode(*words) for _, words in self.asked)
        try:
            self.socket.sendall(data)
        except OSError:
            raise Broken() from None

    def reply(self):
        try:
            return self.read()
        except OSError:
            raise Broken() from None

    def read(self):
        return self.value(self.file.readline())

    def value(self, line):
        if not line.endswith(b"\r\n"):
            raise Broken()
        kind, rest = line[:1], line[1:-2]
        if kind in b"+:":
            return rest.decode() if kind == b"+" else int(rest)
        if kind == b"-":
            return Refused(rest.decode())
        n = int(rest)
        if n < 0:
            return None
        return self.array(n) if kind == b"*" else self.text(n)

    def text(self, n):
        data = self.file.read(n + 2)
        if len(data) != n + 2:
            raise Broken()
        return data[:-2].decode()

    def array(self, n):
        """Most are words in maps, thousands of them: these go quickly."""
        values, line, read = [], self.file.readline, self.file.read
        for _ in range(n):
            head = line()
            if head[:1] == b"$" and head[-2:] == b"\r\n" and head[1:2] != b"-":
                data = read(int(head[1:]) + 2)
                if data[-2:] != b"\r\n":
                    raise Broken()
                values.append(data[:-2].decode())
            else:
                values.append(self.value(head))
        return values

    def ask(self, *words):
        self.socket.sendall(encode(*words))
        return self.reply()

    def close(self):
        self.file.close()
        self.socket.close()


class Refused(str):
    """An error reply."""


class Load:
    """`keep_ms`: how long outcomes are known, as the daemon is configured.
    `tail`: what was acknowledged may be lost, but only from the end, and not
    what was by the time of doubt().
    `patience`: seconds until a daemon that does not answer has hung up.
    `unreadable`: a payload may be, which costs its job alone."""

    def __init__(self, seed, keep_ms=3600000, size=200, tail=False, batch=12,
                 patience=30):
        self.unreadable = False
        self.chance = random.Random(seed)
        self.keep_ms, self.size, self.tail = keep_ms, size, tail
        self.batch, self.patience = batch, patience
        self.serial = 0
        self.jobs, self.ids, self.groups = {}, {}, {}
        # A request that is sent now is done at that time or later, by the
        # daemon's clock. The daemon takes the time once in a turn of its loop,
        # before it reads, and reads what comes meanwhile: so that is not the
        # time of sending, but when a request was sent that is answered by now.
        self.earliest = None
        self.certain = 0  # so many facts of this life are, even with `tail`
        self.looked = None  # when the daemon was last compared
        self.lifetime = []  # facts of this life of the daemon, in order
        self.tokens = []
        self.counts = {"acknowledged": 0, "lost": 0, "lost at the end": 0}
        self.refused = {}

    # ------------------------------------------------------------- asking

    def payload(self, name):
        filler = random.Random(name).getrandbits(64)
        length = self.chance.choice((0, 1, self.size, 2 * self.size))
        return "%s:%s" % (name, ("%016x" % filler) * (length // 16))

    def produce(self, wire):
        open_groups = [g for g in self.groups.values()
                       if not g.holds and not g.asked]
        for _ in range(self.chance.randint(1, self.batch)):
            self.serial += 1
            name = "p%d" % self.serial
            group = self.chance.choice(open_groups + [None] * 6)
            job = Job(name, self.payload(name), group, self.keep_ms)
            self.jobs[name] = job
            words = ["SUBMIT", "mail", job.payload, "NAME", name]
            if group:
                words += ["GROUP", group.id]
            if self.chance.random() < 0.1:
                words += ["KEY", name]
            wire.send(("submit", job), *words)

    def steer(self, wire):
        """Groups and cancels."""
        if len(self.groups) < 4 or self.chance.random() < 0.2:
            wire.send(("open", Group(self.keep_ms)), "GROUP", "OPEN", "FAIL", "0",
                      "DETACHED", "KEEP", str(self.keep_ms))
        known = [g for g in self.groups.values() if not g.holds and
                 not g.asked]
        if known and self.chance.random() < 0.6:
            group = known[0]  # none is old for ever and holds the journal
            verb = self.chance.choice(("close", "close", "cancel"))
            group.asked.add(verb)
            group.over_at = self.earliest
            if verb == "cancel":
                for job in self.jobs.values():
                    if job.group is group and job.over_at is None:
                        job.over_at = group.over_at
            wire.send((verb, group), "GROUP", verb.upper(), group.id)
        alive = [j for j in self.jobs.values()
                 if j.id and not j.outcome and not j.cancel]
        for job in self.chance.sample(alive, min(len(alive), 2)):
            self.over(job, "cancelled")
            wire.send(("cancel job", job), "CANCEL", job.id)

    def work(self, wire):
        mine, self.tokens = self.tokens, []
        for job, token in mine:
            kind = self.chance.choice(("ok", "ok", "ok", "failed", "release"))
            if kind == "ok":
                self.over(job, "ok")
                wire.send(("end", job, "ok"), "DONE", token, "r" + job.name)
            elif kind == "failed":
                self.over(job, "failed")
                wire.send(("end", job, "failed"), "FAIL", token, "oops",
                          "m" + job.name)
            else:
                wire.send(("release", job), "RELEASE", token)
        live = sum(not job.outcome for job in self.jobs.values())
        count = self.batch if live < 60 else 3 * self.batch
        wire.send(("fetch",), "FETCH", str(count), "0", "mail")

    def over(self, job, outcome):
        job.said.add(outcome)
        if job.over_at is None:
            job.over_at = self.earliest

    # ------------------------------------------------------------ answers

    def take(self, wire_number, asked, answer):
        kind = asked[0]
        if isinstance(answer, Refused):
            word = answer.split(" ")[0]
            self.refused[word] = self.refused.get(word, 0) + 1
            return
        if kind == "fetch":
            for given in answer:
                self.given(wire_number, given)
            return
        if kind == "release":
            return
        thing = asked[1]
        if kind in ("submit", "open"):
            thing.id = answer
            if kind == "open":
                self.groups[answer] = thing
            else:
                if self.ids.setdefault(answer, thing) is not thing:
                    raise Problem("one id for two jobs: %s" % answer)
        elif answer != "OK":
            raise Problem("%s is answered %r" % (kind, answer))
        self.note(wire_number, kind, thing, asked[2:])

    def note(self, wire_number, kind, thing, more=()):
        self.lifetime.append((wire_number, kind, thing) + tuple(more))
        self.counts["acknowledged"] += 1

    def given(self, wire_number, given):
        if given[0] != "job":
            return
        _, token, _, payload, _ = given
        job = self.jobs.get(payload.split(":")[0])
        identity, attempt = token.split(".")[0], int(given[4][1])
        if job is None:
            raise Problem("an invented job: %s %s" % (token, payload[:40]))
        if payload != job.payload:
            raise Problem("an altered job: %s" % payload[:40])
        if job.id not in (None, identity):
            raise Problem("%s is %s and %s" % (job.name, job.id, identity))
        if job.outcome:
            raise Problem("given out after its end: " + job.name)
        job.id = identity
        self.ids[identity] = job
        self.tokens.append((job, token))
        self.note(wire_number, "start", job, (attempt,))

    # --------------------------------------------------------------- running

    def run(self, daemon, stop_after, stop, *before):
        """Load until `stop_after` answers have come; then stop(), and take
        what still comes. True: the daemon hung up before stop(). `before`: the
        same, earlier, without an end: numbers of answers, and what to call."""
        wires = []
        try:
            wires = [Wire(daemon, self.patience) for _ in range(4)]
            sent = time.time()
            wires[0].ask("PING")
            self.earliest = sent
            return self.turns(wires, [*before, (stop_after, stop)])
        except Broken:
            return True  # before the first answer
        finally:
            for wire in wires:
                wire.close()

    @staticmethod
    def set_keep(daemon, keep_ms):
        """For what is submitted from now on; a queue has what held when it was
        made."""
        wire = Wire(daemon)
        answer = wire.ask("QUEUE", "SET", "mail", "KEEP", str(keep_ms),
                          "DEAD-KEEP", str(keep_ms))
        wire.close()
        if answer != "OK":
            raise Problem(answer)

    def turns(self, wires, steps):
        left = steps[0][0]
        broken = set()
        while len(broken) < len(wires):
            sent = time.time()
            for number, wire in enumerate(wires):
                if number in broken:
                    continue
                try:
                    (self.produce, self.work, self.produce,
                     self.steer)[number](wire)
                    if wire.asked:
                        wire.flush()
                except Broken:
                    broken.add(number)
            for number, wire in enumerate(wires):
                try:
                    while number not in broken and wire.asked:
                        if left <= 0 and steps:
                            steps.pop(0)[1]()
                            left = steps[0][0] if steps else 0
                        asked = wire.asked[0][0]
                        answer = wire.reply()
                        wire.asked.pop(0)
                        self.take(number, asked, answer)
                        left -= 1
                except Broken:
                    broken.add(number)
                if broken and steps:
                    return True
            self.earliest = sent
        return False

    def doubt(self):
        """What is acknowledged from now on may be lost."""
        self.tail = True
        self.certain = len(self.lifetime)

    # ------------------------------------------------------------- comparing

    def forgotten(self, thing):
        """May it be known no more? The daemon counts whole milliseconds. Who
        is in a group is forgotten with it."""
        if self.unreadable and thing.keep_ms < 1000:
            return True  # it may have failed at any time
        if thing.group and self.forgotten(thing.group):
            return True
        return thing.over_at is not None and (
            self.looked - thing.over_at) * 1000 > thing.keep_ms - 1

    def holds(self, fact, rows, infos):
        kind, thing = fact[1], fact[2]
        if kind in ("open", "close", "cancel"):
            info = infos.get(thing.id)
            if info is None:
                return self.forgotten(thing)
            return {"open": True,
                    "close": info["state"] != "open",
                    "cancel": info["state"] in ("cancelling", "ended"),
                    }[kind]
        row = rows.get(thing.name)
        if row is None:
            return self.forgotten(thing)
        if row["id"] != thing.id:
            raise Problem("%s was %s, is %s" % (thing.name, thing.id,
                                                row["id"]))
        if kind == "start":
            return row["attempt"] >= fact[3]
        if kind == "end":
            return row["outcome"] == fact[3]
        if kind == "cancel job":
            return row["state"] in ("cancelling", "finished", "joining")
        return True

    def compare(self, daemon):
        """After a new start. Raises Problem; takes over what is so now."""
        wire = Wire(daemon)
        try:
            rows, infos = self.look(wire)
            self.invented(wire, rows)
            self.check_lifetime(rows, infos)
            self.check_settled(rows, infos)
            self.check_results(wire, rows)
        finally:
            wire.close()
        self.adopt(rows, infos)

    def look(self, wire):
        rows = {}
        for flat in wire.ask("JOBS", "COUNT", "10000"):
            row = pairs(flat)
            if row["name"] in rows:
                raise Problem("twice: %s" % row["name"])
            rows[row["name"]] = row
        infos = {}
        for identity in self.groups:
            answer = wire.ask("GROUP", "INFO", identity)
            if not isinstance(answer, Refused):
                infos[identity] = pairs(answer)
        self.looked = time.time()
        return rows, infos

    def invented(self, wire, rows):
        for name, row in rows.items():
            job = self.jobs.get(name)
            if job is None:
                raise Problem("an invented job: %r" % row)
            said = set(job.said) | {job.outcome}
            if job.group and ("cancel" in job.group.asked or
                              "cancel" in job.group.holds):
                said.add("cancelled")
            if job.cancel:
                said.add("cancelled")
            if row["outcome"] and row["outcome"] not in said and not (
                    self.unreadable and self.damaged(wire, row)):
                raise Problem("an invented outcome: %r" % row)
            if row["payload_bytes"] not in (0, len(job.payload)):
                raise Problem("an altered payload: %r" % row)

    @staticmethod
    def damaged(wire, row):
        """Whether that is why it failed; it may be forgotten by now."""
        answer = wire.ask("RESULT", row["id"])
        if isinstance(answer, Refused):
            return row["outcome"] == "failed" and answer.startswith("NOJOB")
        errors = pairs(answer).get("errors", [])
        return [pairs(error)["class"] for error in errors][-1:] == ["damaged"]

    def check_lifetime(self, rows, infos):
        lost, first = [], {}
        for n, fact in enumerate(self.lifetime):
            if not self.holds(fact, rows, infos):
                lost.append(fact)
                first.setdefault(fact[0], n)
            elif fact[0] in first and self.matters(fact, rows):
                raise Problem("a hole: %s is there, %s is not" % (
                    self.words(fact), self.words(lost[-1])))
        if lost and (not self.tail or
                     lost[0] in self.lifetime[:self.certain]):
            self.counts["lost"] += len(lost)
            raise Problem("%d lost of %d, the first: %s" % (
                len(lost), len(self.lifetime), self.words(lost[0])))
        self.counts["lost at the end"] += len(lost)
        gone = {id(fact[2]) for fact in lost if fact[1] in ("submit", "open")}
        for fact in self.lifetime:
            thing = fact[2]
            if fact in lost or id(thing) in gone:
                continue
            if fact[1] == "start":
                thing.attempt = max(thing.attempt, fact[3])
            elif fact[1] == "end":
                thing.outcome = fact[3]
            elif fact[1] == "cancel job":
                thing.cancel = True
            elif fact[1] in ("close", "cancel"):
                thing.holds.add(fact[1])

    @staticmethod
    def matters(fact, rows):
        """A lost record can look as if it were there: a cancel of what has
        ended anyway, what may have been forgotten. A job that is there
        cannot."""
        return fact[1] == "submit" and fact[2].name in rows

    @staticmethod
    def words(fact):
        thing = fact[2]
        return "%s %s %s" % (fact[1], getattr(thing, "name", ""), thing.id)

    def check_settled(self, rows, infos):
        """What an earlier life has made certain."""
        lifetime = {id(fact[2]) for fact in self.lifetime}
        for job in self.jobs.values():
            row = rows.get(job.name)
            known = job.id and (not self.tail or id(job) not in lifetime)
            if row is None:
                if known and not self.forgotten(job):
                    raise Problem("lost: %s %s" % (job.name, job.id))
                continue
            if row["attempt"] < job.attempt:
                raise Problem("attempts are lost: %r" % row)
            if job.outcome and row["outcome"] != job.outcome:
                raise Problem("%s, but was %s: %r" % (
                    row["outcome"], job.outcome, row))
        for group in self.groups.values():
            info = infos.get(group.id)
            if info is None:
                if not self.forgotten(group) and not (
                        self.tail and id(group) in lifetime):
                    raise Problem("lost: group %s" % group.id)
            elif group.holds and info["state"] == "open":
                raise Problem("open again: %r" % info)

    def check_results(self, wire, rows):
        done = [f[2] for f in self.lifetime if f[1] == "end" and
                f[3] == "ok" and f[2].outcome == "ok" and f[2].name in rows]
        for job in done[-20:]:
            answer = wire.ask("RESULT", job.id)
            self.looked = time.time()
            if isinstance(answer, Refused) and self.forgotten(job):
                continue
            if isinstance(answer, Refused):
                raise Problem("lost: %s %s: %s" % (job.name, job.id, answer))
            if pairs(answer)["result"] != "r" + job.name:
                raise Problem("another result: %r" % answer)

    def adopt(self, rows, infos):
        """What was not acknowledged has either been done or never will be."""
        for job in list(self.jobs.values()):
            row = rows.get(job.name)
            if row is None:
                del self.jobs[job.name]
                continue
            job.id = row["id"]
            job.outcome = row["outcome"] or None
            job.cancel = job.cancel or row["state"] == "cancelling"
            job.said = set()
            if not job.outcome and not job.cancel and not (
                    job.group and job.group.over_at):
                job.over_at = None
        for group in list(self.groups.values()):
            info = infos.get(group.id)
            if info is None:
                del self.groups[group.id]
                continue
            group.asked = set()
            state = info["state"]
            if state != "open":
                group.holds.add("cancel" if state == "cancelling" or
                                info["outcome"] == "cancelled" else "close")
            else:
                group.over_at = None
        self.ids = {job.id: job for job in self.jobs.values()}
        self.lifetime, self.tokens, self.certain = [], [], 0

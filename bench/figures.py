# SPDX-License-Identifier: BSD-2-Clause
"""Every figure: what its sides do, and what is wanted of it."""

from drivers import cycle_rate, nq_rate, parallel_rate, ping_rate, runner_rate
from drivers import spawn_rate, submit_rate, tsp_rate, xargs_rate
from group import big_group
from queued import bytes_and_recovery, short_of_memory
from servers import Beanstalkd, PAYLOAD, Redis, Yoked
from soak import disk_sync, soak, submit_to_fetch

MILLION = 1000000
MIB = 1 << 20


class Figure:
    """`wanted` is a bound for yoke's value, with its unit ("<= 4 s"), or bounds
    for its ratio to other sides ({"redis": ">= 2"})."""

    def __init__(self, word, title, unit, sides, wanted=None, parts=None,
                 runs=5, named=False):
        self.word, self.title, self.unit = word, title, unit
        self.sides, self.wanted = sides, wanted
        self.parts = parts  # (title, unit, wanted), of a turn with several
        self.runs = runs
        self.named = named  # long: only when it is asked for


def durable(**options):
    return lambda: Yoked(**options)


def volatile():
    return Yoked(journal__store="memory")


def redis_always():
    return Redis(True)


def redis_volatile():
    return Redis(False)


def beanstalkd(*sync):
    return lambda: Beanstalkd(list(sync))


UNSYNCED, SYNCED = beanstalkd("-F"), beanstalkd("-f0")


def rate(word, title, sides, wanted=None):
    return Figure(word, None, None, sides,
                  parts=[(title, "/s", wanted),
                         ("... processor time of one", "us", None)])


def submits(n):
    yield rate(
        "durable", "durable submit, -c 50 -P 32",
        {"yoke": submit_rate(durable(), n(MILLION), 32),
         "redis": submit_rate(redis_always, n(MILLION), 32),
         "its own PING": ping_rate(durable(), n(2 * MILLION), 32)},
        {"redis": ">= 2", "its own PING": ">= 0.5"})
    yield rate(
        "durable", "durable submit, -c 4 -P 64",
        {"yoke": submit_rate(durable(), n(MILLION), 64, 4),
         "redis": submit_rate(redis_always, n(MILLION // 2), 64, 4)},
        {"redis": ">= 3"})
    yield rate(
        "durable", "durable submit, -c 50 -P 1",
        {"yoke": submit_rate(durable(), n(150000), 1),
         "redis": submit_rate(redis_always, n(150000), 1)},
        {"redis": ">= 1"})
    yield rate(
        "volatile", "non-durable submit, -c 50 -P 32",
        {"yoke": submit_rate(volatile, n(2 * MILLION), 32),
         "redis": submit_rate(redis_volatile, n(2 * MILLION), 32)},
        {"redis": ">= 1.2"})


def pings(n):
    for depth, requests in (32, 4 * MILLION), (1, 150000):
        yield rate(
            "ping", "PING, -c 50 -P %d" % depth,
            {"yoke": ping_rate(volatile, n(requests), depth),
             "redis": ping_rate(redis_volatile, n(requests), depth)})


def works(n):
    yield Figure(
        "cycle", "submit, fetch, done: 4 + 4, durable", "/s",
        {"yoke": cycle_rate(durable(), n(400000), 128),
         "beanstalkd unsynced": cycle_rate(UNSYNCED, n(100000), 16),
         "beanstalkd synced": cycle_rate(SYNCED, n(10000), 16)},
        {"beanstalkd unsynced": ">= 5"})


def processes(n):
    for at_once in 2, 4:
        yield Figure(
            "process", "/bin/true, %d at once" % at_once, "/s",
            {"yoke": runner_rate(n(10000), at_once),
             "posix_spawn": spawn_rate(n(10000), at_once),
             "xargs": xargs_rate(n(10000), at_once)},
            {"posix_spawn": ">= 0.9"})
        yield Figure(
            "process", "nothing to do, in a pool of %d" % at_once, "/s",
            {"yoke": runner_rate(n(200000), at_once, pool=True),
             "a process for each": runner_rate(n(10000), at_once)},
            {"a process for each": ">= 20"})
    # What takes longer with each job that it has already.
    for at_once in 2, 4:
        yield Figure(
            "process", "1,000 of them, %d at once" % at_once, "/s",
            {"yoke": runner_rate(1000, at_once),
             "xargs": xargs_rate(1000, at_once),
             "GNU parallel": parallel_rate(1000, at_once),
             "task-spooler": tsp_rate(1000, at_once),
             "nq": nq_rate(1000, at_once)})


def groups(n):
    jobs = n(100000)
    yield Figure(
        "group", None, None,
        {"yoke": big_group(durable(limits__retain_jobs="10000000"), jobs)},
        parts=[(title.format(jobs), unit, wanted) for title, unit, wanted in (
            ("memory of a member of {:,}", "bytes", None),
            ("cancel of {:,} queued members", "ms", "<= 100 ms"),
            ("... longest turn of the loop", "ms", "<= 20 ms"),
            ("submit a group of {:,}", "s", None),
            ("... fetch and done, one worker", "s", None),
            ("... results as submitted", "s", None),
            ("... results as ended", "s", None),
            ("... longest turn of the loop", "ms", "<= 20 ms"),
            ("... longest wait of another client", "ms", None))])


def latencies(n, seconds):
    yield Figure(
        "latency", None, None,
        {"yoke": submit_to_fetch(durable(), 2000, seconds),
         "a sync alone": disk_sync(2000, seconds),
         "all that is due": disk_sync(2000, seconds, "due")},
        parts=[("submit to fetch, durable, 2,000/s: p50", "ms", None),
               ("... p99", "ms", {"a sync alone": "<= 3"}),
               ("... p99.9", "ms", None),
               ("... the longest", "ms", None)])


def queues(jobs, word, recovery, **how):
    titles = [("memory of a queued job, of {:,}".format(jobs), "bytes",
               "<= %d bytes" % (110 + len(PAYLOAD))),
              ("recovery of {:,} jobs".format(jobs), "s", recovery)]
    sides = {"yoke": bytes_and_recovery(durable(), jobs),
             "redis AOF": bytes_and_recovery(redis_always, jobs),
             "redis RDB": bytes_and_recovery(redis_volatile, jobs)}
    if jobs <= MILLION:  # beanstalkd takes minutes to accept more
        sides["beanstalkd"] = bytes_and_recovery(UNSYNCED, jobs)
    yield Figure(word, None, None, sides, parts=titles, **how)
    yield Figure(
        word, None, None, {"yoke": short_of_memory(jobs, 104)},
        parts=[("... when its payload is on the disk", "bytes", "<= 96 bytes"),
               ("... the share of those", "%", None),
               ("... recovery then", "s", recovery)], **how)


def soaks(n, minutes):
    yield Figure(
        "soak", None, None,
        {"yoke": soak(durable(), minutes, n(200000), n(MILLION), 64 * MIB)},
        parts=[("soak of %g minutes: all that it can do" % minutes, "/s",
                None),
               ("... half of that, as the load", "/s", None),
               ("... p99 of the first window", "ms", None),
               ("... p99 of the worst window, to that of the first", "x",
                "<= 2 x"),
               ("... the longest", "ms", None),
               ("... the disk's longest sync", "ms", None),
               ("... journal, to 2 x what lives and 2 segments", "x",
                "<= 1 x"),
               ("... of what is written, compaction wrote", "x", None),
               ("... RSS at the beginning", "MiB", None),
               ("... RSS at most", "MiB", None)],
        runs=1, named=True)


def figures(quick, minutes):
    def n(count):
        return max(count // 20, 1000) if quick else count

    return [
        *submits(n), *pings(n), *works(n), *processes(n), *groups(n),
        *latencies(n, 2 if quick else 5),
        *queues(n(MILLION), "million", "<= 0.4 s", runs=3),
        *queues(n(10 * MILLION), "ten-million", "<= 4 s", runs=1, named=True),
        *soaks(n, minutes)]

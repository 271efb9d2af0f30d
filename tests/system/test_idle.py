# SPDX-License-Identifier: BSD-2-Clause
"""Clients that are connected and ask for nothing: what one costs the daemon, and
what it costs a busy one.

YOKE_IDLE: how many (1000). The rate is by processor time, and judged from 10,000
on (./dev workers idle): ordinary tests run beside each other.
"""

import math
import os
import resource
import statistics
import subprocess
import sys

import pytest

from harness import Daemon, encode, rss, sanitized, until

IDLE = int(os.environ.get("YOKE_IDLE", "1000"))
EACH_BYTES = 1024
RATIO = 0.95
TURNS = 100 if IDLE >= 10000 else 3
REQUESTS, DEPTH = 16000, 64
# Who holds the others, and says when it has them all: it ends with its input.
HOLDER = """
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]) + 50,) * 2)
held = []
for _ in range(int(sys.argv[2])):
    held.append(socket.socket(socket.AF_UNIX))
    held[-1].connect(sys.argv[1])
    held[-1].sendall(b"PING\\r\\n")
    held[-1].recv(100)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def many_files():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < IDLE + 200:
        if os.geteuid() != 0:
            pytest.skip("the hard limit of open files is %d" % before[1])
        before = before[0], IDLE + 200
        resource.setrlimit(resource.RLIMIT_NOFILE, (IDLE + 200,) * 2)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def sleeps(pid):
    with open("/proc/%d/stat" % pid) as stat:
        return stat.read().rpartition(")")[2].split()[0] == "S"


def spent(daemon):
    """Nanoseconds that the daemon's loop has been on a processor: what others do
    on this machine is not in it. While it is on one they are not counted yet."""
    until(lambda: sleeps(daemon.pid), "the daemon waits")
    with open("/proc/%d/schedstat" % daemon.pid) as stat:
        return int(stat.read().split()[0])


def cost(daemon, busy, answers):
    """Of one of REQUESTS on one connection, DEPTH at a time."""
    batch, before = encode("PING") * DEPTH, spent(daemon)
    for _ in range(REQUESTS // DEPTH):
        busy.sendall(batch)
        assert len(answers.read(7 * DEPTH)) == 7 * DEPTH
    return (spent(daemon) - before) / REQUESTS


def hold(daemon):
    holder = subprocess.Popen([sys.executable, "-IS", "-c", HOLDER,
                               daemon.socket, str(IDLE)], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == "held\n"
    return holder


def beside_and_alone(crowded, quiet):
    """The costs of two daemons in turns, of which one has the idle clients: a
    machine that is slower for a while is so for both."""
    beside, alone = [], []
    with crowded.raw() as one, one.makefile("rb") as its, \
            quiet.raw() as other, other.makefile("rb") as others:
        for turn in range(TURNS + 1):
            beside.append(cost(crowded, one, its))
            alone.append(cost(quiet, other, others))
    return statistics.median(beside[1:]), statistics.median(alone[1:])


@pytest.fixture
def two_daemons(tmp_path_factory):
    daemons = [Daemon(str(tmp_path_factory.mktemp("yoke")),
                      {"daemon.clients-max": str(IDLE + 50)})
               for _ in range(2)]
    yield [daemon.start() for daemon in daemons]
    for daemon in daemons:
        assert daemon.stop() == 0, daemon.log()


def test_idle_clients_cost_a_kibibyte_and_no_time(many_files, two_daemons):
    first, second = two_daemons
    with first.raw() as busy, busy.makefile("rb") as answers:
        cost(first, busy, answers)
    before = rss(first.pid)
    holder = hold(first)
    each = (rss(first.pid) - before) / IDLE
    turns = [beside_and_alone(first, second)]
    holder.communicate(timeout=60)
    # And the other way round: two processes of one program differ a little.
    holder = hold(second)
    turns.append(beside_and_alone(second, first))
    holder.communicate(timeout=60)
    ratio = math.sqrt(math.prod(alone / beside for beside, alone in turns))
    print("\n%d idle clients: %.0f bytes of RSS each; a request of a busy one "
          "takes %.0f and %.0f ns of processor time beside them, %.0f and %.0f "
          "alone: %.2f of the rate"
          % (IDLE, each, *(beside for beside, _ in turns),
             *(alone for _, alone in turns), ratio))
    if not sanitized():
        assert each <= EACH_BYTES
    if IDLE >= 10000:
        assert ratio >= RATIO

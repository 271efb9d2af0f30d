# SPDX-License-Identifier: BSD-2-Clause
"""Clients that are connected and ask for nothing: what one costs the daemon, and
what it costs a busy one.

YOKE_IDLE: how many (1000). The rate is by processor time, and judged from 10,000
on (./dev workers idle): ordinary tests run beside each other.
"""

import os
import resource
import subprocess
import sys

import pytest

from harness import encode, rss, sanitized, until

IDLE = int(os.environ.get("YOKE_IDLE", "1000"))
EACH_BYTES = 1024
RATIO = 0.95
TURNS = 25 if IDLE >= 10000 else 3
REQUESTS, DEPTH = 32000, 64
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


def spent(daemon):
    """Nanoseconds that the daemon's loop has been on a processor: what others do
    on this machine is not in it."""
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


def let_go(daemon, holder):
    holder.communicate(timeout=60)
    with daemon.client() as client:
        until(lambda: client.info("clients")["connected_clients"] < 5,
              "the idle ones are gone")


def test_idle_clients_cost_a_kibibyte_and_no_time(start, many_files):
    daemon = start({"daemon.clients-max": str(IDLE + 50)})
    before, alone, beside = rss(daemon.pid), [], []
    with daemon.raw() as busy, busy.makefile("rb") as answers:
        cost(daemon, busy, answers)
        for turn in range(TURNS):
            alone.append(cost(daemon, busy, answers))
            holder = hold(daemon)
            if turn == 0:
                each = (rss(daemon.pid) - before) / IDLE
            beside.append(cost(daemon, busy, answers))
            let_go(daemon, holder)
    # Whatever else the machine does can only add to either.
    ratio = min(alone) / min(beside)
    print("\n%d idle clients: %.0f bytes of RSS each; a request of a busy one "
          "takes %.0f ns of processor time beside them, %.0f alone: %.2f of the "
          "rate" % (IDLE, each, min(beside), min(alone), ratio))
    if not sanitized():
        assert each <= EACH_BYTES
    if IDLE >= 10000:
        assert ratio >= RATIO

# SPDX-License-Identifier: BSD-2-Clause
"""The durable path under attack: power cuts, and a kill and errors at each of
its calls. What was acknowledged is there afterwards, and nothing else.

YOKE_CUTS: how many power cuts (1000); YOKE_SEED: another load.
"""

import collections
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest

import faulty
import power
from faulty import Script, Shim
from harness import children

CUTS = int(os.environ.get("YOKE_CUTS", "1000"))
SEED = int(os.environ.get("YOKE_SEED", "1"))

# A KILL comes before the call is made; an error instead of it.
KILLED = ["open", "pwrite", "write", "fdatasync", "fsync", "rename", "unlink",
          "ftruncate"]
FAILED = [("open", "EMFILE"), ("pread", "EIO"), ("pwrite", "EIO"),
          ("pwrite", "ENOSPC"), ("pwrite", "half"), ("fdatasync", "EIO"),
          ("fsync", "EIO"), ("rename", "EIO"), ("unlink", "EIO"),
          ("ftruncate", "EIO"), ("fstat", "EIO"), ("flock", "ENOLCK"),
          ("scandir", "EIO"), ("pthread_create", "EAGAIN")]
if CUTS > 1000:  # ./dev faults
    FAILED += [("open", "EIO"), ("open", "ENOSPC"), ("open", "EACCES"),
               ("pwrite", "EDQUOT"), ("fdatasync", "ENOSPC"),
               ("fdatasync", "EDQUOT"), ("fsync", "ENOSPC"),
               ("rename", "ENOSPC"), ("rename", "EROFS"), ("unlink", "EROFS"),
               ("ftruncate", "ENOSPC"), ("scandir", "ENOMEM")]


@pytest.fixture(scope="module")
def script():
    folder = tempfile.mkdtemp(prefix="yoke-faults.")
    yield Script(folder, 6 + SEED)
    shutil.rmtree(folder)


def driver(*words):
    """What the disks of faulty.py have counted."""
    reason = power.why_not()
    if reason:
        pytest.skip("NO POWER CUTS HERE: " + reason)
    done = subprocess.run(
        [sys.executable, "-B", faulty.__file__, *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    print(done.stdout)
    return json.loads(done.stdout)


def test_what_was_acknowledged_survives_power_cuts():
    counts = driver("cuts", SEED, CUTS)
    assert counts["power cuts"] == CUTS
    assert counts["acknowledged"] > CUTS
    assert counts["lost"] == 0
    assert counts["segments opened"] >= counts["disks"]
    if CUTS >= 1000:  # the seed draws for each disk what it meets
        assert counts["refused for want of disk"] > 0
        assert counts["disks with payloads that were there only"] > 0


def test_a_disk_that_lies_costs_what_came_since_the_lie_alone():
    counts = driver("lies", SEED, CUTS // 20)
    assert counts["power cuts"] == CUTS // 20
    assert counts["lost"] == 0
    assert counts["lost at the end"] > 0


def test_what_is_attacked_is_every_call_that_the_kernel_sees(script):
    daemon = script.another()
    log = os.path.join(daemon.dir, "strace")
    shim = Shim(daemon.dir)
    plain = daemon.command()
    daemon.command = lambda: (
        ["strace", "-f", "-qq", "-o", log, "-e", "signal=none", "-e",
         "trace=pwrite64,fdatasync,fsync,rename,unlink,ftruncate,flock"] +
        ["-E%s=%s:detect_leaks=0" % one if one[0] == "ASAN_OPTIONS" else
         "-E%s=%s" % one for one in shim.environment.items()] + plain)
    yoked = []

    def end():
        yoked[:] = children(daemon.pid)
        os.kill(yoked[0], signal.SIGKILL)

    faulty.quickly(daemon)
    script.fresh_load().run(daemon, script.ANSWERS, end)
    daemon.wait()
    shim.take()
    with open(log) as file:
        kernel = collections.Counter(
            name.replace("64", "") for name in
            re.findall(r"^\d+ +(\w+)\(", file.read(), re.M))
    # One may have been counted, and the kill came before the kernel saw it.
    assert kernel["fdatasync"] > 10
    for name, n in kernel.items():
        assert n <= shim.seen[name] <= n + 1, name


@pytest.mark.parametrize("call", KILLED)
def test_a_kill_at_any_call_loses_nothing(script, call):
    check(script, call, action=Shim.KILL)


@pytest.mark.parametrize("call,error", FAILED)
def test_an_error_of_any_call_acknowledges_nothing_that_is_lost(script, call,
                                                                error):
    if error == "half":
        check(script, call, action=Shim.HALF)
    else:
        check(script, call, error=getattr(errno, error))


def test_without_memory_nothing_is_lost(script):
    check(script, "malloc", every=1 if CUTS > 1000 else 29,
          error=errno.ENOMEM)


def check(script, call, **fault):
    came, ended = script.each(call, **fault)
    print("%s: %d times, which ended the daemon %d times" % (call, came, ended))
    # Whether segments go by then is a matter of time.
    assert came > 0 or call == "unlink"

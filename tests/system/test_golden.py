# SPDX-License-Identifier: BSD-2-Clause
"""Journals of earlier days are read for ever (tests/golden/make.py made them)."""

import glob
import os
import subprocess
import tarfile

import pytest

from harness import YOKED, pairs

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../golden")
NAMES = sorted(os.path.basename(path)[:-len(".tar.xz")]
               for path in glob.glob(os.path.join(GOLDEN, "*.tar.xz")))


def unpack(name, journal):
    os.makedirs(journal)
    with tarfile.open(os.path.join(GOLDEN, name + ".tar.xz")) as tar:
        tar.extractall(journal)


def test_there_is_one_of_this_version():
    assert NAMES == ["version-1", "version-1-apart-images", "version-1-forget",
                     "version-1-images"]


@pytest.mark.parametrize("name", NAMES)
def test_a_journal_of_an_earlier_day_says_what_it_said(name, directory):
    journal = os.path.join(directory, "journal")
    unpack(name, journal)
    said = subprocess.run([YOKED, "--verify-journal", journal, "--list-jobs"],
                          capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr
    with open(os.path.join(GOLDEN, name + ".txt")) as file:
        expected = file.read()
    assert (sorted(said.stdout.replace(journal, "DIR").splitlines())
            == sorted(expected.splitlines()))


@pytest.mark.parametrize("name", NAMES)
def test_a_daemon_goes_on_with_it(name, start, directory):
    state = os.path.join(directory, "state")
    unpack(name, os.path.join(state, "journal"))
    os.chmod(state, 0o700)
    daemon = start({"daemon.state-dir": state})
    with daemon.client() as client:
        jobs = client.execute_command("FETCH", 1000, 0, "plain")
        payloads = [job[3] for job in jobs]
        # Of the highest priority; but it was to wait for a day at most, and
        # these journals are of November 2026.
        expired = [pairs(job) for job in client.execute_command(
            "DEAD", "LIST", "QUEUE", "plain")]
        assert payloads[0] == "named" or [job["name"] for job in expired
                                          ] == ["a name"]
        assert [p for p in payloads if p != "named"][0] == "queued"
        assert "after the images" in payloads
        assert client.execute_command("SUBMIT", "plain", "new")

# SPDX-License-Identifier: BSD-2-Clause
import shutil
import tempfile
import uuid

import pytest

from harness import Daemon, marked


@pytest.fixture
def directory():
    """A short path: a Unix socket's is bounded."""
    path = tempfile.mkdtemp(prefix="yoke-test.")
    yield path
    shutil.rmtree(path)


@pytest.fixture
def start(directory):
    """start(options, config=, runner=, password=) gives a daemon that answers.
    At the end it must stop as asked."""
    daemons = []

    def make(options=None, config="", runner=False, password=None):
        daemon = Daemon(directory, options, config, runner)
        daemon.password = password
        daemons.append(daemon)
        return daemon.start()

    yield make
    for daemon in daemons:
        status = daemon.stop()
        log = daemon.log()
        assert status in (0, None), log
        assert "Sanitizer" not in log, log


@pytest.fixture
def mark():
    """A word for the environment of jobs; none may be left with it."""
    word = uuid.uuid4().hex
    yield word
    assert marked(word) == []

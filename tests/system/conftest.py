# SPDX-License-Identifier: BSD-2-Clause
import os
import shutil
import tempfile
import uuid

import pytest

from harness import Daemon, marked, sanitized


@pytest.fixture(scope="session")
def reports():
    """Where the sanitizers of all programs, whoever starts them and whoever
    reads what they say, write their reports."""
    with tempfile.TemporaryDirectory(prefix="yoke-reports.") as path:
        os.chmod(path, 0o1777)
        if sanitized():
            for name in "ASAN_OPTIONS", "UBSAN_OPTIONS":
                os.environ[name] = ":".join(filter(None, [
                    os.environ.get(name), "log_path=%s/report" % path]))
        yield path


@pytest.fixture(autouse=True)
def nothing_is_reported(reports):
    """It is set up first, so it looks when all that a test has started is
    gone."""
    yield
    texts = []
    for name in os.listdir(reports):
        path = os.path.join(reports, name)
        with open(path, errors="replace") as file:
            texts.append(file.read())
        os.remove(path)
    assert not texts, "\n".join(texts)


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

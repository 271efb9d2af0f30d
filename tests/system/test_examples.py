# SPDX-License-Identifier: BSD-2-Clause
"""Every example does what it says: what it prints stands under "Prints:" in its
head, "..." being whatever is there. None leaves a process behind."""

import glob
import gzip
import os
import re
import subprocess

import pytest

from harness import BUILD, SOURCE, until

EXAMPLES = os.path.join(SOURCE, "examples")
# What stream.sh asks for.
STAGES = """
[run example.upper]
command = tr a-z A-Z
[run example.mark]
command = sed s/$/!/
"""
MANUALS = {
    "man1/dig.1": '.TH DIG "1"\nwater from a well\nWater\n',
    "man1/pump.1": '.TH PUMP "1"\nwater\n',
    "man8/well.8": ".Dt WELL 8\nwater\nwater water\nWATER\n",
    "man8/other.8": ".Dt OTHER 8\nfire\n",
}


def expected(path):
    """The lines under "Prints:", None if there is no such word."""
    with open(path) as file:
        head = re.sub(r"(?m)^( \*|#) ?", "", file.read())
    found = re.search(r"(?m)^Prints:\n((    .*\n)+)", head)
    return re.sub("(?m)^    ", "", found.group(1)) if found else None


def is_printed(wanted, got):
    pattern = re.escape(wanted).replace(re.escape("..."), ".*")
    return re.fullmatch(pattern, got)


def left(daemon):
    """The processes of this daemon's jobs."""
    found = []
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            with open(path, "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue  # it has ended meanwhile
        if (b"YOKE_SERVER=" + daemon.socket.encode() in words and
                any(word.startswith(b"YOKE_JOB=") for word in words)):
            found.append(path.split("/")[2])
    return found


def run(daemon, name, *words):
    path = os.path.join(EXAMPLES if name.endswith(".sh")
                        else os.path.join(BUILD, "examples"), name)
    environment = daemon.environment(
        PATH=BUILD + ":" + os.environ["PATH"], LC_ALL="C.UTF-8")
    done = subprocess.run(
        [path, *words], cwd=SOURCE, env=environment, timeout=60, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE)
    assert left(daemon) == []
    return done


def sources():
    paths = glob.glob(EXAMPLES + "/*.c") + glob.glob(EXAMPLES + "/*.sh")
    return sorted(os.path.basename(path) for path in paths)


PRINTING = [name for name in sources()
            if expected(os.path.join(EXAMPLES, name))]


@pytest.fixture
def daemon(start):
    daemon = start({"queue.grace": "5s"}, STAGES, runner=True)
    until(daemon.runner, "its runner is there")
    return daemon


@pytest.mark.parametrize("name", PRINTING)
def test_it_prints_what_it_says(daemon, name):
    wanted = expected(os.path.join(EXAMPLES, name))
    done = run(daemon, name[:-2] if name.endswith(".c") else name)
    assert done.stderr == ""
    if not is_printed(wanted, done.stdout):
        pytest.fail("wanted:\n%s\ngot:\n%s" % (wanted, done.stdout),
                    pytrace=False)
    assert done.returncode == 0


def test_every_example_says_what_it_prints():
    """All but the one that depends on what is there to be found."""
    silent = set(sources()) - set(PRINTING)
    assert silent == {"retrieve.c", "retrieve.sh", "retrieve-source.sh"}


def test_every_example_is_c_and_shell():
    names = set(sources()) - {"retrieve-source.sh"}
    in_c = {name[:-2] for name in names if name.endswith(".c")}
    in_shell = {name[:-3] for name in names if name.endswith(".sh")}
    # Event loops and threads are a matter of libyoke alone.
    assert in_c ^ in_shell == {"any-loop", "to-thread"}


def test_readme_links_to_every_example():
    with open(os.path.join(SOURCE, "README.md")) as file:
        links = set(re.findall(r"\(examples/([^)]*)\)", file.read()))
    others = {"redis/" + name
              for name in os.listdir(os.path.join(EXAMPLES, "redis"))}
    assert links == set(sources()) - {"retrieve-source.sh"} | others


# ----------------------------------------------------- the production pattern


@pytest.fixture(params=["retrieve", "retrieve.sh"])
def retrieve(request, daemon):
    return lambda *words: run(daemon, request.param, *words)


@pytest.fixture(params=["", ".gz"])
def manuals(request, directory):
    for name, text in MANUALS.items():
        path = os.path.join(directory, "man", name + request.param)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        opener = gzip.open if request.param else open
        with opener(path, "wt") as file:
            file.write(text)
    return os.path.join(directory, "man")


def test_retrieve_finds_what_is_there(retrieve, manuals):
    done = retrieve("-d", manuals, "water")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["3", "well(8)"], ["2", "dig(1)"], ["1", "pump(1)"], ["3", "pages"]]


def test_retrieve_searches_what_this_machine_has(retrieve, daemon):
    """The manuals, or the sources where there are none."""
    done = retrieve("-t", "60", "process")
    assert (done.returncode, done.stderr) == (0, "")
    found = done.stdout.splitlines()
    assert len(found) == 11 and int(found[-1].split()[0]) > 10
    counts = [int(line.split()[0]) for line in found[:-1]]
    assert counts == sorted(counts, reverse=True)


def test_retrieve_is_all_or_nothing(retrieve, manuals):
    """The sources that answered are not shown either."""
    done = retrieve("-d", manuals, "-b", "water")
    assert (done.returncode, done.stdout) == (1, "")
    assert "exit:3" in done.stderr and "no route to host" in done.stderr


def test_retrieve_waits_for_no_source_for_longer_than_it_may(
        retrieve, manuals):
    done = retrieve("-d", manuals, "-t", "0.3", "-s", "water")
    assert (done.returncode, done.stdout) == (1, "")
    assert "timeout" in done.stderr

# SPDX-License-Identifier: BSD-2-Clause
"""Trees of errors: as plain Redis clients read them, and as people do."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios

import pytest
import redis

from harness import YOKE, pairs


def entries(client, node, *options, count=0):
    """All pages of GROUP ERRORS as [(depth, map)], and how many they were."""
    found, cursor, over, pages = [], "0", 0, 0
    if count:
        options += ("COUNT", count)
    while not over:
        cursor, page, over = client.execute_command(
            "GROUP", "ERRORS", node, cursor, *options)
        pages += 1
        path = {depth: m["id"] for depth, m in found}
        repeats = True
        for i, (depth, flat) in enumerate(page):
            repeats = repeats and i == depth and path.get(
                depth) == pairs(flat)["id"]
            if not repeats:
                found.append((depth, pairs(flat)))
    return found, pages


def drawn(found):
    return ["%s%s %s" % ("  " * depth, m["name"] or "",
                         ",".join(pairs(e)["class"] for e in m["errors"]))
            for depth, m in found]


class Failures:
    """Groups by name, and jobs in them that fail at once."""

    def __init__(self, client):
        self.client = client

    def group(self, name, parent="root"):
        return self.client.execute_command(
            "GROUP", "OPEN", "NAME", name, "PARENT", parent, "FAIL", 0)

    def start(self, group, name):
        self.client.execute_command("SUBMIT", "work", name, "NAME", name,
                                    "GROUP", group)
        [job] = self.client.execute_command("FETCH", 1, 5000, "work")
        return job[1]

    def fail(self, group, name, kind):
        self.client.execute_command("FAIL", self.start(group, name), kind,
                                    "it broke", "last line")


def test_a_tree_is_read_and_split_with_plain_redis(start):
    """ExceptionGroup and except*: a job that failed because a group under it
    did is an inner node."""
    client = start().client()
    f = Failures(client)
    top = f.group("release")
    build, test = f.group("build", top), f.group("test", top)
    f.fail(build, "compile", "exit:1")
    body = f.start(test, "suite")
    client.execute_command("SUBMIT", "work", "case", "NAME", "case", "GROUP",
                           body)
    [[_, case, *_]] = client.execute_command("FETCH", 1, 5000, "work")
    client.execute_command("FAIL", case, "signal:SEGV", "dumped")
    client.execute_command("DONE", body, "")
    f.fail(top, "publish", "net.refused")
    whole = ["release ", "  build ", "    compile exit:1", "  test ",
             "    suite ", "       ", "        case signal:SEGV",
             "  publish net.refused"]
    for count in 0, 1, 2:
        found, pages = entries(client, top, count=count)
        assert drawn(found) == whole
        assert (pages > 1) == (count in (1, 2))
    error = pairs(found[2][1]["errors"][0])
    assert (error["class"], error["message"], error["attempt"],
            error["detail"]) == ("exit:1", "it broke", 1, "last line")
    match, _ = entries(client, top, "CLASS", "exit:*,net.*")
    assert drawn(match) == ["release ", "  build ", "    compile exit:1",
                            "  publish net.refused"]
    rest, _ = entries(client, top, "EXCEPT", "exit:*,net.*")
    assert drawn(rest) == ["release ", "  test ", "    suite ", "       ",
                           "        case signal:SEGV"]
    assert entries(client, top, "CLASS", "nothing") == ([], 1)
    assert drawn(entries(client, body.split(".")[0])[0]) == [
        "suite ", "   ", "    case signal:SEGV"]
    for words in ((top, "x"), (top, "0", "CLASS", "a,,b"), ("root", "0"),
                  (top, "0", "COUNT", 0)):
        with pytest.raises(redis.ResponseError, match="^GROUP ERRORS"):
            client.execute_command("GROUP", "ERRORS", *words)


def test_a_page_looks_at_so_many_and_no_further(start):
    """One that failed behind 12,000 others: no page looks at all of them, and
    whoever reads on finds it."""
    daemon = start()
    client = daemon.client()
    f = Failures(client)
    top = f.group("crowd")
    with client.pipeline(transaction=False) as pipe:
        for _ in range(12000):
            pipe.execute_command("SUBMIT", "other", "", "GROUP", top)
        pipe.execute()
    f.fail(top, "last", "exit:1")
    found, pages = entries(client, top)
    assert drawn(found) == ["crowd ", "  last exit:1"]
    assert pages == 2
    [job] = daemon.json("group", "errors", top)["members"]
    assert job["name"] == "last"
    listed = daemon.json("group", "results", "--errors", top)
    assert [m["name"] for m in listed] == ["last"]


# ------------------------------------------------------------------ for people


def scenario(client):
    """Three levels, a retry, a timeout, a cancelled member, a job that failed
    by a group under it, a group with an error of its own."""
    f = Failures(client)
    top = f.group("nightly")
    build = f.group("build", top)
    job = client.execute_command("SUBMIT", "work", "", "NAME", "compile",
                                 "GROUP", build)
    [work] = client.execute_command("FETCH", 1, 5000, "work")
    client.execute_command(
        "FAIL", work[1], "exit:1", "exited with status 1",
        "".join("warning %d\n" % i for i in range(20)) + "x" * 200 +
        "\nfoo.c:42: error\x1b[31m\n")
    client.execute_command("SUBMIT", "work", "", "NAME", "upload", "GROUP",
                           build, "RETRY", 2, "BACKOFF", 0, 0)
    for kind, words in (("net.reset", "by peer"), ("net.refused", "a " * 60)):
        [work] = client.execute_command("FETCH", 1, 5000, "work")
        client.execute_command("FAIL", work[1], kind, words)
    client.execute_command("CANCEL", client.execute_command(
        "SUBMIT", "work", "", "NAME", "spared", "GROUP", build))
    body = f.start(top, "suite")
    client.execute_command("SUBMIT", "work", "", "NAME", "case", "GROUP", body)
    [work] = client.execute_command("FETCH", 1, 5000, "work")
    client.execute_command("FAIL", work[1], "signal:SEGV",
                           "killed by signal SEGV")
    client.execute_command("DONE", body, "")
    race = client.execute_command("GROUP", "OPEN", "NAME", "mirrors", "PARENT",
                                  top, "SUCCEED", 1)
    client.execute_command("GROUP", "CLOSE", race)
    for group in build, top:
        client.execute_command("GROUP", "CLOSE", group)
    return top, job


def plain(text):
    """Without what differs from run to run."""
    text = re.sub(r" +\b[gj][0-9a-z]{13}\b", "", text)
    text = re.sub(r"after \d\S*", "after D", text)
    return re.sub(r"at \d\S+( \S+:\d\d)?", "at T", text)


TREE = """\
nightly  ok  2 failed, 1 ok, after D
├─ build  2 failed, 1 cancelled
│  ├─ compile  exit:1  after D at T
│  │    ┊ warning 14
│  │    ┊ warning 15
│  │    ┊ warning 16
│  │    ┊ warning 17
│  │    ┊ warning 18
│  │    ┊ warning 19
│  │    ┊ %s
│  │    ┊ foo.c:42: error?[31m
│  └─ upload  net.refused  2 attempts, after D at T
│       attempt 1: net.reset  by peer
│       %s
├─ suite  failed  after D
│  └─ 1 failed
│     └─ case  signal:SEGV  after D at T
└─ mirrors  policy
     fewer members succeeded than SUCCEED asks for
""" % ("x" * 200, "a " * 59 + "a ")


@pytest.fixture
def failed(start):
    daemon = start()
    daemon.top, daemon.job = scenario(daemon.client())
    return daemon


def test_people_read_a_tree(failed, monkeypatch):
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    shown = failed.yoke("group", "errors", failed.top).stdout
    assert plain(shown) == TREE
    assert failed.yoke("group", "wait", failed.top).stderr == shown
    assert failed.yoke("status", failed.top).stdout.endswith("\n\n" + shown)
    part = failed.yoke("status", failed.job).stdout
    assert plain(part).endswith("\ncompile  exit:1  after D at T\n" + "".join(
        "  ┊ %s\n" % line[line.index("┊") + 2:]
        for line in TREE.splitlines()[3:11]))


def test_where_there_is_no_unicode_the_tree_is_drawn_in_ascii(failed,
                                                             monkeypatch):
    monkeypatch.setenv("LC_ALL", "C")
    shown = failed.yoke("group", "errors", failed.top).stdout
    assert plain(shown) == TREE.replace("├─", "|-").replace(
        "└─", "`-").replace("│", "|").replace("┊", ":")
    assert failed.yoke("tree", failed.top).stdout.isascii()


def on_a_terminal(daemon, *words):
    """What the program writes to one of 80 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [YOKE] + list(words), stdin=theirs, stdout=theirs, stderr=theirs,
        env=daemon.environment(TERM="xterm", LC_ALL="C.UTF-8", NO_COLOR=""))
    os.close(theirs)
    got = b""
    while True:
        try:
            more = os.read(ours, 65536)
        except OSError:  # it has closed the other end
            break
        if not more:
            break
        got += more
    os.close(ours)
    assert process.wait(20) == 0
    return got.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("words", [("group", "errors"), ("tree",),
                                   ("tree", "-a"), ("status",)])
def test_on_a_terminal_there_are_colours_and_no_line_is_too_long(failed,
                                                                 words):
    shown = on_a_terminal(failed, *words, failed.top)
    assert "\x1b[" in shown
    bare = re.sub("\x1b\\[[0-9;]*m", "", shown)
    assert "\x1b" not in bare
    assert max(map(len, bare.splitlines())) <= 80, bare
    assert "foo.c:42: error?[31m" in bare and "net.refused" in bare
    assert "\x1b" not in failed.yoke(*words, failed.top).stdout


def test_the_tree_of_what_is_there_says_why_it_failed(failed, monkeypatch):
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    lines = failed.yoke("tree", failed.top).stdout.splitlines()
    at = [i for i, line in enumerate(lines) if "compile" in line][0]
    assert "failed exit:1  compile" in lines[at]
    assert [line[5:] for line in lines[at + 1:at + 4]] == [
        "   ┊ warning 19", "   ┊ " + "x" * 200, "   ┊ foo.c:42: error?[31m"]
    assert any("case" in line and "signal:SEGV" in line for line in lines)
    assert not any("spared" in line for line in lines)
    assert "spared" in failed.yoke("tree", "-a", failed.top).stdout


def test_json_keeps_the_shape(failed):
    def names(node, key):
        return (node["name"], [names(m, key) for m in node[key]])

    tree = failed.json("group", "errors", failed.top)
    shape = ("nightly", [
        ("build", [("compile", []), ("upload", [])]),
        ("suite", [("", [("case", [])])]), ("mirrors", [])])
    assert names(tree, "members") == shape
    upload = tree["members"][0]["members"][1]
    assert [e["class"] for e in upload["errors"]] == [
        "net.reset", "net.refused"]
    assert (upload["kind"], upload["outcome"], upload["attempts"]) == (
        "job", "failed", 2)
    assert (tree["outcome"], tree["failed"]) == ("ok", 2)
    below = failed.json("tree", failed.top)
    assert [n["name"] for n in below["below"]] == ["build", "mirrors", "suite"]


def test_errors_are_split_into_match_and_rest(failed):
    def classes(node):
        return [e["class"] for e in node["errors"]] + [
            c for m in node["members"] for c in classes(m)] if node else []

    def ask(*words):
        return classes(failed.json("group", "errors", *words, failed.top))

    both = "exit:*,net.re[sf]*"
    assert ask() == ["exit:1", "net.reset", "net.refused", "signal:SEGV",
                     "policy"]
    assert ask("--class", both) == ["exit:1", "net.reset", "net.refused"]
    assert ask("--except", both) == ["signal:SEGV", "policy"]
    assert ask("--class", both, "--except", "net.reset") == [
        "exit:1", "net.refused"]
    assert ask("--class", "nothing") == []
    assert failed.yoke("group", "errors", "--class", "nothing",
                       failed.top).stdout == ""
    wrong = failed.yoke("group", "errors", "--class", "a,,b", failed.top)
    assert wrong.returncode == 2 and "a,,b" in wrong.stderr

# SPDX-License-Identifier: BSD-2-Clause
"""Trees of errors: as plain Redis clients read them, and as people do."""

import pytest
import redis

from harness import pairs


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

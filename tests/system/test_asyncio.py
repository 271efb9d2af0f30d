# SPDX-License-Identifier: BSD-2-Clause
"""Semantics next to the originals: the same scenario in asyncio and through
yoke. Compared are who was cancelled, in which order things ended, and which
errors came out.

Nothing depends on time: a step is made when the one before has been seen. Where
yoke differs on purpose the test says so, and why.
"""

import asyncio
import fnmatch
import random

import pytest
import redis

from harness import Lines, encode, pairs, readable, until


class Jobs:
    """A submitter, and a worker whose jobs do what the scenario says, when it
    says so. Jobs go by the names that they were submitted with."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.submitter, self.worker = daemon.client(), daemon.client()
        self.tokens, self.ids = {}, {}

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.submitter.close()
        self.worker.close()

    def __call__(self, *words):
        return self.submitter.execute_command(*words)

    def info(self, *words):
        return pairs(self(*words))

    def open(self, *options):
        return self("GROUP", "OPEN", *options)

    def submit(self, group, name, *options):
        self.ids[name] = self("SUBMIT", "work", name, "NAME", name, "GROUP",
                              group, *options)

    def fetch(self, count=1, wait=5000):
        """Names of what begins to run."""
        names = []
        for kind, token, *rest in self.worker.execute_command(
                "FETCH", count, wait, "work"):
            assert kind == "job"
            self.tokens[rest[1]] = token
            names.append(rest[1])
        return names

    def start(self, group, *names):
        for name in names:
            self.submit(group, name)
            assert self.fetch() == [name]

    def asked(self, count):
        """{name: reason} of the first so many that are asked to stop."""
        found = {}
        names = {token: name for name, token in self.tokens.items()}
        while len(found) < count:
            news = self.worker.execute_command("FETCH", 0, 5000, "work")
            assert news, "only %s were asked to stop" % found
            for kind, token, reason, _ in news:
                assert kind == "cancel"
                found[names[token]] = reason
        return found

    def nobody_asked(self):
        assert self.worker.execute_command("FETCH", 0, 0, "work") == []

    def done(self, name, result=""):
        assert self.worker.execute_command(
            "DONE", self.tokens[name], result) == "OK"

    def fail(self, name, kind):
        assert self.worker.execute_command(
            "FAIL", self.tokens[name], kind, "") == "OK"

    def stop(self, name):
        """It has cleaned up and says that it was cancelled."""
        self.fail(name, "cancelled")

    def close_and_wait(self, group):
        self("GROUP", "CLOSE", group)
        return self.info("GROUP", "WAIT", group, 5000)

    def state(self, group):
        return self.info("GROUP", "INFO", group)["state"]

    def results(self, group, *options):
        return [pairs(m) for m in self("GROUP", "RESULTS", group, 0,
                                       *options)[1]]

    def ends(self, group):
        """Names in the order in which they ended."""
        return [pairs(m)["name"] for m in self("GROUP", "NEXT", group, 0, 0)[1]]

    def errors(self, group):
        """What shape() gives for an exception group."""
        found = []
        for member in self.results(group, "ERRORS"):
            if member["kind"] == "group":
                found.append(self.errors(member["id"]))
            else:
                found.append(pairs(member["errors"][-1])["class"])
        return found


@pytest.fixture
def jobs(start):
    with Jobs(start()) as jobs:
        yield jobs


def shape(error):
    if isinstance(error, BaseExceptionGroup):
        return [shape(e) for e in error.exceptions]
    return type(error).__name__


async def turn():
    """Lets everything go on that can."""
    for _ in range(10):
        await asyncio.sleep(0)


class Tasks:
    """Coroutines that do what the scenario says, when it says so."""

    def __init__(self):
        self.orders, self.asked, self.ended = {}, [], []

    async def body(self, name):
        order = self.orders[name] = asyncio.get_running_loop().create_future()
        try:
            return await asyncio.shield(order)
        except asyncio.CancelledError:
            self.asked.append(name)
            return await order  # cleans up until it is told to end
        finally:
            self.ended.append(name)

    async def tell(self, name, result=None, error=None):
        if error:
            self.orders[name].set_exception(error)
        else:
            self.orders[name].set_result(result)
        await turn()

    async def stop(self, name):
        await self.tell(name, error=asyncio.CancelledError())


# ---------------------------------------------------------------- TaskGroup


def test_task_group_cancels_and_awaits_the_siblings(jobs):
    async def original():
        tasks = Tasks()

        async def block():
            async with asyncio.TaskGroup() as group:
                block.group = group
                for name in "abc":
                    group.create_task(tasks.body(name))

        scope = asyncio.create_task(block())
        await turn()
        await tasks.tell("b", error=ValueError())
        asked, early = sorted(tasks.asked), scope.done()
        late = tasks.body("late")
        with pytest.raises(RuntimeError):
            block.group.create_task(late)
        late.close()
        await tasks.stop("c")
        still = scope.done()
        await tasks.stop("a")
        return (asked, early, still, tasks.ended, shape(scope.exception()))

    group = jobs.open()
    jobs.start(group, "a", "b", "c")
    jobs("GROUP", "CLOSE", group)
    jobs.fail("b", "ValueError")
    asked = sorted(jobs.asked(2))
    early = jobs.state(group) == "ended"
    with pytest.raises(redis.ResponseError, match="^C(ANCELLED|LOSED)"):
        jobs.submit(group, "late")
    jobs.stop("c")
    still = jobs.state(group) == "ended"
    jobs.stop("a")
    outcome = jobs.info("GROUP", "WAIT", group, 5000)["outcome"]
    through_yoke = (asked, early, still, jobs.ends(group), jobs.errors(group))

    assert outcome == "failed"
    assert through_yoke == asyncio.run(original()) == (
        ["a", "c"], False, False, ["b", "c", "a"], ["ValueError"])


def test_task_group_ends_well_with_its_last_member(jobs):
    async def original():
        tasks = Tasks()

        async def block():
            async with asyncio.TaskGroup() as group:
                members = [group.create_task(tasks.body(n)) for n in "ab"]
            return [m.result() for m in members]

        scope = asyncio.create_task(block())
        await turn()
        await tasks.tell("b", "2")
        early = scope.done()
        await tasks.tell("a", "1")
        return early, tasks.ended, await scope

    group = jobs.open()
    jobs.start(group, "a", "b")
    jobs("GROUP", "CLOSE", group)
    jobs.done("b", "2")
    early = jobs.state(group) == "ended"
    jobs.done("a", "1")
    assert jobs.info("GROUP", "WAIT", group, 5000)["outcome"] == "ok"
    through_yoke = (early, jobs.ends(group),
                    [m["result"] for m in jobs.results(group)])
    assert through_yoke == asyncio.run(original()) == (
        False, ["b", "a"], ["1", "2"])


def test_errors_of_siblings_during_their_clean_up_are_kept(jobs):
    async def original():
        tasks = Tasks()

        async def block():
            async with asyncio.TaskGroup() as group:
                for name in "abc":
                    group.create_task(tasks.body(name))

        scope = asyncio.create_task(block())
        await turn()
        await tasks.tell("a", error=ValueError())
        await tasks.tell("b", error=KeyError())
        await tasks.stop("c")
        return tasks.asked, shape(scope.exception())

    group = jobs.open()
    jobs.start(group, "a", "b", "c")
    jobs.fail("a", "ValueError")
    asked = sorted(jobs.asked(2))
    jobs.fail("b", "KeyError")
    jobs.stop("c")
    jobs.close_and_wait(group)
    through_yoke = asked, jobs.errors(group)
    original = asyncio.run(original())
    assert through_yoke == (sorted(original[0]), original[1]) == (
        ["b", "c"], ["ValueError", "KeyError"])


def test_a_nested_group_ends_before_its_siblings_are_asked(jobs):
    """The errors have the shape of the groups."""
    async def original():
        tasks = Tasks()

        async def inner():
            async with asyncio.TaskGroup() as group:
                for name in "bc":
                    group.create_task(tasks.body(name))

        async def outer():
            async with asyncio.TaskGroup() as group:
                group.create_task(tasks.body("a"))
                group.create_task(inner())

        scope = asyncio.create_task(outer())
        await turn()
        await tasks.tell("b", error=ValueError())
        first = list(tasks.asked)
        await tasks.stop("c")
        then = list(tasks.asked)
        await tasks.stop("a")
        return first, then, tasks.ended, shape(scope.exception())

    outer = jobs.open()
    inner = jobs.open("PARENT", outer)
    jobs.start(outer, "a")
    jobs.start(inner, "b", "c")
    jobs("GROUP", "CLOSE", inner)
    jobs("GROUP", "CLOSE", outer)
    jobs.fail("b", "ValueError")
    first = list(jobs.asked(1))
    jobs.nobody_asked()
    jobs.stop("c")
    then = first + list(jobs.asked(1))
    jobs.stop("a")
    jobs.info("GROUP", "WAIT", outer, 5000)
    ended = jobs.ends(inner) + jobs.ends(outer)[1:]  # [0] is inner, nameless
    through_yoke = first, then, ended, jobs.errors(outer)
    assert through_yoke == asyncio.run(original()) == (
        ["c"], ["c", "a"], ["b", "c", "a"], [["ValueError"]])


def test_a_cancel_from_outside_reaches_all_and_is_no_error(jobs):
    async def original():
        tasks = Tasks()

        async def block():
            async with asyncio.TaskGroup() as group:
                for name in "ab":
                    group.create_task(tasks.body(name))

        scope = asyncio.create_task(block())
        await turn()
        scope.cancel()
        scope.cancel()  # twice is once
        await turn()
        asked, early = sorted(tasks.asked), scope.done()
        await tasks.stop("b")
        await tasks.stop("a")
        return asked, early, tasks.ended, scope.cancelled()

    group = jobs.open()
    jobs.start(group, "a", "b")
    jobs("CANCEL", group)
    jobs("CANCEL", group)
    asked = sorted(jobs.asked(2))
    jobs.nobody_asked()
    early = jobs.state(group) == "ended"
    jobs.stop("b")
    jobs.stop("a")
    cancelled = jobs.info("GROUP", "WAIT", group, 5000)["outcome"]
    through_yoke = asked, early, jobs.ends(group), cancelled == "cancelled"
    assert through_yoke == asyncio.run(original()) == (
        ["a", "b"], False, ["b", "a"], True)
    assert jobs.errors(group) == []


def test_a_cancel_together_with_a_failure_keeps_the_failure(jobs):
    """The errors come out of asyncio's group; yoke's group is failed, keeps the
    reason of the cancel, and its errors are there."""
    async def original():
        tasks = Tasks()

        async def block():
            async with asyncio.TaskGroup() as group:
                for name in "ab":
                    group.create_task(tasks.body(name))

        scope = asyncio.create_task(block())
        await turn()
        scope.cancel()
        await turn()
        await tasks.tell("a", error=ValueError())
        await tasks.stop("b")
        return shape(scope.exception())

    group = jobs.open()
    jobs.start(group, "a", "b")
    jobs("CANCEL", group, "REASON", "outside")
    jobs.asked(2)
    jobs.fail("a", "ValueError")
    jobs.stop("b")
    info = jobs.info("GROUP", "WAIT", group, 5000)
    assert jobs.errors(group) == asyncio.run(original()) == ["ValueError"]
    assert (info["outcome"], info["reason"]) == ("failed", "outside")


def test_a_cancel_with_failures_inside_keeps_them_and_goes_on(jobs):
    """A nested group whose member fails while all is cancelled from outside:
    its error comes out of both groups, and the others are cancelled still."""
    async def original():
        tasks = Tasks()

        async def inner():
            async with asyncio.TaskGroup() as group:
                for name in "ab":
                    group.create_task(tasks.body(name))

        async def outer():
            async with asyncio.TaskGroup() as group:
                group.create_task(inner())
                group.create_task(tasks.body("c"))

        scope = asyncio.create_task(outer())
        await turn()
        scope.cancel()
        await turn()
        asked = sorted(tasks.asked)
        await tasks.tell("a", error=ValueError())
        await tasks.stop("b")
        early = scope.done()
        await tasks.stop("c")
        return asked, early, tasks.ended, shape(scope.exception())

    outer = jobs.open()
    inner = jobs.open("PARENT", outer)
    jobs.start(inner, "a", "b")
    jobs.start(outer, "c")
    jobs("GROUP", "CLOSE", inner)
    jobs("GROUP", "CLOSE", outer)
    jobs("CANCEL", outer, "REASON", "outside")
    asked = sorted(jobs.asked(3))
    jobs.fail("a", "ValueError")
    jobs.stop("b")
    early = jobs.state(outer) == "ended"
    jobs.stop("c")
    info = jobs.info("GROUP", "WAIT", outer, 5000)
    ended = jobs.ends(inner) + jobs.ends(outer)[1:]  # [0] is inner, nameless
    through_yoke = asked, early, ended, jobs.errors(outer)
    assert through_yoke == asyncio.run(original()) == (
        ["a", "b", "c"], False, ["a", "b", "c"], [["ValueError"]])
    assert (info["outcome"], info["reason"]) == ("failed", "outside")


def test_what_is_cancelled_before_it_starts_never_starts(jobs):
    async def original():
        tasks = Tasks()
        task = asyncio.create_task(tasks.body("a"))
        task.cancel()
        await turn()
        return task.cancelled(), tasks.ended

    group = jobs.open()
    jobs.submit(group, "a")
    jobs("CANCEL", jobs.ids["a"])
    outcome = jobs.info("WAIT", jobs.ids["a"], 5000)["outcome"]
    assert (outcome == "cancelled", jobs.fetch(wait=0)) == asyncio.run(
        original()) == (True, [])


def test_what_ends_well_although_asked_to_stop_is_ok(jobs):
    async def original():
        tasks = Tasks()
        task = asyncio.create_task(tasks.body("a"))
        await turn()
        task.cancel()
        await turn()
        await tasks.tell("a", "42")
        return tasks.asked, task.cancelled(), task.result()

    jobs.start("root", "a")
    jobs("CANCEL", jobs.ids["a"])
    asked = list(jobs.asked(1))
    jobs.done("a", "42")
    end = jobs.info("WAIT", jobs.ids["a"], 5000)
    through_yoke = asked, end["outcome"] == "cancelled", end["result"]
    assert through_yoke == asyncio.run(original()) == (["a"], False, "42")


# ------------------------------------------------------------- ExceptionGroup

ERRORS = [ValueError, KeyError, OSError]


def random_tree(random, depth=0):
    """A list of error classes and lists; none is empty, as Python wants it."""
    return [random_tree(random, depth + 1)
            if depth < 3 and random.random() < 0.4 else random.choice(ERRORS)
            for _ in range(random.randint(1, 3))]


def exception_group(tree):
    return ExceptionGroup("", [exception_group(t) if isinstance(t, list)
                               else t() for t in tree])


def fail_as(jobs, tree, group, random):
    """Groups and failed jobs in the shape of the tree. A group in it stands in
    its parent, or under a job in that, as a task with a TaskGroup of its own."""
    for i, branch in enumerate(tree):
        name = "%s.%d" % (group, i)
        if not isinstance(branch, list):
            jobs.start(group, name)
            jobs.fail(name, branch.__name__)
        elif random.random() < 0.5:
            inner = jobs.open("FAIL", 0, "PARENT", group)
            fail_as(jobs, branch, inner, random)
            jobs.close_and_wait(inner)
        else:
            jobs.start(group, name)
            inner = jobs.open("FAIL", 0, "PARENT", jobs.tokens[name])
            fail_as(jobs, branch, inner, random)
            jobs.done(name)


def shape_of_json(node):
    """A job with a group under it is one level, as such a task is."""
    if node["kind"] == "job" and node["members"]:
        [node] = node["members"]
    if node["kind"] == "job":
        return node["errors"][-1]["class"]
    return [shape_of_json(member) for member in node["members"]]


def shape_of_pages(jobs, group, *options):
    """The same from GROUP ERRORS, three nodes a page."""
    path, cursor, over = [], "0", 0
    while not over:
        cursor, entries, over = jobs("GROUP", "ERRORS", group, cursor, *options,
                                     "COUNT", 3)
        for depth, flat in entries:
            node = pairs(flat)
            if depth < len(path) and path[depth]["id"] == node["id"]:
                continue  # the path to what comes is said again
            node["members"] = []
            node["errors"] = [pairs(e) for e in node["errors"]]
            del path[depth:]
            path.append(node)
            if depth > 0:
                path[depth - 1]["members"].append(node)
    return path and shape_of_json(path[0])


@pytest.mark.parametrize("seed", range(8))
def test_split_keeps_the_shape_and_drops_what_is_empty(jobs, seed):
    """Match and rest. Errors in a group stand in the order of submission, here
    in both.

    On purpose the condition is asked about errors and not about groups: a class
    is what a worker reports, and groups have none.
    """
    tree = random_tree(random.Random(seed))
    group = jobs.open("FAIL", 0)
    fail_as(jobs, tree, group, random.Random(seed + 100))
    jobs.close_and_wait(group)
    original = exception_group(tree)
    assert shape_of_pages(jobs, group) == shape(original)
    for wanted in "KeyError", "*Error", "Nothing":
        halves = original.split(
            lambda e: not isinstance(e, ExceptionGroup) and
            fnmatch.fnmatchcase(type(e).__name__, wanted))
        for half, option in zip(halves, ("class", "except")):
            expected = half and shape(half)
            found = jobs.daemon.json("group", "errors", "--" + option, wanted,
                                     group)
            assert (found and shape_of_json(found)) == expected
            assert (shape_of_pages(jobs, group, option.upper(), wanted) or
                    None) == expected


# ------------------------------------------------------------------- timeout


def test_timeout_cancels_what_is_inside_and_fails_the_scope(jobs):
    """asyncio turns the cancel into TimeoutError where the deadline is; yoke
    into an error of class `deadline` of the group that has it."""
    async def original():
        tasks = Tasks()

        async def block():
            async with asyncio.timeout(0):
                async with asyncio.TaskGroup() as group:
                    for name in "ab":
                        group.create_task(tasks.body(name))

        scope = asyncio.create_task(block())
        while len(tasks.asked) < 2:
            await asyncio.sleep(0.001)
        await tasks.stop("b")
        early = scope.done()
        await tasks.stop("a")
        return sorted(tasks.asked), early, shape(scope.exception())

    group = jobs.open()
    jobs.start(group, "a", "b")
    jobs("GROUP", "CLOSE", group)
    jobs("RESCHEDULE", group, "TIMEOUT", 0)
    asked = jobs.asked(2)
    jobs.stop("b")
    early = jobs.state(group) == "ended"
    jobs.stop("a")
    info = jobs.info("GROUP", "WAIT", group, 5000)
    classes = [pairs(e)["class"] for e in info["errors"]]
    names = {"deadline": "TimeoutError"}
    through_yoke = sorted(asked), early, names[classes[0]]
    assert through_yoke == asyncio.run(original()) == (
        ["a", "b"], False, "TimeoutError")
    assert set(asked.values()) == {"deadline"}
    assert (info["outcome"], len(classes)) == ("failed", 1)


def test_the_scope_whose_time_is_up_is_the_one_that_fails(jobs):
    """Timeouts nest: the outer one comes first, and what is inside, timeout or
    not, is only cancelled by it."""
    async def original():
        tasks, seen = Tasks(), []

        async def inner():
            try:
                async with asyncio.timeout(3600):
                    await tasks.body("a")
            except BaseException as error:
                seen.append(shape(error))
                raise

        async def outer():
            async with asyncio.timeout(3600) as outer.timeout:
                await inner()

        scope = asyncio.create_task(outer())
        await turn()
        outer.timeout.reschedule(asyncio.get_running_loop().time())
        while not tasks.asked:
            await asyncio.sleep(0.001)
        await tasks.stop("a")
        return seen, shape(scope.exception())

    outer = jobs.open("TIMEOUT", 3600000)
    inner = jobs.open("TIMEOUT", 3600000, "PARENT", outer)
    jobs.start(inner, "a")
    jobs("GROUP", "CLOSE", inner)
    jobs("GROUP", "CLOSE", outer)
    jobs("RESCHEDULE", outer, "DEADLINE", 1)
    assert jobs.asked(1) == {"a": "deadline"}
    jobs.stop("a")
    names = {"deadline": "TimeoutError", "cancelled": "CancelledError"}
    errors = jobs.info("GROUP", "WAIT", outer, 5000)["errors"]
    seen = jobs.info("GROUP", "INFO", inner)
    assert seen["errors"] == []
    through_yoke = ([names[seen["outcome"]]], names[pairs(errors[0])["class"]])
    assert through_yoke == asyncio.run(original()) == (
        ["CancelledError"], "TimeoutError")


def test_a_timeout_that_is_moved_to_now_ends_its_scope_now(jobs):
    async def original():
        tasks = Tasks()

        async def block():
            async with asyncio.timeout(3600) as block.timeout:
                await tasks.body("a")

        scope = asyncio.create_task(block())
        await turn()
        block.timeout.reschedule(asyncio.get_running_loop().time())
        while not tasks.asked:
            await asyncio.sleep(0.001)
        early = scope.done()
        with pytest.raises(RuntimeError):  # its end has begun
            block.timeout.reschedule(None)
        await tasks.stop("a")
        return tasks.asked, early, shape(scope.exception())

    group = jobs.open("TIMEOUT", 3600000)
    jobs.start(group, "a")
    jobs("GROUP", "CLOSE", group)
    jobs("RESCHEDULE", group, "DEADLINE", 1)
    asked = list(jobs.asked(1))
    early = jobs.state(group) == "ended"
    with pytest.raises(redis.ResponseError, match="^EXPIRED"):
        jobs("RESCHEDULE", group, "DEADLINE", -1)
    jobs.stop("a")
    errors = jobs.info("GROUP", "WAIT", group, 5000)["errors"]
    names = {"deadline": "TimeoutError"}
    through_yoke = asked, early, names[pairs(errors[0])["class"]]
    assert through_yoke == asyncio.run(original()) == (
        ["a"], False, "TimeoutError")


def test_a_timeout_that_is_moved_away_does_not_come(jobs):
    """Another one, set later to the same span, shows that its time is over."""
    async def original():
        tasks = Tasks()

        async def block():
            async with asyncio.timeout(0.05) as timeout:
                timeout.reschedule(None)
                return await tasks.body("a")

        async def other():
            async with asyncio.timeout(0.05):
                await asyncio.Event().wait()

        scope = asyncio.create_task(block())
        with pytest.raises(TimeoutError):
            await other()
        asked = tasks.asked
        await tasks.tell("a", "42")
        return asked, await scope

    group = jobs.open("TIMEOUT", 500)
    jobs("RESCHEDULE", group, "DEADLINE", -1)
    jobs.start(group, "a")
    other = jobs.open("TIMEOUT", 500)
    jobs.submit(other, "b", "DELAY", 3600000)
    assert jobs.info("GROUP", "WAIT", other, 5000)["outcome"] == "failed"
    jobs.nobody_asked()
    jobs.done("a", "42")
    assert jobs.close_and_wait(group)["outcome"] == "ok"
    assert ([], jobs.results(group)[0]["result"]) == asyncio.run(
        original()) == ([], "42")


# -------------------------------------------------------------------- shield


def test_asyncio_shield_leaves_an_orphan_and_yoke_waits(jobs):
    """On purpose: asyncio.shield() lets the inner task run on while the scope
    around it ends; in yoke the scope waits for it (law 2)."""
    async def original():
        tasks = Tasks()

        async def block():
            await asyncio.shield(inner)

        inner = asyncio.create_task(tasks.body("a"))
        scope = asyncio.create_task(block())
        await turn()
        scope.cancel()
        await turn()
        seen = tasks.asked, scope.done()
        await tasks.tell("a", "42")
        return seen

    group = jobs.open()
    jobs.start(group, "a")
    jobs.worker.execute_command("SHIELD", jobs.tokens["a"], 60000)
    jobs("CANCEL", group)
    jobs.nobody_asked()
    over = jobs.state(group) == "ended"
    jobs.done("a", "42")
    assert jobs.info("GROUP", "WAIT", group, 5000)["outcome"] == "cancelled"
    assert jobs.results(group)[0]["outcome"] == "ok"
    assert (([], over), asyncio.run(original())) == (([], False), ([], True))


def test_a_shield_holds_back_cancels_until_it_ends(jobs):
    """Trio's documentation of CancelScope.shield: cancellations from scopes
    outside are not received while the shield is up, and are when it is not any
    more. Here the first reason is delivered."""
    group = jobs.open()
    jobs.start(group, "a", "b")
    jobs.worker.execute_command("SHIELD", jobs.tokens["a"], 60000)
    jobs("CANCEL", group, "REASON", "first")
    jobs("CANCEL", jobs.ids["a"], "REASON", "second")
    assert jobs.asked(1) == {"b": "first"}
    jobs.nobody_asked()
    assert jobs.worker.execute_command("UNSHIELD", jobs.tokens["a"]) == "OK"
    assert jobs.asked(1) == {"a": "first"}
    with pytest.raises(redis.ResponseError, match="^CANCELLED"):
        jobs.worker.execute_command("SHIELD", jobs.tokens["a"], 60000)


def test_a_shield_does_not_hold_back_what_is_its_own(jobs):
    """Trio: a shielded scope's own deadline still holds, and the effective
    deadline inside it does not see those outside."""
    group = jobs.open("DEADLINE", 4102444800000)
    jobs.submit(group, "a", "DEADLINE", 4102444800001)
    assert jobs.fetch() == ["a"]
    job = jobs.ids["a"]
    assert jobs.info("STATUS", job)["deadline"] == 4102444800000
    jobs.worker.execute_command("SHIELD", jobs.tokens["a"], 60000)
    assert jobs.info("STATUS", job)["deadline"] == 4102444800001
    jobs("RESCHEDULE", group, "DEADLINE", 1)
    jobs.nobody_asked()
    jobs("RESCHEDULE", job, "TIMEOUT", 1)
    assert jobs.asked(1) == {"a": "timeout"}


def test_what_is_inside_a_shield_is_shielded_and_ends_with_it(jobs):
    """Trio: what runs in a nursery inside the shielded scope is shielded, too.
    Bounded, and with the job: nothing started under a shield outlives it."""
    group = jobs.open()
    jobs.start(group, "a")
    jobs.worker.execute_command("SHIELD", jobs.tokens["a"], 60000)
    jobs("CANCEL", group, "REASON", "first")
    inside = jobs.open("PARENT", jobs.tokens["a"])
    jobs.start(inside, "b", "c")
    jobs.nobody_asked()
    jobs.done("b")
    jobs.done("a")  # the body, and with it the shield
    assert jobs.asked(1) == {"c": "first"}
    assert jobs.info("STATUS", jobs.ids["a"])["state"] == "joining"
    jobs.stop("c")
    assert jobs.info("GROUP", "WAIT", group, 5000)["outcome"] == "cancelled"


def test_a_shield_is_bounded(jobs):
    """On purpose not as Trio's, which nothing bounds: the daemon grants at most
    shield-max, and delivers when that is over."""
    jobs.start("root", "a")
    token = jobs.tokens["a"]
    assert jobs.worker.execute_command("SHIELD", token, 10 ** 9) == 60000
    assert jobs.worker.execute_command("SHIELD", token, 500) == 500
    jobs("CANCEL", jobs.ids["a"], "REASON", "first")
    assert jobs.asked(1) == {"a": "first"}


# -------------------------------------------------------------------- gather


def test_gather_returns_exceptions_in_the_order_of_submission(jobs):
    async def original():
        tasks = Tasks()
        gathered = asyncio.gather(*map(tasks.body, "abc"),
                                  return_exceptions=True)
        await turn()
        await tasks.tell("c", "3")
        await tasks.tell("b", error=ValueError())
        asked, early = tasks.asked, gathered.done()
        await tasks.tell("a", "1")
        results = [shape(r) if isinstance(r, Exception) else r
                   for r in await gathered]
        return asked, early, tasks.ended, results

    group = jobs.open("FAIL", 0)
    jobs.start(group, "a", "b", "c")
    jobs("GROUP", "CLOSE", group)
    jobs.done("c", "3")
    jobs.fail("b", "ValueError")
    jobs.nobody_asked()
    early = jobs.state(group) == "ended"
    jobs.done("a", "1")
    assert jobs.info("GROUP", "WAIT", group, 5000)["outcome"] == "ok"
    results = [m["result"] or pairs(m["errors"][-1])["class"]
               for m in jobs.results(group)]
    through_yoke = [], early, jobs.ends(group), results
    assert through_yoke == asyncio.run(original()) == (
        [], False, ["c", "b", "a"], ["1", "ValueError", "3"])


def test_gather_leaves_orphans_and_a_group_does_not(jobs):
    """On purpose: plain gather() raises the first error and lets the others run
    on; a group that fails has cancelled and awaited them (law 2)."""
    async def original():
        tasks = Tasks()
        gathered = asyncio.gather(*map(tasks.body, "ab"))
        await turn()
        await tasks.tell("a", error=ValueError())
        assert shape(gathered.exception()) == "ValueError"
        orphans = "b" not in tasks.ended and tasks.asked == []
        await tasks.tell("b")
        return orphans

    group = jobs.open("FAIL", 1)
    jobs.start(group, "a", "b")
    jobs.fail("a", "ValueError")
    assert list(jobs.asked(1)) == ["b"]
    orphans = jobs.state(group) == "ended"
    jobs.stop("b")
    jobs.info("GROUP", "WAIT", group, 5000)
    assert (asyncio.run(original()), orphans) == (True, False)


# -------------------------------------------------------------- as_completed


def test_as_completed_gives_each_as_it_ends(jobs):
    async def original():
        tasks, seen = Tasks(), []
        ends = asyncio.as_completed(
            [asyncio.create_task(tasks.body(name)) for name in "abc"])
        await turn()
        for name in "cab":
            await tasks.tell(name, name.upper())
            seen.append(await next(ends))
        return seen

    group = jobs.open()
    jobs.start(group, "a", "b", "c")
    jobs("GROUP", "CLOSE", group)
    seen, cursor = [], "0"
    for name in "cab":
        jobs.done(name, name.upper())
        cursor, [member], over = jobs("GROUP", "NEXT", group, cursor, 5000)
        seen.append(pairs(member)["result"])
        assert bool(over) == (name == "b")
    assert seen == asyncio.run(original()) == ["C", "A", "B"]


def test_as_completed_gives_failures_in_their_turn(jobs):
    """Nobody is cancelled for one; it comes when it has ended."""
    async def original():
        tasks, seen = Tasks(), []
        ends = asyncio.as_completed(
            [asyncio.create_task(tasks.body(name)) for name in "abc"])
        await turn()
        for name, error in ("b", None), ("a", ValueError()), ("c", None):
            await tasks.tell(name, name.upper(), error)
            try:
                seen.append(await next(ends))
            except ValueError as e:
                seen.append(shape(e))
        return seen, tasks.asked

    group = jobs.open("FAIL", 0)
    jobs.start(group, "a", "b", "c")
    jobs("GROUP", "CLOSE", group)
    seen, cursor = [], "0"
    for name in "bac":
        if name == "a":
            jobs.fail(name, "ValueError")
        else:
            jobs.done(name, name.upper())
        cursor, [member], _ = jobs("GROUP", "NEXT", group, cursor, 5000)
        member = pairs(member)
        seen.append(member["result"] if member["outcome"] == "ok"
                    else pairs(member["errors"][-1])["class"])
    jobs.nobody_asked()
    assert (seen, []) == asyncio.run(original()) == (
        ["B", "ValueError", "C"], [])


# --------------------------------------------------------------------- Queue


def producer(jobs, item):
    """One that waits for room."""
    s = jobs.daemon.raw()
    before = jobs.info("QUEUE", "INFO", "work")["waiting_producers"]
    s.sendall(encode("SUBMIT", "work", item))
    until(lambda: jobs.info("QUEUE", "INFO", "work")[
        "waiting_producers"] == before + 1, "it waits")
    return s


def test_putters_wait_for_room_in_the_order_of_their_arrival(jobs):
    async def original():
        queue, accepted = asyncio.Queue(maxsize=1), []

        async def put(item):
            await queue.put(item)
            accepted.append(item)

        putters = []
        for item in "abc":
            putters.append(asyncio.create_task(put(item)))
            await turn()
        with pytest.raises(asyncio.QueueFull):
            queue.put_nowait("d")
        seen = [list(accepted)]
        got = []
        for _ in range(3):
            got.append(await queue.get())
            await turn()
            seen.append(list(accepted))
        return got, seen

    jobs("QUEUE", "SET", "work", "MAX-JOBS", 1)
    accepted, producers = ["a"], {}
    jobs.submit("root", "a")
    for item in "bc":
        producers[item] = producer(jobs, item)
    with pytest.raises(redis.ResponseError, match="^QUEUEFULL"):
        jobs.submit("root", "d", "WAIT", 0)
    seen, got = [list(accepted)], []
    for item in "bc":
        got += jobs.fetch()
        assert readable(producers[item], 10)
        assert Lines(producers[item]).next().startswith("j")
        accepted.append(item)
        waiting = jobs.info("QUEUE", "INFO", "work")["waiting_producers"]
        assert len(accepted) + waiting == 3
        seen.append(list(accepted))
    got += jobs.fetch()
    seen.append(list(accepted))
    for s in producers.values():
        s.close()
    assert (got, seen) == asyncio.run(original()) == (
        ["a", "b", "c"],
        [["a"], ["a", "b"], ["a", "b", "c"], ["a", "b", "c"]])


def test_join_waits_for_all_that_was_put_also_later(jobs):
    async def original():
        queue, seen = asyncio.Queue(), []
        queue.put_nowait("a")
        queue.put_nowait("b")
        joiner = asyncio.create_task(queue.join())
        for step in "ab":
            await queue.get()
            queue.task_done()
            if step == "a":
                queue.put_nowait("c")
            await turn()
            seen.append(joiner.done())
        await queue.get()
        await turn()
        seen.append(joiner.done())  # got is not done
        queue.task_done()
        await turn()
        seen.append(joiner.done())
        return seen

    jobs.submit("root", "a")
    jobs.submit("root", "b")
    seen = []
    with jobs.daemon.raw() as joiner:
        joiner.sendall(encode("QUEUE", "JOIN", "work", -1))
        for step in "ab":
            assert jobs.fetch() == [step]
            jobs.done(step)
            if step == "a":
                jobs.submit("root", "c")
            seen.append(readable(joiner))
        assert jobs.fetch() == ["c"]
        seen.append(readable(joiner))
        jobs.done("c")
        seen.append(readable(joiner, 10))
        assert Lines(joiner).next() == ":1"
    assert seen == asyncio.run(original()) == [False, False, False, True]


def test_shutdown_refuses_putters_and_lets_getters_drain(jobs):
    """The rules of Queue.shutdown() in Python's documentation (3.13): put()
    raises, putters that are blocked are woken and raise, get() goes on until
    the queue is empty, and join() returns when what was in it is done.

    On purpose a FETCH of an empty closed queue waits as ever instead of
    failing: a worker serves several queues, and this one may be opened again.
    """
    jobs("QUEUE", "SET", "work", "MAX-JOBS", 2)
    jobs.submit("root", "a")
    jobs.submit("root", "b")
    with producer(jobs, "blocked") as blocked, jobs.daemon.raw() as joiner:
        joiner.sendall(encode("QUEUE", "JOIN", "work", -1))
        jobs("QUEUE", "CLOSE", "work")
        assert Lines(blocked).next().startswith("-CLOSED")
        with pytest.raises(redis.ResponseError, match="^CLOSED"):
            jobs.submit("root", "late")
        assert jobs.fetch(2) == ["a", "b"]
        assert not readable(joiner)
        jobs.done("a")
        assert jobs.fetch(wait=0) == []
        jobs.done("b")
        assert Lines(joiner).next() == ":1"


def test_immediate_shutdown_drops_what_nobody_has_got(jobs):
    """shutdown(immediate=True): the queue is emptied, and join() returns when
    what had been got is done."""
    for name in "abc":
        jobs.submit("root", name)
    assert jobs.fetch() == ["a"]
    with jobs.daemon.raw() as joiner:
        joiner.sendall(encode("QUEUE", "JOIN", "work", -1))
        jobs("QUEUE", "CLOSE", "work", "NOW")
        assert jobs.fetch(wait=0) == []
        for name in "bc":
            end = jobs.info("WAIT", jobs.ids[name], 5000)
            assert (end["outcome"], end["reason"]) == (
                "cancelled", "queue closed")
        jobs.nobody_asked()
        assert not readable(joiner)
        jobs.done("a")
        assert Lines(joiner).next() == ":1"


# ----------------------------------------------------------------- Semaphore


def test_the_width_of_a_group_is_a_semaphore_for_its_members(jobs):
    """Who waits gets in in the order of arrival, one for each that leaves; who
    gives up while it waits takes nobody's place."""
    async def original():
        tasks, begun = Tasks(), []
        semaphore = asyncio.Semaphore(2)

        async def member(name):
            async with semaphore:
                begun.append(name)
                await tasks.body(name)

        running = {}
        for name in "abcde":
            running[name] = asyncio.create_task(member(name))
            await turn()
        seen = [list(begun)]
        running["c"].cancel()
        await turn()
        for name in "bade":
            await tasks.tell(name)
            seen.append(list(begun))
        return seen

    group = jobs.open("WIDTH", 2, "FAIL", 0)
    for name in "abcde":
        jobs.submit(group, name)
    begun = jobs.fetch(5)
    seen = [list(begun)]
    jobs("CANCEL", jobs.ids["c"])
    for name in "bade":
        jobs.done(name)
        begun += jobs.fetch(5, 0)
        seen.append(list(begun))
    assert seen == asyncio.run(original()) == [
        ["a", "b"], ["a", "b", "d"], ["a", "b", "d", "e"],
        ["a", "b", "d", "e"], ["a", "b", "d", "e"]]


def test_a_limiter_is_a_semaphore_that_groups_share(jobs):
    """In the order of arrival, whoever's task it is; a permit comes back when
    its holder has ended, and not when it was asked to."""
    async def original():
        tasks, begun = Tasks(), []
        semaphore = asyncio.Semaphore(2)

        async def member(name):
            async with semaphore:
                begun.append(name)
                await tasks.body(name)

        running = {}
        for name in "abcd":
            running[name] = asyncio.create_task(member(name))
            await turn()
        seen = [list(begun)]
        running["a"].cancel()
        await turn()
        seen.append(list(begun))
        await tasks.stop("a")
        seen.append(list(begun))
        await tasks.tell("b")
        seen.append(list(begun))
        for name in "cd":
            await tasks.tell(name)
        return seen

    jobs("LIMITER", "SET", "sem", "PERMITS", 2)
    groups = [jobs.open("FAIL", 0), jobs.open("FAIL", 0)]
    for i, name in enumerate("abcd"):
        jobs.submit(groups[i % 2], name, "LIMITS", "sem")
    begun = jobs.fetch(5)
    seen = [list(begun)]
    jobs("CANCEL", jobs.ids["a"])
    jobs.asked(1)
    begun += jobs.fetch(5, 0)
    seen.append(list(begun))
    jobs.stop("a")
    begun += jobs.fetch(5, 0)
    seen.append(list(begun))
    jobs.done("b")
    begun += jobs.fetch(5, 0)
    seen.append(list(begun))
    assert seen == asyncio.run(original()) == [
        ["a", "b"], ["a", "b"], ["a", "b", "c"], ["a", "b", "c", "d"]]


# ---------------------------------------------------------------------- race


def test_the_first_that_ends_well_wins_and_the_losers_are_awaited(jobs):
    """asyncio has the parts: wait(FIRST_COMPLETED), cancel, wait again. On
    purpose a failure does not win in yoke: the original goes on waiting here
    while what came first has failed."""
    async def original():
        tasks = Tasks()
        running = {n: asyncio.create_task(tasks.body(n), name=n) for n in "abc"}

        async def race():
            pending = set(running.values())
            while pending:
                done, pending = await asyncio.wait(
                    pending, return_when=asyncio.FIRST_COMPLETED)
                won = [t for t in done if not t.exception()]
                if won:
                    break
            for task in pending:
                task.cancel()
            if pending:
                await asyncio.wait(pending)
            return won[0].get_name()

        race = asyncio.create_task(race())
        await turn()
        await tasks.tell("a", error=ValueError())
        early = race.done(), list(tasks.asked)
        await tasks.tell("c", "3")
        then = race.done(), list(tasks.asked)
        await tasks.stop("b")
        return early, then, tasks.ended, await race

    group = jobs.open("SUCCEED", 1)
    jobs.start(group, "a", "b", "c")
    jobs("GROUP", "CLOSE", group)
    jobs.fail("a", "ValueError")
    jobs.nobody_asked()
    early = jobs.state(group) == "ended", []
    jobs.done("c", "3")
    then = jobs.state(group) == "ended", list(jobs.asked(1))
    jobs.stop("b")
    assert jobs.info("GROUP", "WAIT", group, 5000)["outcome"] == "ok"
    [winner] = [m["name"] for m in jobs.results(group)
                if m["outcome"] == "ok"]
    through_yoke = early, then, jobs.ends(group), winner
    assert through_yoke == asyncio.run(original()) == (
        (False, []), (False, ["b"]), ["a", "c", "b"], "c")


@pytest.mark.parametrize("error", [None, ValueError])
def test_first_done_ends_with_the_first_end_good_or_bad(jobs, error):
    """wait(FIRST_COMPLETED) and nothing after it, written FAIL 1 SUCCEED 1; on
    purpose the losers are cancelled and awaited, where wait() leaves them."""
    async def original():
        tasks = Tasks()
        running = {n: asyncio.create_task(tasks.body(n), name=n) for n in "abc"}
        first = asyncio.create_task(asyncio.wait(
            running.values(), return_when=asyncio.FIRST_COMPLETED))
        await turn()
        await tasks.tell("b", "2", error and error())
        [done], pending = await first
        for task in pending:
            task.cancel()
        await turn()
        asked = sorted(tasks.asked)
        await tasks.stop("c")
        await tasks.stop("a")
        return (done.get_name(), done.exception() is None, asked, tasks.ended)

    group = jobs.open("FAIL", 1, "SUCCEED", 1)
    jobs.start(group, "a", "b", "c")
    if error:
        jobs.fail("b", "ValueError")
    else:
        jobs.done("b", "2")
    asked = sorted(jobs.asked(2))
    assert jobs.state(group) == "cancelling"
    jobs.stop("c")
    jobs.stop("a")
    outcome = jobs.info("GROUP", "WAIT", group, 5000)["outcome"]
    [first] = [m["name"] for m in jobs.results(group)
               if m["outcome"] != "cancelled"]
    through_yoke = first, outcome == "ok", asked, jobs.ends(group)
    assert through_yoke == asyncio.run(original()) == (
        "b", error is None, ["a", "c"], ["b", "c", "a"])

# SPDX-License-Identifier: BSD-2-Clause
"""What [run QUEUE] gives a job beside its command, told by a job that dumps
what it has; and what is refused rather than not given. That it has nothing else
is in test_dumps.py."""

import json
import os
import pwd
import resource
import signal
import subprocess

import pytest

from harness import MARK, RUNNER, YOKE, end, marked, pairs, until

DUMP = r"""
import ctypes, json, os, platform, resource, sys
IOPRIO_GET = 252 if platform.machine() == "x86_64" else 31

def read(path):
    with open(path) as file:
        return file.read().strip()

status = dict(line.split(":\t", 1) for line in
              read("/proc/self/status").splitlines() if ":\t" in line)
# Python adds LC_CTYPE to its own.
environment = dict(item.split("=", 1)
                   for item in read("/proc/self/environ").split("\0") if item)
# Of its cgroup.
mounts = [line.split() for line in read("/proc/self/mountinfo").splitlines()]
place = "".join([fields[4] for fields in mounts if "cgroup2" in fields][:1] + [
    line[3:] for line in read("/proc/self/cgroup").splitlines()
    if line.startswith("0::")])
bounds = {name: read(os.path.join(place, name))
          for name in ("memory.max", "pids.max", "cpu.max")
          if os.path.exists(os.path.join(place, name))}

has = {
    "uids": os.getresuid(), "gids": os.getresgid(),
    "groups": sorted(os.getgroups()),
    "umask": status["Umask"], "no_new_privs": status["NoNewPrivs"],
    "ionice": ctypes.CDLL(None).syscall(IOPRIO_GET, 1, 0),
    "nice": os.getpriority(os.PRIO_PROCESS, 0),
    "limits": {name[7:].lower(): resource.getrlimit(getattr(resource, name))
               for name in dir(resource) if name.startswith("RLIMIT_")},
    "environment": environment,
    "bounds": bounds,
    "input": sys.stdin.read(),
}
# As a shell's redirection does: it opens the pipe anew.
with open("/dev/stdout", "w") as out:
    json.dump(has, out)
"""

root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
NOBODY = pwd.getpwnam("nobody")
AS_NOBODY = {"user": NOBODY.pw_uid, "group": NOBODY.pw_gid,
             "extra_groups": [], "cwd": "/"}


@pytest.fixture
def dump(start, directory):
    """dump("key = value", ...) gives what a job of such a queue has."""
    path = os.path.join(directory, "dump.py")
    with open(path, "w") as file:
        file.write(DUMP)
    os.chmod(directory, 0o711)

    def run(*lines, runner=(), more=None):
        config = "[runner]\n%s\n[run q]\ncommand = /usr/bin/python3 -IS %s" \
            "\n%s\n" % ("\n".join(runner), path, "\n".join(lines))
        daemon = start(more, config=config, runner=True)
        outcome = run_job(daemon, "q", "what it reads")
        assert outcome["outcome"] == "ok", outcome
        return json.loads(outcome["result"])

    return run


@pytest.fixture(params=["as we are", pytest.param("not root", marks=root)])
def private(request, start, directory):
    """private(script, *lines) gives a daemon whose runner runs the script as
    queue q; it is started apart, as root is or as nobody is."""
    options = {} if request.param == "as we are" else dict(AS_NOBODY)
    runners = []

    def run(script, *lines):
        status, said = start_runner(*lines, **options)
        if status == 2:
            assert "namespaces" in said or "of its own" in said
            pytest.skip(said.splitlines()[-1])
        os.chmod(directory, 0o711)
        daemon = start()
        os.chmod(daemon.socket, 0o777)
        words = [RUNNER, "--connect", daemon.socket, "-o",
                 "run q.command=/bin/sh -c '%s'" % script]
        for line in lines:
            words += ["-o", "run q." + line.replace(" = ", "=", 1)]
        daemon.uid = options.get("user", os.geteuid())
        daemon.remote = subprocess.Popen(words, **options)
        runners.append(daemon.remote)
        return daemon

    yield run
    for runner in runners:
        runner.send_signal(signal.SIGINT)
        assert runner.wait(30) in (0, -signal.SIGKILL)


def run_job(daemon, queue, payload, *options):
    with daemon.client() as client:
        job = client.execute_command("SUBMIT", queue, payload, *options)
        return pairs(client.execute_command("WAIT", job, 30000))


def refused(*lines, status=2, **options):
    """Why the runner does not want such a queue."""
    words = [RUNNER, "--check-config"]
    for line in ("command = x",) + lines:
        words += ["-o", "run q." + line.replace(" = ", "=", 1)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30,
                          **options)
    assert done.returncode == status, done
    return done.stderr


@root
def test_ids_and_variables_are_the_users(dump):
    has = dump("user = nobody")
    assert has["uids"] == [NOBODY.pw_uid] * 3
    assert has["gids"] == [NOBODY.pw_gid] * 3
    assert has["groups"] == sorted(set(os.getgrouplist("nobody",
                                                       NOBODY.pw_gid)))
    assert [has["environment"][name] for name in (
        "HOME", "USER", "LOGNAME", "SHELL")] == [
            NOBODY.pw_dir, "nobody", "nobody", NOBODY.pw_shell]
    assert has["input"] == "what it reads"


@root
def test_numbers_of_nobody_known_are_ids_without_groups(dump):
    has = dump("user = 54321", "group = 54322")
    assert [has["environment"].get(name) for name in (
        "HOME", "USER", "LOGNAME", "SHELL")] == [
            "/", "54321", "54321", "/bin/sh"]
    assert has["uids"] == [54321] * 3
    assert has["gids"] == [54322] * 3
    assert has["groups"] == [54322]


@root
def test_a_group_alone_leaves_the_user(dump):
    has = dump("group = nogroup")
    assert has["uids"] == [0] * 3
    assert has["gids"] == [NOBODY.pw_gid] * 3
    assert has["environment"].get("HOME") == os.environ.get("HOME")


@root
def test_another_users_job_dies_with_the_runner(start, mark):
    """The kernel forgets the tie when the ids change."""
    daemon = start({"queue.redeliver": "0"}, config="[run run]\nuser = nobody",
                   runner=True)
    process = daemon.yoke_start("run", "--env", "%s=%s" % (MARK, mark), "--",
                                "sleep", "1000")
    [pid] = until(lambda: marked(mark), "the job runs")
    assert os.stat("/proc/%d" % pid).st_uid == NOBODY.pw_uid
    os.kill(daemon.runner(), signal.SIGKILL)
    until(lambda: not marked(mark), "the job is gone")
    end(process)


@root
def test_who_is_not_root_cannot_be_another():
    assert refused("user = daemon", **AS_NOBODY) == (
        "yoke-runner: [run q]: jobs cannot run as user 'daemon': the runner is "
        "not root but user %d, group %d\n" % (NOBODY.pw_uid, NOBODY.pw_gid))
    assert "cannot run as group 'daemon'" in refused(
        "group = daemon", **AS_NOBODY)
    assert refused("user = nobody", "group = nogroup", status=0,
                   **AS_NOBODY) == ""


@root
@pytest.mark.parametrize("line", ["user = nobody", "group = nogroup"])
def test_nobody_is_another_where_that_shows_the_runners_memory(
        line, directory):
    """Also when that is so since the settings were read for the last time."""
    dumpable = os.path.join(directory, "suid_dumpable")
    why = "error: [run q] %s: with fs.suid_dumpable = 1 the kernel would let " \
        "its jobs look into the runner; set that to 0 or 2, or start a " \
        "runner as that user, without this setting\n" % line.split()[0]
    words = ["unshare", "-m", "--propagation", "private", "sh", "-c",
             "mount --bind %s /proc/sys/fs/suid_dumpable && exec \"$@\""
             % dumpable, "-", RUNNER, "--connect", "/nowhere/yoked.sock", "-o",
             "run q.command=x", "-o", "run q." + line.replace(" = ", "=")]

    def tell(number):
        with open(dumpable, "w") as file:
            file.write("%d\n" % number)

    tell(1)
    done = subprocess.run(words, stderr=subprocess.PIPE, text=True, timeout=30)
    assert done.returncode == 2 and why in done.stderr, done
    tell(2)
    runner = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    said = ""
    for line in runner.stderr:
        said += line
        if "cannot connect" in line:
            tell(1)
            runner.send_signal(signal.SIGHUP)
        if "not reloaded" in line:
            runner.send_signal(signal.SIGINT)
    assert runner.wait(30) == 0, said
    assert why in said


@pytest.mark.parametrize("files", ["15", "x", "1048577x", "9" * 18])
def test_what_is_no_limit_of_open_files_is_refused(files):
    done = subprocess.run([RUNNER, "--check-config", "--files", files],
                          capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert done.stderr == (
        "yoke-runner: --files %s: expected a number from 16 to the hard limit "
        "of open files\n" % files)


def test_users_that_are_not_there_are_named():
    assert refused("user = no-such") == (
        "yoke-runner: [run q]: there is no user 'no-such'\n")
    assert refused("group = no-such") == (
        "yoke-runner: [run q]: there is no group 'no-such'\n")
    assert refused("user = 54321") == (
        "yoke-runner: [run q]: user 54321 is in no database, so its group is "
        "not known; give a group, too\n")


@pytest.mark.parametrize("lines, runner, umask", [
    ((), (), "0022"), ((), ("umask = 027",), "0027"),
    (("umask = 077",), ("umask = 027",), "0077"),
    (("umask = 0",), ("umask = 027",), "0000")])
def test_umask_is_the_queues_else_the_runners(dump, lines, runner, umask):
    assert dump(*lines, runner=runner)["umask"] == umask


@pytest.mark.parametrize("lines, passed", [
    ((), {"A1"}), (("pass-env = B*",), {"B1", "B2"}), (("pass-env =",), set())])
def test_a_queues_list_of_variables_replaces_the_runners(
        dump, monkeypatch, lines, passed):
    for name in ("A1", "B1", "B2"):
        monkeypatch.setenv(name, "x")
    has = dump(*lines, runner=("pass-env = A1",))
    assert {"A1", "B1", "B2"} & set(has["environment"]) == passed


def test_nice_and_io_priority_are_set(dump):
    has = dump("nice = 7", "ionice = best-effort:6")
    assert has["nice"] == 7
    assert has["ionice"] == 2 << 13 | 6


def test_idle_io_is_idle(dump):
    assert dump("ionice = idle")["ionice"] == 3 << 13


def test_limits_are_those_given_and_else_the_runners(dump):
    has = dump("rlimits = nofile=100:200 core=0 cpu=60:61 stack=4M:8M "
               "fsize=1G as=unlimited")["limits"]
    assert has["nofile"] == [100, 200]
    assert has["core"] == [0, 0]
    assert has["cpu"] == [60, 61]
    assert has["stack"] == [4 << 20, 8 << 20]
    assert has["fsize"] == [1 << 30] * 2
    assert has["as"] == [-1, -1]
    assert has["data"] == list(resource.getrlimit(resource.RLIMIT_DATA))


@pytest.mark.parametrize("lines, value", [
    ((), "0"), (("no-new-privileges = yes",), "1")])
def test_no_new_privileges_is_set_if_asked_for(dump, lines, value):
    assert dump(*lines)["no_new_privs"] == value


@root
def test_rights_are_used_before_they_are_given_up(dump):
    has = dump("user = nobody", "nice = -3", "no-new-privileges = yes",
               "ionice = realtime:7", "rlimits = nofile=90 memlock=1M")
    assert has["uids"] == [NOBODY.pw_uid] * 3
    assert has["nice"] == -3
    assert has["ionice"] == 1 << 13 | 7
    assert has["limits"]["nofile"] == [90, 90]
    assert has["limits"]["memlock"] == [1 << 20] * 2
    assert has["no_new_privs"] == "1"


@pytest.mark.parametrize("line, why", [
    ("nice = 20", "nice: '20' is out of range; expected -20 to 19"),
    ("nice = low", "nice: 'low' is not valid; expected a number"),
    ("ionice = idle:3", "ionice: 'idle:3' is not valid; expected idle, "
     "best-effort[:0-7] or realtime[:0-7]"),
    ("ionice = best-effort:8", "ionice: 'best-effort:8' is not valid; "
     "expected idle, best-effort[:0-7] or realtime[:0-7]"),
    ("rlimits = nofile", "rlimits: 'nofile' is not valid; expected "
     "name=soft[:hard]"),
    ("rlimits = files=3", "rlimits: there is no limit 'files'; known are as "
     "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio "
     "rttime sigpending stack"),
    ("rlimits = nofile=1K", "rlimits: '1K' is not valid for nofile; expected "
     "a number, or unlimited"),
    ("rlimits = core=1:", "rlimits: '' is not valid for core; expected "
     "bytes, or a number of K, M, G, T, or unlimited"),
    ("rlimits = nofile=1:2:3", "rlimits: '2:3' is not valid for nofile; "
     "expected a number, or unlimited"),
    ("rlimits = core=2:1", "rlimits: core: the soft limit is above the hard "
     "one"),
    ("rlimits = core=1 core=1", "rlimits: 'core' is set twice"),
    ("memory-max = 1000", "memory-max: '1000' is out of range; expected "
     "1048576 to 1125899906842624"),
    ("memory-max = much?", "memory-max: 'much' is not valid; expected a "
     "number of bytes, or of K, M, G, T, and ? for a wish"),
    ("pids-max = 1K", "pids-max: '1K' is not valid; expected a number, and ? "
     "for a wish"),
    ("cpu-max = 2", "cpu-max: '2' is not valid; expected a number and %, and "
     "? for a wish"),
    ("success-exit = 1 256", "success-exit: '256' is no exit code; expected "
     "numbers from 0 to 255"),
    ("result = fd4", "result: 'fd4' is not valid; expected stdout, file or "
     "fd3"),
    ("stop-signals = INT TERM", "stop-signals: only the last signal may be "
     "without its time"),
    ("stop-signals = TERM:5s KILL", "stop-signals: 'KILL' is nothing to stop "
     "by; what is left after the last signal is killed by itself"),
    ("stop-signals = TERMINATE", "stop-signals: 'TERMINATE' is no signal; "
     "expected names such as INT or TERM"),
    ("stop-signals = INT:soon", "stop-signals: 'soon' is not valid; expected "
     "milliseconds, or a number with ms, s, m, h or d, up to 1d"),
    ("stop-signals = INT:1 INT:1 INT:1 INT:1 INT:1 INT:1 INT:1 INT:1 INT:1",
     "stop-signals: more than 8 signals"),
    ("private-tmp-max = 0", "private-tmp-max: '0' is out of range; expected "
     "1048576 to 1125899906842624"),
    ("private-pids = maybe", "private-pids: 'maybe' is not a switch; expected "
     "yes or no"),
    ("no-new-privileges = 1", "no-new-privileges: '1' is not a switch; "
     "expected yes or no"),
])
def test_what_is_no_value_is_refused_in_words(line, why):
    assert refused(line) == "yoke-runner: -o [run q] %s\n" % why


def start_runner(*lines, cgroup="off", **options):
    """What a runner of such a queue says that is refused, else stopped."""
    words = [RUNNER, "--connect", "/nowhere/yoked.sock", "-o",
             "runner.cgroup=" + cgroup, "-o", "run q.command=x"]
    for line in lines:
        words += ["-o", "run q." + line.replace(" = ", "=", 1)]
    runner = subprocess.Popen(words, stderr=subprocess.PIPE, text=True,
                              **options)
    said = ""
    for line in runner.stderr:
        said += line
        if "cannot connect" in line:
            runner.send_signal(signal.SIGINT)
    return runner.wait(30), said


@pytest.mark.parametrize("key, value", [
    ("memory-max", "1G"), ("pids-max", "9"), ("cpu-max", "50%")])
def test_bounds_without_cgroups_are_refused_unless_they_are_wishes(key, value):
    line = "%s = %s" % (key, value)
    status, said = start_runner(line)
    assert status == 2
    assert "error: [run q] %s: there are no cgroups\n" % key in said
    status, said = start_runner(line + "?")
    assert status == 0
    assert said.count("warn: [run q] %s is not met: there are no cgroups\n"
                      % key) == 1


@pytest.mark.parametrize("key, value, file, bound", [
    ("memory-max", "64M", "memory.max", "67108864"),
    ("pids-max", "20", "pids.max", "20"),
    ("cpu-max", "150%", "cpu.max", "150000 100000")])
def test_bounds_are_those_of_the_jobs_cgroup(
        dump, key, value, file, bound):
    line = "%s = %s" % (key, value)
    status, said = start_runner(line, cgroup="auto")
    if status == 2:
        assert "error: [run q] %s: " % key in said
        why = said.splitlines()[-1]
        status, said = start_runner(line + "?", cgroup="auto")
        assert status == 0
        assert said.count("warn: [run q] %s is not met: " % key) == 1
        pytest.skip(why)
    assert dump(line)["bounds"][file] == bound


@root
@pytest.mark.parametrize("line, why", [
    ("nice = -3", "cannot set its nice value: Permission denied"),
    ("ionice = realtime", "cannot set its I/O priority: Operation not "
     "permitted"),
    ("rlimits = core=unlimited", "cannot set its rlimits: Operation not "
     "permitted"),
])
def test_what_cannot_be_given_keeps_the_runner_from_starting(line, why):
    """It has an address, and is refused before it uses it."""
    status, said = start_runner(line, preexec_fn=lambda: resource.setrlimit(
        resource.RLIMIT_CORE, (0, 0)), **AS_NOBODY)
    assert status == 2
    assert "[run q]: a job %s\n" % why in said


def shell(start, script, *lines, more="", options=None):
    """A daemon whose queue q runs a script."""
    return start(options, config="[run q]\ncommand = /bin/sh -c '%s'\n%s\n%s"
                 % (script, "\n".join(lines), more), runner=True)


def log_of(daemon, job):
    with daemon.client() as client:
        return client.execute_command("LOGS", job, 0, 0)[1]


def test_exit_codes_are_successes_if_they_are_named(start):
    daemon = shell(start, "read code; echo out; exit $code",
                   "success-exit = 3 255")
    ends = {code: run_job(daemon, "q", "%d\n" % code)
            for code in (0, 1, 3, 254, 255)}
    assert {code: end["outcome"] for code, end in ends.items()} == {
        0: "ok", 1: "failed", 3: "ok", 254: "failed", 255: "ok"}
    assert ends[255]["result"] == "out\n"
    assert pairs(ends[254]["errors"][0])["class"] == "exit:254"


def test_which_exit_codes_are_worth_another_attempt_is_the_queues(start):
    daemon = shell(start, "read code; exit $code",
                   more="[queue q]\nretry = 3\nretry-on = exit:75\n"
                        "backoff = 0\n")
    assert run_job(daemon, "q", "75\n")["attempts"] == 3
    assert run_job(daemon, "q", "1\n")["attempts"] == 1


@pytest.mark.parametrize("kind, to", [
    ("file", "$YOKE_RESULT"), ("fd3", "/dev/fd/3"), ("fd3", "&3")])
def test_the_result_comes_from_where_it_is_said_to(start, kind, to):
    daemon = shell(start, "echo log; cat >%s" % to, "result = " + kind,
                   options={"runner.result-max": "300K"})
    for payload in ("", "result", "x" * 300 * 1024):
        outcome = run_job(daemon, "q", payload)
        assert outcome["result"] == payload
        assert log_of(daemon, outcome["id"]) == [[1, "log\n"]]
    outcome = run_job(daemon, "q", "x" * 300 * 1024 + "y")
    assert outcome["result"] == "x" * 300 * 1024
    assert "the result was cut at 307200 bytes" in str(
        log_of(daemon, outcome["id"]))


@root
@pytest.mark.parametrize("kind, to", [
    ("file", "$YOKE_RESULT"), ("fd3", "/dev/fd/3"), ("stdout", "/dev/stdout")])
def test_another_user_can_give_a_result_too(start, kind, to):
    daemon = shell(start, "id -un >%s" % to, "result = " + kind,
                   "user = nobody")
    assert run_job(daemon, "q", "")["result"] == "nobody\n"


# Descriptor 3 of what it starts is another file.
BY_A_CHILD = r"""
import os, subprocess, sys
if sys.argv[1:]:
    for name, text in ("/dev/fd/3", "own"), (os.environ["YOKE_RESULT"], "ok"):
        with open(name, "w") as file:
            file.write(text)
else:
    with open("own", "w+") as own:
        subprocess.run(
            ["sh", "-c", "exec 3<>own; exec \"$0\" -IS \"$1\" child",
             sys.executable, sys.argv[0]], check=True)
        assert own.read() == "own"
"""


@pytest.mark.parametrize("lines", [
    [], ["private-pids = yes"], pytest.param(["user = nobody"], marks=root),
    pytest.param(["user = nobody", "private-pids = yes"], marks=root)])
def test_what_a_job_starts_reaches_the_result_by_its_name(
        start, directory, lines):
    script = os.path.join(directory, "job.py")
    work = os.path.join(directory, "work")
    with open(script, "w") as file:
        file.write(BY_A_CHILD)
    os.mkdir(work)
    os.chmod(work, 0o777)
    os.chmod(directory, 0o711)
    daemon = start(config="[run q]\ncommand = /usr/bin/python3 -IS %s\n"
                   "dir = %s\nresult = file\n%s\n" % (
                       script, work, "\n".join(lines)), runner=True)
    outcome = run_job(daemon, "q", "")
    assert outcome["outcome"] == "ok", outcome
    assert outcome["result"] == "ok"


@pytest.mark.parametrize("kind, descriptors", [
    ("file", [0, 1, 2, 3]), ("fd3", [0, 1, 2, 3]), ("stdout", [0, 1, 2])])
def test_descriptor_3_is_there_for_the_result_alone(
        start, kind, descriptors):
    daemon = shell(start, "for n in 0 1 2 3 4 5 6 7 8 9; do "
                   "test -e /proc/$$/fd/$n && echo $n; done; exit 0",
                   "result = " + kind)
    outcome = run_job(daemon, "q", "")
    [[_, said]] = log_of(daemon, outcome["id"])
    assert list(map(int, said.split())) == descriptors


STUBBORN = ("for s in HUP INT TERM; do trap \"echo $s\" $s; done; echo up; "
            "while :; do sleep 0.02; done")


# As many a language does it closes what it has inherited in what it starts.
ASKS = r"""
import os, subprocess, sys
done = subprocess.run(["yoke", "ls"], text=True,
                      capture_output=True)
path = os.environ.get("YOKE_PASSWORD_FILE", "")
print(done.returncode, path and oct(os.stat(path).st_mode & 0o777),
      [fd for fd in range(3, 99) if os.path.exists("/proc/self/fd/%d" % fd)],
      "secret" in str(os.environ) + str(sys.argv), done.stderr)
"""


@pytest.fixture
def guarded(start, directory):
    """run(lines) gives what ASKS says in a queue of such lines, of a daemon
    with a password, and run.change(password) gives it another one."""
    file = os.path.join(directory, "password")
    script = os.path.join(directory, "asks.py")
    with open(script, "w") as out:
        out.write(ASKS)
    os.chmod(directory, 0o711)
    daemons = []

    def write(password):
        with open(file + ".new", "w") as out:
            out.write(password + "\nsecret too\n")
        os.chmod(file + ".new", 0o600)
        os.rename(file + ".new", file)

    def remote():
        """The daemon and a runner of its own."""
        write("secret")
        daemon = start({"daemon.password-file": file}, password="secret")
        daemons.append(daemon)
        daemon.remote = subprocess.Popen(
            [RUNNER, "--connect", daemon.socket, "--password-file", file, "-o",
             "run q.pass-password=yes", "-o",
             "run q.command=/usr/bin/python3 " + script])
        return daemon

    def run(*lines):
        config = "[run q]\ncommand = /usr/bin/python3 %s\n%s\n" % (
            script, "\n".join(lines))
        if not daemons:
            write("secret")
            daemons.append(start(
                {"daemon.password-file": file, "daemon.socket-mode": "0666"},
                config=config, runner=True, password="secret"))
        return run_job(daemons[0], "q", "")["result"]

    def change(password):
        write(password)
        daemons[0].password = password
        daemons[0].signal(signal.SIGHUP)
        until(daemons[0].answers, "the daemon knows the new password")

    run.change = change
    run.remote = remote
    yield run
    for daemon in daemons:
        if hasattr(daemon, "remote"):
            daemon.remote.send_signal(signal.SIGINT)
            assert daemon.remote.wait(30) == 0


@pytest.mark.parametrize("lines", [
    [], pytest.param(["user = nobody"], marks=root),
    pytest.param(["user = nobody", "private-pids = yes"], marks=root)])
def test_a_job_knows_the_password_if_its_queue_may(guarded, lines, monkeypatch):
    monkeypatch.setenv("PATH", os.path.dirname(YOKE) + ":" + os.environ["PATH"])
    said = guarded("pass-password = yes", *lines)
    assert said.strip() == "0 0o400 [4] False"
    guarded.change("another")
    assert guarded().startswith("0 0o400")


def test_another_password_needs_no_reload_of_a_runner(guarded, monkeypatch):
    """It has another one for jobs at once, and for itself when it needs it."""
    monkeypatch.setenv("PATH", os.path.dirname(YOKE) + ":" + os.environ["PATH"])
    daemon = guarded.remote()
    assert guarded().startswith("0 0o400")
    guarded.change("another")
    assert guarded().startswith("0 0o400")
    daemon.kill().start()
    assert guarded().startswith("0 0o400")


def test_a_job_knows_no_password_otherwise(guarded, monkeypatch):
    monkeypatch.setenv("PATH", os.path.dirname(YOKE) + ":" + os.environ["PATH"])
    said = guarded()
    assert said.startswith("1  [] False"), said
    assert "NOAUTH" in said


def test_a_runner_without_a_password_has_none_to_pass():
    assert "[run q] pass-password: there is no password to pass; give " \
        "--password-file FILE" in start_runner("pass-password = yes")[1]


def stop_stubborn(start, *lines, grace):
    daemon = shell(start, STUBBORN, *lines)
    with daemon.client() as client:
        job = client.execute_command("SUBMIT", "q", "")
        until(lambda: log_of(daemon, job), "it is up")
        client.execute_command("CANCEL", job, "GRACE", grace)
        outcome = pairs(client.execute_command("WAIT", job, 20000))
    assert outcome["outcome"] == "cancelled"
    # The shell tells standard error what became of its sleep.
    return "".join(data for stream, data in log_of(daemon, job)
                   if stream == 1).split()


def test_stop_signals_come_in_order_and_the_kill_behind_the_last(start):
    """Long before the grace is over."""
    assert stop_stubborn(start, "stop-signals = INT:200ms HUP:200ms TERM:200ms",
                         grace=3600000) == ["up", "INT", "HUP", "TERM"]


def test_the_end_of_the_grace_comes_before_a_later_signal(start):
    assert stop_stubborn(start, "stop-signals = HUP:1h TERM",
                         grace=300) == ["up", "HUP"]


def test_term_is_what_stops_when_nothing_is_said(start):
    assert stop_stubborn(start, grace=300) == ["up", "TERM"]


def test_private_tmp_is_empty_and_gone_with_the_job(private, directory):
    path = "/tmp/" + os.path.basename(directory) + ".test"
    daemon = private("ls -A /tmp; id -u; touch %s && ls -d /tmp/*" % path,
                     "private-tmp = yes")
    for _ in range(2):
        user, left = run_job(daemon, "q", "")["result"].split()
        assert left == path
        assert user == str(daemon.uid)
    assert not os.path.exists(path)


@pytest.mark.parametrize("lines, size", [
    ((), 256 << 20), (("private-tmp-max = 3M",), 3 << 20)])
def test_private_tmp_has_a_most(private, lines, size):
    daemon = private("stat -f -c \"%b %S %c\" /tmp", "private-tmp = yes",
                     *lines)
    blocks, block, files = map(int, run_job(daemon, "q", "")["result"].split())
    assert blocks * block == size
    assert files == size / 4096


def test_private_pids_are_the_jobs_alone(private):
    daemon = private("echo $$; (sleep 1000 &); ls /proc | grep -c ^[0-9]; "
                     "readlink /proc/self/ns/user", "private-pids = yes")
    outcome = run_job(daemon, "q", "")
    pid, count, _ = outcome["result"].split()
    assert pid == "1"
    assert 1 < int(count) < 6


def test_what_hides_in_private_pids_ends_with_process_1(private, mark):
    hidden = "setsid sh -c \"trap : TERM HUP INT; while :; do sleep 9; done\""
    daemon = private("export %s=%s; (%s &); (unset YOKE_TOKEN; %s &); echo out"
                     % (MARK, mark, hidden, hidden), "private-pids = yes")
    assert run_job(daemon, "q", "")["result"] == "out\n"
    assert marked(mark) == []


@pytest.mark.parametrize("script, log", [
    # It has no handler, and its child has.
    ("(trap \"echo asked; exit\" TERM; echo up; while :; do sleep 0.02; done)"
     "; echo never", ["up"]),
    ("trap \"echo asked; exit\" TERM; echo up; while :; do sleep 0.02; done",
     ["up", "asked"]),
    # It never sleeps.
    ("echo up; while :; do :; done", ["up"]),
    # It blocks it, and looks.
    ("exec /usr/bin/python3 -c \"from signal import *; from time import sleep; "
     "pthread_sigmask(SIG_BLOCK, {SIGTERM}); print(1, flush=True)\n"
     "while SIGTERM not in sigpending(): sleep(0.02)\n"
     "print(2, flush=True)\"", ["1", "2"])])
def test_process_1_is_stopped_as_another_would_be(private, script, log):
    daemon = private(script, "private-pids = yes")
    with daemon.client() as client:
        job = client.execute_command("SUBMIT", "q", "")
        until(lambda: log_of(daemon, job), "it is up")
        client.execute_command("CANCEL", job, "GRACE", 3600000)
        assert client.execute_command("WAIT", job, 20000)
    said = "".join(data for stream, data in log_of(daemon, job)
                   if stream == 1).split()
    # What the child says before it is gone with process 1 is up to chance.
    assert [word for word in said if word in log] == log


def waits_for_term(pid):
    """Whether a process that blocks it is in sigwait(3)."""
    with open("/proc/%d/status" % pid) as status:
        blocked = dict(line.split(":\t", 1) for line in status)["SigBlk"]
    return not int(blocked, 16) >> signal.SIGTERM - 1 & 1


def test_process_1_that_waits_for_a_signal_gets_it(private, mark):
    """While it waits it looks like one that the signal would end."""
    daemon = private(
        "exec env %s=%s /usr/bin/python3 -c \"from signal import *; "
        "pthread_sigmask(SIG_BLOCK, {SIGTERM}); print(1, flush=True); "
        "sigwait({SIGTERM}); print(2, flush=True)\"" % (MARK, mark),
        "private-pids = yes")
    with daemon.client() as client:
        job = client.execute_command("SUBMIT", "q", "")
        until(lambda: log_of(daemon, job), "it has blocked it")
        [pid] = marked(mark)
        until(lambda: waits_for_term(pid), "it waits for it")
        client.execute_command("CANCEL", job, "GRACE", 3600000)
        assert client.execute_command("WAIT", job, 20000)
    assert "".join(data for _, data in log_of(daemon, job)) == "1\n2\n"


def test_process_1_dies_with_the_runner(private, mark):
    daemon = private("exec env %s=%s sleep 1000" % (MARK, mark),
                     "private-pids = yes")
    with daemon.client() as client:
        client.execute_command("SUBMIT", "q", "")
    until(lambda: marked(mark), "the job runs")
    daemon.remote.kill()
    until(lambda: not marked(mark), "the job is gone")

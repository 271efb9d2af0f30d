# SPDX-License-Identifier: BSD-2-Clause
"""A job has what is configured and nothing else, however its runner was
started, whatever that one had itself, and on whatever way the job starts.

The daemon, or the runner that connects to it, is started with a terminal, a
real-time priority, capabilities, descriptors, signals and variables that are
nobody's business (state.c), and runs 60 other jobs meanwhile. Then jobs of all
kinds tell all that they have.
"""

import collections
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile

import pytest

from harness import BUILD, RUNNER, Daemon, pairs, until

STATE = os.path.join(BUILD, "tests/system/state")
ROOT = os.geteuid() == 0
NOBODY = pwd.getpwnam("nobody")
CROWD = 60
PASSED = re.compile("(PATH|HOME|LANG|LANGUAGE|LC_.*|TZ|USER|LOGNAME|SHELL|"
                    "TMPDIR|TERM)$")
NOTHING = "0" * 16
with open("/proc/sys/kernel/cap_last_cap") as last:
    ALL = "%016x" % ((2 << int(last.read())) - 1)
OWN, CGROUP = "the job's own", ["the job's own"]
LARGE = "x" * 70000
NULL, OUT = "null 2", "pipe 1"
O_LARGEFILE = 0o100000
SIGNALS = ("SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt")
STATUS = SIGNALS + ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb",
                    "NoNewPrivs", "Seccomp", "Cpus_allowed", "Umask")

Runner = collections.namedtuple("Runner", "connects cgroup uid")
RUNNERS = {
    "the daemon's, in cgroups": Runner(False, "auto", os.geteuid()),
    "the daemon's, swept": Runner(False, "off", os.geteuid()),
    "connected, in cgroups": Runner(True, "auto", os.geteuid()),
    "connected, swept": Runner(True, "off", os.geteuid()),
    "connected, not root": Runner(True, "auto", NOBODY.pw_uid),
}

# Lines of [run NAME], the payload, and what is other than always.
Kind = collections.namedtuple("Kind", "lines payload has")
KINDS = {
    "run": Kind((), None, {"cwd": "/usr", "env": {"OWN": "1"}}),
    "plain": Kind((), "", {}),
    "payload": Kind((), "read", {"fds": {0: "pipe 0"}, "input": "read"}),
    "large": Kind((), LARGE, {"fds": {0: "memory 2"}, "input": LARGE}),
    "logged": Kind(("log-file = %s/job.log",), "", {}),
    "file": Kind(("result = file",), "", {
        "fds": {3: "memory 2"}, "env": {"YOKE_RESULT": OWN}}),
    "fd3": Kind(("result = fd3",), "", {"fds": {3: OUT}}),
    "set": Kind(("nice = 7", "ionice = idle", "umask = 031", "dir = /usr",
                 "rlimits = nofile=100:200 core=0", "no-new-privileges = yes",
                 "pass-env = JUNK"), "", {
        "nice": "7", "ionice": str(3 << 13), "Umask": "0031", "cwd": "/usr",
        "limits": {"Max open files": ["100", "200"],
                   "Max core file size": ["0", "0"]},
        "NoNewPrivs": "1", "env": {"JUNK": "x"}}),
    "tmp": Kind(("private-tmp = yes",), "", {}),
    "pids": Kind(("private-pids = yes",), "", {}),
    "pool": Kind(("pool = 1",), None, {"fds": {3: "socket 2"}, "pool": True}),
}
OTHER_USER = {
    "user": Kind(("user = nobody",), "", {"user": NOBODY}),
    "pool-user": Kind(("pool = 1", "user = nobody"), None, {
        "fds": {3: "socket 2"}, "pool": True, "user": NOBODY}),
    "all": Kind(("user = nobody", "private-tmp = yes", "private-pids = yes",
                 "nice = -2", "result = fd3"), "", {
        "fds": {3: OUT}, "user": NOBODY, "nice": "-2"}),
}


def descriptor(text):
    """Its number, and what it is, and how it was opened."""
    number, flags, _, target = text.split(" ", 3)
    target = re.sub(r"[: ].*", "", target)
    kind = {"/dev/null": "null", "/memfd": "memory"}.get(target, target)
    return int(number), "%s %o" % (kind, int(flags, 8) & ~O_LARGEFILE)


def parse(text):
    """What a process has, from the words of state.c."""
    text, what_was_read = text[:-1].split("input ", 1)
    lines = [line.partition(" ")[::2] for line in text.splitlines()]
    many = collections.defaultdict(list)
    for name, value in lines:
        many[name].append(value)
    status = dict(item.split(":\t", 1) for item in many["status"])
    has = {name: values[-1] for name, values in many.items()
           if name not in ("fd", "env", "limit", "status")}
    has.update({name: status[name] for name in STATUS})
    has.update({name: status[name].split() for name in ("Uid", "Gid", "Groups")})
    has.update(
        input=what_was_read, fds=dict(map(descriptor, many["fd"])),
        env=dict(item.split("=", 1) for item in many["env"]),
        limits={item[:25].strip(): item[25:].split()[:2]
                for item in many["limit"][1:]},
        cgroup=[item[3:] for item in many["cgroup"] if item[:3] == "0::"])
    return has


def dump_of(*before):
    """What a program has that is started by this one."""
    done = subprocess.run([*before, STATE, "dump"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done
    return parse(done.stdout)


@pytest.fixture(params=RUNNERS.values(), ids=RUNNERS)
def place(request, directory):
    """A daemon whose runner is as odd as can be."""
    runner = request.param
    if runner.uid != os.geteuid() and not ROOT:
        pytest.skip("needs root")
    os.chmod(directory, 0o711)
    # Not below /tmp, which some do not see.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as shared:
        os.chmod(shared, 0o1777)
        p = Place(directory, shared, runner)
        try:
            p.start()
            yield p
        finally:
            p.stop()


class Place:
    def __init__(self, directory, shared, runner):
        self.runner, self.shared = runner, shared
        self.state = shutil.copy(STATE, shared)
        self.odd = [STATE, "odd", str(runner.uid)]
        self.kinds = dict(KINDS, **(OTHER_USER if runner.uid == 0 else {}))
        self.daemon = Daemon(directory, {
            "queue.grace": "0", "daemon.clients-max": "5000",
            "runner.start": None if runner.connects else "yes"})
        if not runner.connects:
            command = self.daemon.command
            self.daemon.command = lambda *more: self.odd + command(*more)
        self.remote = None

    def configure(self, umask):
        text = ("[runner]\nslots = 100\nallow-commands = yes\ncgroup = %s\n"
                "umask = %s\n[run crowd]\ncommand = /bin/sleep 1000\n"
                % (self.runner.cgroup, umask))
        for name, kind in self.kinds.items():
            to = (self.told_by(name) if kind.has.get("pool") else
                  3 if 3 in kind.has.get("fds", ()) else 1)
            if name != "run":
                text += "[run %s]\ncommand = %s dump %s\n%s\n" % (
                    name, self.state, to, "\n".join(kind.lines))
        self.daemon.configure(text.replace("%s/", self.shared + "/"))
        os.chmod(self.daemon.config_path, 0o644)

    def told_by(self, pool):
        return os.path.join(self.shared, pool)

    def start(self):
        self.configure("0022")
        self.daemon.start()
        if self.runner.connects:
            os.chmod(self.daemon.socket, 0o777)
            with open(self.daemon.log_path, "ab") as log:
                self.remote = subprocess.Popen(
                    self.odd + [RUNNER, "--connect", self.daemon.socket, "-c",
                                self.daemon.config_path],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def stop(self):
        if self.remote:
            self.remote.send_signal(signal.SIGINT)
            assert self.remote.wait(30) == 0, self.daemon.log()
        assert self.daemon.stop() in (0, None), self.daemon.log()
        assert "Sanitizer" not in self.daemon.log(), self.daemon.log()

    def reload(self, umask):
        for pool in filter(os.path.exists, map(self.told_by, self.kinds)):
            os.remove(pool)
        self.configure(umask)
        (self.remote or self.daemon.process).send_signal(signal.SIGHUP)
        until(lambda: self.log_says("reloaded queues="), "it has the new settings")

    def log_says(self, text):
        return text in self.daemon.log()

    def in_cgroups(self):
        return not self.log_says("jobs are swept by their descent") and \
            self.runner.cgroup != "off"

    def crowd(self):
        with self.daemon.client() as client:
            jobs = [client.execute_command("SUBMIT", "crowd", "")
                    for _ in range(CROWD)]
            until(lambda: all(
                pairs(client.execute_command("STATUS", job))["state"] ==
                "running" for job in jobs), "the others run")

    def dumps(self):
        """{kind: what such a job has}, of jobs that run at the same time."""
        cli = self.daemon.yoke_start("run", "--dir", "/usr", "--env", "OWN=1",
                                     "--", self.state, "dump")
        texts = {}
        with self.daemon.client() as client:
            jobs = {name: client.execute_command("SUBMIT", name, kind.payload)
                    for name, kind in self.kinds.items()
                    if kind.payload is not None}
            for name, job in jobs.items():
                ended = pairs(client.execute_command("WAIT", job, 30000))
                assert ended["outcome"] == "ok", (name, ended)
                texts[name] = ended["result"]
        for name, kind in self.kinds.items():
            if kind.has.get("pool"):
                until(lambda: os.path.exists(self.told_by(name)),
                      "the pool has started")
                with open(self.told_by(name)) as file:
                    texts[name] = file.read()
        texts["run"], said = cli.communicate(timeout=30)
        assert cli.returncode == 0, said
        return {name: self.told(texts[name], jobs.get(
            name, "w" if kind.has.get("pool") else "j"))
                for name, kind in self.kinds.items()}

    def told(self, text, job):
        """What nobody can know before is checked here."""
        has = parse(text)
        for name in {"YOKE_JOB", "YOKE_SCOPE", "YOKE_TOKEN"} & set(has["env"]):
            assert has["env"][name].startswith(job)
            has["env"][name] = OWN
        if "YOKE_RESULT" in has["env"]:
            pid = re.search(r"^status Pid:\t(\d+)$", text, re.M).group(1)
            assert has["env"]["YOKE_RESULT"] == "/proc/%s/fd/3" % pid
            has["env"]["YOKE_RESULT"] = OWN
        if self.in_cgroups():
            [path] = has["cgroup"]
            assert "yoke" in path
            has["cgroup"] = CGROUP
        return has


def variables_of(place, odd, name, kind):
    has = {key: value for key, value in odd["env"].items() if PASSED.match(key)}
    user = kind.get("user")
    if user:
        has.update(HOME=user.pw_dir, USER=user.pw_name, LOGNAME=user.pw_name,
                   SHELL=user.pw_shell)
    has.update(kind.get("env", {}))
    has.update(YOKE_QUEUE=name, YOKE_SERVER=place.daemon.socket,
               YOKE_TOKEN=OWN)
    if kind.get("pool"):
        has.update(YOKE_WORKER_FD="3")
    else:
        has.update(YOKE_JOB=OWN, YOKE_SCOPE=OWN, YOKE_ATTEMPT="1")
    return has


def expected(place, odd, name, umask):
    """What a job of a queue has; `odd` is what its runner was given, part of
    which is handed on."""
    kind = place.kinds[name].has
    user = kind.get("user")
    uid = user.pw_uid if user else place.runner.uid
    gid = user.pw_gid if user else int(odd["Gid"][0])
    rights = odd["CapBnd"] if uid == 0 else NOTHING
    has = {**odd, **dict.fromkeys(SIGNALS, NOTHING), "actions": "",
           "fds": {0: NULL, 1: OUT, 2: OUT, **kind.get("fds", {})},
           "env": variables_of(place, odd, name, kind),
           "input": kind.get("input", ""),
           "Uid": [str(uid)] * 4, "Gid": [str(gid)] * 4,
           "CapInh": NOTHING, "CapAmb": NOTHING, "CapPrm": rights,
           "CapEff": rights,
           "limits": {**odd["limits"], **kind.get("limits", {})},
           "cwd": "/", "root": "/", "Umask": umask, "leads": "1 1",
           "tty": "none", "death": "9", "cgroup": CGROUP
           if place.in_cgroups() else odd["cgroup"]}
    if ROOT:
        has.update(nice="0", ionice="0", scheduler="0 0")
    if place.runner.uid != 0 and name in ("tmp", "pids"):
        has["CapBnd"] = ALL  # in its namespace, of users
    if user:
        has["Groups"] = sorted(map(str, os.getgrouplist(user.pw_name, gid)))
        if odd["keyring"] != "none":
            has["keyring"] = "_ses"
    has.update({key: value for key, value in kind.items() if key in odd and
                key not in ("fds", "env", "limits")})
    return has


def test_a_job_has_what_is_configured_and_nothing_else(place):
    odd = dump_of(*place.odd)
    place.crowd()
    for umask in "0022", "0027":
        if umask == "0027":
            place.reload(umask)
        for name, has in place.dumps().items():
            wanted = expected(place, odd, name, umask)
            assert has.keys() == wanted.keys()
            different = {key: "%s, not %s" % (has[key], wanted[key])
                         for key in has if has[key] != wanted[key]}
            assert different == {}, name

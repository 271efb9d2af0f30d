# SPDX-License-Identifier: BSD-2-Clause
"""What the system tests share: a private daemon, clients, looks at processes.

Nothing here sleeps to decide: until() asks for a condition up to a deadline.
What is started is ended by process id.
"""

import json
import os
import re
import select
import signal
import socket
import subprocess
import time

import redis

BUILD = os.path.abspath(os.environ.get("YOKE_BUILDDIR", "."))
SOURCE = os.path.abspath(os.environ.get(
    "YOKE_SRCDIR", os.path.join(os.path.dirname(__file__), "../..")))
YOKED = os.path.join(BUILD, "yoked")
YOKE = os.path.join(BUILD, "yoke")
RUNNER = os.path.join(BUILD, "yoke-runner")
MARK = "YOKE_TEST_MARK"


def until(condition, what, seconds=20):
    """The first true value of condition(); fails after that many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, "not within %s s: %s" % (
            seconds, what)
        time.sleep(0.01)


def asked(client, command):
    """Whether that was the last request of one of the clients."""
    return any(each["cmd"] == command for each in client.client_list())


def wanted(client):
    """How many jobs the FETCH that is open may get; 0: there is none."""
    return max(int(each["wanted"]) for each in client.client_list())


def pairs(flat):
    """What the protocol calls a map, as RESP2 has it."""
    return dict(zip(flat[::2], flat[1::2]))


# ---------------------------------------------------------------- processes


def marked(mark):
    """The processes that carry the mark in their environment."""
    found = []
    wanted = ("%s=%s" % (MARK, mark)).encode()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/environ" % pid, "rb") as environ:
                if wanted in environ.read().split(b"\0"):
                    found.append(int(pid))
        except OSError:
            pass  # it has ended meanwhile
    return found


def children(pid):
    """{pid: name} of what a process has started."""
    found = {}
    try:
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/children" % (pid, task)) as kids:
                for kid in kids.read().split():
                    with open("/proc/%s/comm" % kid) as comm:
                        found[int(kid)] = comm.read().strip()
    except OSError:
        pass
    return found


def rss(pid):
    with open("/proc/%d/status" % pid) as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) * 1024


def traced(environment=os.environ):
    """The environment of what strace runs: nobody else can look for leaks in
    it then, and would end it as if it had failed."""
    options = environment.get("ASAN_OPTIONS")
    return dict(environment, ASAN_OPTIONS=":".join(
        filter(None, [options, "detect_leaks=0"])))


def sanitized():
    """Whether the daemon carries AddressSanitizer: its memory is no measure."""
    with open(YOKED, "rb") as program:
        return b"__asan_init" in program.read()


# ------------------------------------------------------------------- daemon


class Daemon:
    """A yoked of its own, on a Unix socket and a free port of 127.0.0.1."""

    program = YOKED

    def __init__(self, directory, options=None, config="", runner=False):
        self.dir = str(directory)
        self.socket = os.path.join(self.dir, "yoked.sock")
        self.state = os.path.join(self.dir, "state")
        self.log_path = os.path.join(self.dir, "yoked.log")
        self.config_path = os.path.join(self.dir, "yoked.ini")
        self.process = None
        self.password = None
        self.more = {}  # for its environment
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.options = {
            "daemon.listen": "127.0.0.1:%d" % self.port,
            "daemon.socket": self.socket,
            "daemon.state-dir": self.state,
            "journal.segment-size": "4M",
        }
        if runner:
            self.options.update({
                "runner.start": "yes", "runner.slots": "8",
                "runner.allow-commands": "yes", "queue.grace": "1s"})
        self.options.update(options or {})
        self.configure(config)

    def configure(self, config):
        with open(self.config_path, "w") as file:
            file.write(config)

    def command(self, *more):
        command = [self.program, "-c", self.config_path]
        for name, value in self.options.items():
            if value is not None: # it is in the file
                command += ["-o", "%s=%s" % (name, value)]
        return command + list(more)

    def spawn(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, cwd=self.dir, env={**os.environ, **self.more})
        return self

    def start(self):
        self.spawn()
        until(self.answers, "yoked answers", 60)
        return self

    def answers(self):
        assert self.process.poll() is None, "yoked ended:\n" + self.log()
        try:
            with self.client() as client:
                client.execute_command("QUEUE", "LIST")
                hang_up(client)
                return True
        except redis.exceptions.RedisError:
            return False

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=30):
        return self.process.wait(seconds)

    def kill(self):
        """kill -9, and what it started goes with it."""
        self.process.kill()
        self.process.wait()
        return self

    def stop(self):
        """Ends it politely and says how it went."""
        if self.process is None or self.process.poll() is not None:
            return None
        self.process.terminate()
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def runner(self):
        """The process id of its runner, None while there is none."""
        for pid, name in children(self.pid).items():
            if name == "yoke-runner":
                return pid
        return None

    # ---------------------------------------------------------------- clients

    def client(self, **options):
        options.setdefault("decode_responses", True)
        options.setdefault("password", self.password)
        return redis.Redis(unix_socket_path=self.socket,
                           single_connection_client=True, **options)

    def raw(self, tcp=False):
        """A bare socket."""
        if tcp:
            return socket.create_connection(("127.0.0.1", self.port), 30)
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(30)
        s.connect(self.socket)
        return s

    def environment(self, **more):
        environment = {k: v for k, v in os.environ.items()
                       if not k.startswith("YOKE_")}
        environment["YOKE_SERVER"] = self.socket
        environment.update(more)
        return environment

    def yoke(self, *words, **options):
        """Runs the command line program to its end."""
        options.setdefault("timeout", 60)
        options.setdefault("text", True)
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run([YOKE] + list(words), capture_output=True,
                              env=self.environment(), **options)

    def yoke_start(self, *words, **options):
        options.setdefault("text", True)
        options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen(
            [YOKE] + list(words), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=self.environment(), **options)

    def json(self, *words, **options):
        done = self.yoke("--json", *words, **options)
        assert done.stdout, done.stderr
        return json.loads(done.stdout)


def yoke_in_job():
    """--env that lets a job find the yoke program that is tested."""
    return ["--env", "PATH=%s:%s" % (os.path.dirname(YOKE),
                                     os.environ["PATH"])]


# ------------------------------------------------------------------ raw RESP


def encode(*words):
    out = b"*%d\r\n" % len(words)
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        out += b"$%d\r\n%s\r\n" % (len(data), data)
    return out


class Lines:
    """Replies of one line each, read from a bare socket."""

    def __init__(self, s):
        self.file = s.makefile("rb")

    def next(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("closed")
        if line[:1] == b"$" and line != b"$-1\r\n":
            return self.file.read(int(line[1:]) + 2)[:-2].decode()
        return line[:-2].decode(errors="replace")


def hang_up(client):
    """Breaks the connection without a word; close() would keep it pooled."""
    client.connection.disconnect()


def readable(s, seconds=0):
    return bool(select.select([s], [], [], seconds)[0])


def end(process):
    """Ends a process that a test has started, if it still runs."""
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.communicate()

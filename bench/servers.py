# SPDX-License-Identifier: BSD-2-Clause
"""The servers that are compared, each a process of its own on a free port of
127.0.0.1, pinned to one core with all its threads, and ended by its id."""

import contextlib
import mmap
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

PAYLOAD = "x" * 100
SERVER_CORE, DRIVER_CORE = "0", "1"
AT_HAND_BYTES = 2 << 30
TURN_SECONDS = 300  # no turn of any figure takes longer, but the named ones


class places:
    """Where the programs are, and where the servers keep their files."""

    build = os.path.abspath(os.environ.get("YOKE_BUILDDIR", "."))
    work = None
    cold = False

    @classmethod
    def program(cls, name):
        return os.path.join(cls.build, name)


class Failure(Exception):
    pass


@contextlib.contextmanager
def memory_at_hand():
    """What is used after it finds memory that was used until then. A virtual
    machine gives back to its host what has been free for some seconds; then a
    page that is taken again can cost more than a submit, and it is the host
    that is measured."""
    if places.cold:
        yield
        return
    free = os.sysconf("SC_AVPHYS_PAGES") * mmap.PAGESIZE
    size = min(free // 2, AT_HAND_BYTES)
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # else no huge pages
    with mmap.mmap(-1, size, flags=private) as memory:
        memory.madvise(mmap.MADV_HUGEPAGE)
        for at in range(0, size, mmap.PAGESIZE):
            memory[at] = 1
        yield


class Server:
    """A process with a port and a directory, both its own."""

    name = "server"

    def __init__(self, pinned=True):
        self.dir = tempfile.mkdtemp(prefix=self.name + ".", dir=places.work)
        self.pinned = pinned
        self.process = None
        self.port = free_port()

    def __enter__(self):
        self.start()
        self.ready()
        return self

    def __exit__(self, *exc):
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.dir)

    def start(self):
        command = self.command()
        if self.pinned:
            command = ["taskset", "-c", SERVER_CORE] + command
        with open(os.path.join(self.dir, "log"), "ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.dir, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def rss(self):
        with open("/proc/%d/status" % self.process.pid) as status:
            for line in status:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
        raise Failure("no VmRSS of " + self.name)

    def cpu_us(self):
        """Processor time of all its threads so far."""
        with open("/proc/%d/stat" % self.process.pid) as stat:
            fields = stat.read().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        return ticks * 1000000 / os.sysconf("SC_CLK_TCK")

    def ready(self):
        """Waits until it serves; the number of jobs that it has then."""
        began = time.monotonic()
        while time.monotonic() < began + TURN_SECONDS:
            if self.process.poll() is not None:
                with open(os.path.join(self.dir, "log")) as log:
                    raise Failure(self.name + " ended:\n" + log.read())
            try:
                jobs = self.held()
                if jobs is not None:
                    return jobs
            except OSError:
                pass
            time.sleep(0.001)
        raise Failure(self.name + " does not answer")

    def held(self):
        """The jobs that wait; None while it does not serve yet."""
        raise NotImplementedError


class Yoked(Server):
    name = "yoked"

    def __init__(self, pinned=True, config="", **options):
        super().__init__(pinned)
        self.config = config
        self.options = {
            "daemon.listen": "127.0.0.1:%d" % self.port,
            "daemon.socket": "none",
            "daemon.state-dir": os.path.join(self.dir, "state"),
            # A full queue would make redis-benchmark wait for ever.
            "queue.max-jobs": "100000000",
            "queue.max-bytes": "64G",
            "limits.memory-max": "64G",
            "limits.members-max": "100000000",
        }
        for name, value in options.items():
            self.options[name.replace("__", ".").replace("_", "-")] = value

    def command(self):
        path = os.path.join(self.dir, "yoked.ini")
        with open(path, "w") as config:
            config.write(self.config)
        command = [places.program("yoked"), "-c", path]
        for name, value in self.options.items():
            command += ["-o", "%s=%s" % (name, value)]
        return command

    def held(self):
        with Resp(self.port) as resp:
            names = resp.try_call("QUEUE", "LIST")
            if names is None:
                return None
            if "bench" not in names:
                return 0
            info = resp.call("QUEUE", "INFO", "bench")
        return dict(zip(info[::2], info[1::2]))["jobs"]

    def figures(self):
        """INFO, the numbers in it."""
        with Resp(self.port) as resp:
            lines = resp.call("INFO").splitlines()
        pairs = (line.partition(":") for line in lines)
        return {name: int(value) for name, _, value in pairs
                if value.lstrip("-").isdigit()}

    def submit(self):
        return ["SUBMIT", "bench", PAYLOAD]

    def protocol(self):
        return "yoke"


class Redis(Server):
    name = "redis-server"

    def __init__(self, aof):
        super().__init__()
        self.aof = aof

    def command(self):
        return ["redis-server", "--port", str(self.port),
                "--bind", "127.0.0.1", "--dir", self.dir, "--save", "",
                "--appendonly", "yes" if self.aof else "no",
                "--appendfsync", "always",
                # A rewrite in the midst of a turn would be noise.
                "--auto-aof-rewrite-percentage", "0"]

    def held(self):
        with Resp(self.port) as resp:
            return resp.try_call("LLEN", "bench")

    def save(self):
        """What an RDB has; nothing else survives without the AOF."""
        with Resp(self.port) as resp:
            resp.call("SAVE")

    def submit(self):
        return ["LPUSH", "bench", PAYLOAD]


class Beanstalkd(Server):
    name = "beanstalkd"

    def __init__(self, sync):
        super().__init__()
        self.sync = sync

    def command(self):
        return ["beanstalkd", "-l", "127.0.0.1", "-p", str(self.port),
                "-b", self.dir] + self.sync

    def ask(self, line):
        with socket.create_connection(("127.0.0.1", self.port), 30) as s:
            s.sendall(line)
            with s.makefile("rb") as answer:
                if answer.readline().startswith(b"OK "):
                    return answer.read1().decode()
                raise Failure("beanstalkd refuses " + repr(line))

    def held(self):
        for line in self.ask(b"stats\r\n").splitlines():
            if line.startswith("current-jobs-ready: "):
                return int(line.split()[1])
        raise Failure("beanstalkd does not say how many jobs it has")

    def protocol(self):
        return "beanstalkd"


class Resp:
    """The few lines of a Redis client that are needed here."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port),
                                               TURN_SECONDS)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.file.close()
        self.socket.close()

    @staticmethod
    def encode(*words):
        out = b"*%d\r\n" % len(words)
        for word in words:
            data = word.encode()
            out += b"$%d\r\n%s\r\n" % (len(data), data)
        return out

    def reply(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("closed")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise Failure(rest.decode())
        if kind == b"+":
            return rest.decode()
        if kind == b":":
            return int(rest)
        if int(rest) < 0:
            return None
        if kind == b"$":
            return self.file.read(int(rest) + 2)[:-2].decode()
        return [self.reply() for _ in range(int(rest))]

    def call(self, *words):
        self.socket.sendall(self.encode(*words))
        return self.reply()

    def try_call(self, *words):
        """None while the server still loads."""
        try:
            return self.call(*words)
        except Failure as failure:
            if str(failure).startswith("LOADING"):
                return None
            raise


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]

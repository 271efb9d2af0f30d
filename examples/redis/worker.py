#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""worker.py URL - a worker on redis-py: hashes the files that jobs of the queue sha256 name."""
import signal, sys, time
from contextlib import suppress
from subprocess import PIPE, Popen, TimeoutExpired
import redis
yoke = redis.Redis.from_url(sys.argv[1], decode_responses=True, socket_timeout=3).execute_command
hello, leaving = yoke("HELLO", 2), []
lease = hello[hello.index("lease") + 1] / 1000
signal.signal(signal.SIGTERM, lambda *_: leaving.append(True))

def work(token, path, grace):
    process = Popen(["sha256sum", path], stdout=PIPE, stderr=PIPE, text=True)
    report, asked, lost_at = None, 0, time.monotonic() + lease / 2
    while process.returncode is None:
        with suppress(TimeoutExpired):
            out, error = process.communicate(timeout=0.5)
        with suppress(redis.RedisError):  # A TOUCH keeps the job, also on a new connection.
            lost_at, (asked, _, reason, told) = time.monotonic() + lease / 2, yoke("TOUCH", token)
        if not report and (asked or leaving or time.monotonic() > lost_at):
            report = ("FAIL", token, "cancelled", reason) if asked else ("RELEASE", token)
            process.terminate()
            kill_at = time.monotonic() + (told / 1000 if asked else grace)
        elif report and time.monotonic() > min(kill_at, lost_at + lease / 4):
            process.kill()
    failed = report or ("FAIL", token, f"exit:{process.returncode}", error)
    report = failed if process.returncode else ("DONE", token, out[:64])
    while True:  # until it is heard, or STALE: somebody else has it
        with suppress(redis.ConnectionError, redis.TimeoutError):
            return yoke(*report)
        time.sleep(1)

while not leaving:
    try:
        for _, token, _, path, more in yoke("FETCH", 1, 1000, "sha256"):
            work(token, path, more[more.index("grace") + 1] / 1000)
    except redis.RedisError as error:
        print(error, file=sys.stderr)
        time.sleep(1)

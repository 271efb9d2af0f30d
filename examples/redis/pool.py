#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""pool.py - a process of a pool (`pool = 4` in [run QUEUE]): the worker protocol over descriptor 3."""
import hashlib, os, socket

yoke = socket.socket(fileno=int(os.environ["YOKE_WORKER_FD"])).makefile("rwb")

def reply():
    line = yoke.readline()
    if not line:
        raise SystemExit  # The runner has closed it: no more jobs.
    kind, rest = line[:1], line[1:-2]
    if kind == b"*":
        return [reply() for _ in range(int(rest))]
    if kind == b"$":
        return None if rest == b"-1" else yoke.read(int(rest) + 2)[:-2]
    return int(rest) if kind == b":" else rest

def ask(*words):
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    yoke.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
    yoke.flush()
    return reply()

def work(token, path):
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
                if ask("TOUCH", token)[0]:  # Cancelled, or out of time.
                    return "FAIL", token, "cancelled", "as it was asked to"
    except OSError as error:
        return "FAIL", token, "io", error
    return "DONE", token, digest.hexdigest()

while True:
    for _, token, _, path, *_ in ask("FETCH", 1, -1, os.environ["YOKE_QUEUE"]):
        ask(*work(token, path))

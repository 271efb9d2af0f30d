#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""producer.py URL SECONDS FILE... - has files hashed, all within so many seconds, and prints
what becomes of each as it ends. However it is left, nothing of it goes on running."""
import signal
import sys
import redis

url, seconds, *paths = sys.argv[1:]
yoke = redis.Redis.from_url(url, decode_responses=True).execute_command
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

# A scope with a deadline: when it passes the daemon cancels what is left, as it does when
# this connection is gone. FAIL 0: one that fails does not stop the others.
group = yoke("GROUP", "OPEN", "FAIL", 0, "TIMEOUT", int(float(seconds) * 1000))
status = 0
try:
    jobs = {yoke("SUBMIT", "sha256", path, "GROUP", group): path for path in paths}
    yoke("GROUP", "CLOSE", group)
    cursor, over = "0", False
    while not over:
        cursor, members, over = yoke("GROUP", "NEXT", group, cursor, -1)
        for member in (dict(zip(m[::2], m[1::2])) for m in members):
            if member["outcome"] == "ok":
                print(member["result"], jobs[member["id"]], flush=True)
                continue
            status = 1
            why = member["reason"]
            for error in (dict(zip(e[::2], e[1::2])) for e in member["errors"]):
                why = "%(class)s: %(message)s" % error
            print(f"{jobs[member['id']]}: {member['outcome']}: {why}", file=sys.stderr)
finally:
    yoke("GROUP", "CANCEL", group, "REASON", "the producer has left")
    yoke("GROUP", "WAIT", group, -1)  # cancelled is not yet ended
sys.exit(status)

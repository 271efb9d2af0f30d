#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# timeout - asyncio.timeout, timeout_at, reschedule: of an attempt, or of a scope
# and all that is in it. What runs out of time is ended, and its end is awaited;
# moving a deadline acts at once.
#
# Prints:
#     yoke: sleep 60: the attempt took longer than its timeout
#     exit status 124
#     deadline  1 cancelled, after ...  g...
#     exit status 1
set -u

yoke run --timeout 200ms -- sleep 60 2>&1
echo "exit status $?"

# A scope: the member has no deadline of its own, it inherits the group's.
group=$(yoke group open --deadline 1h)
yoke submit -g "$group" -c -- sleep 60 >/dev/null
yoke group close "$group"
yoke reschedule --deadline 200ms "$group"
yoke group wait "$group" 2>&1
echo "exit status $?"

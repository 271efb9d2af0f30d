#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# taskgroup - asyncio.TaskGroup, a Trio nursery: when a member fails the others
# are cancelled, and the group ends when all of them have really ended.
#
# Prints:
#     failed  1 failed, 2 cancelled, after ...  g...
#     │ the rest was cancelled: a member failed
#     └─ parse  exit:3  after ... at ...  j...
#     exit status 1
set -u

group=$(yoke group open --halt fail=1)
yoke submit -g "$group" --name download -c -- sleep 60 >/dev/null
yoke submit -g "$group" --name index -c -- sh -c 'sleep 60 & sleep 60' >/dev/null
yoke submit -g "$group" --name parse -c -- sh -c 'exit 3' >/dev/null
yoke group close "$group"
yoke group wait "$group" 2>&1
echo "exit status $?"

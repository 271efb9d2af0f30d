#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# bounded-queue - asyncio.Queue(maxsize=2): a producer waits for room in a full
# queue, in the order of arrival. The consumer would be a worker; here a cancel
# makes room.
#
# Prints:
#     yoke: cannot submit ...: QUEUEFULL ...
#     not accepted
#     accepted when there was room
#     example.bounded ... 2 ...
set -u

queue=example.bounded
yoke queue set --max-jobs 2 $queue
first=$(yoke submit -q $queue one)
yoke submit -q $queue two >/dev/null
yoke submit -q $queue --wait 0 three 2>&1 || echo "not accepted"

yoke submit -q $queue three >/dev/null && echo "accepted when there was room" &
until yoke queue info $queue | grep -q 'waiting_producers *1'; do
    sleep 0.02
done
yoke cancel "$first"
wait
yoke queue list | grep $queue

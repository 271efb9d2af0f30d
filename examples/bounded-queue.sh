#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# bounded-queue - asyncio.Queue(maxsize=2): a producer waits for room in a full
# queue, in the order of arrival; join() waits until nothing is unfinished,
# shutdown() refuses what comes after it. The consumer would be a worker; here
# cancels make room.
#
# Prints:
#     yoke: cannot submit ...: QUEUEFULL ...
#     not accepted
#     accepted when there was room
#     example.bounded ... 2 ...
#     2 cancelled
#     joined
#     yoke: cannot submit ...: CLOSED ...
#     the queue is closed
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

yoke queue close $queue
yoke queue purge $queue
yoke queue join $queue && echo "joined"
yoke submit -q $queue four 2>&1 || echo "the queue is closed"
yoke queue open $queue

#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# retry - attempts with back-off and jitter: 10 ms, then 20, 40 ... up to 100,
# each times 0.5 to 1.5. What has no attempts left is on the list of the dead, to
# be run once more.
#
# Prints:
#     try
#     try
#     try
#     third time lucky
#     exit status 0
#     j...  run ...  exit:1      report
#     j...  failed  exited with status 1  (report)
#     1 purged
set -u

# shellcheck disable=SC2016 # the job's shell expands it
yoke run --retry 5 --backoff 10ms,100ms -- sh -c '
    echo try
    test "$YOKE_ATTEMPT" = 3 || exit 75
    echo third time lucky'
echo "exit status $?"

dead=$(yoke submit --name report -c -- sh -c 'exit 1')
yoke wait "$dead" >/dev/null
yoke dead list 2>/dev/null | grep "^$dead"
again=$(yoke retry "$dead")
yoke wait "$again" || true
yoke dead purge --queue run

#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# retry - attempts with back-off and jitter: 10 ms, then 20, 40 ... up to 100,
# each times 0.5 to 1.5.
#
# Prints:
#     try
#     try
#     try
#     third time lucky
#     exit status 0
set -u

# shellcheck disable=SC2016 # the job's shell expands it
yoke run --retry 5 --backoff 10ms,100ms -- sh -c '
    echo try
    test "$YOKE_ATTEMPT" = 3 || exit 75
    echo third time lucky'
echo "exit status $?"

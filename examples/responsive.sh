#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# responsive - never block the loop: slow work never runs in the daemon, which
# measures how long each turn of its loop takes; that is how long anybody has to
# wait for it.
#
# Prints:
#     loop_lag_us_last...
#     loop_lag_us_minute...
#     loop_lag_us_max...
#     1 of 8 failed, and the loop went on
set -eu

# shellcheck disable=SC2016 # the job's shell expands it
seq 8 | yoke map --halt never sh -c 'sleep 0.1; test "$0" != 5' {} \
    2>/dev/null || failed=$?
yoke info server | grep -o 'loop_lag.*'
echo "$failed of 8 failed, and the loop went on"

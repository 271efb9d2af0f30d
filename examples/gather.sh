#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# gather - asyncio.gather(return_exceptions=True): nobody is cancelled, and the
# results come in the order of submission, whoever ended first.
#
# Prints:
#     1
#     3
#     gather  ok  1 failed, 2 ok, after ...  g...
#     └─ 0 2 2  exit:2  after ... at ...  j...
#     exit status 1: as many as failed
set -u

# What each input is to do: a sleep, an exit status, and what is printed.
# shellcheck disable=SC2016 # the job's shell expands it
yoke map --name gather --halt never sh -c 'set -- $0; sleep $1; [ $3 = 0 ] || exit $3; echo $2' {} \
    ::: '0.3 1 0' '0 2 2' '0 3 0' 2>&1
echo "exit status $?: as many as failed"

#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# stream - results go on to the next queue, as a pipeline of processes. Its two
# stages are queues of which the runner knows what to run:
#
#     [run example.upper]
#     command = tr a-z A-Z
#     [run example.mark]
#     command = sed s/$/!/
#
# Prints:
#     j...  ok
#     HELLO!
set -eu

first=$(yoke submit -q example.upper --then example.mark hello)
yoke wait "$first"
next=$(yoke --json wait "$first" | sed -n 's/.*"next": *"\([^"]*\)".*/\1/p')
yoke result --timeout 10s "$next"
echo

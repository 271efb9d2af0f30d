#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# pools - a process pool: the slots of a runner; the width of a group takes some
# of them. Threads are workers of libyoke, see pools.c: a shell has none.
#
# Prints:
#     1
#     4
#     9
#     16
#     25
#     36
#     49
#     64
set -eu

# shellcheck disable=SC2016 # the job's shell expands it
seq 8 | yoke map --width 3 sh -c 'echo $(($0 * $0))' {}

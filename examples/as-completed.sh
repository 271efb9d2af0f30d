#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# as-completed - asyncio.as_completed: what has ended is printed at once, while
# others still run.
#
# Each job waits for a file of its name; this script makes the next one when it
# has read the output of the one before.
#
# Prints:
#     c
#     a
#     b
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
touch "$dir/c"
# shellcheck disable=SC2016 # the job's shell expands it
yoke map --as-completed --dir "$dir" \
    sh -c 'until test -e "$0"; do sleep 0.02; done; echo "$0"' {} ::: a b c |
    while read -r name; do
        echo "$name"
        case $name in
        c) touch "$dir/a" ;;
        a) touch "$dir/b" ;;
        esac
    done

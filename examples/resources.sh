#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# resources - async context managers: however a job ends, nothing of it is
# left. Each job holds a permit, takes a lock and leaves it to a daemon in a
# session of its own; when the job's end is reported the daemon is gone, the lock
# is free, and the permit is back: the next job could not start else.
#
# Prints:
#     exit status 0; its lock is free
#     exit status 3; its lock is free
#     exit status 124; its lock is free
#     0 permits are held
set -u

lock=$(mktemp)
trap 'rm -f "$lock"' EXIT

run() {
    end=$1
    shift
    # shellcheck disable=SC2016 # the job's shell expands it
    yoke run --limits example.license "$@" -- sh -c 'exec 9>"$1"; flock 9; setsid sleep 60 & eval "$2"' \
        sh "$lock" "$end" 2>/dev/null
    printf 'exit status %d; its lock is %s\n' $? \
        "$(flock -n "$lock" echo free || echo taken)"
}

yoke limiter set example.license 1
run 'exit 0'
run 'exit 3'
run 'sleep 60' --timeout 300ms
yoke limiter info example.license |
    awk '$1 == "held" { print $2 " permits are held" }'
yoke limiter del example.license

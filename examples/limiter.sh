#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# limiter - a CapacityLimiter: permits for whatever needs them, in whichever
# queue or group. Raising acts at once; what needs no permit passes. A rate is a
# limiter, too.
#
# Prints:
#     1 permits, 1 held, 2 waiting
#     no card is needed for this
#     2 permits, 2 held, 1 waiting
#     2 permits, 0 held, 0 waiting
#     asked the server
set -eu

limiter=example.card
dir=$(mktemp -d)
trap 'rm -r "$dir"' EXIT

await() {
    until yoke limiter list | awk -v name=$limiter '$1 == name {
        print $2 " permits, " $3 " held, " $5 " waiting"}' | grep -x "$1"; do
        sleep 0.02
    done
}

yoke limiter set $limiter 1
jobs=
for scene in 1 2 3; do
    # shellcheck disable=SC2016 # the job's shell expands it
    jobs="$jobs $(yoke submit --name "scene $scene" --limits $limiter -c -- \
        sh -c 'until [ -e "$1/rendered" ]; do sleep 0.02; done' sh "$dir")"
done
await '1 permits, 1 held, 2 waiting'
yoke run echo "no card is needed for this"
yoke limiter set $limiter 2
await '2 permits, 2 held, 1 waiting'
touch "$dir/rendered"
# shellcheck disable=SC2086 # ids are words
yoke wait $jobs >"$dir/ends"
await '2 permits, 0 held, 0 waiting'
yoke limiter del $limiter

yoke limiter set example.api --rate 10/1s
yoke run --limits example.api echo "asked the server"

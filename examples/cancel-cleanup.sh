#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# cancel-cleanup - CancelledError with a finally block: a job that is cancelled
# gets TERM and a grace to clean up in; then it is killed, with all that it
# started. "cancelled" is said when it has ended, not when it was asked to.
#
# Prints:
#     polite: working
#     polite: cleaned up
#     j...  cancelled  not wanted any more  (polite)
#     polite: exit status 1
#     stubborn: working
#     j...  cancelled  not wanted any more  (stubborn)
#     stubborn: exit status 1
set -u

# Cancels a job as soon as it has printed its first line.
start_and_cancel() {
    id=$(yoke submit --name "$1" --grace 300ms -c -- sh -c "$2")
    yoke logs -f "$id" 2>/dev/null | while read -r line; do
        echo "$1: $line"
        [ "$line" != working ] ||
            yoke cancel --reason 'not wanted any more' "$id"
    done
    yoke wait "$id" || echo "$1: exit status $?"
}

start_and_cancel polite "trap 'echo cleaned up; exit 1' TERM
    echo working; while :; do sleep 0.02; done"
# It ignores TERM, and so does what it put into a session of its own.
start_and_cancel stubborn "trap '' TERM; setsid sleep 60 &
    echo working; while :; do sleep 0.02; done"

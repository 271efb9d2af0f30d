#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# shield - a transfer must not be stopped between the debit and the credit: it
# keeps cancels from outside back for so long. Nothing is orphaned: who waits
# for the job waits for the end of it.
#
# Prints:
#     debited
#     cancelling, and still running
#     credited
#     j...  cancelled  not wanted any more  (transfer)
set -u

dir=$(mktemp -d)
trap 'rm -r "$dir"' EXIT

# yoke must be found by the job, too.
# shellcheck disable=SC2016 # the job's shell expands it
job=$(yoke submit --env PATH --name transfer -c -- sh -c '
    yoke shield --for 10s
    echo debited
    until [ -e "$1/go-on" ]; do sleep 0.02; done
    echo credited
    yoke shield --end
    sleep 60' sh "$dir")
until yoke logs "$job" | grep debited; do sleep 0.02; done

yoke cancel --reason 'not wanted any more' "$job"
yoke wait --timeout 0 "$job" 2>/dev/null || echo "cancelling, and still running"
touch "$dir/go-on"
yoke wait "$job" >"$dir/end" || true
yoke logs "$job" | grep credited
cat "$dir/end"

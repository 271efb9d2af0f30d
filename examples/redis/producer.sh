#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# producer.sh URL SECONDS FILE... - has files hashed, all within so many seconds, and prints what
# becomes of each. However it is left, nothing of it goes on running.
set -e
url=$1 seconds=$2 status=0 jobs=()
shift 2
yoke() { redis-cli -u "$url" "$@"; }
field() { awk -v name="$1" 'found { print; exit } $0 == name { found = 1 }' <<<"$end"; }

# This connection owns the group: when it is gone the daemon cancels what is left, as it does
# when the time is up. FAIL 0: one that fails does not stop the others.
coproc yoke
echo "GROUP OPEN FAIL 0 TIMEOUT $((seconds * 1000))" >&"${COPROC[1]}"
read -r group <&"${COPROC[0]}"
# What has ended does not mind a cancel.
trap '{ yoke CANCEL "$group" REASON left; yoke GROUP WAIT "$group" -1; } >/dev/null' EXIT
trap 'exit 130' INT TERM

for path; do
    jobs+=("$(yoke SUBMIT sha256 "$path" GROUP "$group")") # waits while the queue is full
done
yoke GROUP CLOSE "$group" >/dev/null
for job in "${jobs[@]}"; do
    end=
    while [ -z "$end" ]; do end=$(yoke WAIT "$job" 1000); done
    if [ "$(field outcome)" = ok ]; then
        echo "$(field result) $1"
    else
        status=1
        echo "$1: $(field outcome): $(field reason)$(field class) $(field message)" >&2
    fi
    shift
done
exit $status

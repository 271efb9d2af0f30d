#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# worker.sh URL - a worker on redis-cli: hashes the files that jobs of the queue sha256 name. Each
# call is a connection of its own: a job is held by its token, and TOUCH keeps it.
url=$1 leaving=
yoke() { timeout 9 redis-cli -u "$url" "$@"; }
lease=$(yoke HELLO 2 | sed -n '/^lease$/ { n; s/...$//p; }')
out=$(mktemp) || exit
trap 'rm "$out"' EXIT
trap 'leaving=yes' TERM

work() { # TOKEN PATH GRACE
    local report=() alive=$SECONDS kill_at='' grace=$(($3 / 1000)) process asked status
    sha256sum "$2" >"$out" 2>&1 &
    process=$!
    while sleep 0.5 & wait -n "$process" $! || true; kill -0 "$process" 2>/dev/null; do
        read -r asked < <(yoke TOUCH "$1") && [[ $asked = [01] ]] && alive=$SECONDS
        if [ "$asked" = 1 ]; then # cancelled, or its time is up
            report=(FAIL "$1" cancelled 'as asked')
        elif [ "$leaving" ] || ((SECONDS - alive > lease / 2)); then
            report=(RELEASE "$1") grace=$((grace < lease / 4 ? grace : lease / 4))
        fi
        if [ "${#report[@]}" != 0 ] && [ -z "$kill_at" ]; then
            kill "$process"
            kill_at=$((SECONDS + grace))
        elif [ "$kill_at" ] && ((SECONDS >= kill_at)); then
            kill -KILL "$process"
        fi
    done
    wait "$process" && report=(DONE "$1" "$(cut -c-64 "$out")") || status=$?
    [ "${#report[@]}" != 0 ] || report=(FAIL "$1" "exit:$status" "$(cat "$out")")
    until yoke "${report[@]}" >/dev/null; do sleep 1; done # STALE is an answer, too
}

while [ -z "$leaving" ]; do
    mapfile -t job < <(yoke FETCH 1 1000 sha256 || sleep 1)
    [ "${job[0]}" != job ] || work "${job[1]}" "${job[3]}" "${job[13]}"
done

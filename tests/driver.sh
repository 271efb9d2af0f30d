#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Automake's test driver: runs one suite, keeps its output in a log, counts the
# tests in it, and prints one line. Understands the closing lines of Check and
# pytest, and "N passed, N failed"; a suite without such a line is one test.
# A suite that crashes, hangs or runs no test has failed.
set -u
export LC_ALL=C
while [ $# -gt 0 ]; do
    case $1 in
    --test-name) name=$2 && shift 2 ;;
    --log-file) log=$2 && shift 2 ;;
    --trs-file) trs=$2 && shift 2 ;;
    --) shift && break ;;
    *) shift 2 ;; # colours, expected failures: not used here
    esac
done

began=$(date +%s%N)
timeout -k 10 "${YOKE_TEST_SECONDS:-1200}" "$@" >"$log" 2>&1 </dev/null
status=$?
tenths=$((($(date +%s%N) - began) / 100000000))

# The sums of all closing lines: passed, failed, skipped.
read -r passed failed skipped < <(awk '
    function count(word,    at) {
        at = match($0, "[0-9]+ " word)
        return at ? substr($0, at) + 0 : 0
    }
    /^[0-9]+%: Checks: [0-9]+, Failures: [0-9]+, Errors: [0-9]+/ {
        split($0, n, /[^0-9]+/) # percent, checks, failures, errors
        bad += n[3] + n[4]
        good += n[2] - n[3] - n[4]
    }
    /^(=+ )?([0-9]+ [a-z]+, )*[0-9]+ [a-z]+ in [0-9.]+s/ {
        good += count("passed")
        bad += count("failed") + count("error")
        left += count("skipped") + count("deselected") + count("xfailed")
    }
    /^[0-9]+ passed, [0-9]+ failed$/ { good += $1; bad += $3 }
    END { print good + 0, bad + 0, left + 0 }' "$log")

[ "$status" != 124 ] || echo "no end after ${YOKE_TEST_SECONDS:-1200} s" >>"$log"
if [ $((passed + failed + skipped)) -eq 0 ] && ! grep -qE \
    '^[0-9]+%: Checks:|no tests ran|^0 passed' "$log"; then
    if [ "$status" = 0 ]; then passed=1; else failed=1; fi
elif [ "$failed" -eq 0 ] && { [ "$status" != 0 ] || [ "$passed" -eq 0 ]; }; then
    failed=1
fi

result=PASS word=ok
[ "$failed" -eq 0 ] || result=FAIL word=FAIL
{
    for ((i = 0; i < passed; i++)); do echo ":test-result: PASS"; done
    for ((i = 0; i < failed; i++)); do echo ":test-result: FAIL"; done
    for ((i = 0; i < skipped; i++)); do echo ":test-result: SKIP"; done
    echo ":global-test-result: $result"
    echo ":recheck: $([ $result = PASS ] && echo no || echo yes)"
    echo ":copy-in-global-log: $([ $result = PASS ] && echo no || echo yes)"
} >"$trs"

counts="$passed passed"
[ "$failed" -eq 0 ] || counts+=", $failed failed (exit status $status)"
[ "$skipped" -eq 0 ] || counts+=", $skipped skipped"
printf '  %-4s %-36s %5d.%d s   %s\n' "$word" "$name" \
    $((tenths / 10)) $((tenths % 10)) "$counts"

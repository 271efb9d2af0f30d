#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Replays the corpus of every fuzz target: what once broke must not break again.
set -u
src=${YOKE_SRCDIR:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${YOKE_BUILDDIR:-.}
passed=0 failed=0

for target in "$src"/tests/fuzz/fuzz_*.c; do
    name=$(basename "$target" .c)
    name=${name#fuzz_}
    corpus=$src/tests/fuzz/corpus/$name
    # A target without inputs proves nothing.
    if [ -n "$(ls -A "$corpus" 2>/dev/null)" ] &&
        "$build/tests/fuzz/replay_$name" "$corpus"/*; then
        echo "$name: $(find "$corpus" -type f | wc -l) inputs"
        passed=$((passed + 1))
    else
        echo "$name: failed, or no corpus in $corpus"
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]

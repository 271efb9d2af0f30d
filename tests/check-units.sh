#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# systemd takes the units as they are, and they are confined as far as is
# promised: exposure at most 1.5 for the daemon, 3.0 for the runner.
set -u
build=${YOKE_BUILDDIR:-.}
failed=0 passed=0

# check WHAT COMMAND...
check() {
    local what=$1 said
    if said=$("${@:2}" 2>&1); then
        passed=$((passed + 1))
    else
        echo "$what: $said"
        failed=$((failed + 1))
    fi
}

# The programs are not installed here: any other stands in for them.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for unit in "$build"/units/*.{service,socket}; do
    sed -E 's,^(ExecStart=)[^ ]+,\1/bin/true,' "$unit" \
        >"$scratch/$(basename "$unit")"
done
check "verify" systemd-analyze verify --recursive-errors=no --man=no \
    "$scratch"/*
check "yoked.service" systemd-analyze security --no-pager --offline=true \
    --threshold=15 "$build/units/yoked.service"
check "yoke-runner@.service" systemd-analyze security --no-pager \
    --offline=true --threshold=30 "$build/units/yoke-runner@.service"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]

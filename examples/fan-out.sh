#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# fan-out - many jobs at once, at most four of them running, and their results
# in the order of the inputs.
#
# Prints:
#     1 + 4 + 9 + 16 + 25 + 36 + 49 + 64 + 81 + 100 + 121 + 144 = 650
set -eu

squares=$(seq 12 | yoke map --width 4 expr {} '*' {})
total=0
for square in $squares; do
    total=$((total + square))
done
echo "$(echo "$squares" | sed -z 's/\n$//; s/\n/ + /g') = $total"

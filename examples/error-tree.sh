#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# error-tree - ExceptionGroup and except*: every error is kept, in a tree
# shaped like the groups; a split by class keeps the shape.
#
# Prints:
#     all:
#     release  ok  2 ok, after ...  g...
#     ├─ build  2 failed  g...
#     │  ├─ compile  exit:1  after ... at ...  j...
#     │  │    ┊ no such header
#     │  └─ link  exit:2  after ... at ...  j...
#     └─ test  1 failed  g...
#        └─ hangs  timeout  after ... at ...  j...
#     except* timeout:
#     release  ok  2 ok, after ...  g...
#     └─ test  1 failed  g...
#        └─ hangs  timeout  after ... at ...  j...
#     what is left of build:
#     release  ok  2 ok, after ...  g...
#     └─ build  2 failed  g...
#        └─ link  exit:2  after ... at ...  j...
set -u

release=$(yoke group open --name release --halt never)
build=$(yoke group open --name build --halt never --parent "$release")
yoke submit -g "$build" --name compile -c -- \
    sh -c 'echo no such header >&2; exit 1' >/dev/null
yoke submit -g "$build" --name link -c -- sh -c 'exit 2' >/dev/null
test=$(yoke group open --name test --halt never --parent "$release")
yoke submit -g "$test" --name hangs --timeout 200ms -c -- sleep 60 >/dev/null
for group in "$build" "$test" "$release"; do
    yoke group close "$group"
done
yoke group wait "$release"

echo "all:"
yoke group errors "$release"
echo "except* timeout:"
yoke group errors --class timeout "$release"
echo "what is left of build:"
yoke group errors --except timeout,exit:1 "$release"

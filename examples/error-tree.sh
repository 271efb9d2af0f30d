#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# error-tree - ExceptionGroup and except*: every error is kept, in a tree
# shaped like the groups; a class picks some and keeps the shape.
#
# Prints:
#     all:
#     ├─ build  g...
#     │  ├─ compile  j...
#     │  │      exit:1  exited with status 1  (at ...)
#     │  │      │ no such header
#     │  └─ link  j...
#     │         exit:2  exited with status 2  (at ...)
#     └─ test  g...
#        └─ hangs  j...
#               timeout  ...  (at ...)
#     except* timeout:
#     └─ test  g...
#        └─ hangs  j...
#               timeout  ...  (at ...)
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

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# The manual pages format without a warning, and each program has one.
set -u
src=${YOKE_SRCDIR:-$(cd "$(dirname "$0")/.." && pwd)}
failed=0 passed=0

# Those of the library are checked by check-library-manuals.sh, too.
for page in yoked.8 yoke.1 yoke-runner.8 yoked.ini.5 \
    $(cd "$src/doc" && echo yoke*.3); do
    if [ -s "$src/doc/$page" ] &&
        warnings=$(groff -t -mandoc -ww -z -Tutf8 "$src/doc/$page" 2>&1) &&
        [ -z "$warnings" ]; then
        passed=$((passed + 1))
    else
        echo "doc/$page: ${warnings:-is not there, or groff is missing}"
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]

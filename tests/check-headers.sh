#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Each header compiles alone; the installed ones also as C99 and, where there is
# a compiler for it, as C++. An adapter does where its loop is.
set -u
src=${YOKE_SRCDIR:-$(cd "$(dirname "$0")/.." && pwd)}
build=${YOKE_BUILDDIR:-.}
cc=${CC:-cc}
bad=0 count=0

try() {
    count=$((count + 1))
    # shellcheck disable=SC2086 # CC may carry options
    printf '#include "%s"\n' "$1" |
        $cc -fsyntax-only -Wall -Wextra -Wpedantic -Werror \
            -I"$build" -I"$src/src" -I"$src/include" "${@:2}" - && return
    echo "$1 does not compile alone ($*)" >&2
    bad=$((bad + 1))
}

while read -r header; do
    try "$header" -std=c11 -D_GNU_SOURCE -x c
done < <(cd "$src/src" && find . -name '*.h' | sed 's,^\./,,' | sort)

installed=(yoke.h yoke/poll.h yoke/libev.h)
flags=
for loop in libuv/libuv libevent/libevent_core glib/glib-2.0; do
    if found=$(pkg-config --cflags "${loop#*/}" 2>/dev/null); then
        installed+=("yoke/${loop%/*}.h")
        flags+=" $found"
    else
        echo "headers: no ${loop#*/}, so its adapter is not looked at"
    fi
done
plusplus=no
if echo 'int main() {}' | $cc -fsyntax-only -x c++ - 2>/dev/null; then
    plusplus=yes
fi
for header in "${installed[@]}"; do
    # shellcheck disable=SC2086 # several words
    try "$header" -std=c99 -D_GNU_SOURCE -x c $flags
    # shellcheck disable=SC2086
    [ $plusplus = no ] || try "$header" -x c++ $flags
done

if [ "$bad" -gt 0 ] || [ "$count" -lt 10 ]; then
    echo "headers: $bad of $count failed" >&2
    exit 1
fi
echo "headers: $count compile alone"

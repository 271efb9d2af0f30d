#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Who may include whom, what the core may call, what libyoke exports.
# Run by make check, or by hand in a build directory.
# shellcheck disable=SC2086 # nm is a command with options
set -u
export LC_ALL=C
src=${YOKE_SRCDIR:-$(cd "$(dirname "$0")/.." && pwd)}
build=${YOKE_BUILDDIR:-.}
nm=${NM:-nm} # may carry options
bad=0

complain() {
    echo "$*" >&2
    bad=$((bad + 1))
}

# ---------------------------------------------------------------- includes
#
# layer FOLDER LOCAL LIBRARIES: LOCAL is what may stand between quotes,
# LIBRARIES what is allowed between angle brackets besides the C library.
libraries='^(ev|ini|jansson|xxhash|check|yoke)\.h$|^(hiredis|openssl|systemd)/'

layer() {
    local folder=$1 local_ok=$2 library_ok=$3 file line name
    while IFS=: read -r file line name; do
        [ -n "$file" ] || continue
        case $name in
        '"'*)
            name=${name//\"/}
            [[ $name =~ ^($local_ok)$ ]] ||
                complain "$file:$line: $folder must not include \"$name\""
            ;;
        '<'*)
            name=${name//[<>]/}
            [[ ! $name =~ $libraries || $name =~ ^($library_ok) ]] ||
                complain "$file:$line: $folder must not include <$name>"
            ;;
        esac
    done < <(includes "$folder")
}

# Each include of a folder as file:line:"name" or file:line:<name>.
includes() {
    (cd "$src/src" && grep -rnE '^[[:space:]]*#[[:space:]]*include' \
        --include='*.[ch]' --include='*.def' "$1" 2>/dev/null) |
        sed -E 's/^([^:]*):([0-9]+):[^"<]*(["<][^">]*[">]).*/\1:\2:\3/'
}

layer base 'base/.*' 'none'
layer wire '(base|wire)/.*' 'hiredis/'
layer core 'base/(base|mem|list|slab|heap|map|buf|pattern|plant|value)\.h|core/.*|wire/errors\.def' \
    'none'
layer store '(base|store)/.*' 'xxhash\.h|hiredis/'
layer server \
    '(base|wire|server)/.*|core/core\.h|store/(copier|store|salvage)\.h|config\.h' \
    'ev\.h|ini\.h|hiredis/|openssl/|systemd/'
layer client '(base|wire|client)/.*|config\.h' 'yoke\.h|hiredis/|openssl/'
layer runner 'runner/.*|wire/(resp\.h|errors\.def)|config\.h' 'yoke\.h|ev\.h|ini\.h'
layer cli 'cli/.*|config\.h' 'yoke\.h|jansson\.h|xxhash\.h'

# The core asks the operating system nothing: not even the names of such
# functions are there to be called.
while IFS=: read -r file line name; do
    [[ $name =~ ^\<(errno|inttypes|limits|stdarg|stdbool|stddef|stdint|stdio|stdlib|string)\.h\>$ ]] ||
        complain "$file:$line: core must not include $name"
done < <(includes core | grep '<')

# ------------------------------------------------------------------- calls

# What another object of the archive defines is no call out of it.
core_calls() {
    {
        $nm --defined-only "$1" | awk 'NF == 3 { print "D", $3 }'
        $nm -u "$1" | awk '$1 == "U" { print "U", $2 }'
    } | awk '$1 == "D" { defined[$2] = 1 } $1 == "U" { used[$2] = 1 }
             END { for (s in used) if (!(s in defined)) print s }' | sort
}

allowed='^(memcpy|memmove|memset|memcmp|memchr|strlen|strcmp|strncmp)$'
allowed+='|^(qsort|snprintf|vsnprintf|abort)$|^_GLOBAL_OFFSET_TABLE_$'
allowed+='|^(base_bug|mem|slabs|list|heap|map|buf|value)(_|$)'
# The compiler's own helpers, and those of the instrumented builds.
allowed+='|^__(stack_chk_fail|asan|ubsan|tsan|sanitizer|gcov|llvm|sancov)'
allowed+='|^__(memcpy|memmove|memset|snprintf|vsnprintf)_chk$'

if [ -f "$build/libcore.a" ]; then
    for symbol in $(core_calls "$build/libcore.a"); do
        [[ $symbol =~ $allowed ]] || complain "libcore.a calls $symbol"
    done
else
    complain "$build/libcore.a is not built"
fi

# ----------------------------------------------------------------- exports

symbols=$src/src/client/libyoke.sym
library=$build/.libs/libyoke.so
# The functions that yoke.h declares: each begins in the first column.
declared=$(grep -E '^[a-z]' "$src/include/yoke.h" | grep -v '^typedef' |
    grep -oE '\byoke_[a-z0-9_]+\(' | tr -d '(' | sort -u)

differ() {
    complain "$1:"
    diff <(echo "$2") <(echo "$3") | grep '^[<>]' >&2
}

[ "$declared" = "$(sort "$symbols")" ] ||
    differ "yoke.h (<) and libyoke.sym (>) differ" \
        "$declared" "$(sort "$symbols")"
if [ -f "$library" ]; then
    exported=$($nm -D --defined-only "$library" |
        awk '$2 != "A" { print $3 }' | sort)
    [ "$exported" = "$declared" ] ||
        differ "libyoke.so (<) and yoke.h (>) differ" \
            "$exported" "$declared"
else
    complain "$library is not built"
fi
# What the static library must not hide it marks as its own.
archive=$build/.libs/libyoke.a
if [ -f "$archive" ]; then
    for symbol in $($nm -g --defined-only "$archive" |
        awk 'NF == 3 { print $3 }'); do
        [[ $symbol =~ ^(yoke|yk)_|^__ ]] ||
            complain "libyoke.a defines $symbol, which is not prefixed"
    done
fi

if [ "$bad" -gt 0 ]; then
    echo "layers: $bad violations" >&2
    exit 1
fi
echo "layers: includes, calls of the core and exports are as they should be"

#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# retrieve-source WORD FILE... - the call that retrieve.c and retrieve.sh make:
# counts the lines with WORD in each manual page (or other text) and prints
# "COUNT PAGE" for those that have any. A page is what .TH or .Dt begins, so that
# all of them go through one gzip; files without are pages of their own.
set -eu

word=$1
shift
case $1 in
*.gz | *.[1-9])
    gzip -dcf -- "$@" | awk -v word="$word" '
        /^\.(TH|Dt)/ { page = tolower($2) "(" $3 ")"; gsub(/"/, "", page) }
        index(tolower($0), word) { count[page]++ }
        END { for (page in count) print count[page], page }'
    ;;
*)
    awk -v word="$word" '
        index(tolower($0), word) { count[FILENAME]++ }
        END { for (page in count) print count[page], page }' "$@"
    ;;
esac

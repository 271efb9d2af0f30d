#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# retrieve - the production pattern: many calls to sources that may be slow or
# broken; at most ten at once, five seconds for each, all or nothing, and every
# error kept. Here: full-text search in the manual pages of this machine (where
# there are none, in doc/ and src/), 200 files a call.
#
#     retrieve.sh [-d DIR] [-t TIMEOUT] [-s] [-b] WORD
#
# DIR holds man1 to man8 (/usr/share/man); -s adds a source that does not answer,
# -b one that is broken. To be run at the top of the checkout: a call is a
# process, examples/retrieve-source.sh.
set -eu

dir=/usr/share/man timeout=5 slow='' broken=''
while getopts d:t:sb option; do
    case $option in
    d) dir=$OPTARG ;;
    t) timeout=$OPTARG ;;
    s) slow=slow ;;
    b) broken=broken ;;
    *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
word=$1

# A source a line: its files.
sources() {
    printf '%s\n' "$slow" "$broken" # yoke map skips empty lines
    set -- "$dir"/man[1-8]/*
    [ -e "$1" ] || set -- doc/* src/*/*.[ch]
    printf '%s\n' "$@" | xargs -n 200 echo
}

# All or nothing: nothing is printed unless all have ended well. When not, the
# report with the tree of errors is on standard error.
# shellcheck disable=SC2016 # the job's shell expands it
found=$(sources | yoke map --width 10 --timeout "$timeout" --halt fail=1 \
    --name "$word" sh -c 'case $1 in
        slow) exec sleep 60 ;;
        broken) echo "no route to host" >&2; exit 3 ;;
        esac
        exec sh examples/retrieve-source.sh "$0" $1' "$word" {})
echo "$found" | sort -k 1,1nr -k 2 | head -n 10
echo "$(echo "$found" | grep -c .) pages"

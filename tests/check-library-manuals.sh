#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# The pages doc/*.3 say what include/yoke.h and include/yoke/ do: all that is
# declared there for programs stands in the SYNOPSIS of a page, word for word, and
# nothing else does; each function has one page, which names it; yoke.3 explains
# each constant and status; each page is installed, has its sections, refers to
# pages that exist, and its examples compile.
set -u
export LC_ALL=C
src=${YOKE_SRCDIR:-$(cd "$(dirname "$0")/.." && pwd)}
cc=${CC:-cc}
header=$src/include/yoke.h
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$src/doc" || exit 1

# complain FORMAT: about each line of the input.
complain() {
    sed "s|.*|$1|" >>"$scratch/faults"
}

# All pages, line by line: PAGE, TITLE of the section, the line.
awk -v OFS='\t' '
    FNR == 1 { title = "" }
    /^\.SH / { title = substr($0, 5) }
    title { print FILENAME, title, $0 }' ./*.3 | sed 's,^\./,,' >"$scratch/lines"

# section TITLE: its lines in all pages, as PAGE and the line.
section() {
    awk -F'\t' -v OFS='\t' -v title="$1" \
        'index($2, title) == 1 && $3 !~ /^\.SH / { print $1, $3 }' \
        "$scratch/lines"
}

# words PATTERN: what of the lines matches it, as PAGE WORD.
words() {
    awk -F'\t' -v pattern="$1" '{
        while (match($2, pattern)) {
            print $1, substr($2, RSTART, RLENGTH)
            $2 = substr($2, RSTART + RLENGTH)
        }
    }' | sort -u
}

# ------------------------------------------------------------ declarations

# Those of C without comments and directives, one a line, without the blanks
# that mean nothing.
declarations() {
    tr -s ' \t\n' ' ' | sed -E -e 's/__attribute__\(\([a-z]+\)\)//g' \
        -e 's/ *([][*(){},;]) */\1/g' | awk '
        BEGIN { RS = ";" }
        {
            text = text $0 ";"
            depth += gsub(/{/, "{") - gsub(/}/, "}")
            if (depth == 0) {
                sub(/^ +/, "", text)
                if (text != ";")
                    print text
                text = ""
            }
        }' | sort -u
}

# Of the adapters, which are inline, what programs call.
adapters() {
    awk '
        /^static inline / { text = ""; on = 1; sub(/^static inline /, "") }
        on && /^{/ { on = 0; if (text ~ /yoke_[a-z_]+\(/) print text ";" }
        on { text = text " " $0 }' "$src"/include/yoke/*.h
}

# The statuses are explained one by one instead.
{
    sed -zE 's:/\*([^*]|\*+[^*/])*\*+/::g' "$header" |
        sed -e '/^#ifdef __cplusplus/,/^#endif/d' -e '/^#/d'
    adapters
} | declarations | grep -v '^enum yoke_status{' >"$scratch/declared"
# They stand between the changes of the font.
section SYNOPSIS | awk -F'\t' '
    /^[^\t]*\t\.ft/ { here = $2 == ".ft B" }
    here && $2 !~ /^[.#]/ { print $2 }' | declarations >"$scratch/synopses"
comm -23 "$scratch/declared" "$scratch/synopses" |
    complain 'a header has what no SYNOPSIS has: &'
comm -13 "$scratch/declared" "$scratch/synopses" |
    complain 'a SYNOPSIS has what no header has: &'

# --------------------------------------------------------------- functions

# PAGE NAME, of what its head names, and of what its SYNOPSIS declares.
section NAME | sed 's/ *\\-.*//' | words 'yoke[a-z0-9_]*' >"$scratch/names"
section SYNOPSIS | grep -v typedef | words 'yoke_[a-z0-9_]+[(]' | tr -d '(' |
    sort >"$scratch/declaring"
cut -d' ' -f2 "$scratch/names" | sort >"$scratch/known"
sort "$src/src/client/libyoke.sym" >"$scratch/symbols"
comm -23 "$scratch/symbols" "$scratch/known" | complain '& is no NAME of a page'
uniq -d "$scratch/known" | complain '& is the NAME of several pages'
comm -13 "$scratch/names" "$scratch/declaring" |
    complain '& has a SYNOPSIS there, and is not its NAME'
# A page is called by its first name, which need not be a function.
comm -23 "$scratch/names" "$scratch/declaring" | grep -v '^\(.*\)\.3 \1$' |
    complain '& is its NAME, and has no SYNOPSIS there'

# ------------------------------------------------------------- explanations

# The words of the tags in yoke.3.
sed -n '/^\.TP/{n;p;}' yoke.3 | grep -o 'YOKE_[A-Z_]*' | sort -u \
    >"$scratch/explained"
{
    sed -nE 's/^#define (YOKE_[A-Z_]+) .*/\1/p' "$header"
    sed -n '/^enum yoke_status {/,/^}/p' "$header" |
        sed -nE 's/^ +(YOKE_[A-Z_]+) = .*/\1/p'
} | sort -u | comm -23 - "$scratch/explained" |
    complain 'yoke.3 does not explain &'

for page in *.3; do
    grep -qw "doc/$page" "$src/Makefile.am" || echo "$page"
done | complain '& is not in LIBRARY_MANS, and would not be installed'

for page in *.3; do
    printf "$page %s\n" NAME SYNOPSIS DESCRIPTION 'RETURN VALUE' ERRORS \
        EXAMPLE 'SEE ALSO'
done | sort >"$scratch/wanted"
awk -F'\t' '{ sub(/^EXAMPLES/, "EXAMPLE", $2); print $1, $2 }' \
    "$scratch/lines" | sort -u | comm -13 - "$scratch/wanted" |
    complain 'a section is missing: &'

section '' | words 'yoke[a-z_]*(\\fR| )[(]3[)]' | sed 's/^[^ ]* //; s/[\ ].*//' |
    sort -u | comm -23 - "$scratch/known" |
    complain '&(3) is referred to, and is no page'

# ----------------------------------------------------------------- examples
#
# One without #include has functions alone, and gets what they need.
section EXAMPLE | sed -e 's/\\e/\\/g' -e 's/\\-/-/g' -e 's/\\&//g' \
    -e "s/\\\\(aq/'/g" | awk -F'\t' -v to="$scratch/" '
    $2 == ".EX" { file = to $1 "-" ++count[$1] ".c"; first = 1; next }
    $2 == ".EE" { file = "" }
    file && first && $2 !~ /^#include/ {
        print "#include <poll.h>\n#include <stdio.h>" > file
        print "#include <stdlib.h>\n#include <string.h>" > file
        print "#include <yoke.h>" > file
    }
    file { print substr($0, length($1) + 2) > file; first = 0 }'
for page in *.3; do
    [ -s "$scratch/$page-1.c" ] || echo "$page"
done | complain '& has no example'
# shellcheck disable=SC2086 # CC may carry options
$cc -std=c11 -D_GNU_SOURCE -fsyntax-only -Wall -Wextra -Wpedantic -Werror \
    -I"$src/include" "$scratch"/*.c ||
    echo | complain 'an example does not compile'

functions=$(wc -l <"$scratch/symbols")
if [ -s "$scratch/faults" ] || [ "$functions" -lt 60 ]; then
    cat "$scratch/faults"
    echo "library manuals: $(wc -l <"$scratch/faults") faults"
    exit 1
fi
echo "library manuals: $functions functions are explained"

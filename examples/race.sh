#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# race - the first that ends well wins; the losers are cancelled and awaited.
# A failure does not win, and does not stop the others.
#
# Prints:
#     the page
#     exit status 0
set -u

# The report says that a mirror failed; the race was won all the same.
yoke map --halt success=1 'sh -c {}' \
    ::: 'exit 7' 'sleep 60' 'sleep 0.5; echo the page' 2>/dev/null
echo "exit status $?"

#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# ready - a nursery's start(): waits until a job says that it does what others
# need it for, a server that listens, say; not for its end.
#
# Prints:
#     127.0.0.1:8080
#     yoke: ...NOTREADY ...
#     exit status 1
#     j...  cancelled  no more needed  (server)
set -u

# yoke must be found by the jobs, too.
server=$(yoke submit --env PATH --name server -c -- \
    sh -c 'yoke ready 127.0.0.1:8080; sleep 60')
yoke wait --ready "$server"

broken=$(yoke submit --name broken -c -- sh -c 'exit 1')
yoke wait --ready "$broken" 2>&1
echo "exit status $?"

yoke cancel --reason 'no more needed' "$server"
yoke wait "$server" || true

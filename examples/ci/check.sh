#!/bin/sh
# A service in one domain, asked from another, and from where it must not be reached:
#
#   rdom run network.yaml -- sh check.sh
set -eu

# Tries for ten seconds.
eventually() {
    tries=100
    until "$@" 2>/dev/null; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || { echo "failed: $*" >&2; return 1; }
        sleep 0.1
    done
}

rdom exec server python3 -m http.server --bind 10.0.0.2 80 >/dev/null 2>&1 &
eventually rdom exec client curl -sf -o /dev/null --max-time 1 http://10.0.0.2/
if curl -sf -o /dev/null --max-time 1 http://10.0.0.2/; then
    echo "the server is reached from outside" >&2
    exit 1
fi
echo "ok"

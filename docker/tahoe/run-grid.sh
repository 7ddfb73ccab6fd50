#!/bin/bash
# Runs a grid of one until it is stopped; makes its nodes on the first run. Their data stays in /var/lib/tahoe.
set -euo pipefail
cd "${TAHOE_GRID_DIR:-/var/lib/tahoe}"
umask 077
furl=introducer/private/introducer.furl

# Made beside and moved into place, so that a run that was cut short leaves no half of a node behind.
make_node() { # NAME COMMAND ARGUMENT…
  local name=$1
  shift
  [ -e "$name" ] && return
  rm -rf "$name.partial"
  tahoe "$@" "$name.partial" >/dev/null
  mv "$name.partial" "$name"
  echo "made the $name"
}

stop() {
  trap - TERM INT
  kill $(jobs -p) 2>/dev/null || true
  wait
  exit "$1"
}
trap 'stop 0' TERM INT

make_node introducer create-introducer --port=tcp:3457:interface=127.0.0.1 --location=tcp:127.0.0.1:3457
tahoe run --allow-stdin-close introducer &
until [ -s $furl ]; do
  kill -0 $! 2>/dev/null || { echo "the introducer ended" >&2; stop 1; }
  sleep 0.2
done

# The introducer's address is a secret: it goes into the node's own file, not onto a command line.
make_node node create-node --webport=tcp:3456:interface=0.0.0.0 --port=tcp:3458:interface=127.0.0.1 \
  --location=tcp:127.0.0.1:3458 --shares-needed=1 --shares-happy=1 --shares-total=1
[ -e node/private/introducers.yaml ] || printf 'introducers:\n  here:\n    furl: %s\n' "$(cat $furl)" >node/private/introducers.yaml
tahoe run --allow-stdin-close node &

# Either node's end is the end of the grid: whoever supervises this container starts both again.
wait -n || true
echo "a node ended" >&2
stop 1

#!/bin/bash
# Runs a grid with one node until it is stopped; the first run creates the node. Its data stays in /var/lib/tahoe.
set -euo pipefail
cd "${TAHOE_GRID_DIR:-/var/lib/tahoe}"
umask 077
furl=introducer/private/introducer.furl

# Creates the node under another name and renames it, so that an interrupted run leaves no incomplete node.
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

# The address of the introducer is a secret: it goes into a file of the node, not into a command line.
make_node node create-node --webport=tcp:3456:interface=0.0.0.0 --port=tcp:3458:interface=127.0.0.1 \
  --location=tcp:127.0.0.1:3458 --shares-needed=1 --shares-happy=1 --shares-total=1
[ -e node/private/introducers.yaml ] || printf 'introducers:\n  here:\n    furl: %s\n' "$(cat $furl)" >node/private/introducers.yaml
tahoe run --allow-stdin-close node &

# If one process ends, the container ends, and its supervisor restarts both.
wait -n || true
echo "a node ended" >&2
stop 1

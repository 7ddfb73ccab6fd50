#!/bin/sh
# Creates the tree of the compose file's repository with its builders, and gives each service the secrets that it needs.
# Running it again changes nothing. Below docker/secrets/:
#   readcap, alice-token, bob-token, metrics-token   readable by the server
#   prometheus-token                                 the same as metrics-token, readable by Prometheus
#   alice.bundle, bob.bundle                         for the builders: each opens the directories of one builder
#   tree/                                            all of the above, and master.bundle: keep it offline
set -eu
umask 077
secrets=${SECRETS_DIR:-/secrets}
server=${SERVER_UID:-65532}
prometheus=${PROMETHEUS_UID:-65534}
person=$(stat -c %u "$secrets")

# The read cap and the write cap of that tree would be lost among the new files.
if [ -e "$secrets/writecap" ] && [ ! -e "$secrets/tree" ]; then
  echo "docker/secrets/ has the tree that an earlier compose file created, and a new tree would be empty." >&2
  echo "To keep it or to move it away, see \"Upgrade\" in docs/guide-install.md. Nothing was changed." >&2
  exit 1
fi

tahoe-apt init "$secrets/tree" --name debian --webapi "$TAHOE_GATEWAY" --public-url "$PUBLIC_URL" --suite sid \
  --builder alice bob
[ -e "$secrets/tree/metrics.token" ] || head -c 24 /dev/urandom | base64 >"$secrets/tree/metrics.token"

# give UID FILE NAME
give() {
  install -m 0400 -o "$1" "$secrets/tree/$2" "$secrets/$3"
}
for builder in alice bob; do
  give "$server" "builders/$builder.token" "$builder-token"
  give "$person" "builders/$builder.bundle" "$builder.bundle"
done
give "$server" metrics.token metrics-token
give "$prometheus" metrics.token prometheus-token
give "$server" tree.readcap readcap
chown -R "$person" "$secrets/tree"

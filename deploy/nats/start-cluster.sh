#!/bin/sh
# Starts one of several brokers in a container: tells it where the others are, with the password that
# they ask each other for, and leaves the rest to start.sh.
set -eu
CASEMENT_NATS_ROUTE_PASSWORD=$(cat /run/secrets/nats-route-password)
export CASEMENT_NATS_ROUTE_PASSWORD
routes=
for node in $CASEMENT_NATS_NODES; do
    routes="$routes${routes:+, }\"tls://route:$CASEMENT_NATS_ROUTE_PASSWORD@$node:6222\""
done
export CASEMENT_NATS_ROUTES="[$routes]"

# A broker that was alone knows of its streams by its disk, a cluster by what its nodes agreed on: half
# a minute after it starts, a node removes what the others never heard of.
store=${CASEMENT_NATS_STORE:-/var/lib/nats}
if ls -d "$store"/jetstream/*/streams/* >/dev/null 2>&1 &&
    ! ls -d "$store"/jetstream/*/_js_/_meta_ >/dev/null 2>&1; then
    echo "the store in $store is of a broker that was alone, and a cluster would remove its streams:" \
        "start on an empty one and restore a backup into it (docs/operate/cluster.md)" >&2
    exit 1
fi
export CASEMENT_NATS_CONF=/etc/nats/cluster.conf
exec /bin/sh /etc/nats/start.sh

#!/bin/sh
# Starts the broker in a container: hands it what is secret from the files that Compose mounts, so
# that it stands in nobody's description of the container.
set -eu
CASEMENT_NATS_SUBSCRIBER_PASSWORD=$(cat /run/secrets/nats-subscriber)
export CASEMENT_NATS_SUBSCRIBER_PASSWORD

# A server with another key than its store was written with starts, finds no streams, and loses them
# once a role makes them anew. So the store remembers a digest of its key, which tells nothing of it.
CASEMENT_NATS_STORE_KEY=$(cat /run/secrets/nats-store-key)
export CASEMENT_NATS_STORE_KEY
store=${CASEMENT_NATS_STORE:-/var/lib/nats}
digest=$(printf '%s' "$CASEMENT_NATS_STORE_KEY" | sha256sum | cut -d ' ' -f 1)
if [ -e "$store/key.sha256" ] && [ "$(cat "$store/key.sha256")" != "$digest" ]; then
    echo "nats-store-key is not the key that the store in $store was encrypted with: put that one back" >&2
    exit 1
fi
printf '%s\n' "$digest" > "$store/key.sha256"
# What ./dev init wrote, with subscribers: it includes /etc/nats/nats-server.conf.
exec nats-server --config "${CASEMENT_NATS_CONF:-/etc/nats/site/nats-server.conf}"

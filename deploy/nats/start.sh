#!/bin/sh
# Starts the broker in a container: hands it the passwords of its users from the files that Compose
# mounts, so that they stand in nobody's description of the container.
set -eu
for user in ingress window-tracker dispatcher accounts audit-projector subscriber operator; do
    name=$(printf '%s' "$user" | tr 'a-z-' 'A-Z_')
    export "CASEMENT_NATS_${name}_PASSWORD=$(cat "/run/secrets/nats-$user")"
done

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
exec nats-server --config /etc/nats/nats-server.conf

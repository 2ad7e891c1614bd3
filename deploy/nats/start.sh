#!/bin/sh
# Starts the broker in a container: hands it the passwords of its users from the files that Compose
# mounts, so that they stand in nobody's description of the container.
set -eu
for user in ingress window-tracker dispatcher accounts audit-projector subscriber; do
    name=$(printf '%s' "$user" | tr 'a-z-' 'A-Z_')
    export "CASEMENT_NATS_${name}_PASSWORD=$(cat "/run/secrets/nats-$user")"
done
exec nats-server --config /etc/nats/nats-server.conf

#!/usr/bin/env bash
# Tries docker-compose.cluster.yml for real, as docs/operate/cluster.md has it, from a clean copy of the
# checkout: three brokers with TLS, the demo's story, the doctor, every stream three times, the leader of
# the messages killed under traffic and started again, and each node in turn replaced under traffic.
# Needs what tests/compose.sh needs.
#
#   tests/compose-cluster.sh
#
# With CASEMENT_IMAGE set, that image is tried instead of one that is built here.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/compose/common.sh"
export COMPOSE_FILE=docker-compose.yml:docker-compose.cluster.yml
nodes=(nats nats-2 nats-3)

# monitored NODE PATH: what a node says of itself.
monitored() { demo compose exec -T "$1" wget -q -O - "http://127.0.0.1:8222/$2"; }
# copies NODE: of each stream that the node has, its name, leader, and how many nodes have all of it.
copies() {
    monitored "$1" "jsz?accounts=1&streams=1" 2>/dev/null | python3 -c 'import json, sys
for account in json.load(sys.stdin).get("account_details", []):
    for stream in account.get("stream_detail", []):
        cluster = stream.get("cluster", {})
        current = [other for other in cluster.get("replicas", []) if other.get("current") and not other.get("offline")]
        print(stream["name"], cluster.get("leader", "-"), 1 + len(current))' | sort
}
# The leader knows how far the others are; so each stream is asked of its own.
kept() {
    local node
    for node in "${nodes[@]}"; do copies "$node" | awk -v node="$node" '$2 == node'; done | sort
}
# Whether as many streams as a moment before, or any, have all three copies.
are_three_times() {
    local all
    all=$(kept) || return 1
    (($(wc -l <<<"$all") == ${streams:-$(wc -l <<<"$all")})) && [[ -n $all ]] && ! awk '$3 != 3' <<<"$all" | grep -q .
}
leader_of() { kept | awk -v stream="$1" '$1 == stream {print $2}'; }

say "a clean copy, with secrets"
clean_copy
init

say "three brokers, healthy"
time up demo
demo compose ps
open=$(published demo)
[[ $open == "127.0.0.1:24222->127.0.0.1:24223->127.0.0.1:24224->127.0.0.1:28080->127.0.0.1:28081->127.0.0.1:28082->127.0.0.1:28083->" ]] ||
    fail "published is $open"
for node in "${nodes[@]}"; do
    monitored "$node" varz | python3 -c 'import json, sys
told = json.load(sys.stdin)
assert told["tls_required"], "clients may do without TLS"
assert told["cluster"]["tls_required"], "nodes may do without TLS"' || fail "$node is open"
done

say "the story"
story

say "every stream three times"
eventually "every stream has three copies" are_three_times
kept | sed 's/^/compose: /'
streams=$(kept | wc -l)

say "the doctor"
doctor

say "the leader of the messages is killed under traffic, and started again"
begin_traffic
until_more 10
leader=$(leader_of MESSAGES)
echo "killing $leader"
demo compose kill "$leader" 2>/dev/null
until_more 20
echo "starting $leader"
up demo "$leader"
eventually "$leader caught up" are_three_times
until_more 10

say "node by node"
for node in "${nodes[@]}"; do
    echo "replacing $node"
    demo compose up --no-build --no-deps --force-recreate --wait "$node" 2>"$work/up.log" || { tail -50 "$work/up.log"; fail "$node does not come back"; }
    eventually "$node caught up" are_three_times
    until_more 10
done
account_for_traffic

say "all of it held"

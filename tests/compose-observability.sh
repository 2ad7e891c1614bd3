#!/usr/bin/env bash
# Tries what looks on for real, from a clean copy of the checkout: the Prometheus of docker-compose.yml,
# with deploy/prometheus as it is, finds every role of the demo by its name, evaluates every rule, and has
# something to show for every panel of every dashboard. Needs what tests/compose.sh needs.
#
#   tests/compose-observability.sh
#
# With CASEMENT_IMAGE set, that image is tried instead of one that is built here.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/compose/common.sh"

say "a clean copy, with secrets"
clean_copy
init

say "the demo, and Prometheus"
# Named with what depends on it, which starts the services of the profile demo and of the other only this.
COMPOSE_PROFILES=demo,observability up demo "${roles[@]}" simulator story prometheus
demo compose ps
open=$(COMPOSE_PROFILES=demo,observability published demo)
[[ $open == *"127.0.0.1:29090->"* ]] || fail "published is $open"

say "every panel and every rule"
begin_traffic
until_more 10
python3 "$ROOT/tests/observability.py" --at http://127.0.0.1:29090
account_for_traffic

say "all of it held"

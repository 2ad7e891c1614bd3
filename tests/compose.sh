#!/usr/bin/env bash
# Tries docker-compose.yml for real, from a clean copy of the checkout: refusal without secrets, a
# healthy start, what is published, the demo's story, a restart of every container under traffic, an
# upgrade to a new image under traffic, and a backup that is restored. Needs docker with Compose, git and
# python3, and some minutes. Everything it starts has names and ports of its own and goes away at its end.
#
#   tests/compose.sh
#
# With CASEMENT_IMAGE set, that image is tried instead of one that is built here.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/compose/common.sh"

say "a clean copy"
clean_copy

say "without secrets it is refused, in one line"
if told=$(production compose up -d 2>&1); then fail "it started without secrets"; fi
echo "$told"
[[ $(wc -l <<<"$told") == 1 && $told == *"./dev init"* ]] || fail "that is not one line which names ./dev init"

say "./dev init writes secrets, once"
init
sums() { find deploy/secrets deploy/nats/site .env deploy/accounts.toml -type f -exec sha256sum {} + | sort; }
before=$(sums)
init
[[ $before == "$(sums)" ]] || fail "a second ./dev init changed something"
open=$(find deploy/secrets -type f ! -perm 600)
[[ -z $open ]] || fail "others may read $open"

say "up, healthy"
time up production
production compose ps
open=$(published production)
[[ $open == "127.0.0.1:24222->127.0.0.1:28080->127.0.0.1:28081->127.0.0.1:28082->" ]] || fail "published is $open"
production compose down -v --timeout 10 2>/dev/null

say "the story"
up demo
story

say "the doctor"
doctor

say "a restart of every container under traffic"
begin_traffic
until_more 10
for service in "${roles[@]}" postgres nats; do
    echo "restarting $service"
    demo compose restart "$service" 2>/dev/null
    until_more 10
done
echo "killing nats"
demo compose kill nats 2>/dev/null
demo compose up --no-build --wait -d nats 2>/dev/null
until_more 20

say "an upgrade to a new image under traffic"
printf 'FROM %s\nLABEL tried="%s"\n' "$image" "$(date +%s)" | docker build -q -t casement:try-next - 2>/dev/null
all_run() {
    local service runs
    for service in "${roles[@]}"; do
        runs=$(docker inspect --format '{{.Config.Image}}' "$(demo compose ps -q "$service")")
        [[ $runs == "$1" ]] || fail "$service runs $runs"
    done
}
# Not the simulator: its books are the platform's.
for service in "${roles[@]}"; do
    echo "upgrading $service"
    CASEMENT_IMAGE=casement:try-next up demo --no-deps "$service"
    until_more 5
done
all_run casement:try-next
echo "all at once, and back"
up demo "${roles[@]}"
all_run "$image"
until_more 20
account_for_traffic

say "a backup, and a restore from it"
# As docs/operate/compose.md has it: everything at rest, so that log and archive fit together.
# How far each chain of the archive goes; fails if one is broken.
reaches() {
    demo compose exec -T gateway casement audit verify --token-file /run/secrets/token-operator --json |
        python3 -c 'import json, sys
for line in sys.stdin:
    report = json.loads(line)
    print(report["stream"], report["lastSequence"])' | sort
}
before=$(reaches)
demo compose stop 2>/dev/null
for volume in nats postgres media; do
    docker run --rm -v "casement-try-demo_$volume:/from:ro" -v "$work:/to" debian:bookworm-slim \
        tar -C /from -czf "/to/$volume.tar.gz" .
done
demo compose down -v --timeout 10 2>/dev/null
for volume in nats postgres media; do
    docker run --rm -v "casement-try-demo_$volume:/to" -v "$work:/from:ro" debian:bookworm-slim \
        tar -C /to -xzf "/from/$volume.tar.gz"
done
up demo "${roles[@]}" simulator
after=$(reaches)
# Windows may have ended between the look and the stop; nothing may be missing.
join <(echo "$before") <(echo "$after") | tee "$work/reach" | sed 's/^/compose: /'
[[ $(wc -l <"$work/reach") == $(wc -l <<<"$before") ]] || fail "a chain is missing after the restore"
while read -r stream was is; do
    ((is >= was)) || fail "$stream went to $was and after the restore goes to $is"
done <"$work/reach"
demo compose run --rm -T story >/dev/null 2>&1 || fail "the story after the restore went wrong"

say "all of it held"

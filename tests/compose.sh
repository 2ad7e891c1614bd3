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

cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT=$PWD
work=$(mktemp -d)
traffic=
docker_is_ours=

say() { printf '\n### %s\n' "$*"; }
fail() {
    printf 'compose: %s\n' "$*" >&2
    exit 1
}
finish() {
    local code=$?
    if [[ -n $traffic ]] && kill -0 "$traffic" 2>/dev/null; then
        kill -TERM "$traffic" 2>/dev/null || true
        docker rm -f casement-try-demo_api-sender >/dev/null 2>&1 || true
        wait "$traffic" 2>/dev/null || true
    fi
    if [[ -n $docker_is_ours ]]; then
        if ((code != 0)); then
            demo compose ps -a || true
            demo compose logs --tail 15 || true
        fi
        docker rm -f casement-try-demo_api-sender >/dev/null 2>&1 || true
        production compose down -v --timeout 5 >/dev/null 2>&1 || true
        demo compose down -v --timeout 5 >/dev/null 2>&1 || true
    fi
    rm -rf "$work"
    exit "$code"
}
trap finish EXIT

compose() { docker compose "$@"; }
production() { COMPOSE_PROJECT_NAME=casement-try "$@"; }
demo() { COMPOSE_PROJECT_NAME=casement-try-demo COMPOSE_ENV_FILES=.env,deploy/demo/compose.env "$@"; }

unset COMPOSE_ENV_FILES COMPOSE_FILE COMPOSE_PROFILES
docker compose version >/dev/null 2>&1 || fail "docker with Compose is missing"
docker info >/dev/null 2>&1 || fail "no docker engine answers"

export CASEMENT_PUBLISH_API=127.0.0.1:28081 CASEMENT_PUBLISH_WEBHOOKS=127.0.0.1:28080
export CASEMENT_PUBLISH_CONSOLE=127.0.0.1:28082
export CASEMENT_PUBLISH_NATS=127.0.0.1:24222 CASEMENT_PUBLISH_SIMULATOR=127.0.0.1:28083
simulator=http://127.0.0.1:28083

say "a clean copy"
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
    if [[ -e $file ]]; then cp -p --parents "$file" "$work"; fi
done
cd "$work"

say "without secrets it is refused, in one line"
if told=$(production compose up -d 2>&1); then fail "it started without secrets"; fi
echo "$told"
[[ $(wc -l <<<"$told") == 1 && $told == *"./dev init"* ]] || fail "that is not one line which names ./dev init"

say "./dev init writes secrets, once"
./dev init 2>/dev/null
sums() { find deploy/secrets deploy/nats/site .env deploy/accounts.toml -type f -exec sha256sum {} + | sort; }
before=$(sums)
./dev init 2>/dev/null
[[ $before == "$(sums)" ]] || fail "a second ./dev init changed something"
open=$(find deploy/secrets -type f ! -perm 600)
[[ -z $open ]] || fail "others may read $open"
docker_is_ours=yes

say "up, healthy"
options=(--build)
if [[ -n ${CASEMENT_IMAGE:-} ]]; then options=(--no-build); fi
time production compose up "${options[@]}" --wait --quiet-pull 2>"$work/up.log" || { tail -50 "$work/up.log"; fail "up failed"; }
production compose ps
published=$(production compose ps --format '{{.Ports}}' | grep -o '[0-9.]*:[0-9]*->' | sort -u | tr -d '\n')
[[ $published == "127.0.0.1:24222->127.0.0.1:28080->127.0.0.1:28081->127.0.0.1:28082->" ]] || fail "published is $published"
production compose down -v --timeout 10 2>/dev/null

image=${CASEMENT_IMAGE:-casement:local}
networks=(casement-try-demo_api casement-try-demo_core)
books=(--image "$image" --network "${networks[0]}" --network "${networks[1]}" --secrets "$work/deploy/secrets" --simulator "$simulator" --notes "$work/notes")

say "the story"
demo compose up --no-build --wait 2>"$work/up.log" || { tail -50 "$work/up.log"; fail "up of the demo failed"; }
story=$(demo compose ps -aq story)
ended=$(docker wait "$story")
demo compose logs --no-log-prefix story
[[ $ended == 0 ]] || fail "the story went wrong"

say "the doctor"
demo compose run --rm doctor || fail "the doctor finds something wrong"

say "a restart of every container under traffic"
: >"$work/notes"
python3 "$ROOT/tests/compose/traffic.py" run "${books[@]}" &
traffic=$!
noted() { grep -c "$1" "$work/notes" || true; }
# Waits until so many more messages came and went.
until_more() {
    local said sent tries=0
    said=$(($(noted said) + $1)) sent=$(($(noted sent) + $1))
    until (($(noted said) >= said && $(noted sent) >= sent)); do
        tries=$((tries + 1))
        ((tries < 300)) || fail "the traffic stands still"
        jobs -rp | grep -qx "$traffic" || fail "the traffic ended"
        sleep 0.2
    done
}
until_more 10
roles=(gateway accounts window-tracker dispatcher ingress audit-projector)
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
# Not the simulator: its books are the platform's.
CASEMENT_IMAGE=casement:try-next demo compose up --no-build --wait -d "${roles[@]}" 2>"$work/up.log" || { tail -50 "$work/up.log"; fail "the upgrade failed"; }
until_more 20
for service in "${roles[@]}"; do
    runs=$(docker inspect --format '{{.Config.Image}}' "$(demo compose ps -q "$service")")
    [[ $runs == casement:try-next ]] || fail "$service runs $runs"
done
kill -TERM "$traffic"
wait "$traffic"
traffic=
python3 "$ROOT/tests/compose/traffic.py" check "${books[@]}"

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
demo compose up --no-build --wait -d "${roles[@]}" simulator 2>"$work/up.log" ||
    { tail -50 "$work/up.log"; fail "up after the restore failed"; }
after=$(reaches)
# Windows may have ended between the look and the stop; nothing may be missing.
join <(echo "$before") <(echo "$after") | tee "$work/reach" | sed 's/^/compose: /'
[[ $(wc -l <"$work/reach") == $(wc -l <<<"$before") ]] || fail "a chain is missing after the restore"
while read -r stream was is; do
    ((is >= was)) || fail "$stream went to $was and after the restore goes to $is"
done <"$work/reach"
demo compose run --rm -T story >/dev/null 2>&1 || fail "the story after the restore went wrong"

say "all of it held"

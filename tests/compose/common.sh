# What the programs that try Compose share: sourced by tests/compose*.sh, not run. Everything that they
# start has names and ports of its own and goes away at their end. Needs docker with Compose, git and python3.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
traffic=
docker_is_ours=
is_built=${CASEMENT_IMAGE:-}
image=${CASEMENT_IMAGE:-casement:local}
simulator=http://127.0.0.1:28083
sender=casement-try-demo_api-sender
books=(--image "$image" --network casement-try-demo_api --network casement-try-demo_core
    --secrets "$work/deploy/secrets" --simulator "$simulator" --notes "$work/notes")
# In the order of docs/operate/upgrades.md.
roles=(audit-projector accounts window-tracker dispatcher ingress gateway)
# How long something may take that has to happen: a busy machine is slow and not wrong.
WITHIN=${CASEMENT_TRY_WITHIN:-300}

say() { printf '\n### %s\n' "$*"; }
fail() {
    printf 'compose: %s\n' "$*" >&2
    exit 1
}
compose() { docker compose "$@"; }
production() { COMPOSE_PROJECT_NAME=casement-try "$@"; }
demo() { COMPOSE_PROJECT_NAME=casement-try-demo COMPOSE_ENV_FILES=.env,deploy/demo/compose.env "$@"; }

finish() {
    local code=$?
    if [[ -n $traffic ]] && kill -0 "$traffic" 2>/dev/null; then
        kill -TERM "$traffic" 2>/dev/null || true
        docker rm -f "$sender" >/dev/null 2>&1 || true
        wait "$traffic" 2>/dev/null || true
    fi
    if [[ -n $docker_is_ours ]]; then
        if ((code != 0)); then
            demo compose ps -a || true
            demo compose logs --tail 15 || true
        fi
        docker rm -f "$sender" >/dev/null 2>&1 || true
        # Services of every profile, whatever was started.
        COMPOSE_PROFILES='*' production compose down -v --timeout 5 >/dev/null 2>&1 || true
        COMPOSE_PROFILES='*' demo compose down -v --timeout 5 >/dev/null 2>&1 || true
    fi
    rm -rf "$work"
    exit "$code"
}
trap finish EXIT

unset COMPOSE_ENV_FILES COMPOSE_FILE COMPOSE_PROFILES
docker compose version >/dev/null 2>&1 || fail "docker with Compose is missing"
docker info >/dev/null 2>&1 || fail "no docker engine answers"

export CASEMENT_PUBLISH_API=127.0.0.1:28081 CASEMENT_PUBLISH_WEBHOOKS=127.0.0.1:28080
export CASEMENT_PUBLISH_CONSOLE=127.0.0.1:28082 CASEMENT_PUBLISH_SIMULATOR=127.0.0.1:28083
export CASEMENT_PUBLISH_NATS=127.0.0.1:24222
export CASEMENT_PUBLISH_NATS_2=127.0.0.1:24223 CASEMENT_PUBLISH_NATS_3=127.0.0.1:24224
export CASEMENT_PUBLISH_PROMETHEUS=127.0.0.1:29090 CASEMENT_PUBLISH_GRAFANA=127.0.0.1:23000

# What git has of the checkout, in a folder that goes away; the rest is done there.
clean_copy() {
    local file
    cd "$ROOT"
    git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
        if [[ -e $file ]]; then cp -p --parents "$file" "$work"; fi
    done
    cd "$work"
}

# From here on there may be containers to take away.
init() {
    ./dev init 2>"$work/init.log" || { cat "$work/init.log" >&2; fail "./dev init failed"; }
    docker_is_ours=yes
}

# up SCOPE [ARGUMENTS]: starts services and waits until they are healthy. The first one builds the image.
up() {
    local scope=$1 options=(--no-build)
    shift
    if [[ -z $is_built ]]; then options=(--build); fi
    is_built=yes
    "$scope" compose up "${options[@]}" --wait --quiet-pull "$@" 2>"$work/up.log" || { tail -50 "$work/up.log"; fail "up failed: $*"; }
}

# host addresses and ports that are open, in their order
published() { "$1" compose ps --format '{{.Ports}}' | grep -o '[0-9.]*:[0-9]*->' | sort -u | tr -d '\n'; }

story() {
    local ended
    ended=$(docker wait "$(demo compose ps -aq story)")
    demo compose logs --no-log-prefix story
    [[ $ended == 0 ]] || fail "the story went wrong"
}

doctor() { demo compose run --rm doctor 2>"$work/doctor.log" || { cat "$work/doctor.log"; fail "the doctor finds something wrong"; }; }

# eventually WHAT COMMAND…: until it succeeds.
eventually() {
    local what=$1 until=$((SECONDS + WITHIN))
    shift
    until "$@"; do
        ((SECONDS < until)) || fail "not within $WITHIN s: $what"
        sleep 0.2
    done
}

begin_traffic() {
    : >"$work/notes"
    python3 "$ROOT/tests/compose/traffic.py" run "${books[@]}" &
    traffic=$!
}
noted() { grep -c "$1" "$work/notes" || true; }
have_come() {
    jobs -rp | grep -qx "$traffic" || fail "the traffic ended"
    (($(noted said) >= $1 && $(noted sent) >= $2))
}
# Waits until so many more messages came and went.
until_more() { eventually "$1 more messages each way" have_come $(($(noted said) + $1)) $(($(noted sent) + $1)); }
# Ends it, and compares what it noted with the log, the archive and the platform's books.
account_for_traffic() {
    kill -TERM "$traffic"
    wait "$traffic"
    traffic=
    python3 "$ROOT/tests/compose/traffic.py" check "${books[@]}"
}

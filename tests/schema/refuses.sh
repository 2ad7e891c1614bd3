#!/usr/bin/env bash
# Holds proto/ against what was released last, and shows that the comparison refuses what would break
# readers: each change below is made to a copy, and has to be refused for the reason named.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# Its programs are pinned for Linux alone.
buf=$(printf '%s\n' "$PWD"/tests/schema/node_modules/@bufbuild/buf-*/bin/buf | head -n 1)
if [[ ! -x $buf ]]; then
    echo "schema: not compared, since there is no buf for this machine among the packages"
    exit 0
fi
released=$PWD/proto/released.binpb
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$buf" breaking proto --against "$released"

# refuses RULE FILE SED: the change is made to FILE of the copy.
refuses() {
    rm -rf "$work/proto"
    cp -r proto "$work/proto"
    sed -i.before -E "$3" "$work/proto/$2"
    if cmp -s "$work/proto/$2" "$work/proto/$2.before"; then
        echo "schema: \`$3\` changes nothing in proto/$2" >&2
        exit 1
    fi
    local told
    if told=$("$buf" breaking "$work/proto" --against "$released" --error-format json); then
        echo "schema: \`$3\` in proto/$2 was not refused" >&2
        exit 1
    fi
    if ! grep -q "\"type\":\"$1\"" <<<"$told"; then
        printf 'schema: `%s` was refused, but not by %s:\n%s\n' "$3" "$1" "$told" >&2
        exit 1
    fi
}

file=casement/events/v1/window.proto
refuses FIELD_NO_DELETE "$file" '/ = 1;/d'
refuses FIELD_NO_DELETE "$file" 's/ = 1;/ = 901;/'
refuses FIELD_SAME_NAME "$file" 's/( [a-z]+)( = 1;)/\1_other\2/'
refuses FIELD_SAME_TYPE "$file" 's/  string ([a-z_]+ = [0-9]+;)/  bytes \1/'
refuses RPC_NO_DELETE casement/window/v1/window_service.proto 's/rpc GetWindow\(/rpc GetWindowOther(/'

echo "schema: nothing in proto/ breaks what was released, and a field that is taken away, moved or renamed would be refused"

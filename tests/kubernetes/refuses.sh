#!/usr/bin/env bash
# Shows that what is wrong in deploy/kubernetes is refused, and by whom: each change below is made to a
# copy. It goes through what `./dev kubernetes` does: kustomize, the schema, docker-compose.yml.
#
#   tests/kubernetes/refuses.sh PROGRAMS
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
programs=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# refuses WHY FILE SED: the change is made to FILE of the copy, and WHY is told.
refuses() {
    local told
    rm -rf "$work/deploy" "$work/rendered"
    mkdir "$work/deploy"
    cp -r deploy/{kubernetes,nats,demo,kustomization.yaml,accounts.example.toml} "$work/deploy/"
    sed -i.before -E "$3" "$work/deploy/$2"
    if cmp -s "$work/deploy/$2" "$work/deploy/$2.before"; then
        echo "kubernetes: \`$3\` changes nothing in deploy/$2" >&2
        exit 1
    fi
    rm "$work/deploy/$2.before"
    if told=$({ tests/kubernetes/render.sh "$programs" "$work/deploy" "$work/rendered" &&
        cargo --quiet xtask kubernetes "$work"/rendered/{one-broker,three-brokers,trial}.yaml; } 2>&1); then
        echo "kubernetes: \`$3\` in deploy/$2 was not refused" >&2
        exit 1
    fi
    if ! grep -qE "$1" <<<"$told"; then
        printf 'kubernetes: `%s` in deploy/%s was refused, but not for %s:\n%s\n' "$3" "$2" "$1" "$told" >&2
        exit 1
    fi
}

base=kubernetes/base
# By kustomize.
refuses 'ingres.yaml' "$base/kustomization.yaml" 's/- ingress.yaml/- ingres.yaml/'
# By the schema.
refuses 'replica' "$base/gateway.yaml" 's/^  replicas:/  replica:/'
refuses 'drop' "$base/role.yaml" 's/drop: \[ALL\]/drop: ALL/'
# By what Compose says.
refuses 'readOnlyRootFilesystem' "$base/role.yaml" 's/(readOnlyRootFilesystem): true/\1: false/'
refuses 'limit of memory' "$base/dispatcher.yaml" 's/(limits:.*memory): 1Gi/\1: 4Gi/'
refuses 'is given the secrets' "$base/gateway.yaml" 's/key: token-app/key: master-key/'
refuses 'is on the networks' "$base/gateway.yaml" 's/network-edge/network-core/'
refuses '`nobody` is not what' "$base/networks.yaml" '/name: nobody/,/---/ s/\[Ingress, Egress\]/[Ingress]/'
refuses 'has no `readinessProbe`' "$base/role.yaml" 's/readinessProbe:/# &/; /# readinessProbe/,/failureThreshold/ s/^/#/'

echo "kubernetes: what is wrong is refused, by kustomize, by the schema and by what docker-compose.yml has"

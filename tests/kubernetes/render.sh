#!/usr/bin/env bash
# Renders every overlay of deploy/kubernetes, and what deploy/ has for each place, into a folder, and holds
# each object strictly to the schema of Kubernetes. Secrets are made up: the real ones are nobody's here.
#
#   tests/kubernetes/render.sh PROGRAMS DEPLOY FOLDER
#
# PROGRAMS has kubectl and kubernetes-validate; DEPLOY is the checkout's folder deploy, or a copy of it.
set -euo pipefail

programs=$1 deploy=$2 target=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$target"

# What ./dev init writes.
mkdir "$work/deploy"
for part in kubernetes nats demo; do cp -r "$deploy/$part" "$work/deploy/"; done
cp "$deploy/kustomization.yaml" "$work/deploy/"
rm -rf "$work/deploy/nats/site"
mkdir -p "$work/deploy/secrets" "$work/deploy/nats/site"
cp "$deploy/accounts.example.toml" "$work/deploy/accounts.toml"
sed -n 's/^ *- \(secrets\/.*\|nats\/site\/.*\)$/\1/p; s/^.*files: \[\(nats\/site\/.*\)\]$/\1/p' "$work/deploy/kustomization.yaml" |
    while IFS= read -r file; do echo made-up >"$work/deploy/$file"; done

"$programs/kubectl" kustomize "$work/deploy" >"$target/site.yaml"
rendered=("$target/site.yaml")
for overlay in "$work"/deploy/kubernetes/overlays/*/; do
    name=$(basename "$overlay")
    "$programs/kubectl" kustomize "$overlay" >"$target/$name.yaml"
    rendered+=("$target/$name.yaml")
done
# It looks into each document; a kind that it has no schema for is refused, too.
"$programs/kubernetes-validate" --strict --quiet "${rendered[@]}"
echo "kubernetes: rendered ${#rendered[@]} files into $target"

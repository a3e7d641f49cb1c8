#!/usr/bin/env bash
# Prints the path of a real Kubernetes API server with an etcd in it, for the tests
# of the examples. It is built from scripts/kubernetes into .cache once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=$(sed -n 's|^.*k8s.io/kubernetes \(v[0-9.]*\).*$|\1|p' scripts/kubernetes/go.mod | head -n 1)
sources=$(cat scripts/kubernetes/{main.go,go.mod,go.sum} | git hash-object --stdin | cut -c 1-12)
kubernetes=$PWD/.cache/kubernetes/$version-$sources/kubernetes
if [ ! -x "$kubernetes" ]; then
  echo "Building a real Kubernetes API server $version, once. This takes about 11 minutes on two cores ..." >&2
  mkdir -p "$(dirname "$kubernetes")"
  part=$kubernetes.part.$$
  ( while sleep 60; do echo "  ... still building Kubernetes ($SECONDS s)"; done ) >&2 & # so that nobody thinks it hangs
  ticker=$!
  trap 'kill "$ticker" 2>/dev/null || true; rm -f "$part"' EXIT
  trap 'exit 130' INT TERM
  (cd scripts/kubernetes && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$part" .) >&2
  mv -f "$part" "$kubernetes" # at once: whoever looks finds all of it or nothing
fi
printf '%s\n' "$kubernetes"

#!/usr/bin/env bash
# Prints the path of the server to run: $BAO_BIN (an OpenBao), else $VAULT_BIN,
# else a vault on PATH, else a real Vault that is built from scripts/vault into
# .cache (once: it is found there later). Relative paths are from the repository's
# root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '%s\n' "$*" >&2; }

for variable in BAO_BIN VAULT_BIN; do
  given=${!variable:-}
  if [ -n "$given" ]; then
    [ -x "$given" ] || { say "$variable=$given is no program"; exit 1; }
    case $given in /*) ;; *) given=$PWD/$given ;; esac
    printf '%s\n' "$given"
    exit 0
  fi
done
if found=$(command -v vault); then
  printf '%s\n' "$found"
  exit 0
fi

version=$(sed -n 's|^.*github.com/hashicorp/vault \(v[0-9.]*\).*$|\1|p' scripts/vault/go.mod | head -n 1)
sources=$(cat scripts/vault/main.go scripts/vault/go.mod scripts/vault/go.sum | git hash-object --stdin | cut -c 1-12)
vault=$PWD/.cache/vault/$version-$sources/vault
if [ ! -x "$vault" ]; then
  say "Building a real Vault $version for the tests and the demo, once. This takes about 5 minutes on two cores ..."
  mkdir -p "$(dirname "$vault")"
  part=$vault.part.$$
  ( while sleep 20; do say "  ... still building Vault ($SECONDS s)"; done ) & # so that nobody thinks it hangs
  ticker=$!
  trap 'kill "$ticker" 2>/dev/null || true; rm -f "$part"' EXIT
  trap 'exit 130' INT TERM
  # The tag leaves out the auth methods and secrets engines that nobody needs here.
  ( cd scripts/vault && CGO_ENABLED=0 go build -trimpath -tags minimal \
      -ldflags "-s -w" -o "$part" . ) >&2
  mv -f "$part" "$vault" # at once: whoever looks finds all of it or nothing
  say "Built Vault $version in $SECONDS s."
fi
printf '%s\n' "$vault"

#!/usr/bin/env bash
# Prints the path of the server to run: $BAO_BIN (an OpenBao), else $VAULT_BIN,
# else a vault on PATH, else a real Vault that is built from scripts/vault into
# .cache (once: it is found there later). With a version, such as 1.19.0: a real Vault of
# that version, built in the same way. Relative paths are from the repository's root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '%s\n' "$*" >&2; }

for variable in BAO_BIN VAULT_BIN; do
  given=${!variable:-}
  if [ -n "$given" ] && [ -z "${1:-}" ]; then
    { [ -f "$given" ] && [ -x "$given" ]; } || { say "$variable=$given is no program"; exit 1; }
    case $given in /*) ;; *) given=$PWD/$given ;; esac
    printf '%s\n' "$given"
    exit 0
  fi
done
if [ -z "${1:-}" ] && found=$(command -v vault); then
  printf '%s\n' "$found"
  exit 0
fi

own=$(sed -n 's|^.*github.com/hashicorp/vault \(v[0-9.]*\).*$|\1|p' scripts/vault/go.mod | head -n 1)
version=${1:+v$1}
version=${version:-$own}
source=scripts/vault
# The tag leaves out the auth methods and secrets engines that nobody needs here, the others
# what only a debugger reads (but for the standard library, which is compiled already).
flags=(-trimpath -tags minimal -ldflags '-s -w' -gcflags=all=-dwarf=false -gcflags=std=)
vault=$PWD/.cache/vault/$version/vault
if [ "$version" = "$own" ]; then
  sources=$({ find scripts/vault -type f | LC_ALL=C sort | xargs cat; echo "${flags[@]}"; } | git hash-object --stdin | cut -c 1-12)
  vault=$PWD/.cache/vault/$version-$sources/vault
fi
if [ ! -x "$vault" ]; then
  # Each Vault is released with an sdk of its own, and only some of these are published:
  # none that fits any 1.20, or a later 1.19.
  case $version in "$own" | v1.19.0) ;; *) say "No published sdk is known that fits Vault $version: VAULT_BIN names one"; exit 1 ;; esac
  say "Building a real Vault $version for the tests and the demo, once. This takes 3 to 5 minutes on two cores ..."
  mkdir -p "$(dirname "$vault")"
  part=$vault.part.$$
  ( while sleep 20; do say "  ... still building Vault ($SECONDS s)"; done ) & # so that nobody thinks it hangs
  ticker=$!
  trap 'kill "$ticker" 2>/dev/null || true; rm -f "$part"' EXIT
  trap 'exit 130' INT TERM
  if [ "$version" != "$own" ]; then
    source=$(dirname "$vault")/module
    mkdir -p "$source"
    cp scripts/vault/main.go "$source/"
    printf 'module vault\n\ngo 1.25.1\n\nrequire github.com/hashicorp/vault %s\n\nreplace %s => %s %s\n' "$version" \
      github.com/hashicorp/vault/sdk github.com/hashicorp/vault/sdk v0.15.2 >"$source/go.mod"
    export GOFLAGS="${GOFLAGS:-} -mod=mod" # the rest of go.mod, and go.sum, are made by the way
  fi
  ( cd "$source" && CGO_ENABLED=0 go build "${flags[@]}" -o "$part" . ) >&2
  mv -f "$part" "$vault" # at once: whoever looks finds all of it or nothing
  say "Built Vault $version in $SECONDS s."
fi
printf '%s\n' "$vault"

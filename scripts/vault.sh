#!/usr/bin/env bash
# Prints the path of the server to run: $BAO_BIN (an OpenBao), else $VAULT_BIN,
# else a vault on PATH, else a real Vault that is built from scripts/vault into
# .cache (once: it is found there later). With a version, such as 1.20.0: a real Vault of
# that version, built in the same way. Relative paths are from the repository's root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '%s\n' "$*" >&2; }

for variable in BAO_BIN VAULT_BIN; do
  given=${!variable:-}
  if [ -n "$given" ] && [ -z "${1:-}" ]; then
    [ -x "$given" ] || { say "$variable=$given is no program"; exit 1; }
    case $given in /*) ;; *) given=$PWD/$given ;; esac
    printf '%s\n' "$given"
    exit 0
  fi
done
if [ -z "${1:-}" ] && found=$(command -v vault); then
  printf '%s\n' "$found"
  exit 0
fi

# module makes a module like scripts/vault for another version of Vault. Each is released
# with an sdk of its own, and only some of these are published: none that would fit a later
# 1.19 or 1.20.
module() {
  local into=$1 version=$2 sdk
  case $version in
  v1.19.0) sdk=v0.15.2 ;;
  v1.20.0) sdk=v0.18.0 ;;
  *) say "scripts/vault.sh does not know which sdk fits Vault $version"; return 1 ;;
  esac
  rm -rf "$into" && mkdir -p "$into"
  cp scripts/vault/main.go "$into/"
  cp -R "$(downloaded "$sdk")" "$into/sdk" && chmod -R u+w "$into/sdk"
  # The one for 1.20.0 has a field more, which came with the next, and not yet its method.
  [ "$version" != v1.20.0 ] || grep -v 'DownloadExtractVerifyPlugin(' "$(downloaded v0.19.0)/helper/pluginutil/runner.go" \
    >"$into/sdk/helper/pluginutil/runner.go"
  printf 'module vault\n\ngo 1.25.1\n\nrequire github.com/hashicorp/vault %s\n\nreplace github.com/hashicorp/vault/sdk => ./sdk\n' \
    "$version" >"$into/go.mod"
}

# downloaded is the folder of a published sdk.
downloaded() { (cd scripts/vault && go mod download -json "github.com/hashicorp/vault/sdk@$1") | sed -n 's/^.*"Dir": "\(.*\)".*$/\1/p'; }

own=$(sed -n 's|^.*github.com/hashicorp/vault \(v[0-9.]*\).*$|\1|p' scripts/vault/go.mod | head -n 1)
version=${1:+v$1}
version=${version:-$own}
source=scripts/vault
vault=$PWD/.cache/vault/$version/vault
if [ "$version" = "$own" ]; then
  sources=$(cat scripts/vault/main.go scripts/vault/go.mod scripts/vault/go.sum | git hash-object --stdin | cut -c 1-12)
  vault=$PWD/.cache/vault/$version-$sources/vault
fi
if [ ! -x "$vault" ]; then
  say "Building a real Vault $version for the tests and the demo, once. This takes about 5 minutes on two cores ..."
  mkdir -p "$(dirname "$vault")"
  part=$vault.part.$$
  ( while sleep 20; do say "  ... still building Vault ($SECONDS s)"; done ) & # so that nobody thinks it hangs
  ticker=$!
  trap 'kill "$ticker" 2>/dev/null || true; rm -f "$part"' EXIT
  trap 'exit 130' INT TERM
  if [ "$version" != "$own" ]; then
    source=$(dirname "$vault")/module
    module "$source" "$version"
    export GOFLAGS="${GOFLAGS:-} -mod=mod" # the rest of go.mod, and go.sum, are made by the way
  fi
  # The tag leaves out the auth methods and secrets engines that nobody needs here.
  ( cd "$source" && CGO_ENABLED=0 go build -trimpath -tags minimal \
      -ldflags "-s -w" -o "$part" . ) >&2
  mv -f "$part" "$vault" # at once: whoever looks finds all of it or nothing
  say "Built Vault $version in $SECONDS s."
fi
printf '%s\n' "$vault"

#!/usr/bin/env bash
# Prints the path of a real External Secrets Operator, for the tests of the examples;
# its CRDs are in crds/ beside it. It is built from the Go module proxy into .cache
# once: its own source with its own go.mod and go.sum, with one change. Of all its
# providers and generators, those of Vault alone are linked in: the others would be
# hundreds of modules. This is the last version that is one module.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

module=github.com/external-secrets/external-secrets
version=v0.20.4
sum=h1:HhNAjWfFEshhItphr28SGsHzf2bUP7uDAOVLg76uNAg=

script=$(git hash-object "scripts/external-secrets.sh" | cut -c 1-12)
folder=$PWD/.cache/external-secrets/$version-$script
if [ ! -x "$folder/external-secrets" ]; then
  echo "Building the External Secrets Operator $version, once. This takes about 5 minutes on two cores ..." >&2
  mkdir -p "$(dirname "$folder")"
  part=$(mktemp -d "$folder.part.XXXXXX")
  trap 'rm -rf "$part"' EXIT
  trap 'exit 130' INT TERM
  (cd / && go mod download -json "$module@$version") >"$part/module.json" # elsewhere: no go.sum is to grow by it
  grep -qF "\"Sum\": \"$sum\"" "$part/module.json" || { echo "$module $version is not what it was: $sum" >&2; exit 1; }
  cp -r "$(sed -n 's|^.*"Dir": "\(.*\)".*$|\1|p' "$part/module.json")" "$part/source"
  chmod -R u+w "$part/source"
  for kind in provider generator; do
    printf 'package register\n\nimport _ "%s/pkg/%s/vault"\n' "$module" "$kind" >"$part/source/pkg/$kind/register/register.go"
  done
  (cd "$part/source" && CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w" -o "$part/external-secrets" .) >&2
  mv "$part/source/config/crds/bases" "$part/crds"
  rm -r "$part/source"
  [ -d "$folder" ] || mv "$part" "$folder" # at once: whoever looks finds all of it or nothing
fi
printf '%s\n' "$folder/external-secrets"

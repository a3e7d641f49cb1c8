#!/usr/bin/env bash
# Prints the folder of a Terraform provider for Vault, for the test of
# examples/terraform/vault. It is built into .cache once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

sources=$(cat scripts/terraform-provider-vault/{main.go,go.mod,go.sum} | git hash-object --stdin | cut -c 1-12)
folder=$PWD/.cache/terraform-provider-vault/$sources
if [ ! -x "$folder/terraform-provider-vault" ]; then
  echo "Building a Terraform provider for Vault, once. This takes about 2 minutes on two cores ..." >&2
  mkdir -p "$folder"
  part=$folder/part.$$
  trap 'rm -f "$part"' EXIT
  (cd scripts/terraform-provider-vault && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$part" .) >&2
  mv -f "$part" "$folder/terraform-provider-vault"
fi
printf '%s\n' "$folder"

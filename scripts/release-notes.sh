#!/usr/bin/env bash
# Prints the section of CHANGELOG.md about a version, given as v1.2.3, for the notes
# of its release, and where its images are, those of the plugin and of the login proxy, if
# they are given with their digests. It fails if there is no section, if it is empty, or if it has no date yet.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=${1:?usage: scripts/release-notes.sh v1.2.3 [registry/image@sha256:... registry/image@sha256:...]}
changelog=${CHANGELOG:-CHANGELOG.md}

heading=$(grep -F "## [${version#v}] - " "$changelog") || {
  echo "$changelog has no section about $version" >&2
  exit 1
}
[[ $heading =~ -\ [0-9]{4}-[0-9]{2}-[0-9]{2}$ ]] || {
  echo "$changelog has no date for $version: \"$heading\"" >&2
  exit 1
}
notes=$(awk -v heading="$heading" '
  $0 == heading { found = 1; next }
  found && /^## |^\[[^]]*\]: / { exit }
  found' "$changelog")
[[ $notes =~ [^[:space:]] ]] || {
  echo "$changelog says nothing about $version" >&2
  exit 1
}
printf '%s\n' "$notes"
[[ -z ${2:-} ]] || cat <<EOT

### Images

\`${2%@*}\`, with the tags \`$version\` (for OpenBao) and \`${version#v}\` (for Vault):

    ${2#*@}
EOT
[[ -z ${3:-} ]] || cat <<EOT

\`${3%@*}\`, with the same tags:

    ${3#*@}
EOT

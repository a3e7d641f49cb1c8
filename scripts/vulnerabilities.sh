#!/usr/bin/env bash
# Known vulnerabilities that the code, its tests included, can reach. With -if-reachable
# it is no failure that the database cannot be had: that is said.
set -euo pipefail
: "${GOVULNCHECK:?is set by the Makefile}" "${VULNDB:?is set by the Makefile}"

about=$("$GOVULNCHECK" -db "$VULNDB" -version) # with the time of the database, if it answers
if [[ ${1-} == -if-reachable && $about != *"DB updated: "* ]]; then
	echo "govulncheck did not run: its database, $VULNDB, cannot be had here" >&2
	exit 0
fi
printf '%s\n\n' "$about"
exec "$GOVULNCHECK" -db "$VULNDB" -tags integration -test ./...

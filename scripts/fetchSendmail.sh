#!/usr/bin/env bash
# Downloads Debian's Sendmail and unpacks it for the integration tests, without installing it: its package would remove
# Postfix. With it come m4, which writes its configuration, and the libraries that this machine does not have. Needs
# apt-get and dpkg, and no root, unless the package lists are missing or out of date.
#
#   scripts/fetchSendmail.sh [DIRECTORY]
#
# DIRECTORY is EFFECT_MILTER_SENDMAIL or ~/.cache/effect-milter/sendmail, which is where the tests look. What is there
# already is left alone; delete it to fetch it again.
set -euo pipefail

cache=${XDG_CACHE_HOME:-${HOME:-$(echo ~)}/.cache}
directory=${1:-${EFFECT_MILTER_SENDMAIL:-$cache/effect-milter/sendmail}}

if [ -x "$directory/usr/libexec/sendmail/sendmail" ]; then
  echo "Sendmail is in $directory"
  exit
fi
if ! command -v apt-get > /dev/null || ! command -v dpkg > /dev/null; then
  echo "Sendmail is taken from Debian's packages, and this machine has no apt-get or no dpkg." >&2
  exit 1
fi

if [ -e "$directory" ]; then
  echo "There is something else in $directory." >&2
  exit 1
fi

mkdir -p "$(dirname "$directory")"
unpacked=$(mktemp -d "$directory.XXXXXX")
packages=$(mktemp -d)
trap 'rm -rf "$unpacked" "$packages"' EXIT
chmod 755 "$unpacked" "$packages"
# Started by root, apt-get downloads as a user of its own.
if [ "$(id -u)" -eq 0 ] && id _apt > /dev/null 2>&1; then chown _apt "$packages"; fi

# What an installation would bring, from what it says it would do: lines such as "Inst m4 (1.4.19-3 ...)".
missing() {
  apt-get --simulate -qq --no-install-recommends install sendmail-bin sendmail-cf m4 |
    sed -n -E 's/^Inst ((m4|lib)[^ ]*) .*/\1/p'
}

download() {
  local further
  further=$(missing) || return
  # Words are package names.
  # shellcheck disable=SC2086
  (cd "$packages" && apt-get download -qq sendmail-bin sendmail-cf $further)
}

if ! download; then
  if [ "$(id -u)" -ne 0 ]; then
    echo "Only root can bring the package lists up to date: apt-get update" >&2
    exit 1
  fi
  apt-get -o DPkg::Lock::Timeout=300 -qq update
  download
fi
for package in "$packages"/*.deb; do dpkg -x "$package" "$unpacked"; done

# It comes set-group-ID, and the dynamic linker ignores what LD_PRELOAD says about such programs.
chmod 755 "$unpacked/usr/libexec/sendmail/sendmail"
mv -T "$unpacked" "$directory"
echo "Sendmail is in $directory"

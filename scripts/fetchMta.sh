#!/usr/bin/env bash
# Downloads another release of Postfix or Sendmail than this machine's, from another suite of Debian, and unpacks it beside
# its own libraries and dynamic linker, so that it runs here without being installed and without a chroot.
#
#   scripts/fetchMta.sh RELEASE...
#
# RELEASE is a row of the table below. The directory is EFFECT_MILTER_MTAS or ~/.cache/effect-milter/mtas, with a folder for
# each release, which is where the tests look (EFFECT_MILTER_MTA=RELEASE). What is there already is left alone; delete it to
# fetch it again. Debian's unstable suite moves on: where it has another release by now, this says so and exits with 3.
#
# Needs apt-get, dpkg and patchelf, and no root: apt-get gets a status file, lists and a cache of its own.
set -euo pipefail

# What a release is: Debian's suite, the beginning of the package's version, the packages.
row_of() {
  case $1 in
    postfix-3.10) echo trixie 3.10. postfix ;;
    postfix-3.11) echo sid 3.11. postfix ;;
    sendmail-8.18) echo sid 8.18. sendmail-bin sendmail-cf m4 ;;
    *)
      echo "There is no release $1 here; there are postfix-3.10, postfix-3.11 and sendmail-8.18." >&2
      return 3
      ;;
  esac
}

cache=${XDG_CACHE_HOME:-${HOME:-~}/.cache}
mtas=${EFFECT_MILTER_MTAS:-$cache/effect-milter/mtas}

for program in apt-get dpkg-deb patchelf; do
  if ! command -v "$program" > /dev/null; then
    echo "Other releases come from Debian's packages, and this machine has no $program." >&2
    exit 1
  fi
done

# The mirror that this machine uses for Debian itself. $(SITE) is apt-get's word.
# shellcheck disable=SC2016
mirror=$(apt-get indextargets 'Created-By: Packages' 'Origin: Debian' --format '$(SITE)' | grep -v security | head -n 1)
if [ -z "$mirror" ]; then
  echo "This machine has no package lists of Debian: apt-get update" >&2
  exit 1
fi

# apt-get as for a machine that has this suite only and nothing installed.
apt() {
  local directory=$1
  shift
  apt-get -qq -o Dir::State="$directory/state" -o Dir::State::status="$directory/status" \
    -o Dir::Cache="$directory/cache" -o Dir::Etc::sourcelist="$directory/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o Dir::Etc::preferencesparts=/dev/null -o APT::Sandbox::User=root -o APT::Install-Recommends=no \
    -o Acquire::Languages=none "$@"
}

# Programs of the release use the libraries and the dynamic linker of their own suite.
patch() {
  local root=$1 libraries linker file
  # Not every release has all of these folders.
  libraries=$({ find "$root/usr/lib" "$root/lib" -name '*.so*' -printf '%h\n' 2> /dev/null || true; } | sort -u |
    grep -E 'linux-gnu(/sasl2)?$|/postfix' | tr '\n' ':')
  linker=$(find "$root" -name 'ld-linux*.so*' -print -quit)
  { find "$root/usr/sbin" "$root/usr/lib/postfix" "$root/usr/libexec/sendmail" "$root/usr/bin" -type f 2> /dev/null || true; } |
    while read -r file; do
      # Shell scripts are no ELF files.
      [ "$(head -c 4 "$file" | od -An -c | tr -d ' ')" = '177ELF' ] || continue
      case $file in
        *.so*) ;;
        */sbin/post* | */sbin/sendmail | */lib/postfix/* | */libexec/sendmail/* | */bin/m4)
          patchelf --set-interpreter "$linker" "$file"
          ;;
        *) continue ;;
      esac
      patchelf --force-rpath --set-rpath "$libraries" "$file"
    done
}

# In a shell of its own, which ends with the first command that fails, and takes along what is not whole.
fetch() (
  set -e
  release=$1
  directory=$mtas/$1
  row=$(row_of "$release")
  read -r suite version packages <<< "$row"
  if [ -d "$directory" ]; then
    echo "$release is in $directory"
    exit
  fi
  mkdir -p "$mtas"
  temporary=$(mktemp -d "$directory.XXXXXX")
  trap 'rm -rf "$temporary"' EXIT
  chmod 755 "$temporary"
  mkdir -p "$temporary/apt/state/lists/partial" "$temporary/apt/cache/archives/partial"
  : > "$temporary/apt/status"
  echo "deb $mirror $suite main" > "$temporary/apt/sources.list"
  apt "$temporary/apt" update
  found=$(apt "$temporary/apt" --print-uris install "${packages%% *}" 2> /dev/null |
    sed -n -E "s#.*/${packages%% *}_([^_/]*)_.*#\1#p" | head -n 1)
  found=$(printf '%b' "${found//%/\\x}")
  if [[ $found != "$version"* ]]; then
    echo "Debian's $suite has ${packages%% *} $found, not $release: it moves on." >&2
    exit 3
  fi
  # Words are package names.
  # shellcheck disable=SC2086
  apt "$temporary/apt" --download-only -y install $packages > /dev/null
  mkdir "$temporary/root"
  for package in "$temporary"/apt/cache/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -x -C "$temporary/root" --no-same-owner
  done
  rm -rf "$temporary/apt"
  # The dynamic linker ignores LD_PRELOAD for programs that are set-group-ID, and tests preload into Sendmail.
  find "$temporary/root" -type f -perm /6000 -exec chmod ug-s {} +
  # It runs from where it ends up.
  trap 'rm -rf "$temporary" "$directory"' EXIT
  mv -T "$temporary/root" "$directory"
  patch "$directory"
  trap 'rm -rf "$temporary"' EXIT
  echo "$release ($found) is in $directory"
)

[ $# -gt 0 ] || set -- postfix-3.10 postfix-3.11 sendmail-8.18
status=0
for release in "$@"; do
  # After "||" or "if" a function goes on when a command fails, in spite of "set -e".
  set +e
  fetch "$release"
  code=$?
  set -e
  [ "$code" -eq 0 ] || status=$code
done
exit "$status"

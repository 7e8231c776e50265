#!/bin/sh
# Runs a command as root on a machine that is this one with everything that it changes thrown away: an overlay over /, with
# processes of its own, and without Postfix, which is removed first. Needs root and a kernel that lets it mount; the network is
# this machine's.
#
#   freshMachine.sh DIRECTORY COMMAND...    DIRECTORY is to be seen there too, and what is written to it stays
#   freshMachine.sh --check                 says whether it is possible, by its exit code
set -eu

if [ "${1-}" = --check ]; then set -- / true; fi
if [ "${1-}" != --inside ]; then
  base=$(mktemp -d)
  status=0
  unshare --mount --pid --fork --kill-child "$0" --inside "$base" "$@" || status=$?
  rmdir "$base"
  exit "$status"
fi
base=$2
keep=$3
shift 3

mount -t tmpfs tmpfs "$base"
mkdir "$base/changes" "$base/work" "$base/root"
new=$base/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/changes,workdir=$base/work" "$new"
mount --rbind /dev "$new/dev"
mount -t proc proc "$new/proc"
mkdir -p "$new/tmp"
chmod 1777 "$new/tmp"
# Mounted files and directories do not show through.
for file in /etc/resolv.conf /etc/hosts /etc/hostname; do
  if [ -e "$file" ]; then
    rm -f "$new$file"
    cat "$file" > "$new$file"
  fi
done
for directory in "$keep" "$(dirname "$0")/.."; do
  directory=$(realpath "$directory")
  if [ "$directory" != / ]; then
    mkdir -p "$new$directory"
    mount --bind "$directory" "$new$directory"
  fi
done
if [ "$*" != true ]; then
  # Packages may start their services there.
  rm -f "$new/usr/sbin/policy-rc.d"
  DEBIAN_FRONTEND=noninteractive chroot "$new" dpkg --force-depends --purge postfix swaks > /dev/null 2>&1 || true
  rm -rf "$new/etc/postfix" "$new/var/spool/postfix" "$new/var/mail/root"
  if ! command -v sudo > /dev/null; then
    printf '#!/bin/sh\nexec env "$@"\n' > "$new/usr/local/bin/sudo"
    chmod 755 "$new/usr/local/bin/sudo"
  fi
fi
# Not in place of this shell, which is process 1 there: all others end with it.
status=0
here=$PWD
chroot "$new" sh -c 'cd "$0" && exec "$@"' "$here" "$@" || status=$?
exit "$status"

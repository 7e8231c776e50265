#!/usr/bin/env bash
# Builds Sendmail with larger packets for milters (_FFR_MDS_NEGOTIATE), which no distribution turns on, and its libmilter
# with the same, for test/integration/largePackets.test.ts. Nothing is installed. It takes a minute.
#
#   scripts/buildSendmail.sh
#
# It goes to sendmail-8.18-mds in EFFECT_MILTER_MTAS or ~/.cache/effect-milter/mtas. What is there already is left alone;
# delete it to build it again. Needs curl, make, a C compiler and m4 (or scripts/fetchSendmail.sh, which brings one).
set -euo pipefail

version=8.18.2
checksum=1a085faa8ace52cffde2f5e9bc611bdb5f81481caaabf46f0437b719ca089d2f
archive=http://deb.debian.org/debian/pool/main/s/sendmail/sendmail_$version.orig.tar.gz

cache=${XDG_CACHE_HOME:-${HOME:-$(echo ~)}/.cache}
directory=${EFFECT_MILTER_MTAS:-$cache/effect-milter/mtas}/sendmail-8.18-mds

if [ -x "$directory/usr/libexec/sendmail/sendmail" ]; then
  echo "Sendmail with larger packets is in $directory"
  exit
fi

m4=$(command -v m4 || true)
fetched=${EFFECT_MILTER_SENDMAIL:-$cache/effect-milter/sendmail}/usr/bin/m4
if [ -z "$m4" ] && [ -x "$fetched" ]; then m4=$fetched; fi
if [ -z "$m4" ]; then
  echo "Sendmail is configured by m4, and there is none (npm run sendmail:fetch brings one)." >&2
  exit 1
fi
for program in curl make cc; do
  if ! command -v "$program" > /dev/null; then
    echo "Sendmail is built from its source, and this machine has no $program." >&2
    exit 1
  fi
done

mkdir -p "$(dirname "$directory")"
work=$(mktemp -d "$directory.XXXXXX")
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

if ! curl --fail --silent --show-error --location --output "$work/source.tar.gz" "$archive"; then
  echo "Debian has another release by now than $version: this script must follow." >&2
  exit 3
fi
echo "$checksum  $work/source.tar.gz" | sha256sum --check --quiet
tar --extract --gzip --file "$work/source.tar.gz" --directory "$work"
source=$work/sendmail-$version

# The configuration of the tests has a regex map; it needs no database, no TLS and no library.
cat > "$source/devtools/Site/site.config.m4" << 'END'
define(`confMAPDEF', `-DMAP_REGEX')
define(`confOPTIMIZE', `-O1')
define(`confLIBS', `')
APPENDDEF(`confENVDEF', `-DMILTER -D_FFR_MDS_NEGOTIATE -DNETINET6 -DNO_NSL')
END
for part in libsm libsmutil sendmail libmilter; do
  if ! (cd "$source/$part" && PATH=$(dirname "$m4"):$PATH M4=$m4 sh ./Build) > "$work/log" 2>&1; then
    tail -20 "$work/log" >&2
    exit 1
  fi
done

built=$work/built
mkdir -p "$built/usr/libexec/sendmail" "$built/usr/share/sendmail" "$built/usr/bin" "$built/usr/lib" "$built/usr/include"
cp "$source"/obj.*/sendmail/sendmail "$built/usr/libexec/sendmail/"
cp "$source"/obj.*/libmilter/libmilter.a "$built/usr/lib/"
cp -r "$source/include/libmilter" "$built/usr/include/"
cp -r "$source/cf" "$built/usr/share/sendmail/cf"
cp "$m4" "$built/usr/bin/m4"
chmod -R go+rX "$built"
rm -rf "$directory"
mv "$built" "$directory"
echo "Sendmail with larger packets is in $directory"

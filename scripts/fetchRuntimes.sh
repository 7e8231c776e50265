#!/usr/bin/env bash
# Downloads Bun and Deno from npm for test/integration/runtimes.test.ts, in the versions named here: some 200 MB, so they are no
# dependencies of this package.
#
#   scripts/fetchRuntimes.sh [DIRECTORY]
#
# DIRECTORY is EFFECT_MILTER_RUNTIMES or ~/.cache/effect-milter/runtimes, which is where the tests look.
set -euo pipefail

bun=1.4.5
deno=2.9.6

cache=${XDG_CACHE_HOME:-${HOME:-$(echo ~)}/.cache}
directory=${1:-${EFFECT_MILTER_RUNTIMES:-$cache/effect-milter/runtimes}}

mkdir -p "$directory"
cd "$directory"
[ -e package.json ] || echo '{ "private": true }' > package.json
npm install --no-audit --no-fund --silent "bun@$bun" "deno@$deno"
echo "Bun $bun and Deno $deno are in $directory"

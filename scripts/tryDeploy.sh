#!/usr/bin/env bash
# Tries the files in deploy/ and container/ that need another system: the OpenRC script under OpenRC, and the Dockerfiles with buildah.
#
#   scripts/tryDeploy.sh
#
# Public images are not fetched: all base images are a Debian 12 that debootstrap makes, with this repository's Node and npm. So the
# instructions of the Dockerfiles are tried, and not the images that they name. Everything runs in namespaces of its own, and nothing
# is left but the Debian in ~/.cache/effect-milter/deploy. Needs root, debootstrap, buildah, npm, python3 and the network.
set -euo pipefail
cd "$(dirname "$0")/.."

for program in debootstrap buildah npm python3 unshare; do
  command -v "$program" > /dev/null || { echo "This machine has no $program." >&2; exit 1; }
done
[ "$(id -u)" = 0 ] || { echo "Only root can do this." >&2; exit 1; }

here=$PWD
cache=${XDG_CACHE_HOME:-$HOME/.cache}/effect-milter/deploy
work=$(mktemp -d)
chmod 755 "$work"
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT

step() { printf '%s\n' "== $*"; }

if [ ! -e "$cache/complete" ]; then
  step "a Debian with OpenRC"
  rm -rf "$cache"
  mkdir -p "$cache"
  debootstrap --variant=minbase --include=openrc,ca-certificates bookworm "$cache/root" http://deb.debian.org/debian > "$cache/log"
  touch "$cache/complete"
fi
cp -a "$cache/root" "$work/root"
cp -L node_modules/node/bin/node "$work/root/usr/local/bin/"
mkdir -p "$work/root/usr/local/lib/node_modules"
cp -a "$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")" "$work/root/usr/local/lib/node_modules/npm"
ln -s ../lib/node_modules/npm/bin/npm-cli.js "$work/root/usr/local/bin/npm"
# Certificates of this machine, for a network that has its own.
cp /etc/ssl/certs/ca-certificates.crt "$work/root/etc/ssl/certs/"
chroot "$work/root" useradd --create-home --uid 1000 node

step "the package, and a project with a filter"
npm pack --silent --pack-destination "$work" > /dev/null
python3 -u -m http.server 0 --bind 127.0.0.1 --directory "$work" > "$work/port" 2> /dev/null &
server=$!
until grep -q port "$work/port"; do sleep 0.1; done
port=$(sed -n 's/.* port \([0-9]*\) .*/\1/p' "$work/port")
mkdir "$work/project"
cp test/support/modules/filter.ts "$work/project/filter.ts"
printf 'From: a@example.org\nTo: b@example.net\nSubject: hi\n\nHello\n' > "$work/project/hello.eml"
(
  cd "$work/project"
  printf '{ "name": "my-filter", "private": true, "type": "module" }\n' > package.json
  npm install --silent --no-audit --no-fund "http://127.0.0.1:$port/$(basename "$work"/effect-milter-*.tgz)" effect @effect/platform-node
)

step "deploy/openrc under OpenRC"
cp -a "$work/root" "$work/openrc"
mkdir -p "$work/openrc/srv" "$work/openrc/etc/conf.d"
cp -a "$work/project" "$work/openrc/srv/filter"
ln -s /usr/local/bin/node "$work/openrc/usr/bin/node"
cp deploy/openrc/effect-milter "$work/openrc/etc/init.d/"
chroot "$work/openrc" groupadd --system postfix
chroot "$work/openrc" useradd --system --no-create-home --shell /usr/sbin/nologin --gid postfix filter
cat > "$work/openrc/root/try.sh" << 'EOF'
set -eu
cd /srv/filter
program=/srv/filter/node_modules/effect-milter/dist/cli/main.js
running() {
  for process in /proc/[0-9]*; do
    case $(cat "$process/cmdline" 2> /dev/null | tr '\0' ' ') in /usr/bin/node*serve* | /usr/local/bin/node*serve*) basename "$process" ;; esac
  done | sort -n
}
answers() {
  for _ in $(seq 100); do
    if node "$program" send hello.eml --to unix:/run/effect-milter/filter.sock 2> /dev/null | grep -q '^+X-Picky: yes'; then return; fi
    sleep 0.2
  done
  echo "the filter does not answer" >&2
  return 1
}
rc-service --nodeps effect-milter start
answers
stat -c '%U:%G %a' /run/effect-milter | grep -qx 'filter:postfix 2750'
stat -c '%U:%G %a' /run/effect-milter/filter.sock | grep -qx 'filter:postfix 660'
supervisor=$(running | head -n 1)
grep -q "^Uid:	$(id -u filter)	" "/proc/$supervisor/status"
before=$(running | tail -n 1)
rc-service effect-milter reload
# Another worker, of the same supervisor.
for _ in $(seq 100); do running | grep -qx "$before" || break; sleep 0.2; done
if running | grep -qx "$before"; then echo "the old worker stays" >&2; exit 1; fi
running | grep -qx "$supervisor"
answers
rc-service effect-milter status
rc-service effect-milter stop 2> /dev/null
[ -z "$(running)" ]
[ ! -e /run/effect-milter/filter.sock ]
EOF
cat > "$work/openrc.sh" << 'EOF'
set -eu
mount -t proc proc "$1/proc"
mount -t tmpfs tmpfs "$1/run"
mount --bind /dev "$1/dev"
# What OpenRC makes at boot.
for directory in starting started stopping inactive wasinactive failed exclusive options daemons tmp scheduled hotplugged; do
  mkdir -p "$1/run/openrc/$directory"
done
touch "$1/run/openrc/softlevel"
exec chroot "$1" sh /root/try.sh
EOF
unshare --mount --pid --net --fork bash "$work/openrc.sh" "$work/openrc"

step "the Dockerfiles with buildah"
export BUILDAH_ISOLATION=chroot
build() { buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$@"; }
base=$(build from scratch)
build add --quiet "$base" "$work/root" / > /dev/null
build config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  --env NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt --env npm_config_cafile=/etc/ssl/certs/ca-certificates.crt "$base"
build commit --quiet "$base" docker.io/library/node:24-alpine > /dev/null
build tag node:24-alpine docker.io/library/node:24-bookworm-slim docker.io/library/debian:bookworm-slim
image() { build bud --quiet --format docker --pull-never --network host --tag "$@" > /dev/null; }
image my-filter --file deploy/docker/Dockerfile "$work/project"
image postfix-to-try container/postfix
image filter-to-try --file container/filter/Dockerfile --ignorefile container/filter/Dockerfile.dockerignore .

cat > "$work/containers.sh" << 'EOF'
set -euo pipefail
work=$1 here=$2
ip link set lo up
build() { buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$@"; }
# The command and the check of the image, as an engine would run them.
of() { build inspect --type image "$1" | python3 -c "import json, sys; print('\0'.join($2), end='\0')"; }
mapfile -d '' command < <(of my-filter "(lambda c: c['Entrypoint'] + c['Cmd'])(json.load(sys.stdin)['OCIv1']['config'])")
mapfile -d '' health < <(of my-filter "json.load(sys.stdin)['Docker']['config']['Healthcheck']['Test'][1:]")
container=$(build from --pull-never my-filter)
build run --network host --user node "$container" -- "${command[@]}" > "$work/my-filter.log" 2>&1 &
for _ in $(seq 100); do
  if build run --network host --user node "$container" -- "${health[@]}" 2> /dev/null; then healthy=yes; break; fi
  sleep 0.3
done
[ "${healthy:-}" = yes ] || { cat "$work/my-filter.log"; exit 1; }
node=$here/node_modules/node/bin/node
"$node" "$work/project/node_modules/effect-milter/dist/cli/main.js" send "$work/project/hello.eml" --to inet:9000 | grep -q '^+X-Picky: yes'
# SIGTERM for the program, as `docker stop` sends it to process 1.
kill -TERM "$(pgrep -o -f '^/usr/local/bin/node node_modules/effect-milter')"
wait
if build run --network host --user node "$container" -- "${health[@]}" 2> /dev/null; then exit 1; fi

filter=$(build from --pull-never filter-to-try)
postfix=$(build from --pull-never postfix-to-try)
build run --network host --user node "$filter" -- node -C effect-milter-source examples/run.ts append_header_ip > "$work/filter.log" 2>&1 &
build run --network host --env MILTERS=inet:127.0.0.1:9000 "$postfix" -- entrypoint.sh postfix start-fg > "$work/postfix.log" 2>&1 &
for _ in $(seq 100); do
  if python3 - 2> /dev/null << 'PYTHON'; then break; fi
import smtplib
message = "Subject: hello\r\n\r\nHello, Bob.\r\n"
smtplib.SMTP("127.0.0.1", 25, timeout=5).sendmail("alice@example.org", ["bob@test.example"], message)
PYTHON
  sleep 0.3
done
for _ in $(seq 100); do
  if build run "$postfix" -- grep -q '^X-MilterExample-Connect-IP: 127.0.0.1$' /srv/mail/inbox 2> /dev/null; then exit 0; fi
  sleep 0.3
done
cat "$work/postfix.log" "$work/filter.log"
exit 1
EOF
unshare --mount --pid --net --fork --mount-proc bash "$work/containers.sh" "$work" "$here"
step "all is well"

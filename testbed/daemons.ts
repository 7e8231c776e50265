/** The other milters. Each function starts one and gives the address of its socket. */
import * as Effect from "effect/Effect"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { directory, type Prerequisites, start, write } from "./daemon.ts"
import type { SigningKey } from "./opendkim.ts"

const user = Os.userInfo().username

export const prerequisites = {
  opendmarc: { commands: ["opendmarc"], packages: "opendmarc" },
  rspamd: { commands: ["rspamd"], packages: "rspamd" },
  clamav: { commands: ["clamav-milter", "clamd"], packages: "clamav-milter clamav-daemon" },
  spamass: { commands: ["spamass-milter", "spamd"], packages: "spamass-milter spamd spamassassin" },
  pyspf: { commands: ["pyspf-milter"], packages: "pyspf-milter" },
  dkimpy: { commands: ["dkimpy-milter"], packages: "dkimpy-milter" },
  amavis: { commands: ["amavisd-milter", "amavisd"], packages: "amavisd-milter amavisd-new", root: true }
} as const satisfies { readonly [name: string]: Prerequisites }

/** OpenDMARC. There is no DNS, so that no domain has a policy. */
export const opendmarc = Effect.gen(function*() {
  const own = yield* directory
  const socket = Path.join(own, "opendmarc.sock")
  const configuration = write(
    own,
    "opendmarc.conf",
    `AuthservID mx.example.net
TrustedAuthservIDs mx.example.net
Socket local:${socket}
DNSTimeout 1
SoftwareHeader true
Background no
`
  )
  yield* start({ command: "opendmarc", args: ["-f", "-c", configuration], socket })
  return `unix:${socket}`
})

/**
 * rspamd's proxy worker, which speaks the protocol with code of its own and here scans itself. Only the test pattern GTUBE
 * makes spam; the list of top level domains is cut down, since the stock one takes 15 s to compile. `extended`: whether it adds
 * its symbols, some of which change with the time of day; it does unless told otherwise.
 */
export const rspamd = Effect.fnUntraced(
  function*(options: { readonly quarantine?: boolean; readonly extended?: boolean } = {}) {
    const own = yield* directory
    const data = Path.join(own, "data")
    Fs.mkdirSync(data)
    const socket = Path.join(own, "rspamd.sock")
    const domains = write(own, "domains", "com\norg\nnet\n")
    const configuration = write(
      own,
      "rspamd.conf",
      `options {
  pidfile = "${own}/rspamd.pid"; dbdir = "${data}"; rundir = "${data}"; cachedir = "${data}";
  filters = "regexp"; local_addrs = []; gtube_patterns = "all"; url_tld = "${domains}";
  dns { timeout = 1s; retransmits = 1; nameserver = ["127.0.0.1:1"]; }
}
logging { type = "console"; level = "error"; }
lua = "/usr/share/rspamd/rules/rspamd.lua";
worker "rspamd_proxy" {
  bind_socket = "${socket} mode=0666"; milter = yes; count = 1; timeout = 20s;
  quarantine_on_reject = ${options.quarantine === true};
  upstream "self" { default = yes; self_scan = yes; }
}
milter_headers { skip_local = false; use = ["x-spamd-bar", "x-spam-level", "x-rspamd-server"]; extended_spam_headers = ${
        options.extended !== false
      }; }
actions { reject = 15; add_header = 6; greylist = null; }
metric { name = "default"; }
modules { path = "/usr/share/rspamd/plugins/milter_headers.lua"; }
`
    )
    // It refuses to run as root by accident.
    yield* start({ command: "rspamd", args: ["-f", "-i", "-c", configuration], socket })
    return `unix:${socket}`
  }
)

/** The word that {@link clamav} takes for a virus. */
export const virus = "effect-milter-test-virus"

/** clamd with a database of one word, since that of ClamAV would have to be downloaded, and clamav-milter before it. */
export const clamav = Effect.gen(function*() {
  const own = yield* directory
  const database = Path.join(own, "database")
  Fs.mkdirSync(database)
  write(database, "test.ndb", `Test.Virus:0:*:${Buffer.from(virus).toString("hex")}\n`)
  const scanner = Path.join(own, "clamd.sock")
  const clamd = write(
    own,
    "clamd.conf",
    `DatabaseDirectory ${database}
LocalSocket ${scanner}
Foreground yes
User ${user}
`
  )
  yield* start({ command: "clamd", args: ["-c", clamd], socket: scanner })
  const socket = Path.join(own, "milter.sock")
  const configuration = write(
    own,
    "clamav-milter.conf",
    `MilterSocket unix:${socket}
ClamdSocket unix:${scanner}
Foreground yes
User ${user}
AddHeader Replace
OnInfected Reject
RejectMsg infected with %v
OnFail Defer
`
  )
  yield* start({ command: "clamav-milter", args: ["-c", configuration], socket })
  return `unix:${socket}`
})

/** spamd with its local tests only, and spamass-milter before it. */
export const spamass = Effect.gen(function*() {
  const own = yield* directory
  const rules = Path.join(own, "rules")
  Fs.mkdirSync(rules)
  // Without the list of plugins spamd cannot check anything.
  for (const file of Fs.readdirSync("/etc/spamassassin")) {
    if (file.endsWith(".pre")) Fs.copyFileSync(Path.join("/etc/spamassassin", file), Path.join(rules, file))
  }
  write(rules, "local.cf", "use_bayes 0\nuse_auto_whitelist 0\nskip_rbl_checks 1\ndns_available no\nrequired_score 5\n")
  const scanner = Path.join(own, "spamd.sock")
  yield* start({
    command: "spamd",
    args: ["-L", "-x", "-m", "1", `--socketpath=${scanner}`, "--socketmode=666", `--siteconfigpath=${rules}`],
    env: { HOME: own },
    socket: scanner
  })
  const socket = Path.join(own, "milter.sock")
  yield* start({ command: "spamass-milter", args: ["-p", socket, "-r", "15", "--", "-U", scanner], socket })
  return `unix:${socket}`
})

/** SPF by pymilter. Without DNS it finds no record. */
export const pyspf = Effect.gen(function*() {
  const own = yield* directory
  const socket = Path.join(own, "pyspf.sock")
  const configuration = write(
    own,
    "pyspf.conf",
    `debugLevel = 1
TestOnly = 1
Lookup_Time = 2
Socket = local:${socket}
PidFile = ${own}/pyspf.pid
UserID = ${user}
`
  )
  yield* start({ command: "pyspf-milter", args: [configuration], socket })
  return `unix:${socket}`
})

/** dkimpy-milter: signs like opendkim, but with a program in Python. */
export const dkimpy = Effect.fnUntraced(function*(key: SigningKey) {
  const own = yield* directory
  const socket = Path.join(own, "dkimpy.sock")
  const configuration = write(
    own,
    "dkimpy.conf",
    `Mode s
Domain ${key.domain}
Selector ${key.selector}
KeyFile ${key.file}
InternalHosts 127.0.0.1
Socket local:${socket}
PidFile ${own}/dkimpy.pid
UserID ${user}
UMask 007
`
  )
  yield* start({ command: "dkimpy-milter", args: [configuration], socket })
  return `unix:${socket}`
})

/** amavisd without scanners, which refuses attachments by their name, and amavisd-milter before it. */
export const amavis = Effect.gen(function*() {
  const own = yield* directory
  // Its account must own what it works in, and nobody else may look into it.
  const work = Path.join(own, "work")
  Fs.mkdirSync(work)
  ChildProcess.execFileSync("chown", ["amavis:amavis", work])
  Fs.chmodSync(work, 0o770)
  const scanner = Path.join(work, "amavisd.sock")
  const configuration = write(
    own,
    "amavisd.conf",
    `use strict;
$daemon_user = 'amavis'; $daemon_group = 'amavis'; $max_servers = 1;
$MYHOME = '${work}'; $TEMPBASE = '${work}'; $QUARANTINEDIR = '${work}'; $db_home = undef;
$lock_file = '${work}/amavisd.lock'; $pid_file = '${work}/amavisd.pid';
$myhostname = 'mx.example.net'; $mydomain = 'example.net'; @local_domains_maps = (['.example.net']);
$enable_db = 0; $do_syslog = 0; $LOGFILE = '${work}/amavisd.log'; $log_level = 0;
@bypass_virus_checks_maps = (1); @bypass_spam_checks_maps = (1); @av_scanners = (); @av_scanners_backup = ();
$unix_socketname = '${scanner}'; $interface_policy{'SOCK'} = 'AM.PDP-SOCK';
$policy_bank{'AM.PDP-SOCK'} = { protocol => 'AM.PDP' };
$final_banned_destiny = D_REJECT; $final_bad_header_destiny = D_PASS;
$banned_filename_re = new_RE(qr'\\.exe$'i);
$X_HEADER_TAG = 'X-Virus-Scanned'; $X_HEADER_LINE = 'amavis';
$enable_dkim_verification = 0; $enable_dkim_signing = 0;
1;
`
  )
  yield* start({ command: "amavisd", args: ["-c", configuration, "foreground"], socket: scanner })
  const socket = Path.join(work, "milter.sock")
  yield* start({
    command: "setpriv",
    args: [
      "--reuid=amavis",
      "--regid=amavis",
      "--init-groups",
      "amavisd-milter",
      "-f",
      "-s",
      socket,
      "-S",
      scanner,
      "-w",
      work,
      "-p",
      Path.join(work, "milter.pid")
    ],
    socket
  })
  return `unix:${socket}`
})

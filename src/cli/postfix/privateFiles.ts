/**
 * The files of a private Postfix: configuration, queue and mailbox under one directory, nothing shared with a Postfix of the host.
 * `try` has one, and the tests.
 */
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"

/** main.cf: parameter name to value. */
export type Settings = Readonly<Record<string, string>>

/** The directory of `main.cf` and `master.cf`, for the option `-c` of Postfix's programs. */
export const configuration = (directory: string): string => Path.join(directory, "etc")

export const queue = (directory: string): string => Path.join(directory, "queue")

/** Where {@link captureService} puts what is delivered. */
export const mailbox = (directory: string): string => Path.join(directory, "mail")

const isOpen = (path: string): boolean =>
  (Fs.statSync(path).mode & 0o001) !== 0 && (Path.dirname(path) === path || isOpen(Path.dirname(path)))

/**
 * Makes a directory that every user can get into, as the user postfix must. Below a TMPDIR that is closed to others it could
 * not; then it is in /tmp.
 */
export const makeDirectory = (prefix: string): string => {
  const parent = [Fs.realpathSync(Os.tmpdir()), "/tmp", "/var/tmp"]
    .find((path) => !/\s/.test(path) && Fs.existsSync(path) && isOpen(path))
  if (parent === undefined) {
    throw new Error("no temporary directory that all users can search, without spaces in its path")
  }
  const directory = Fs.mkdtempSync(Path.join(parent, prefix))
  Fs.chmodSync(directory, 0o755)
  return directory
}

/** The settings that keep it private, and mail on this host. */
export const settings = (directory: string, domain: string): Settings => ({
  compatibility_level: "3.6",
  queue_directory: queue(directory),
  data_directory: Path.join(directory, "data"),
  maillog_file: logFile(directory),
  maillog_file_prefixes: directory,
  myhostname: `mx.${domain}`,
  mydomain: domain,
  myorigin: domain,
  mydestination: "",
  inet_interfaces: "loopback-only",
  inet_protocols: "ipv4",
  mynetworks: "127.0.0.0/8",
  alias_maps: "",
  alias_database: "",
  local_recipient_maps: "",
  // In the order of time, and never used twice.
  enable_long_queue_ids: "yes",
  smtp_dns_support_level: "disabled",
  smtpd_peername_lookup: "no",
  smtputf8_enable: "yes",
  // What cannot be delivered at once bounces at once, and bounces that cannot be delivered are dropped.
  maximal_queue_lifetime: "0",
  bounce_queue_lifetime: "0",
  notify_classes: "",
  milter_default_action: "tempfail"
})

/** The lines of master.cf for all that Postfix does inside; not those that take mail by SMTP, nor those that deliver it. */
export const services: ReadonlyArray<string> = [
  "pickup unix n - n 60 1 pickup",
  "cleanup unix n - n - 0 cleanup",
  "qmgr unix n - n 300 1 qmgr",
  "tlsmgr unix - - n 1000? 1 tlsmgr",
  "rewrite unix - - n - - trivial-rewrite",
  "bounce unix - - n - 0 bounce",
  "defer unix - - n - 0 bounce",
  "trace unix - - n - 0 bounce",
  "verify unix - - n - 1 verify",
  "proxymap unix - - n - - proxymap",
  "proxywrite unix - - n - 1 proxymap",
  "showq unix n - n - - showq",
  "error unix - - n - - error",
  "retry unix - - n - - error",
  "discard unix - - n - - discard",
  "anvil unix - - n - 1 anvil",
  "scache unix - - n - 1 scache",
  "postlog unix-dgram n - n - 1 postlogd"
]

/** The lines of master.cf for a transport that delivers into files. */
export const captureService = (transport: string, directory: string, processes: number): ReadonlyArray<string> => [
  `${transport} unix - n n - ${processes} pipe flags=q user=nobody null_sender=`,
  `  argv=/bin/sh ${Path.join(directory, "capture.sh")} ${mailbox(directory)}`,
  "  ${queue_id} ${sender} ${recipient}"
]

/** Message first, envelope last and by rename: whoever sees the envelope sees all of it, and the whole message. */
export const captureScript = `# DIRECTORY QUEUE_ID SENDER RECIPIENT...
umask 077
base=$1/$2.$$
shift 2
cat > "$base.message" || exit 75
printf '%s\\0' "$@" > "$base.partial" || exit 75
mv "$base.partial" "$base.envelope" || exit 75
`

/** Writes a file of Postfix's, dated back: each process that reads one younger than a second waits until it is not. */
export const write = (path: string, text: string): void => {
  const past = Date.now() / 1000 - 60
  Fs.writeFileSync(`${path}.new`, text, { mode: 0o644 })
  Fs.chmodSync(`${path}.new`, 0o644)
  Fs.utimesSync(`${path}.new`, past, past)
  Fs.renameSync(`${path}.new`, path)
}

export const writeMainCf = (directory: string, settings: Settings): void =>
  write(
    Path.join(configuration(directory), "main.cf"),
    Object.entries(settings).map(([name, value]) => `${name} = ${value}\n`).join("")
  )

export const writeMasterCf = (directory: string, lines: ReadonlyArray<string>): void =>
  write(Path.join(configuration(directory), "master.cf"), lines.map((line) => `${line}\n`).join(""))

const ownQueues = "active bounce corrupt defer deferred flush hold incoming private saved trace".split(" ").map((
  name
) => `queue/${name}`)

const chown = (owner: string, paths: ReadonlyArray<string>): void => {
  ChildProcess.execFileSync("chown", [owner, ...paths], { encoding: "utf8", stdio: ["ignore", "ignore", "pipe"] })
}

/** Makes the directories of the queue and the mailbox, which the installed Postfix's users own. */
export const prepare = (directory: string, owner: string, group: string): void => {
  const paths = (names: ReadonlyArray<string>): ReadonlyArray<string> => names.map((name) => Path.join(directory, name))
  const make = (mode: number, ...names: ReadonlyArray<string>): void => {
    for (const path of paths(names)) {
      Fs.mkdirSync(path)
      // The umask of the one who calls does not count.
      Fs.chmodSync(path, mode)
    }
  }
  make(0o755, "etc", "queue", "queue/pid")
  make(0o700, "data", "mail", ...ownQueues)
  make(0o730, "queue/maildrop")
  make(0o710, "queue/public")
  write(Path.join(directory, "capture.sh"), captureScript)
  chown(owner, paths(["data", ...ownQueues]))
  chown(`${owner}:${group}`, paths(["queue/maildrop", "queue/public"]))
  // The capturing command runs as nobody.
  chown("nobody", [mailbox(directory)])
}

const logFile = (directory: string): string => Path.join(directory, "postfix.log")

export const readLog = (directory: string): string =>
  Fs.existsSync(logFile(directory)) ? Fs.readFileSync(logFile(directory), "latin1") : ""

export const removeLog = (directory: string): void => Fs.rmSync(logFile(directory), { force: true })

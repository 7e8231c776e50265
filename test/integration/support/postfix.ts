/**
 * A private Postfix for one test file: its own configuration, queue, log and ports under a temporary directory, nothing
 * shared with an MTA that may run on the same machine. What it delivers is read back byte for byte.
 *
 * Postfix wants to be started as root (it drops privileges itself). `postfix start` and `postconf -e` are not used:
 * they cost seconds, which this file avoids in three ways.
 *
 * - The queue directories are made here, and master(8) is run directly, without the shell scripts that check them.
 * - Configuration files are dated back by a minute. Each Postfix process that finds main.cf younger than a second
 *   waits until it is not, lest it read a half-written file.
 * - Processes that a killed master leaves to init are taken as gone once they are zombies; who reaps them, and when, is
 *   the machine's affair.
 *
 * All waits are in real time, whatever the test's clock is.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import { describeWith } from "../../support/prerequisite.ts"
import { realTime } from "./realTime.ts"

/** Set to keep the temporary directory, with queue and log, after the test. */
const keepVariable = "EFFECT_MILTER_KEEP_POSTFIX"

/** Postfix is not usable here, does not start, or did not do what was waited for; with the end of its log. */
export class PostfixError extends Data.TaggedError("PostfixError")<{
  readonly message: string
}> {}

/** Where the installed Postfix is, and the accounts it runs under. */
export interface Installation {
  readonly version: string
  readonly daemonDirectory: string
  readonly commandDirectory: string
  readonly sendmail: string
  readonly mailOwner: string
  readonly setgidGroup: string
}

/** main.cf or `-o` settings: parameter name to value. */
export type Settings = Readonly<Record<string, string>>

/** One more smtpd on a port of its own, on the same Postfix. */
export interface Listener {
  /** Its `smtpd_milters`, as in {@link Options}. */
  readonly milters: string
  /** Other parameters of smtpd(8) for this port only. */
  readonly options?: Settings
  /** Parameters of cleanup(8) for messages from this port only, such as `header_checks`; gives it a cleanup of its own. */
  readonly cleanupOptions?: Settings
}

/**
 * How to set up {@link make}. `Name` are the names of the further listeners.
 *
 * - `milters`: `smtpd_milters` of the main port in Postfix's spelling: `inet:127.0.0.1:8891`, `unix:/path`,
 *   `{ inet:127.0.0.1:8891, default_action=accept }` (no blanks around the `=`), several with commas between, or empty for none
 * - `nonSmtpdMilters`: the same for local submission; none by default
 * - `listeners`: further ports by name, see {@link Instance.portOf}
 * - `mainCf`: settings that replace or add to those of this file
 * - `masterCf`: further lines for master.cf
 */
export interface Options<Name extends string = string> {
  readonly milters: string
  readonly nonSmtpdMilters?: string
  readonly listeners?: Readonly<Record<Name, Listener>>
  readonly mainCf?: Settings
  readonly masterCf?: string
}

/** A message's text, taken apart. Strings are one char per byte; line ends are LF, as in the queue. */
export interface Content {
  /** All of it: header, empty line, body. */
  readonly raw: string
  /** Name and value of each field from the top. Without the one space after the colon; folds are LF and white space. */
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
  /** Each field as it stands, name and folds included, without the last line end. */
  readonly fields: ReadonlyArray<string>
  /** What follows the empty line. */
  readonly body: string
}

/** A message that reached the end of the queue, with its envelope as it then was. */
export interface Delivered extends Content {
  readonly queueId: string
  /** Without angle brackets; empty for the null sender. */
  readonly sender: string
  /** Without angle brackets, sorted: the queue manager has an order of its own. Twice in the envelope is twice here. */
  readonly recipients: ReadonlyArray<string>
}

/**
 * A message in the hold queue. `records` is the envelope as postcat(1) prints it, for what `Delivered` cannot tell: DSN
 * parameters are `ret_flags` and `envelope_id`, and before each `recipient` its `notify_flags` and `dsn_orig_rcpt`.
 */
export interface Held extends Delivered {
  readonly records: ReadonlyArray<readonly [name: string, value: string]>
}

/** How long to wait for messages, and which. */
export interface TakeOptions {
  /** Milliseconds; 10000 by default. */
  readonly timeout?: number
  /** Only this message. */
  readonly queueId?: string | undefined
  /** Only messages of which this is true. */
  readonly where?: (message: Delivered) => boolean
}

/** A running Postfix. Everything fails with {@link PostfixError}. */
export interface Instance<Name extends string = string> {
  /** Main port, on 127.0.0.1 and, if `ipv6`, on ::1. */
  readonly port: number
  /** The port of one of the further listeners. Throws for a name that was not given. */
  readonly portOf: (name: Name) => number
  /** Whether this machine has ::1. */
  readonly ipv6: boolean
  /** `myhostname`: what greets, and is in Received. */
  readonly hostname: string
  readonly version: string
  /** Everything is under here, and it is searchable by user postfix: a place for UNIX sockets. */
  readonly directory: string

  /** The mail log so far. */
  readonly log: Effect.Effect<string, PostfixError>
  /** Waits for a line that matches, and returns it. Lines are written asynchronously: never look just once. */
  readonly awaitLog: (pattern: RegExp, timeout?: number) => Effect.Effect<string, PostfixError>

  /** What has been delivered and not been taken, in order of arrival. */
  readonly delivered: Effect.Effect<ReadonlyArray<Delivered>, PostfixError>
  /** Waits until `count` are there, and returns all that are there. */
  readonly awaitDelivered: (
    count: number,
    options?: TakeOptions
  ) => Effect.Effect<ReadonlyArray<Delivered>, PostfixError>
  /** Waits until `count` are there, returns the first `count` and forgets them. */
  readonly takeDelivered: (
    count: number,
    options?: TakeOptions
  ) => Effect.Effect<ReadonlyArray<Delivered>, PostfixError>
  /** Waits for one message and forgets it. */
  readonly takeOne: (options?: TakeOptions) => Effect.Effect<Delivered, PostfixError>

  /** What is in the hold queue, in order of arrival. */
  readonly held: Effect.Effect<ReadonlyArray<Held>, PostfixError>
  /** Waits until `count` are on hold, returns the first `count` and deletes them from the queue. */
  readonly takeHeld: (count: number, options?: TakeOptions) => Effect.Effect<ReadonlyArray<Held>, PostfixError>
  /** Lets a held message go on to delivery. */
  readonly release: (queueId: string) => Effect.Effect<void, PostfixError>

  /** Whether nothing is on its way. Messages on hold do not count; one that a client is just sending does. */
  readonly queueEmpty: Effect.Effect<boolean, PostfixError>
  /** Waits for that, then returns what was delivered: the way to find out that something was *not*. */
  readonly awaitIdle: (timeout?: number) => Effect.Effect<ReadonlyArray<Delivered>, PostfixError>
  /** Forgets what was delivered, and deletes what is in any queue. */
  readonly clear: Effect.Effect<void, PostfixError>

  /**
   * `sendmail ARGS` with the message (LF line ends) on its standard input. By default `sendmail -t -i`: recipients from
   * the header, and a line with a single dot does not end the message.
   */
  readonly submitLocal: (
    message: string | Uint8Array,
    args?: ReadonlyArray<string>
  ) => Effect.Effect<void, PostfixError>
  /**
   * Changes main.cf and has Postfix read it. The next SMTP session has the new settings; one that is open keeps the old
   * ones, and costs up to a second here, since old processes are waited for. A listener's own options are not touched.
   */
  readonly reconfigure: (settings: Settings) => Effect.Effect<void, PostfixError>
}

/** {@link Instance} as a service, for `layer(Postfix.layer({...}))`. */
export class Postfix extends Context.Service<Postfix, Instance>()("effect-milter/test/Postfix") {}

// ---------------------------------------------------------------------------------------------------------------------
// Prerequisites

const searchPath = (): ReadonlyArray<string> => [
  ...(process.env["PATH"] ?? "").split(":").filter((directory) => directory !== ""),
  "/usr/local/sbin",
  "/usr/sbin",
  "/sbin"
]

const findProgram = (name: string): string | undefined =>
  searchPath().map((directory) => Path.join(directory, name)).find((path) => Fs.existsSync(path))

/** Why there can be no Postfix here, or undefined. */
export const missingPrerequisite = (): string | undefined => {
  if (process.platform !== "linux") return "the Postfix harness reads /proc, so it needs Linux"
  if (findProgram("postconf") === undefined) return "Postfix is not installed (Debian: apt-get install postfix)"
  if (process.getuid?.() !== 0) return "Postfix can only be started by root"
  return undefined
}

/** `describe` for suites that need Postfix; see {@link describeWith}. */
export const describePostfix = (name: string, suite: () => void): void =>
  describeWith(missingPrerequisite(), name, suite)

// ---------------------------------------------------------------------------------------------------------------------
// Time, files, processes

/** Repeats `probe` until it gives something or the time is up; then undefined. */
const poll = <A, E>(timeout: number, probe: Effect.Effect<A | undefined, E>): Effect.Effect<A | undefined, E> =>
  realTime(Effect.gen(function*() {
    const deadline = (yield* Clock.currentTimeMillis) + timeout
    while (true) {
      const found = yield* probe
      if (found !== undefined) return found
      if ((yield* Clock.currentTimeMillis) > deadline) return undefined
      yield* Effect.sleep(5)
    }
  }))

const attempt = <A>(what: string, body: () => A): Effect.Effect<A, PostfixError> =>
  Effect.try({ try: body, catch: (cause) => new PostfixError({ message: `${what}: ${String(cause)}` }) })

interface Output {
  readonly stdout: Buffer
  readonly stderr: string
}

/** Runs a program without a shell; a status other than 0 is a failure. */
const run = (
  program: string,
  args: ReadonlyArray<string>,
  options?: { readonly input?: string | Uint8Array; readonly environment?: Readonly<Record<string, string>> }
): Effect.Effect<Output, PostfixError> =>
  Effect.callback<Output, PostfixError>((resume) => {
    const child = ChildProcess.spawn(program, args, {
      env: { ...process.env, ...options?.environment },
      stdio: ["pipe", "pipe", "pipe"]
    })
    const stdout: Array<Buffer> = []
    const stderr: Array<Buffer> = []
    const fail = (reason: string) =>
      resume(Effect.fail(new PostfixError({ message: `${[program, ...args].join(" ")}: ${reason}` })))
    child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk))
    child.stderr.on("data", (chunk: Buffer) => stderr.push(chunk))
    child.on("error", (error) => fail(error.message))
    child.on("close", (status, signal) => {
      const complaint = Buffer.concat(stderr).toString("latin1")
      if (status === 0) resume(Effect.succeed({ stdout: Buffer.concat(stdout), stderr: complaint }))
      else fail(`status ${String(status ?? signal)} ${complaint.trim()}`)
    })
    // A program may end before it has read its input: that shows in its status, not here.
    child.stdin.on("error", () => undefined)
    child.stdin.end(typeof options?.input === "string" ? Buffer.from(options.input, "latin1") : options?.input)
    return Effect.sync(() => child.kill("SIGKILL"))
  })

interface Process {
  readonly pid: number
  readonly name: string
  readonly parent: number
  readonly group: number
}

const readProcess = (pid: string): Process | undefined => {
  let stat: string
  try {
    stat = Fs.readFileSync(`/proc/${pid}/stat`, "latin1")
  } catch {
    return undefined
  }
  // pid (name) state parent group ..., where the name may hold spaces and parentheses
  const [state, parent, group] = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  const name = stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")"))
  return state === "Z" || state === "X"
    ? undefined
    : { pid: Number(pid), name, parent: Number(parent), group: Number(group) }
}

/** All processes that have not ended. */
const processes = (): ReadonlyArray<Process> =>
  Fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(readProcess).filter((found) => found !== undefined)

/**
 * Ports that instances of this process have had. Postfix sets SO_REUSEPORT: two of them on one port would not notice, and
 * share the connections.
 */
const usedPorts = new Set<number>()

/** A port that nobody has now, on all of `hosts`, and that was not given out before. */
const freePort = (hosts: ReadonlyArray<string>): Effect.Effect<number, PostfixError> => {
  const listen = (host: string, port: number) =>
    Effect.callback<number, PostfixError>((resume) => {
      const server = Net.createServer()
      server.once("error", (error) => resume(Effect.fail(new PostfixError({ message: error.message }))))
      server.listen({ host, port, ipv6Only: true }, () => {
        const address = server.address()
        server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
      })
    })
  return Effect.retry(
    Effect.gen(function*() {
      let port = 0
      for (const host of hosts) port = yield* listen(host, port)
      if (usedPorts.has(port)) return yield* new PostfixError({ message: `port ${port} was used before` })
      usedPorts.add(port)
      return port
    }),
    { times: 50 }
  )
}

const hasIpv6Loopback = (): boolean =>
  Object.values(Os.networkInterfaces()).some((addresses) => addresses?.some(({ address }) => address === "::1"))

// ---------------------------------------------------------------------------------------------------------------------
// Reading messages

const parseContent = (raw: string): Content => {
  const lines = raw.split("\n")
  const fields: Array<string> = []
  let index = 0
  for (; index < lines.length; index++) {
    const line = lines[index] ?? ""
    if (line === "") break
    if (/^[ \t]/.test(line) && fields.length > 0) fields[fields.length - 1] += `\n${line}`
    else fields.push(line)
  }
  return {
    raw,
    fields,
    headers: fields.map((field) => {
      const colon = field.indexOf(":")
      return [field.slice(0, colon), field.slice(colon + 1).replace(/^ /, "")]
    }),
    body: lines.slice(index + 1).join("\n")
  }
}

/** The values of all fields of this name, in order. */
export const headerValues = (message: Content, name: string): ReadonlyArray<string> =>
  message.headers.filter(([each]) => each.toLowerCase() === name.toLowerCase()).map(([, value]) => value)

/** The message without the Received field that Postfix put on top: what was sent, if nobody changed it. */
export const withoutReceived = (message: Content): string => {
  const received = message.fields.find((field) => /^Received:.*\n?.*\(Postfix/s.test(field))
  return received === undefined ? message.raw : message.raw.replace(`${received}\n`, () => "")
}

// ---------------------------------------------------------------------------------------------------------------------
// Configuration

const hostname = "mx.test.example"

/**
 * Each message goes to one pipe command, whatever its recipients' domains are (`all` is the next hop of all of them), so
 * that it is one delivery. No DNS anywhere. Queue ids are the long ones: never used twice, and in order of time.
 */
const mainCf = (directory: string, ipv6: boolean, options: Options): Map<string, string> =>
  new Map(Object.entries({
    compatibility_level: "3.6",
    queue_directory: Path.join(directory, "queue"),
    data_directory: Path.join(directory, "data"),
    maillog_file: Path.join(directory, "postfix.log"),
    maillog_file_prefixes: directory,
    myhostname: hostname,
    mydomain: "test.example",
    myorigin: "test.example",
    mydestination: "",
    inet_interfaces: "loopback-only",
    inet_protocols: ipv6 ? "all" : "ipv4",
    mynetworks: "127.0.0.0/8 [::1]/128",
    alias_maps: "",
    alias_database: "",
    local_recipient_maps: "",
    // Local parts that begin with "unknown" do not exist in this domain: 550 5.1.1.
    relay_domains: "test.example",
    relay_recipient_maps: `regexp:${Path.join(directory, "etc", "recipients")}`,
    default_transport: "capture:all",
    relay_transport: "capture:all",
    capture_destination_recipient_limit: "10000",
    enable_long_queue_ids: "yes",
    // No subdirectories in the queues that are looked at here; it must not be empty.
    hash_queue_names: "defer",
    smtp_dns_support_level: "disabled",
    smtp_host_lookup: "native",
    smtpd_peername_lookup: "no",
    // What cannot be delivered at once bounces at once, and bounces that cannot be delivered are dropped.
    maximal_queue_lifetime: "0",
    bounce_queue_lifetime: "0",
    notify_classes: "",
    in_flow_delay: "0",
    // A smtpd that a test manages to crash shall not stop its port for a minute.
    service_throttle_time: "1",
    smtpd_error_sleep_time: "0",
    smtpd_soft_error_limit: "1000",
    smtpd_hard_error_limit: "2000",
    smtpd_junk_command_limit: "1000",
    smtpd_client_connection_count_limit: "0",
    default_process_limit: "100",
    message_size_limit: "20480000",
    smtputf8_enable: "yes",
    milter_default_action: "tempfail",
    milter_connect_timeout: "10s",
    milter_command_timeout: "20s",
    milter_content_timeout: "60s",
    smtpd_milters: options.milters,
    non_smtpd_milters: options.nonSmtpdMilters ?? "",
    ...options.mainCf
  }))

const dashO = (settings: Settings): string =>
  Object.entries(settings).map(([name, value]) => `\n  -o { ${name} = ${value} }`).join("")

interface Ports {
  readonly main: number
  readonly further: ReadonlyMap<string, number>
}

const masterCf = (directory: string, ipv6: boolean, ports: Ports, options: Options): string => {
  const smtpd = (port: number, settings: Settings) =>
    ["127.0.0.1", ...(ipv6 ? ["[::1]"] : [])].map((host) => `${host}:${port} inet n - n - - smtpd${dashO(settings)}`)
  const further = Object.entries(options.listeners ?? {}).flatMap(([name, listener], index) => {
    const port = ports.further.get(name) ?? 0
    const settings = { smtpd_milters: listener.milters, ...listener.options }
    return listener.cleanupOptions === undefined ? smtpd(port, settings) : [
      ...smtpd(port, { ...settings, cleanup_service_name: `cleanup${index}` }),
      `cleanup${index} unix n - n - 0 cleanup${dashO(listener.cleanupOptions)}`
    ]
  })
  const capture = `/bin/sh ${Path.join(directory, "capture.sh")} ${Path.join(directory, "mail")}`
  return [
    ...smtpd(ports.main, {}),
    ...further,
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
    "smtp unix - - n - - smtp",
    "showq unix n - n - - showq",
    "error unix - - n - - error",
    "retry unix - - n - - error",
    "discard unix - - n - - discard",
    "anvil unix - - n - 1 anvil",
    "scache unix - - n - 1 scache",
    "postlog unix-dgram n - n - 1 postlogd",
    `capture unix - n n - 10 pipe flags=q user=nobody null_sender=`,
    `  argv=${capture} \${queue_id} \${sender} \${recipient}`,
    options.masterCf ?? "",
    ""
  ].join("\n")
}

/** Message first, envelope last and by rename: whoever sees the envelope sees all of it, and the whole message. */
const captureScript = `# DIRECTORY QUEUE_ID SENDER RECIPIENT...
umask 022
base=$1/$2.$$
shift 2
cat > "$base.message" || exit 75
printf '%s\\0' "$@" > "$base.partial" || exit 75
mv "$base.partial" "$base.envelope" || exit 75
`

/** Files that Postfix reads are dated back: it waits for those younger than a second to cool down. */
const writeConfiguration = (path: string, text: string): void => {
  const past = Date.now() / 1000 - 60
  Fs.writeFileSync(`${path}.new`, text, { mode: 0o644 })
  Fs.utimesSync(`${path}.new`, past, past)
  Fs.renameSync(`${path}.new`, path)
}

const writeMainCf = (directory: string, settings: ReadonlyMap<string, string>): void =>
  writeConfiguration(
    Path.join(directory, "etc", "main.cf"),
    Array.from(settings, ([name, value]) => `${name} = ${value}\n`).join("")
  )

// ---------------------------------------------------------------------------------------------------------------------
// Life

/** What is installed here, or the reason why it cannot be used. */
export const requirePostfix: Effect.Effect<Installation, PostfixError> = Effect.gen(function*() {
  const missing = missingPrerequisite()
  const postconf = findProgram("postconf")
  if (missing !== undefined || postconf === undefined) return yield* new PostfixError({ message: missing ?? "" })
  const names = ["mail_version", "daemon_directory", "command_directory", "sendmail_path", "mail_owner", "setgid_group"]
  const { stdout } = yield* run(postconf, ["-dh", ...names])
  const [version, daemonDirectory, commandDirectory, sendmail, mailOwner, setgidGroup] = stdout.toString().split("\n")
  if (
    version === undefined || daemonDirectory === undefined || commandDirectory === undefined ||
    sendmail === undefined || mailOwner === undefined || setgidGroup === undefined
  ) {
    return yield* new PostfixError({ message: `${postconf} does not know ${names.join(", ")}` })
  }
  return { version, daemonDirectory, commandDirectory, sendmail, mailOwner, setgidGroup }
})

/** A new directory that user postfix can get into; below a TMPDIR that is closed to others it never could. */
const makeDirectory: Effect.Effect<string, PostfixError> = attempt("temporary directory", () => {
  const open = (path: string): boolean =>
    (Fs.statSync(path).mode & 0o001) !== 0 && (Path.dirname(path) === path || open(Path.dirname(path)))
  const parent = [Fs.realpathSync(Os.tmpdir()), "/tmp", "/var/tmp"]
    .find((path) => !/\s/.test(path) && Fs.existsSync(path) && open(path))
  if (parent === undefined) throw new Error("none that other users can search, and without spaces in its path")
  const directory = Fs.mkdtempSync(Path.join(parent, "effect-milter-postfix-"))
  Fs.chmodSync(directory, 0o755)
  return directory
})

const prepare = Effect.fnUntraced(function*(installation: Installation, directory: string) {
  const { mailOwner, setgidGroup } = installation
  const queue = Path.join(directory, "queue")
  const owned = [
    "active",
    "bounce",
    "corrupt",
    "defer",
    "deferred",
    "flush",
    "hold",
    "incoming",
    "private",
    "saved",
    "trace"
  ]
    .map((name) => Path.join(queue, name))
  const data = Path.join(directory, "data")
  const maildrop = Path.join(queue, "maildrop")
  const publicDirectory = Path.join(queue, "public")
  const make = (mode: number, paths: ReadonlyArray<string>) =>
    paths.forEach((path) => {
      Fs.mkdirSync(path)
      Fs.chmodSync(path, mode)
    })
  yield* attempt("queue directories", () => {
    make(0o755, [queue, Path.join(directory, "etc"), Path.join(queue, "pid")])
    make(0o700, [data, ...owned])
    make(0o730, [maildrop])
    make(0o710, [publicDirectory])
    // The pipe command runs as nobody.
    make(0o777, [Path.join(directory, "mail")])
    Fs.writeFileSync(Path.join(directory, "capture.sh"), captureScript, { mode: 0o644 })
    writeConfiguration(Path.join(directory, "etc", "recipients"), "!/^unknown/ OK\n")
  })
  yield* run("chown", [mailOwner, data, ...owned])
  yield* run("chown", [`${mailOwner}:${setgidGroup}`, maildrop, publicDirectory])
})

interface Master {
  readonly pid: number
  readonly hasEnded: () => boolean
}

/** master(8) as a child process: it is reaped here, and its end is noticed at once. */
const spawnMaster = (installation: Installation, directory: string): Effect.Effect<Master, PostfixError> =>
  attempt("master", () => {
    const child = ChildProcess.spawn(
      Path.join(installation.daemonDirectory, "master"),
      // Should this process be killed before it could stop it, then master ends by itself.
      ["-e", "1800", "-c", Path.join(directory, "etc")],
      { cwd: "/", stdio: "ignore" }
    )
    let ended = false
    const killOnExit = () => {
      if (!ended) child.kill("SIGTERM")
    }
    const end = () => {
      ended = true
      process.off("exit", killOnExit)
    }
    child.on("exit", end)
    child.on("error", end)
    process.on("exit", killOnExit)
    child.unref()
    if (child.pid === undefined) throw new Error("cannot be started")
    return { pid: child.pid, hasEnded: () => ended }
  })

/** SIGTERM makes master(8) end its whole process group; what is still there after 3 s is killed, by group. */
const stopMaster = Effect.fnUntraced(function*(master: Master) {
  const gone = Effect.sync(() =>
    master.hasEnded() && !processes().some(({ group }) => group === master.pid) ? true : undefined
  )
  const signal = (pid: number, name: NodeJS.Signals) => Effect.ignore(attempt("kill", () => process.kill(pid, name)))
  if (!master.hasEnded()) yield* signal(master.pid, "SIGTERM")
  if ((yield* poll(3000, gone)) === true) return
  // Only if the group still has members, for only then is its number still theirs.
  if (processes().some(({ group }) => group === master.pid)) yield* signal(-master.pid, "SIGKILL")
  yield* poll(3000, gone)
})

const readLog = (directory: string): string => {
  const path = Path.join(directory, "postfix.log")
  return Fs.existsSync(path) ? Fs.readFileSync(path, "latin1") : ""
}

const logTail = (directory: string): string => readLog(directory).split("\n").slice(-30).join("\n")

/** Starts it and waits until its ports are open, which is when master(8) says so. No connection is made to find out. */
const start = Effect.fnUntraced(function*(installation: Installation, directory: string) {
  const master = yield* spawnMaster(installation, directory)
  const started = yield* poll(
    20_000,
    Effect.sync(() => {
      if (/postfix\/master\[\d+\]: daemon started/.test(readLog(directory))) return "started"
      return master.hasEnded() ? "ended" : undefined
    })
  )
  if (started === "started") return master
  yield* stopMaster(master)
  // Until master has read its files and opened its ports it has no log but syslog. Other programs read the same files,
  // and say what is wrong with them on stderr; if nothing is, a port was taken by somebody else.
  const etc = Path.join(directory, "etc")
  const complaints = yield* Effect.forEach(
    [["postqueue", "-c", etc, "-p"], ["postconf", "-c", etc, "-M"]],
    (line) =>
      run(Path.join(installation.commandDirectory, line[0] ?? ""), line.slice(1)).pipe(
        Effect.match({ onFailure: ({ message }) => message, onSuccess: ({ stderr }) => stderr }),
        Effect.map((text) => text.split("\n").filter((each) => each.includes("fatal:")))
      )
  )
  const reasons = [...logTail(directory).split("\n"), ...complaints.flat()].filter((line) => line !== "")
  return yield* new PostfixError({
    message: `Postfix does not start\n${reasons.length === 0 ? portTaken : reasons.join("\n")}`
  })
})

const portTaken = "no reason given: is one of its ports in use?"

const acquire = Effect.fnUntraced(function*(options: Options) {
  const installation = yield* requirePostfix
  const directory = yield* makeDirectory
  const ipv6 = hasIpv6Loopback()
  const settings = mainCf(directory, ipv6, options)
  const startOnFreePorts = Effect.gen(function*() {
    const next = freePort(ipv6 ? ["127.0.0.1", "::1"] : ["127.0.0.1"])
    const main = yield* next
    const further = new Map<string, number>()
    for (const name of Object.keys(options.listeners ?? {})) further.set(name, yield* next)
    const ports: Ports = { main, further }
    yield* attempt("configuration", () => {
      Fs.rmSync(Path.join(directory, "postfix.log"), { force: true })
      writeMainCf(directory, settings)
      writeConfiguration(Path.join(directory, "etc", "master.cf"), masterCf(directory, ipv6, ports, options))
    })
    return { ports, master: yield* start(installation, directory) }
  })
  const running = yield* prepare(installation, directory).pipe(
    // A port may be taken by another between looking and starting.
    Effect.andThen(Effect.retry(startOnFreePorts, { times: 3, while: ({ message }) => message.includes(portTaken) })),
    Effect.onError(() => removeDirectory(directory))
  )
  return { ...running, installation, directory, ipv6, settings }
})

const removeDirectory = (directory: string): Effect.Effect<void> =>
  Effect.sync(() => {
    if (process.env[keepVariable] === undefined) Fs.rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
    else process.stderr.write(`kept: ${directory}\n`)
  })

// ---------------------------------------------------------------------------------------------------------------------
// Work

const byArrival = (left: Delivered, right: Delivered): number =>
  left.queueId < right.queueId ? -1 : left.queueId > right.queueId ? 1 : 0

/** A line of `postqueue -j`, as far as it is of use. */
interface QueueEntry {
  readonly queue_name: string
  readonly queue_id: string
  readonly sender: string
  readonly recipients: ReadonlyArray<{ readonly address: string }>
}

const makeInstance = <Name extends string>(
  { directory, installation, ipv6, master, ports, settings }: Effect.Success<ReturnType<typeof acquire>>
): Instance<Name> => {
  const etc = Path.join(directory, "etc")
  const mail = Path.join(directory, "mail")
  const queue = Path.join(directory, "queue")
  const command = (name: string, args: ReadonlyArray<string>) =>
    run(Path.join(installation.commandDirectory, name), ["-c", etc, ...args])

  /** Waits; an empty-handed end is a failure with the log. */
  const awaitSome = Effect.fnUntraced(
    function*<A>(what: string, timeout: number, probe: Effect.Effect<A | undefined, PostfixError>) {
      const found = yield* poll(timeout, probe)
      if (found !== undefined) return found
      return yield* new PostfixError({ message: `${what}: not after ${timeout} ms\n${logTail(directory)}` })
    }
  )

  const log = attempt("log", () => readLog(directory))

  // Deliveries are read once. The key is the file name without its suffix.
  const seen = new Map<string, Delivered>()
  const scan = attempt("delivered mail", () => {
    for (const file of Fs.readdirSync(mail)) {
      const key = file.slice(0, file.lastIndexOf("."))
      if (!file.endsWith(".envelope") || seen.has(key)) continue
      const [sender = "", ...recipients] = Fs.readFileSync(Path.join(mail, file), "latin1").split("\0").slice(0, -1)
      const raw = Fs.readFileSync(Path.join(mail, `${key}.message`), "latin1")
      seen.set(key, {
        queueId: key.slice(0, key.indexOf(".")),
        sender,
        recipients: recipients.toSorted(),
        ...parseContent(raw)
      })
    }
    return Array.from(seen).toSorted(([, left], [, right]) => byArrival(left, right))
  })
  const delivered = Effect.map(scan, (found) => found.map(([, message]) => message))
  const forget = (keys: ReadonlyArray<string>) =>
    attempt("delivered mail", () => {
      for (const key of keys) {
        Fs.rmSync(Path.join(mail, `${key}.envelope`), { force: true })
        Fs.rmSync(Path.join(mail, `${key}.message`), { force: true })
        seen.delete(key)
      }
    })

  const isWanted = (options: TakeOptions | undefined) => (message: Delivered): boolean =>
    (options?.queueId === undefined || message.queueId === options.queueId) && (options?.where?.(message) ?? true)
  const awaitMatching = (count: number, options: TakeOptions | undefined) =>
    awaitSome(
      `${count} delivered${options?.queueId === undefined ? "" : ` of ${options.queueId}`}`,
      options?.timeout ?? 10_000,
      Effect.map(scan, (all) => {
        const found = all.filter(([, message]) => isWanted(options)(message))
        return found.length >= count ? found : undefined
      })
    )
  const takeDelivered = Effect.fnUntraced(function*(count: number, options?: TakeOptions) {
    const found = (yield* awaitMatching(count, options)).slice(0, count)
    yield* forget(found.map(([key]) => key))
    return found.map(([, message]) => message)
  })

  const readHeld = Effect.fnUntraced(function*(entry: QueueEntry): Effect.fn.Return<Held, PostfixError> {
    const content = yield* command("postcat", ["-bh", "-q", entry.queue_id])
    const envelope = yield* command("postcat", ["-e", "-q", entry.queue_id])
    const records = envelope.stdout.toString("latin1").split("\n").flatMap((line) => {
      const parts = /^(?:named_attribute: (\w+)=|(\w+): )(.*)$/.exec(line)
      return parts === null ? [] : [[parts[1] ?? parts[2] ?? "", (parts[3] ?? "").trim()] as const]
    })
    return {
      queueId: entry.queue_id,
      sender: entry.sender,
      recipients: entry.recipients.map(({ address }) => address).toSorted(),
      records,
      ...parseContent(content.stdout.toString("latin1"))
    }
  })
  const held = Effect.gen(function*() {
    const { stdout } = yield* command("postqueue", ["-j"])
    // The format is postqueue(1)'s, one JSON object a line.
    const entries = stdout.toString("utf8").split("\n").filter((line) => line !== "")
      .map((line) => JSON.parse(line) as QueueEntry)
    const messages = yield* Effect.forEach(entries.filter((entry) => entry.queue_name === "hold"), readHeld)
    return messages.toSorted(byArrival)
  })

  // In the direction in which messages move, so that none slips through between two looks.
  const queueEmpty = attempt(
    "queue",
    () =>
      ["maildrop", "incoming", "active", "deferred"].every((name) =>
        Fs.readdirSync(Path.join(queue, name)).length === 0
      )
  )

  const reconfigure = Effect.fnUntraced(function*(changes: Settings) {
    const old = new Set(
      processes().filter(({ name, parent }) => parent === master.pid && name !== "postlogd").map(({ pid }) => pid)
    )
    yield* attempt("reconfigure", () => {
      for (const [name, value] of Object.entries(changes)) settings.set(name, value)
      writeMainCf(directory, settings)
      process.kill(master.pid, "SIGHUP")
    })
    // Idle processes with the old settings leave at once; until then one of them might still take a connection.
    yield* poll(1000, Effect.sync(() => processes().some(({ pid }) => old.has(pid)) ? undefined : true))
  })

  return {
    port: ports.main,
    portOf: (name) => {
      const port = ports.further.get(name)
      if (port === undefined) throw new Error(`there is no listener ${name}`)
      return port
    },
    ipv6,
    hostname,
    version: installation.version,
    directory,
    log,
    awaitLog: (pattern, timeout = 10_000) =>
      awaitSome(
        `log line ${String(pattern)}`,
        timeout,
        Effect.map(log, (text) => text.split("\n").find((line) => pattern.test(line)))
      ),
    delivered,
    awaitDelivered: (count, options) =>
      Effect.map(awaitMatching(count, options), (found) => found.map(([, message]) => message)),
    takeDelivered,
    takeOne: (options) => Effect.map(takeDelivered(1, options), ([message]) => message as Delivered),
    held,
    takeHeld: Effect.fnUntraced(function*(count, options) {
      const found = yield* awaitSome(
        `${count} on hold`,
        options?.timeout ?? 10_000,
        Effect.map(held, (all) => {
          const wanted = all.filter(isWanted(options))
          return wanted.length >= count ? wanted.slice(0, count) : undefined
        })
      )
      for (const { queueId } of found) yield* command("postsuper", ["-d", queueId])
      return found
    }),
    // Released mail goes to the deferred queue, which is looked at in minutes unless told so.
    release: (queueId) => Effect.andThen(command("postsuper", ["-H", queueId]), command("postqueue", ["-f"])),
    queueEmpty,
    awaitIdle: (timeout = 10_000) =>
      Effect.andThen(
        awaitSome("empty queue", timeout, Effect.map(queueEmpty, (empty) => empty ? true : undefined)),
        delivered
      ),
    clear: Effect.gen(function*() {
      yield* command("postsuper", ["-d", "ALL"])
      yield* forget((yield* scan).map(([key]) => key))
    }),
    submitLocal: (message, args = ["-t", "-i"]) =>
      run(installation.sendmail, ["-C", etc, ...args], { input: message, environment: { MAIL_CONFIG: etc } }),
    reconfigure
  }
}

/** Starts a Postfix that lives as long as the scope. */
export const make = Effect.fnUntraced(function*<Name extends string = never>(
  options: Options<Name>
): Effect.fn.Return<Instance<Name>, PostfixError, Scope.Scope> {
  const running = yield* Effect.acquireRelease(
    acquire(options),
    ({ directory, master }) => Effect.andThen(stopMaster(master), removeDirectory(directory))
  )
  return makeInstance<Name>(running)
})

/** One Postfix for all tests of a suite. */
export const layer = (options: Options): Layer.Layer<Postfix, PostfixError> => Layer.effect(Postfix, make(options))

/** Prints the end of the mail log if the test fails: what Postfix thought of it is usually the explanation. */
export const explained = <A, E, R>(
  postfix: Pick<Instance, "directory">,
  test: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.tapCause(test, () => Effect.sync(() => process.stderr.write(`${logTail(postfix.directory)}\n`)))

/**
 * A private Postfix for one test file: its own configuration, queue, log and ports under a temporary directory, nothing
 * shared with an MTA that may run on the same machine. What it delivers is read back byte for byte.
 *
 * Postfix must be started as root (it drops privileges itself). `postfix start` and `postconf -e` are not used, since they cost
 * seconds. The files and processes are those of the command `try`.
 *
 * All waits are in real time, whatever the test's clock is.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as masterProcess from "../src/cli/postfix/master.ts"
import * as privateFiles from "../src/cli/postfix/privateFiles.ts"
import {
  attempt,
  type Content,
  type Delivered,
  findProgram,
  freePorts,
  hasIpv6Loopback,
  type Instance as MtaInstance,
  makeDirectory,
  makeInstance,
  MtaError,
  parseContent,
  poll,
  type Ports,
  processes,
  removeDirectory,
  run,
  tail
} from "./mta.ts"
import { describeWith } from "./prerequisite.ts"
import { realTime } from "./realTime.ts"
import { missingRelease, releaseOf } from "./releases.ts"

export { type Content, type Delivered, headerValues, type TakeOptions } from "./mta.ts"

/** Set to keep the temporary directory, with queue and log, after the test. */
const keepVariable = "EFFECT_MILTER_KEEP_POSTFIX"

/** Where the installed Postfix is, and the accounts it runs under. */
export interface Installation {
  readonly version: string
  readonly daemonDirectory: string
  readonly commandDirectory: string
  readonly sendmail: string
  readonly mailOwner: string
  readonly setgidGroup: string
  /** Where its parts are, for main.cf, if that is not where it was built for. */
  readonly settings: Settings
}

/** main.cf or `-o` settings: parameter name to value. */
export type Settings = privateFiles.Settings

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

/**
 * A message in the hold queue. `records` is the envelope as postcat(1) prints it, for what `Delivered` cannot tell: DSN
 * parameters are `ret_flags` and `envelope_id`, and before each `recipient` its `notify_flags` and `dsn_orig_rcpt`.
 */
export interface Held extends Delivered {
  readonly records: ReadonlyArray<readonly [name: string, value: string]>
}

/** A running Postfix. Everything fails with `MtaError`. */
export interface Instance<Name extends string = string> extends MtaInstance<Name, Held> {
  /** Lets a held message go on to delivery. */
  readonly release: (queueId: string) => Effect.Effect<void, MtaError>
  /**
   * `sendmail ARGS` with the message (LF line ends) on its standard input. By default `sendmail -t -i`: recipients from
   * the header, and a line with a single dot does not end the message.
   */
  readonly submitLocal: (
    message: string | Uint8Array,
    args?: ReadonlyArray<string>
  ) => Effect.Effect<void, MtaError>
  /**
   * Changes main.cf and has Postfix read it. The next SMTP session has the new settings; one that is open keeps the old
   * ones, and costs up to a second here, since old processes are waited for. A listener's own options are not touched.
   */
  readonly reconfigure: (settings: Settings) => Effect.Effect<void, MtaError>
  /** The processes with this name that its master(8) has now, such as `smtpd`. */
  readonly processesOf: (name: string) => Effect.Effect<ReadonlyArray<number>>
}

/** {@link Instance} as a service, for `layer(Postfix.layer({...}))`. */
export class Postfix extends Context.Service<Postfix, Instance>()("effect-milter/test/Postfix") {}

// ---------------------------------------------------------------------------------------------------------------------
// Prerequisites

/** Why there can be no Postfix here, or undefined. */
export const missingPrerequisite = (): string | undefined => {
  if (process.platform !== "linux") return "the Postfix harness reads /proc, so it needs Linux"
  const release = releaseOf("postfix")
  const missing = release === undefined ? undefined : missingRelease(release)
  if (missing !== undefined) return missing
  // An unpacked release needs the accounts that the package makes.
  if (findProgram("postconf") === undefined) return "Postfix is not installed (Debian: apt-get install postfix)"
  if (process.getuid?.() !== 0) return "Postfix can only be started by root"
  return undefined
}

/** `describe` for suites that need Postfix; see {@link describeWith}. */
export const describePostfix = (name: string, suite: () => void): void =>
  describeWith(missingPrerequisite(), name, suite)

// ---------------------------------------------------------------------------------------------------------------------
// Reading messages

/** The message without the Received field that Postfix put on top: what was sent, if nobody changed it. */
export const withoutReceived = (message: Content): string => {
  const received = message.fields.find((field) => /^Received:.*\n?.*\(Postfix/s.test(field))
  return received === undefined ? message.raw : message.raw.replace(`${received}\n`, () => "")
}

// ---------------------------------------------------------------------------------------------------------------------
// Configuration

const domain = "test.example"

const hostname = `mx.${domain}`

/**
 * Each message goes to one pipe command, whatever its recipients' domains are (`all` is the next hop of all of them), so
 * that it is one delivery. No DNS anywhere.
 */
const mainCf = (
  installation: Installation,
  directory: string,
  ipv6: boolean,
  options: Options
): Map<string, string> =>
  new Map(Object.entries({
    ...installation.settings,
    ...privateFiles.settings(directory, domain),
    inet_protocols: ipv6 ? "all" : "ipv4",
    mynetworks: "127.0.0.0/8 [::1]/128",
    // Local parts that begin with "unknown" do not exist in this domain: 550 5.1.1.
    relay_domains: domain,
    relay_recipient_maps: `regexp:${Path.join(directory, "etc", "recipients")}`,
    default_transport: "capture:all",
    relay_transport: "capture:all",
    capture_destination_recipient_limit: "10000",
    // No subdirectories in the queues that are looked at here; it must not be empty.
    hash_queue_names: "defer",
    smtp_host_lookup: "native",
    in_flow_delay: "0",
    // Otherwise a smtpd that a test manages to crash would close its port for a minute.
    service_throttle_time: "1",
    smtpd_error_sleep_time: "0",
    // Newer releases refuse a client that does not wait for the greeting; tests are such clients.
    smtpd_forbid_unauth_pipelining: "no",
    smtpd_soft_error_limit: "1000",
    smtpd_hard_error_limit: "2000",
    smtpd_junk_command_limit: "1000",
    smtpd_client_connection_count_limit: "0",
    default_process_limit: "100",
    message_size_limit: "20480000",
    milter_connect_timeout: "10s",
    milter_command_timeout: "20s",
    milter_content_timeout: "60s",
    smtpd_milters: options.milters,
    non_smtpd_milters: options.nonSmtpdMilters ?? "",
    ...options.mainCf
  }))

const dashO = (settings: Settings): string =>
  Object.entries(settings).map(([name, value]) => `\n  -o { ${name} = ${value} }`).join("")

const masterCf = (directory: string, ipv6: boolean, ports: Ports, options: Options): ReadonlyArray<string> => {
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
  return [
    ...smtpd(ports.main, {}),
    ...further,
    ...privateFiles.services,
    "smtp unix - - n - - smtp",
    ...privateFiles.captureService("capture", directory, 10),
    options.masterCf ?? ""
  ]
}

// ---------------------------------------------------------------------------------------------------------------------
// Life

/** What is installed here, or the reason why it cannot be used. */
export const requirePostfix: Effect.Effect<Installation, MtaError> = Effect.gen(function*() {
  const missing = missingPrerequisite()
  const root = releaseOf("postfix")?.root
  const postconf = root === undefined ? findProgram("postconf") : Path.join(root, "usr/sbin/postconf")
  if (missing !== undefined || postconf === undefined) return yield* new MtaError({ message: missing ?? "" })
  const names = ["mail_version", "daemon_directory", "command_directory", "sendmail_path", "mail_owner", "setgid_group"]
  const { stdout } = yield* run(postconf, ["-dh", ...names])
  const [version, daemonDirectory, commandDirectory, sendmail, mailOwner, setgidGroup] = stdout.toString().split("\n")
  if (
    version === undefined || daemonDirectory === undefined || commandDirectory === undefined ||
    sendmail === undefined || mailOwner === undefined || setgidGroup === undefined
  ) {
    return yield* new MtaError({ message: `${postconf} does not know ${names.join(", ")}` })
  }
  // postconf -d prints the paths that are compiled in.
  const inRelease = (path: string): string => root === undefined ? path : Path.join(root, path)
  return {
    version,
    daemonDirectory: inRelease(daemonDirectory),
    commandDirectory: inRelease(commandDirectory),
    sendmail: inRelease(sendmail),
    mailOwner,
    setgidGroup,
    settings: root === undefined ? {} : {
      daemon_directory: inRelease(daemonDirectory),
      command_directory: inRelease(commandDirectory),
      shlib_directory: inRelease("usr/lib/postfix"),
      meta_directory: inRelease("etc/postfix"),
      sendmail_path: inRelease(sendmail)
    }
  }
})

/** The release that tests run with, such as `[3, 7]`, for what differs between releases. Without a Postfix it is 3.7. */
export const release = (): readonly [major: number, minor: number] => {
  if (missingPrerequisite() !== undefined) return [3, 7]
  const root = releaseOf("postfix")?.root
  const postconf = root === undefined ? findProgram("postconf")! : Path.join(root, "usr/sbin/postconf")
  const version = ChildProcess.execFileSync(postconf, ["-dh", "mail_version"], { encoding: "utf8" })
  const [major = 3, minor = 7] = version.split(".").map(Number)
  return [major, minor]
}

const logTail = (directory: string): string => tail(privateFiles.readLog(directory))

/** Without a failure: a port may be taken by another between looking and starting. */
const startOn = Effect.fnUntraced(function*(
  installation: Installation,
  directory: string,
  settings: ReadonlyMap<string, string>,
  ipv6: boolean,
  options: Options
) {
  const ports = yield* freePorts(ipv6, Object.keys(options.listeners ?? {}))
  yield* attempt("configuration", () => {
    privateFiles.removeLog(directory)
    privateFiles.writeMainCf(directory, Object.fromEntries(settings))
    privateFiles.writeMasterCf(directory, masterCf(directory, ipv6, ports, options))
  })
  // It waits for another process, whatever clock the test has.
  const master = yield* realTime(masterProcess.start(installation, directory))
  return { ports, master }
})

const acquire = Effect.fnUntraced(function*(options: Options) {
  const installation = yield* requirePostfix
  const directory = yield* Effect.acquireRelease(
    makeDirectory("effect-milter-postfix-"),
    (directory) => removeDirectory(directory, keepVariable)
  )
  const ipv6 = hasIpv6Loopback()
  const settings = mainCf(installation, directory, ipv6, options)
  yield* attempt("queue directories", () => {
    privateFiles.prepare(directory, installation.mailOwner, installation.setgidGroup)
    privateFiles.write(Path.join(privateFiles.configuration(directory), "recipients"), "!/^unknown/ OK\n")
  })
  const started = yield* startOn(installation, directory, settings, ipv6, options).pipe(
    Effect.retry({ times: 3, while: (error) => error._tag === "StartError" && error.isPortTaken }),
    Effect.mapError((error) =>
      error._tag === "StartError" ? new MtaError({ message: `Postfix does not start\n${error.message}` }) : error
    )
  )
  return { ...started, installation, directory, ipv6, settings }
})

// ---------------------------------------------------------------------------------------------------------------------
// Work

/** A line of `postqueue -j`, as far as it is of use. */
interface QueueEntry {
  readonly queue_name: string
  readonly queue_id: string
  readonly sender: string
  readonly recipients: ReadonlyArray<{ readonly address: string }>
}

const instanceOf = <Name extends string>(
  { directory, installation, ipv6, master, ports, settings }: Effect.Success<ReturnType<typeof acquire>>
): Instance<Name> => {
  const etc = privateFiles.configuration(directory)
  const queue = privateFiles.queue(directory)
  const command = (name: string, args: ReadonlyArray<string>) =>
    run(Path.join(installation.commandDirectory, name), ["-c", etc, ...args])

  const readHeld = Effect.fnUntraced(function*(entry: QueueEntry): Effect.fn.Return<Held, MtaError> {
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
    return messages.toSorted((left, right) => left.queueId < right.queueId ? -1 : 1)
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
      privateFiles.writeMainCf(directory, Object.fromEntries(settings))
      process.kill(master.pid, "SIGHUP")
    })
    // Idle processes with the old settings leave at once; until then one of them might still take a connection.
    yield* poll(1000, Effect.sync(() => processes().some(({ pid }) => old.has(pid)) ? undefined : true))
  })

  return {
    ...makeInstance<Name, Held>({
      ports,
      ipv6,
      hostname,
      version: installation.version,
      directory,
      readLog: () => privateFiles.readLog(directory),
      // Long queue ids are in the order of time.
      order: () => (queueId) => queueId,
      held,
      removeHeld: (queueIds) =>
        Effect.forEach(queueIds, (queueId) => command("postsuper", ["-d", queueId]), { discard: true }),
      queueEmpty,
      removeAll: command("postsuper", ["-d", "ALL"])
    }),
    // Released mail goes to the deferred queue, which is looked at in minutes unless told so.
    release: (queueId) => Effect.andThen(command("postsuper", ["-H", queueId]), command("postqueue", ["-f"])),
    submitLocal: (message, args = ["-t", "-i"]) =>
      run(installation.sendmail, ["-C", etc, ...args], { input: message, environment: { MAIL_CONFIG: etc } }),
    reconfigure,
    processesOf: (wanted) =>
      Effect.sync(() =>
        processes().filter(({ name, parent }) => parent === master.pid && name === wanted).map(({ pid }) => pid)
      )
  }
}

/** Starts a Postfix that lives as long as the scope. */
export const make = <Name extends string = never>(
  options: Options<Name>
): Effect.Effect<Instance<Name>, MtaError, Scope.Scope> => Effect.map(acquire(options), instanceOf<Name>)

/** One Postfix for all tests of a suite. */
export const layer = (options: Options): Layer.Layer<Postfix, MtaError> => Layer.effect(Postfix, make(options))

/** Prints the end of the mail log if the test fails: what Postfix thought of it is usually the explanation. */
export const explained = <A, E, R>(
  postfix: Pick<Instance, "directory">,
  test: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.tapCause(test, () => Effect.sync(() => process.stderr.write(`${logTail(postfix.directory)}\n`)))

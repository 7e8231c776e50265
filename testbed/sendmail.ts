/**
 * A private Sendmail for one test file: its own configuration, queue, log and ports under a temporary directory. What it
 * delivers is read back byte for byte. The interface is that of postfix.ts as far as Sendmail has it.
 *
 * It is not installed, since Debian's package removes Postfix: `npm run sendmail:fetch` unpacks it. It must be started
 * as root. Two things that it has no option for are done by sendmailShim.c, compiled at each start: its log goes to a
 * file, and its host name has a dot.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { captureScript } from "../src/cli/postfix/privateFiles.ts"
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
import { missingRelease, releaseOf } from "./releases.ts"
import { forEvent } from "./timeLimits.ts"

export { type Delivered, headerValues, type TakeOptions } from "./mta.ts"

/** Set to keep the temporary directory, with queue and log, after the test. */
const keepVariable = "EFFECT_MILTER_KEEP_SENDMAIL"

/**
 * A filter, as in INPUT_MAIL_FILTER.
 *
 * - `address`: `inet:PORT@HOST` or `unix:/path`
 * - `flags`: what to do while the filter is not there; `T` by default, as in most configurations
 * - `timeouts`: such as `C:5m;S:10s;R:10s;E:5m`, which are Sendmail's own
 */
export interface Filter {
  readonly address: string
  readonly flags?: "T" | "R" | "4" | ""
  readonly timeouts?: string
}

/**
 * How to set up {@link make}. `Name` are the names of the further listeners.
 *
 * - `filters`: of the main port, in their order
 * - `listeners`: the filters of further ports, see {@link Instance.portOf}
 * - `mc`: further lines of sendmail.mc
 * - `mailerFlags`: `u` by default, as the SMTP mailers have it: local parts keep their case, and upper and lower case are
 *   different. The local mailer goes without.
 */
export interface Options<Name extends string = string> {
  readonly filters: ReadonlyArray<Filter>
  readonly listeners?: Readonly<Record<Name, ReadonlyArray<Filter>>>
  readonly mc?: ReadonlyArray<string>
  readonly mailerFlags?: string
}

/** A message in the quarantine queue. */
export interface Held extends Delivered {
  readonly reason: string
  /** ENVID of the sender, which `Delivered` cannot tell. */
  readonly envelopeId: string | undefined
}

/** A running Sendmail. Everything fails with `MtaError`. */
export type Instance<Name extends string = string> = MtaInstance<Name, Held>

/** {@link Instance} as a service. */
export class Sendmail extends Context.Service<Sendmail, Instance>()("effect-milter/test/Sendmail") {}

// ---------------------------------------------------------------------------------------------------------------------
// Prerequisites

/** Where scripts/fetchSendmail.sh unpacks it, or scripts/fetchMta.sh the release that was asked for. */
const unpacked = (): string => {
  const release = releaseOf("sendmail")
  if (release !== undefined) return release.root
  const cache = process.env["XDG_CACHE_HOME"] || Path.join(Os.homedir(), ".cache")
  return process.env["EFFECT_MILTER_SENDMAIL"] || Path.join(cache, "effect-milter", "sendmail")
}

/** Whether it appends an added To, Cc or Bcc to the one that is there. */
export const mergesRecipients = (): boolean => releaseOf("sendmail")?.name.startsWith("sendmail-8.18") === true

/** Of the unpacked tree: programs, the m4 files of the configuration, and where the libraries are that came with it. */
const installation = () => {
  const root = unpacked()
  const libraries = Path.join(root, "usr", "lib")
  const m4 = Path.join(root, "usr", "bin", "m4")
  return {
    sendmail: Path.join(root, "usr", "libexec", "sendmail", "sendmail"),
    m4: Fs.existsSync(m4) ? m4 : findProgram("m4"),
    configuration: `${Path.join(root, "usr", "share", "sendmail", "cf")}/`,
    // One for the architecture, such as x86_64-linux-gnu; not there if the machine had all that was needed.
    // Programs of a release know their own libraries.
    libraries: releaseOf("sendmail") === undefined && Fs.existsSync(libraries)
      ? Fs.readdirSync(libraries).map((name) => Path.join(libraries, name))
      : []
  }
}

/** Why there can be no Sendmail here, or undefined. */
export const missingPrerequisite = (): string | undefined => {
  if (process.platform !== "linux") return "the Sendmail harness reads /proc, so it needs Linux"
  const release = releaseOf("sendmail")
  const missing = release === undefined ? undefined : missingRelease(release)
  if (missing !== undefined) return missing
  if (!Fs.existsSync(installation().sendmail)) return `Sendmail is not in ${unpacked()} (npm run sendmail:fetch)`
  if (installation().m4 === undefined) return "there is no m4 (Debian: apt-get install m4)"
  if (findProgram("cc") === undefined) return "there is no C compiler (Debian: apt-get install gcc libc6-dev)"
  if (process.getuid?.() !== 0) return "Sendmail can only be started by root"
  return undefined
}

/** `describe` for suites that need Sendmail; see {@link describeWith}. */
export const describeSendmail = (name: string, suite: () => void): void =>
  describeWith(missingPrerequisite(), name, suite)

// ---------------------------------------------------------------------------------------------------------------------
// Configuration

const hostname = "mx.test.example"

const definitions = (directory: string): Readonly<Record<string, string>> => ({
  confDOMAIN_NAME: hostname,
  confDONT_PROBE_INTERFACES: "True",
  // No DNS anywhere.
  confSERVICE_SWITCH_FILE: Path.join(directory, "etc", "service.switch"),
  confBIND_OPTS: "-DNSRCH -DEFNAMES",
  confTO_IDENT: "0",
  // What is below /tmp is as private as anything.
  confDONT_BLAME_SENDMAIL: "GroupWritableDirPathSafe,RunProgramInUnsafeDirPath,RunWritableProgram,TrustStickyBit",
  confPID_FILE: Path.join(directory, "sendmail.pid"),
  QUEUE_DIR: Path.join(directory, "queue"),
  STATUS_FILE: Path.join(directory, "statistics"),
  HELP_FILE: Path.join(directory, "help"),
  ALIAS_FILE: "",
  confCW_FILE: "-o /nonexistent",
  confDEF_USER_ID: "65534:65534",
  confDELIVERY_MODE: "background",
  // However busy the machine is.
  confQUEUE_LA: "1000",
  confREFUSE_LA: "1000",
  confBAD_RCPT_THROTTLE: "0",
  confLOG_LEVEL: "14",
  confMILTER_LOG_LEVEL: "14",
  SMART_HOST: "capture:localhost"
})

const filterLine = (name: string, { address, flags = "T", timeouts }: Filter): string =>
  [
    `S=${address}`,
    ...(flags === "" ? [] : [`F=${flags}`]),
    ...(timeouts === undefined ? [] : [`T=${timeouts}`])
  ].join(", ").replace(/^.*$/, (equates) => `MAIL_FILTER(\`${name}', \`${equates}')dnl`)

/**
 * sendmail.mc. Mail to everybody goes to the mailer `capture`, which completes and rewrites messages as the SMTP mailers
 * do, and gets one delivery for all recipients.
 */
const sendmailMc = (configuration: string, directory: string, ipv6: boolean, ports: Ports, options: Options) => {
  const listeners = [["main", options.filters], ...Object.entries(options.listeners ?? {})] as const
  const named = listeners.map(([listener, filters]) => ({
    port: ports.further.get(listener) ?? ports.main,
    filters: filters.map((filter, index) => ({ name: `${listener}${index}`, filter }))
  }))
  const daemons = named.flatMap(({ filters, port }, index) => {
    const rest = `Port=${port}, InputMailFilters=${filters.map(({ name }) => name).join(";")}`
    return [
      `DAEMON_OPTIONS(\`Name=MTA${index}, Family=inet, Addr=127.0.0.1, ${rest}')dnl`,
      ...(ipv6 ? [`DAEMON_OPTIONS(\`Name=MTA6${index}, Family=inet6, Addr=::1, ${rest}')dnl`] : [])
    ]
  })
  return [
    "divert(0)dnl",
    `define(\`_CF_DIR_', \`${configuration}')dnl`,
    `include(\`${configuration}m4/cf.m4')dnl`,
    "OSTYPE(`linux')dnl",
    ...Object.entries(definitions(directory)).map(([name, value]) => `define(\`${name}', \`${value}')dnl`),
    ...[
      "no_default_msa",
      "accept_unresolvable_domains",
      "accept_unqualified_senders",
      "promiscuous_relay",
      "nocanonify"
    ]
      .map((feature) => `FEATURE(\`${feature}')dnl`),
    ...named.flatMap(({ filters }) => filters.map(({ filter, name }) => filterLine(name, filter))),
    ...daemons,
    ...options.mc ?? [],
    "MAILER(`smtp')dnl",
    "LOCAL_CONFIG",
    "Kunknown regex -a@UNKNOWN ^<?unknown",
    "LOCAL_RULESETS",
    "SLocal_check_rcpt",
    "R$*\t$: $(unknown $1 $: $)",
    "R$*@UNKNOWN\t$#error $@ 5.1.1 $: \"550 User unknown\"",
    "MAILER_DEFINITIONS",
    // m takes several recipients, D F M a Date, From and Message-Id where there is none; 8 eight bits, n no mbox line.
    `Mcapture, P=/bin/sh, F=mDFMn8${options.mailerFlags ?? "u"}, U=65534:65534,`,
    "\tS=EnvFromSMTP/HdrFromSMTP, R=EnvToSMTP, E=\\n, T=DNS/RFC822/X-Unix,",
    `\tA=sh ${Path.join(directory, "capture.sh")} ${Path.join(directory, "mail")} $i $f $u`,
    ""
  ].join("\n")
}

/** The sendmail.cf of lines of a sendmail.mc, which are put between the least that has to be around them. */
export const compile = Effect.fnUntraced(function*(lines: string) {
  const { configuration, m4 } = installation()
  if (m4 === undefined) return yield* new MtaError({ message: missingPrerequisite() ?? "" })
  const mc = [
    "divert(0)dnl",
    `define(\`_CF_DIR_', \`${configuration}')dnl`,
    `include(\`${configuration}m4/cf.m4')dnl`,
    "OSTYPE(`linux')dnl",
    lines,
    "MAILER(`smtp')dnl",
    ""
  ].join("\n")
  const { stderr, stdout } = yield* run(m4, ["-"], { environment: libraryPath(), input: mc })
  return { cf: stdout.toString("latin1"), complaints: stderr }
})

// ---------------------------------------------------------------------------------------------------------------------
// Life

const logPath = (directory: string): string => Path.join(directory, "sendmail.log")

const readLog = (directory: string): string =>
  Fs.existsSync(logPath(directory)) ? Fs.readFileSync(logPath(directory), "latin1") : ""

const shim = fileURLToPath(new URL("./sendmailShim.c", import.meta.url))

const prepare = Effect.fnUntraced(function*(directory: string) {
  const { m4, sendmail } = installation()
  const missing = missingPrerequisite()
  if (missing !== undefined || m4 === undefined) return yield* new MtaError({ message: missing ?? "" })
  yield* attempt("directories", () => {
    for (const name of ["etc", "queue", "mail"]) Fs.mkdirSync(Path.join(directory, name))
    Fs.chmodSync(Path.join(directory, "queue"), 0o700)
    // The mailer's command runs as nobody.
    Fs.chmodSync(Path.join(directory, "mail"), 0o777)
    Fs.writeFileSync(Path.join(directory, "capture.sh"), captureScript, { mode: 0o644 })
    Fs.writeFileSync(Path.join(directory, "etc", "service.switch"), "hosts\tfiles\n")
  })
  const library = Path.join(directory, "shim.so")
  yield* run("cc", ["-shared", "-fPIC", "-O1", "-o", library, shim])
  return { m4, sendmail, library }
})

interface Daemon {
  readonly pid: number
  readonly output: () => string
  readonly hasEnded: () => boolean
}

const libraryPath = (): Readonly<Record<string, string>> => ({ LD_LIBRARY_PATH: installation().libraries.join(":") })

const environment = (directory: string, library: string): Readonly<Record<string, string>> => ({
  PATH: "/usr/bin:/bin",
  ...libraryPath(),
  LD_PRELOAD: library,
  EFFECT_MILTER_LOG: logPath(directory),
  EFFECT_MILTER_HOST_NAME: hostname
})

/** The daemon as a child process: it is reaped here, and its end is noticed at once. */
const spawnDaemon = (program: string, library: string, directory: string): Effect.Effect<Daemon, MtaError> =>
  attempt("sendmail", () => {
    const child = ChildProcess.spawn(program, ["-C", Path.join(directory, "etc", "sendmail.cf"), "-bD"], {
      cwd: "/",
      env: environment(directory, library),
      stdio: ["ignore", "pipe", "pipe"]
    })
    let ended = false
    let output = ""
    const killOnExit = () => {
      if (!ended) child.kill("SIGTERM")
    }
    const end = () => {
      ended = true
      process.off("exit", killOnExit)
    }
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("latin1").on("data", (text: string) => {
        output += text
      })
    }
    child.on("exit", end)
    child.on("error", end)
    process.on("exit", killOnExit)
    if (child.pid === undefined) throw new Error("cannot be started")
    return { pid: child.pid, output: () => output, hasEnded: () => ended }
  })

/** Everything that Sendmail starts works in its queue; deliveries leave its process group. */
const worksIn = (directory: string) => ({ pid }: { readonly pid: number }): boolean => {
  try {
    return Fs.readlinkSync(`/proc/${pid}/cwd`) === Path.join(directory, "queue")
  } catch {
    // It has ended.
    return false
  }
}

const stop = Effect.fnUntraced(function*(daemon: Daemon, directory: string) {
  const signal = (pid: number, name: NodeJS.Signals) => Effect.ignore(attempt("kill", () => process.kill(pid, name)))
  if (!daemon.hasEnded()) yield* signal(daemon.pid, "SIGTERM")
  const ended = Effect.sync(() => daemon.hasEnded() && !processes().some(worksIn(directory)) ? true : undefined)
  // A session whose client is still connected does not end soon.
  yield* poll(200, ended)
  for (const { pid } of processes().filter(worksIn(directory))) yield* signal(pid, "SIGKILL")
  if (!daemon.hasEnded()) yield* signal(daemon.pid, "SIGKILL")
  yield* poll(3000, ended)
})

const portTaken = "is one of its ports in use?"

/** The TCP ports on which anybody listens: their number is hexadecimal in the second column, and 0A in the fourth says so. */
const listening = (table: "tcp" | "tcp6"): ReadonlyArray<number> =>
  Fs.readFileSync(`/proc/net/${table}`, "latin1").split("\n").map((line) => line.trim().split(/\s+/))
    .filter(([, , , state]) => state === "0A").map(([, local = ""]) => Number.parseInt(local.replace(/^.*:/, ""), 16))

/**
 * Starts it and waits until its ports are open, which is shortly after it has written its pid file. No connection is made to
 * find out.
 */
const start = Effect.fnUntraced(function*(
  program: string,
  library: string,
  directory: string,
  ports: Ports,
  ipv6: boolean
) {
  const areOpen = () =>
    (ipv6 ? ["tcp", "tcp6"] as const : ["tcp"] as const).every((table) => {
      const open = listening(table)
      return [ports.main, ...ports.further.values()].every((port) => open.includes(port))
    })
  const daemon = yield* spawnDaemon(program, library, directory)
  const started = yield* poll(
    forEvent,
    Effect.sync(() => {
      if (Fs.existsSync(Path.join(directory, "sendmail.pid")) && areOpen()) return "started"
      return daemon.hasEnded() || /problem creating SMTP socket/.test(readLog(directory)) ? "ended" : undefined
    })
  )
  if (started === "started") return daemon
  yield* stop(daemon, directory)
  const taken = /Address already in use/.test(readLog(directory)) ? `, ${portTaken}` : ""
  return yield* new MtaError({
    message: `Sendmail does not start${taken}\n${daemon.output()}${tail(readLog(directory))}`
  })
})

const acquire = Effect.fnUntraced(function*(options: Options) {
  const directory = yield* makeDirectory("effect-milter-sendmail-")
  const ipv6 = hasIpv6Loopback()
  const startOnFreePorts = Effect.fnUntraced(
    function*({ library, m4, sendmail }: Effect.Success<ReturnType<typeof prepare>>) {
      const ports = yield* freePorts(ipv6, Object.keys(options.listeners ?? {}))
      const mc = sendmailMc(installation().configuration, directory, ipv6, ports, options)
      const path = Path.join(directory, "etc", "sendmail.mc")
      yield* attempt("configuration", () => {
        Fs.rmSync(logPath(directory), { force: true })
        Fs.writeFileSync(path, mc)
      })
      const { stdout } = yield* run(m4, [path], { environment: libraryPath() })
      yield* attempt("configuration", () => Fs.writeFileSync(path.replace(/mc$/, "cf"), stdout))
      return { ports, daemon: yield* start(sendmail, library, directory, ports, ipv6) }
    }
  )
  const running = yield* prepare(directory).pipe(
    Effect.flatMap((programs) =>
      // A port may be taken by another between looking and starting.
      Effect.retry(startOnFreePorts(programs), { times: 3, while: ({ message }) => message.includes(portTaken) })
    ),
    Effect.onError(() => removeDirectory(directory, keepVariable))
  )
  return { ...running, directory, ipv6 }
})

// ---------------------------------------------------------------------------------------------------------------------
// Work

/** The message without the Received field that Sendmail put on top: what was sent, if nobody changed it. */
export const withoutReceived = (message: Content): string => {
  const received = message.fields.find((field) => /^Received:.*\n?.*by mx\.test\.example \(/s.test(field))
  return received === undefined ? message.raw : message.raw.replace(`${received}\n`, () => "")
}

/** A control file of the queue: one letter says what a line is, lines that begin with white space continue it. */
const readControlFile = (queueId: string, control: string, body: string): Held => {
  const lines = control.replace(/\n(?=[ \t])/g, "\0").split("\n").map((line) => line.replaceAll("\0", "\n"))
  const rest = (letter: string) => lines.flatMap((line) => line.startsWith(letter) ? [line.slice(letter.length)] : [])
  const bare = (address: string) => address.replace(/^<(.*)>$/, "$1")
  // H?flags?Name: value; Return-Path is for mailers with the flag P, which expand it.
  const header = rest("H").filter((line) => !line.startsWith("?P?")).map((line) => line.replace(/^\?[^?]*\?/, ""))
    .join("\n")
  return {
    queueId,
    reason: rest("q")[0] ?? "",
    envelopeId: rest("Z")[0],
    sender: bare(rest("S")[0] ?? ""),
    // RPFD:<bob@test.example>
    recipients: rest("R").map((line) => bare(line.slice(line.indexOf(":") + 1))).toSorted(),
    ...parseContent(`${header}\n\n${body}`)
  }
}

const instanceOf = <Name extends string>(
  { directory, ipv6, ports }: Effect.Success<ReturnType<typeof acquire>>
): Instance<Name> => {
  const queue = Path.join(directory, "queue")

  const readQueueFile = (name: string): string => {
    const path = Path.join(queue, name)
    return Fs.existsSync(path) ? Fs.readFileSync(path, "latin1") : ""
  }
  const heldIds = () =>
    Fs.readdirSync(queue).filter((name) => name.startsWith("hf")).map((name) => name.slice(2)).toSorted()
  const held = attempt(
    "quarantine queue",
    () => heldIds().map((id) => readControlFile(id, readQueueFile(`hf${id}`), readQueueFile(`df${id}`)))
  )
  const remove = (queueIds: ReadonlyArray<string>) =>
    attempt("queue", () => {
      for (const name of Fs.readdirSync(queue)) {
        if (queueIds.includes(name.slice(2))) Fs.rmSync(Path.join(queue, name), { force: true })
      }
    })
  const queueEmpty = attempt("queue", () => {
    const ids = heldIds()
    return Fs.readdirSync(queue).every((name) => ids.includes(name.slice(2)))
  })

  return makeInstance<Name, Held>({
    ports,
    ipv6,
    hostname,
    version: /starting daemon \(([^)]*)\)/.exec(readLog(directory))?.[1] ?? "",
    directory,
    readLog: () => readLog(directory),
    // Messages of a connection are logged when they have come in; their ids do not tell.
    order: () => {
      const log = readLog(directory)
      return (queueId) => log.indexOf(` ${queueId}: from=`)
    },
    held,
    removeHeld: remove,
    queueEmpty,
    removeAll: Effect.flatMap(attempt("queue", () => Fs.readdirSync(queue).map((name) => name.slice(2))), remove)
  })
}

/** Starts a Sendmail that lives as long as the scope. */
export const make = Effect.fnUntraced(function*<Name extends string = never>(
  options: Options<Name>
): Effect.fn.Return<Instance<Name>, MtaError, Scope.Scope> {
  const running = yield* Effect.acquireRelease(
    acquire(options),
    ({ daemon, directory }) => Effect.andThen(stop(daemon, directory), removeDirectory(directory, keepVariable))
  )
  return instanceOf<Name>(running)
})

/** One Sendmail for all tests of a suite. */
export const layer = (options: Options): Layer.Layer<Sendmail, MtaError> => Layer.effect(Sendmail, make(options))

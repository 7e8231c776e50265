/**
 * What the harnesses of both MTAs have in common: processes, ports, directories, and reading back what was delivered.
 *
 * All waits are in real time, whatever the test's clock is.
 */
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import * as privateFiles from "../src/cli/postfix/privateFiles.ts"
import { realTime } from "./realTime.ts"
import { forEvent } from "./timeLimits.ts"

/** An MTA is not usable here, does not start, or did not do what was waited for; with the end of its log. */
export class MtaError extends Data.TaggedError("MtaError")<{
  readonly message: string
}> {}

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

/** How long to wait for messages, and which. */
export interface TakeOptions {
  /** Milliseconds; 10000 by default. */
  readonly timeout?: number
  /** Only this message. */
  readonly queueId?: string | undefined
  /** Only messages of which this is true. */
  readonly where?: (message: Delivered) => boolean
}

const searchPath = (): ReadonlyArray<string> => [
  ...(process.env["PATH"] ?? "").split(":").filter((directory) => directory !== ""),
  "/usr/local/sbin",
  "/usr/sbin",
  "/sbin"
]

export const findProgram = (name: string): string | undefined =>
  searchPath().map((directory) => Path.join(directory, name)).find((path) => Fs.existsSync(path))

// ---------------------------------------------------------------------------------------------------------------------
// Time, files, processes

/** Repeats `probe` until it gives something or the time is up; then undefined. */
export const poll = <A, E>(timeout: number, probe: Effect.Effect<A | undefined, E>): Effect.Effect<A | undefined, E> =>
  realTime(Effect.gen(function*() {
    const deadline = (yield* Clock.currentTimeMillis) + timeout
    while (true) {
      const found = yield* probe
      if (found !== undefined) return found
      if ((yield* Clock.currentTimeMillis) > deadline) return undefined
      yield* Effect.sleep(5)
    }
  }))

export const attempt = <A>(what: string, body: () => A): Effect.Effect<A, MtaError> =>
  Effect.try({ try: body, catch: (cause) => new MtaError({ message: `${what}: ${String(cause)}` }) })

interface Output {
  readonly stdout: Buffer
  readonly stderr: string
}

/** Runs a program without a shell; a status other than 0 is a failure. */
export const run = (
  program: string,
  args: ReadonlyArray<string>,
  options?: { readonly input?: string | Uint8Array; readonly environment?: Readonly<Record<string, string>> }
): Effect.Effect<Output, MtaError> =>
  Effect.callback<Output, MtaError>((resume) => {
    const child = ChildProcess.spawn(program, args, {
      env: { ...process.env, ...options?.environment },
      stdio: ["pipe", "pipe", "pipe"]
    })
    const stdout: Array<Buffer> = []
    const stderr: Array<Buffer> = []
    const fail = (reason: string) =>
      resume(Effect.fail(new MtaError({ message: `${[program, ...args].join(" ")}: ${reason}` })))
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
export const processes = (): ReadonlyArray<Process> =>
  Fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(readProcess).filter((found) => found !== undefined)

/**
 * Ports that MTAs of this process have had. Postfix sets SO_REUSEPORT: two of them on one port would not notice, and
 * share the connections.
 */
const usedPorts = new Set<number>()

/** A port that nobody has now, on all of `hosts`, and that was not given out before. */
export const freePort = (hosts: ReadonlyArray<string>): Effect.Effect<number, MtaError> => {
  const listen = (host: string, port: number) =>
    Effect.callback<number, MtaError>((resume) => {
      const server = Net.createServer()
      server.once("error", (error) => resume(Effect.fail(new MtaError({ message: error.message }))))
      server.listen({ host, port, ipv6Only: true }, () => {
        const address = server.address()
        server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
      })
    })
  return Effect.retry(
    Effect.gen(function*() {
      let port = 0
      for (const host of hosts) port = yield* listen(host, port)
      if (usedPorts.has(port)) return yield* new MtaError({ message: `port ${port} was used before` })
      usedPorts.add(port)
      return port
    }),
    { times: 50 }
  )
}

/** Of the main listener, and by name of the further ones. */
export interface Ports {
  readonly main: number
  readonly further: ReadonlyMap<string, number>
}

/** A port for each listener, on 127.0.0.1 and ::1. */
export const freePorts = Effect.fnUntraced(function*(
  ipv6: boolean,
  names: ReadonlyArray<string>
): Effect.fn.Return<Ports, MtaError> {
  const next = freePort(ipv6 ? ["127.0.0.1", "::1"] : ["127.0.0.1"])
  const main = yield* next
  const further = new Map<string, number>()
  for (const name of names) further.set(name, yield* next)
  return { main, further }
})

export const hasIpv6Loopback = (): boolean =>
  Object.values(Os.networkInterfaces()).some((addresses) => addresses?.some(({ address }) => address === "::1"))

/** A new directory that every user can get into. */
export const makeDirectory = (prefix: string): Effect.Effect<string, MtaError> =>
  attempt("temporary directory", () => privateFiles.makeDirectory(prefix))

/** Removes what {@link makeDirectory} made, unless a variable of this name is set: to look at queue and log after the test. */
export const removeDirectory = (directory: string, keepVariable: string): Effect.Effect<void> =>
  Effect.sync(() => {
    if (process.env[keepVariable] === undefined) Fs.rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
    else process.stderr.write(`kept: ${directory}\n`)
  })

/** A place for UNIX sockets, removed with the scope. */
export const socketDirectory: Effect.Effect<string, MtaError, Scope.Scope> = Effect.acquireRelease(
  makeDirectory("effect-milter-sockets-"),
  (directory) => Effect.sync(() => Fs.rmSync(directory, { recursive: true, force: true }))
)

// ---------------------------------------------------------------------------------------------------------------------
// Reading messages

export const parseContent = (raw: string): Content => {
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

/** What an MTA has delivered, as the capturing script wrote it. */
export interface Mailbox {
  /** What has been delivered and not been taken, in order of arrival. */
  readonly delivered: Effect.Effect<ReadonlyArray<Delivered>, MtaError>
  /** Waits until `count` are there, and returns all that are there. */
  readonly awaitDelivered: (
    count: number,
    options?: TakeOptions
  ) => Effect.Effect<ReadonlyArray<Delivered>, MtaError>
  /** Waits until `count` are there, returns the first `count` and forgets them. */
  readonly takeDelivered: (
    count: number,
    options?: TakeOptions
  ) => Effect.Effect<ReadonlyArray<Delivered>, MtaError>
  /** Waits for one message and forgets it. */
  readonly takeOne: (options?: TakeOptions) => Effect.Effect<Delivered, MtaError>
  /** Forgets all that was delivered. */
  readonly forget: Effect.Effect<void, MtaError>
}

/**
 * A running MTA. Everything fails with `MtaError`. `Name` are the names of its further listeners; `Held` is a message that it
 * has not delivered but put aside, in Postfix's hold queue or Sendmail's quarantine queue.
 */
export interface Instance<Name extends string, Held extends Delivered> extends Omit<Mailbox, "forget"> {
  /** Main port, on 127.0.0.1 and, if `ipv6`, on ::1. */
  readonly port: number
  /** The port of one of the further listeners. Throws for a name that was not given. */
  readonly portOf: (name: Name) => number
  /** Whether this machine has ::1. */
  readonly ipv6: boolean
  /** What greets, and is in Received. */
  readonly hostname: string
  readonly version: string
  /** Everything is under here, and every user can get into it: a place for UNIX sockets. */
  readonly directory: string

  /** The mail log so far. */
  readonly log: Effect.Effect<string, MtaError>
  /** Waits for a line that matches, and returns it. Lines are written asynchronously: never look just once. */
  readonly awaitLog: (pattern: RegExp, timeout?: number) => Effect.Effect<string, MtaError>

  /** What is held. */
  readonly held: Effect.Effect<ReadonlyArray<Held>, MtaError>
  /** Waits until `count` are held, returns the first `count` and deletes them from the queue. */
  readonly takeHeld: (count: number, options?: TakeOptions) => Effect.Effect<ReadonlyArray<Held>, MtaError>

  /** Whether nothing is on its way. Held messages do not count; one that a client is just sending does. */
  readonly queueEmpty: Effect.Effect<boolean, MtaError>
  /** Waits for that, then returns what was delivered: the way to find out that something was *not*. */
  readonly awaitIdle: (timeout?: number) => Effect.Effect<ReadonlyArray<Delivered>, MtaError>
  /** Forgets what was delivered, and deletes what is in any queue. */
  readonly clear: Effect.Effect<void, MtaError>
}

/** Waits for something; an empty-handed end is a failure with the end of the MTA's log. */
type AwaitSome = <A>(
  what: string,
  timeout: number,
  probe: Effect.Effect<A | undefined, MtaError>
) => Effect.Effect<A, MtaError>

/** {@link AwaitSome} for an MTA whose log this is. */
const awaitSomeOf = (log: () => string): AwaitSome =>
  Effect.fnUntraced(function*(what, timeout, probe) {
    const found = yield* poll(timeout, probe)
    if (found !== undefined) return found
    return yield* new MtaError({ message: `${what}: not after ${timeout} ms\n${tail(log())}` })
  })

/** The end of a log. */
export const tail = (log: string): string => log.split("\n").slice(-30).join("\n")

const isWanted = (options: TakeOptions | undefined) => (message: Delivered): boolean =>
  (options?.queueId === undefined || message.queueId === options.queueId) && (options?.where?.(message) ?? true)

/** The mailbox in a directory; `order` gives what to sort queue ids by, looked up once for all messages that are there. */
const makeMailbox = (
  directory: string,
  awaitSome: AwaitSome,
  order: () => (queueId: string) => number | string
): Mailbox => {
  // Deliveries are read once. The key is the file name without its suffix.
  const seen = new Map<string, Delivered>()
  const scan = attempt("delivered mail", () => {
    for (const file of Fs.readdirSync(directory)) {
      const key = file.slice(0, file.lastIndexOf("."))
      if (!file.endsWith(".envelope") || seen.has(key)) continue
      const [sender = "", ...recipients] = Fs.readFileSync(Path.join(directory, file), "latin1").split("\0").slice(
        0,
        -1
      )
      const raw = Fs.readFileSync(Path.join(directory, `${key}.message`), "latin1")
      seen.set(key, {
        queueId: key.slice(0, key.indexOf(".")),
        sender,
        recipients: recipients.toSorted(),
        ...parseContent(raw)
      })
    }
    const placeOf = order()
    return Array.from(seen, ([key, message]) => ({ key, message, place: placeOf(message.queueId) })).toSorted(
      (left, right) => left.place < right.place ? -1 : left.place > right.place ? 1 : 0
    )
  })
  const forget = (keys: ReadonlyArray<string>) =>
    attempt("delivered mail", () => {
      for (const key of keys) {
        Fs.rmSync(Path.join(directory, `${key}.envelope`), { force: true })
        Fs.rmSync(Path.join(directory, `${key}.message`), { force: true })
        seen.delete(key)
      }
    })
  const awaitMatching = (count: number, options: TakeOptions | undefined) =>
    awaitSome(
      `${count} delivered${options?.queueId === undefined ? "" : ` of ${options.queueId}`}`,
      options?.timeout ?? forEvent,
      Effect.map(scan, (all) => {
        const found = all.filter(({ message }) => isWanted(options)(message))
        return found.length >= count ? found : undefined
      })
    )
  const takeDelivered = Effect.fnUntraced(function*(count: number, options?: TakeOptions) {
    const found = (yield* awaitMatching(count, options)).slice(0, count)
    yield* forget(found.map(({ key }) => key))
    return found.map(({ message }) => message)
  })
  return {
    delivered: Effect.map(scan, (found) => found.map(({ message }) => message)),
    awaitDelivered: (count, options) =>
      Effect.map(awaitMatching(count, options), (found) => found.map(({ message }) => message)),
    takeDelivered,
    takeOne: (options) => Effect.map(takeDelivered(1, options), ([message]) => message as Delivered),
    forget: Effect.flatMap(scan, (found) => forget(found.map(({ key }) => key)))
  }
}

/** What each MTA has of its own, for {@link makeInstance}. */
export interface Work<Held extends Delivered> {
  readonly ports: Ports
  readonly ipv6: boolean
  readonly hostname: string
  readonly version: string
  /** Made by {@link makeDirectory}; what is delivered goes to `mail` in it, by `captureScript`. */
  readonly directory: string
  readonly readLog: () => string
  /** For {@link makeMailbox}. */
  readonly order: () => (queueId: string) => number | string
  readonly held: Effect.Effect<ReadonlyArray<Held>, MtaError>
  readonly removeHeld: (queueIds: ReadonlyArray<string>) => Effect.Effect<void, MtaError>
  readonly queueEmpty: Effect.Effect<boolean, MtaError>
  /** Deletes what is in any queue. */
  readonly removeAll: Effect.Effect<unknown, MtaError>
}

export const makeInstance = <Name extends string, Held extends Delivered>(
  { directory, held, hostname, ipv6, order, ports, queueEmpty, readLog, removeAll, removeHeld, version }: Work<Held>
): Instance<Name, Held> => {
  const awaitSome = awaitSomeOf(readLog)
  const mailbox = makeMailbox(Path.join(directory, "mail"), awaitSome, order)
  const log = attempt("log", readLog)
  return {
    port: ports.main,
    portOf: (name) => {
      const port = ports.further.get(name)
      if (port === undefined) throw new Error(`there is no listener ${name}`)
      return port
    },
    ipv6,
    hostname,
    version,
    directory,
    log,
    awaitLog: (pattern, timeout = forEvent) =>
      awaitSome(
        `log line ${String(pattern)}`,
        timeout,
        Effect.map(log, (text) => text.split("\n").find((line) => pattern.test(line)))
      ),
    delivered: mailbox.delivered,
    awaitDelivered: mailbox.awaitDelivered,
    takeDelivered: mailbox.takeDelivered,
    takeOne: mailbox.takeOne,
    held,
    takeHeld: Effect.fnUntraced(function*(count, options) {
      const found = yield* awaitSome(
        `${count} held`,
        options?.timeout ?? forEvent,
        Effect.map(held, (all) => {
          const wanted = all.filter(isWanted(options))
          return wanted.length >= count ? wanted.slice(0, count) : undefined
        })
      )
      yield* removeHeld(found.map(({ queueId }) => queueId))
      return found
    }),
    queueEmpty,
    awaitIdle: (timeout = forEvent) =>
      Effect.andThen(
        awaitSome("empty queue", timeout, Effect.map(queueEmpty, (empty) => empty ? true : undefined)),
        mailbox.delivered
      ),
    clear: Effect.andThen(removeAll, mailbox.forget)
  }
}

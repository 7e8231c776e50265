/** A private Postfix for `try`. It takes mail for any address and delivers it into files, nowhere else. */
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Path from "node:path"
import * as master from "../postfix/master.ts"
import * as postconf from "../postfix/postconf.ts"
import * as privateFiles from "../postfix/privateFiles.ts"
import * as exit from "../trouble/exit.ts"

/** A message that has been delivered. */
export interface Delivered {
  readonly sender: string
  readonly recipients: ReadonlyArray<string>
  readonly message: Uint8Array
}

export interface PrivatePostfix {
  readonly version: string
  readonly port: number
  /** The messages delivered since the last look, in order of arrival. */
  readonly deliveries: Effect.Effect<ReadonlyArray<Delivered>>
  /** The queue ids of messages that have come into the hold queue since the last look. */
  readonly held: Effect.Effect<ReadonlyArray<string>>
  /** Fails when Postfix ends by itself. */
  readonly ended: Effect.Effect<never, exit.Trouble>
}

/** Where the installed Postfix is, and the accounts under which it runs. What the host's main.cf says does not count. */
export interface Installation extends master.Programs {
  readonly version: string
  readonly owner: string
  readonly group: string
}

const names = ["mail_version", "daemon_directory", "command_directory", "mail_owner", "setgid_group"]

/** The Postfix that can be started here, or why there is none. */
export const installation: Effect.Effect<Installation | string> = Effect.gen(function*() {
  const found = yield* postconf.values("-dh", names)
  if (found === undefined) return "postconf of Postfix is not in PATH, or fails"
  if (process.platform !== "linux") return "it is known to work on Linux only"
  const [version = "", daemonDirectory = "", commandDirectory = "", owner = "", group = ""] = found
  const [major = 0, minor = 0] = version.split(".").map(Number)
  // The first with a log in a file of its own.
  if (major < 3 || (major === 3 && minor < 4)) return `Postfix 3.4 or later is needed, and this is ${version}`
  if (process.geteuid?.() !== 0) return "only root can start Postfix"
  return { version, daemonDirectory, commandDirectory, owner, group }
})

const freePort = Effect.callback<number>((resume) => {
  const server = Net.createServer()
  server.listen(0, "127.0.0.1", () => {
    // It listens on TCP.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- see above
    const { port } = server.address() as Net.AddressInfo
    server.close(() => resume(Effect.succeed(port)))
  })
})

const prepare = (directory: string, port: number, milters: string, installation: Installation): void => {
  privateFiles.prepare(directory, installation.owner, installation.group)
  privateFiles.writeMainCf(directory, {
    ...privateFiles.settings(directory, "try.example"),
    // The transport smtp, so that the filter sees the macros of mail that goes to other hosts; see below.
    default_transport: "smtp",
    local_transport: "smtp",
    relay_transport: "smtp",
    smtpd_milters: milters
  })
  privateFiles.writeMasterCf(directory, [
    `127.0.0.1:${port} inet n - n - - smtpd`,
    ...privateFiles.services,
    // Not smtp(8): nothing leaves the host. One process, so that deliveries are in order.
    ...privateFiles.captureService("smtp", directory, 1)
  ])
}

const readDelivered = (mail: string, envelope: string): Delivered => {
  const message = envelope.replace(/envelope$/, "message")
  const read = (name: string): Buffer => Fs.readFileSync(Path.join(mail, name))
  const [sender = "", ...recipients] = read(envelope).toString("utf8").replace(/\0$/, "").split("\0")
  // Postfix gives them in an order of its own.
  const delivered = { sender, recipients: recipients.toSorted(), message: read(message) }
  for (const name of [envelope, message]) Fs.rmSync(Path.join(mail, name))
  return delivered
}

/** Starts it; it is stopped and removed with the scope. `milters` is its `smtpd_milters`. */
export const start = Effect.fnUntraced(function*(installation: Installation, milters: string) {
  const directory = yield* Effect.acquireRelease(
    Effect.try({
      try: () => privateFiles.makeDirectory("effect-milter-try-"),
      catch: (error) => exit.trouble(`the private Postfix has no place: ${exit.lineOf(error)}`)
    }),
    (directory) => Effect.sync(() => Fs.rmSync(directory, { recursive: true, force: true, maxRetries: 5 }))
  )
  const port = yield* freePort
  yield* Effect.try({
    try: () => prepare(directory, port, milters, installation),
    catch: (error) => exit.trouble(`the private Postfix cannot be set up in ${directory}: ${exit.lineOf(error)}`)
  })
  const { child } = yield* Effect.mapError(
    master.start(installation, directory),
    ({ message }) => exit.trouble(`the private Postfix does not start: ${exit.lineOf(message)}`)
  )
  const mail = privateFiles.mailbox(directory)
  const seen = new Set<string>()
  const postfix: PrivatePostfix = {
    version: installation.version,
    port,
    deliveries: Effect.sync(() =>
      Fs.readdirSync(mail).filter((name) => name.endsWith(".envelope")).toSorted()
        .map((name) => readDelivered(mail, name))
    ),
    held: Effect.sync(() => {
      const fresh = Fs.readdirSync(Path.join(privateFiles.queue(directory), "hold"))
        .filter((queueId) => !seen.has(queueId))
      for (const queueId of fresh) seen.add(queueId)
      return fresh
    }),
    ended: Effect.callback((resume) => {
      const end = (): void => resume(exit.trouble("the private Postfix has ended"))
      if (master.hasEnded(child)) return end()
      child.once("exit", end)
      return Effect.sync(() => void child.off("exit", end))
    })
  }
  return postfix
})

/**
 * A private Postfix for `try`: its own configuration, queue and port under a temporary directory, nothing shared with a
 * Postfix of the host. It takes mail for any address and delivers it into files, nowhere else.
 *
 * master(8) is started directly: the scripts of postfix(1) look after the queue of a host, which takes them seconds, and say
 * what they find to syslog only.
 */
import * as Effect from "effect/Effect"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
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

const run = (command: string, ...args: ReadonlyArray<string>) =>
  ChildProcess.spawnSync(command, args, { encoding: "utf8" })

/** Why there can be no private Postfix here; undefined if there can. */
export const missing = (): string | undefined => {
  const { status, stdout } = run("postconf", "-dh", "mail_version")
  if (status !== 0) return "postconf of Postfix is not in PATH"
  if (process.platform !== "linux") return "it is known to work on Linux only"
  const [major = 0, minor = 0] = stdout.split(".").map(Number)
  // The first with a log in a file of its own.
  if (major < 3 || (major === 3 && minor < 4)) return `Postfix 3.4 or later is needed, and this is ${stdout.trim()}`
  return process.geteuid?.() === 0 ? undefined : "only root can start Postfix"
}

/** Where the installed Postfix is, and the accounts under which it runs. What the host's main.cf says does not count. */
const installation = () => {
  const names = ["mail_version", "daemon_directory", "mail_owner", "setgid_group"]
  const [version = "", daemons = "", owner = "", group = ""] = run("postconf", "-dh", ...names).stdout.split("\n")
  return { version, daemons, owner, group }
}

const freePort = Effect.callback<number>((resume) => {
  const server = Net.createServer()
  server.listen(0, "127.0.0.1", () => {
    // It listens on TCP.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- see above
    const { port } = server.address() as Net.AddressInfo
    server.close(() => resume(Effect.succeed(port)))
  })
})

const mainCf = (directory: string, milters: string): string =>
  Object.entries({
    compatibility_level: "3.6",
    queue_directory: Path.join(directory, "queue"),
    data_directory: Path.join(directory, "data"),
    maillog_file: Path.join(directory, "postfix.log"),
    maillog_file_prefixes: directory,
    myhostname: "mx.try.example",
    mydomain: "try.example",
    myorigin: "try.example",
    mydestination: "",
    inet_interfaces: "loopback-only",
    inet_protocols: "ipv4",
    mynetworks: "127.0.0.0/8",
    alias_maps: "",
    alias_database: "",
    local_recipient_maps: "",
    // The transport smtp, so that the filter sees the macros of mail that goes to other hosts; see master.cf.
    default_transport: "smtp",
    local_transport: "smtp",
    relay_transport: "smtp",
    // In the order of time.
    enable_long_queue_ids: "yes",
    smtp_dns_support_level: "disabled",
    smtpd_peername_lookup: "no",
    smtputf8_enable: "yes",
    // What cannot be delivered at once bounces at once, and bounces that cannot be delivered are dropped.
    maximal_queue_lifetime: "0",
    bounce_queue_lifetime: "0",
    notify_classes: "",
    smtpd_milters: milters,
    milter_default_action: "tempfail"
  }).map(([name, value]) => `${name} = ${value}\n`).join("")

const masterCf = (directory: string, port: number): string =>
  [
    `127.0.0.1:${port} inet n - n - - smtpd`,
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
    "showq unix n - n - - showq",
    "error unix - - n - - error",
    "retry unix - - n - - error",
    "discard unix - - n - - discard",
    "anvil unix - - n - 1 anvil",
    "postlog unix-dgram n - n - 1 postlogd",
    // Not smtp(8): nothing leaves the host.
    "smtp unix - n n - 1 pipe flags=q user=nobody null_sender=",
    `  argv=/bin/sh ${Path.join(directory, "capture.sh")} ${Path.join(directory, "mail")}`,
    "  ${queue_id} ${sender} ${recipient}"
  ].map((line) => `${line}\n`).join("")

/** The envelope gets its name last, when everything is in the files. A message has a delivery for each domain, as always. */
const captureScript = `# DIRECTORY QUEUE_ID SENDER RECIPIENT...
umask 077
base=$1/$2.$$
shift 2
cat > "$base.message" || exit 75
printf '%s\\0' "$@" > "$base.partial" || exit 75
mv "$base.partial" "$base.envelope" || exit 75
`

/** Postfix waits for configuration files that are younger than a second, so that it reads none that is half written. */
const writeOld = (path: string, text: string): void => {
  const past = Date.now() / 1000 - 60
  Fs.writeFileSync(path, text)
  Fs.chmodSync(path, 0o644)
  Fs.utimesSync(path, past, past)
}

const ownQueues = "active bounce corrupt defer deferred flush hold incoming private saved trace".split(" ").map((
  name
) => `queue/${name}`)

const prepare = (directory: string, port: number, milters: string, owner: string, group: string): void => {
  const paths = (names: ReadonlyArray<string>): ReadonlyArray<string> => names.map((name) => Path.join(directory, name))
  const make = (mode: number, ...names: ReadonlyArray<string>): void => {
    for (const path of paths(names)) {
      Fs.mkdirSync(path)
      // The umask of the one who calls does not count.
      Fs.chmodSync(path, mode)
    }
  }
  Fs.chmodSync(directory, 0o755)
  make(0o755, "etc", "queue", "queue/pid")
  make(0o700, "data", "mail", ...ownQueues)
  make(0o730, "queue/maildrop")
  make(0o710, "queue/public")
  writeOld(Path.join(directory, "etc/main.cf"), mainCf(directory, milters))
  writeOld(Path.join(directory, "etc/master.cf"), masterCf(directory, port))
  writeOld(Path.join(directory, "capture.sh"), captureScript)
  run("chown", owner, ...paths(["data", ...ownQueues]))
  run("chown", `${owner}:${group}`, ...paths(["queue/maildrop", "queue/public"]))
  // The capturing command runs as nobody.
  run("chown", "nobody", ...paths(["mail"]))
}

const hasEnded = (child: ChildProcess.ChildProcess): boolean =>
  child.pid === undefined || child.exitCode !== null || child.signalCode !== null

/** Detached, since Ctrl-C is for this program, which then stops what it has started. */
const spawnMaster = (daemons: string, etc: string): ChildProcess.ChildProcess =>
  ChildProcess.spawn(Path.join(daemons, "master"), ["-c", etc], { cwd: "/", detached: true, stdio: "ignore" })

/**
 * A shell that waits for the end of this program. Should that be so sudden that Postfix could not be stopped (SIGKILL), it stops
 * Postfix and removes the directory.
 */
const spawnGuard = (master: number, directory: string): ChildProcess.ChildProcess =>
  ChildProcess.spawn(
    "/bin/sh",
    ["-c", "read _; kill \"$1\"; sleep 2; rm -rf \"$2\"", "sh", String(master), directory],
    { cwd: "/", detached: true, stdio: ["pipe", "ignore", "ignore"] }
  )

const hasMembers = (group: number): boolean => {
  try {
    process.kill(-group, 0)
    return true
  } catch {
    return false
  }
}

/** Looks every 50 ms until it is so, up to `times` times. */
const poll = Effect.fnUntraced(function*(times: number, isSo: () => boolean) {
  for (let looks = 0; looks < times && !isSo(); looks++) yield* Effect.sleep("50 millis")
})

/** SIGTERM makes master(8) end its process group; what is still there after some seconds is killed. */
const stop = Effect.fnUntraced(function*({ child, guard }: {
  readonly child: ChildProcess.ChildProcess
  readonly guard: ChildProcess.ChildProcess | undefined
}) {
  const { pid } = child
  if (pid === undefined) return
  // First, so that it signals nobody once the number of master(8) is free.
  if (guard !== undefined) {
    guard.kill("SIGKILL")
    yield* poll(60, () => hasEnded(guard))
  }
  child.kill("SIGTERM")
  yield* poll(60, () => hasEnded(child) && !hasMembers(pid))
  // Only while the group has members is its number theirs.
  if (hasMembers(pid)) process.kill(-pid, "SIGKILL")
  yield* poll(20, () => hasEnded(child) && !hasMembers(pid))
})

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
export const start = Effect.fnUntraced(function*(milters: string) {
  const { daemons, group, owner, version } = installation()
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-milter-try-"))),
    (directory) => Effect.sync(() => Fs.rmSync(directory, { recursive: true, force: true, maxRetries: 5 }))
  )
  const port = yield* freePort
  yield* Effect.try({
    try: () => prepare(directory, port, milters, owner, group),
    catch: (error) => exit.trouble(`the private Postfix cannot be set up in ${directory}: ${exit.lineOf(error)}`)
  })
  const { child } = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawnMaster(daemons, Path.join(directory, "etc"))
      const { pid } = child
      // Without a number it has not started.
      child.on("error", () => {})
      return { child, guard: pid === undefined ? undefined : spawnGuard(pid, directory) }
    }),
    stop
  )
  const log = (): string => {
    const path = Path.join(directory, "postfix.log")
    return Fs.existsSync(path) ? Fs.readFileSync(path, "latin1") : ""
  }
  // master(8) says so when its ports are open.
  const hasStarted = (): boolean => /postfix\/master\[\d+\]: daemon started/.test(log())
  yield* poll(600, () => hasStarted() || hasEnded(child))
  if (!hasStarted() || hasEnded(child)) {
    const reason = exit.lineOf(log().split("\n").slice(-5).join("\n"))
    return yield* exit.trouble(
      `the private Postfix does not start: ${reason === "" ? "its reason is in the log of the host's mail" : reason}`
    )
  }
  const mail = Path.join(directory, "mail")
  const seen = new Set<string>()
  const postfix: PrivatePostfix = {
    version,
    port,
    deliveries: Effect.sync(() =>
      Fs.readdirSync(mail).filter((name) => name.endsWith(".envelope")).toSorted()
        .map((name) => readDelivered(mail, name))
    ),
    held: Effect.sync(() => {
      const fresh = Fs.readdirSync(Path.join(directory, "queue/hold")).filter((queueId) => !seen.has(queueId))
      for (const queueId of fresh) seen.add(queueId)
      return fresh
    }),
    ended: Effect.callback((resume) => {
      const end = (): void => resume(exit.trouble("the private Postfix has ended"))
      if (hasEnded(child)) return end()
      child.once("exit", end)
      return Effect.sync(() => void child.off("exit", end))
    })
  }
  return postfix
})

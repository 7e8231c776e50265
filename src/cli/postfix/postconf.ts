/** Asks Postfix's postconf(1) for the values of parameters. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as ChildProcess from "node:child_process"
import * as Path from "node:path"

/** The queue directory of a Postfix that is configured as its authors and all distributions have it. */
export const defaultQueueDirectory = "/var/spool/postfix"

const longest = "2 seconds"

/**
 * The values of these parameters, in this order; undefined if there is no postconf in PATH, or it fails, or has no answer within
 * 2 seconds, for instance because its configuration is on a file system that hangs. `options` is `-h` for the values of the
 * host's main.cf, `-dh` for those that are compiled in.
 */
export const values = (
  options: "-h" | "-dh",
  names: ReadonlyArray<string>,
  program = "postconf"
): Effect.Effect<ReadonlyArray<string> | undefined> =>
  Effect.callback<ReadonlyArray<string> | undefined>((resume) => {
    const child = ChildProcess.execFile(program, [options, ...names], { encoding: "utf8" }, (error, stdout) => {
      const lines = stdout.split("\n").slice(0, -1)
      resume(Effect.succeed(error === null && lines.length === names.length ? lines : undefined))
    })
    return Effect.sync(() => void child.kill("SIGKILL"))
  }).pipe(Effect.timeoutOption(longest), Effect.map(Option.getOrUndefined))

/** Where the queue of the host's Postfix is, and so the chroot of its smtpd; the default where postconf does not say. */
export const queueDirectory: Effect.Effect<string> = Effect.map(values("-h", ["queue_directory"]), (found) => {
  const [path = ""] = found ?? []
  return Path.isAbsolute(path) ? Path.resolve(path) : defaultQueueDirectory
})

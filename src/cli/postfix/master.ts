/**
 * The processes of a private Postfix. master(8) is started directly: the scripts of postfix(1) look after the queue of a host, which
 * takes them seconds, and say what they find to syslog only.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as exit from "../trouble/exit.ts"
import * as privateFiles from "./privateFiles.ts"

/** Where the programs of the installed Postfix are. */
export interface Programs {
  readonly daemonDirectory: string
  readonly commandDirectory: string
}

/** Postfix does not start. */
export class StartError extends Data.TaggedError("StartError")<{
  readonly message: string
  /** Nothing says why, as if a port is taken. */
  readonly isPortTaken: boolean
}> {}

/** A master(8) that has been started. */
export interface Master {
  readonly pid: number
  readonly child: ChildProcess.ChildProcess
  /** Stops it, once. */
  readonly stop: Effect.Effect<void>
}

export const hasEnded = (child: ChildProcess.ChildProcess): boolean =>
  child.pid === undefined || child.exitCode !== null || child.signalCode !== null

/** Detached, since Ctrl-C is for this program, which then stops what it has started. */
const spawnMaster = (daemons: string, directory: string): ChildProcess.ChildProcess => {
  const child = ChildProcess.spawn(Path.join(daemons, "master"), ["-c", privateFiles.configuration(directory)], {
    cwd: "/",
    detached: true,
    stdio: "ignore"
  })
  // Without a number it has not started.
  child.on("error", () => {})
  child.unref()
  return child
}

/**
 * A shell that waits for the end of this program. Should that be so sudden that Postfix could not be stopped (SIGKILL), it stops
 * Postfix and removes the directory.
 */
const spawnGuard = (master: number, directory: string): ChildProcess.ChildProcess => {
  const guard = ChildProcess.spawn(
    "/bin/sh",
    ["-c", "read _; kill \"$1\"; sleep 2; rm -rf \"$2\"", "sh", String(master), directory],
    { cwd: "/", detached: true, stdio: ["pipe", "ignore", "ignore"] }
  )
  guard.on("error", () => {})
  guard.unref()
  return guard
}

/** Whether a process of this group has not ended. Zombies have: who reaps those that master(8) leaves is not our affair. */
const hasMembers = (group: number): boolean =>
  Fs.readdirSync("/proc").some((name) => {
    if (!/^\d+$/.test(name)) return false
    try {
      const stat = Fs.readFileSync(`/proc/${name}/stat`, "latin1")
      // pid (name) state parent group ..., where the name may hold spaces and parentheses
      const [state, , found] = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
      return Number(found) === group && state !== "Z" && state !== "X"
    } catch {
      return false
    }
  })

/** Looks every 20 ms until it is so, for up to so many seconds. */
const poll = Effect.fnUntraced(function*(seconds: number, isSo: () => boolean) {
  for (let looks = 0; looks < seconds * 50 && !isSo(); looks++) yield* Effect.sleep("20 millis")
})

/** SIGTERM makes master(8) end its process group; what is still there after some seconds is killed. */
const stop = Effect.fnUntraced(function*(
  pid: number,
  child: ChildProcess.ChildProcess,
  guard: ChildProcess.ChildProcess
) {
  // First, so that it signals nobody once the number of master(8) is free.
  guard.kill("SIGKILL")
  yield* poll(3, () => hasEnded(guard))
  child.kill("SIGTERM")
  const isGone = (): boolean => hasEnded(child) && !hasMembers(pid)
  yield* poll(3, isGone)
  // Only while the group has members is its number theirs.
  if (hasMembers(pid)) process.kill(-pid, "SIGKILL")
  yield* poll(3, isGone)
})

/** What is wrong with the files of its configuration, as other programs of Postfix that read them say on standard error. */
const complaints = ({ commandDirectory }: Programs, directory: string): ReadonlyArray<string> =>
  [["postqueue", "-p"], ["postconf", "-M"]].flatMap(([program = "", option = ""]) =>
    ChildProcess.spawnSync(
      Path.join(commandDirectory, program),
      ["-c", privateFiles.configuration(directory), option],
      { encoding: "utf8", timeout: 10_000, stdio: ["ignore", "ignore", "pipe"] }
    ).stderr?.split("\n").filter((line) => line.includes("fatal:")) ?? []
  )

// Until master(8) has read its files and opened its ports it has no log but syslog.
const reasons = (programs: Programs, directory: string): ReadonlyArray<string> =>
  [...privateFiles.readLog(directory).split("\n").slice(-30), ...complaints(programs, directory)]
    .filter((line) => line !== "")

const spawn = (programs: Programs, directory: string): Master | undefined => {
  const child = spawnMaster(programs.daemonDirectory, directory)
  const { pid } = child
  if (pid === undefined) return undefined
  const guard = spawnGuard(pid, directory)
  let isStopped = false
  return {
    pid,
    child,
    // A second time its number may be that of another process.
    stop: Effect.suspend(() => {
      if (isStopped) return Effect.void
      isStopped = true
      return stop(pid, child, guard)
    })
  }
}

/**
 * Starts it on files that are there, and waits until its ports are open, which is when master(8) says so. It is stopped with the
 * scope.
 */
export const start = Effect.fnUntraced(function*(programs: Programs, directory: string) {
  const master = yield* Effect.acquireRelease(
    Effect.sync(() => spawn(programs, directory)),
    (master) => master?.stop ?? Effect.void
  )
  if (master === undefined) {
    return yield* new StartError({
      message: `${Path.join(programs.daemonDirectory, "master")} cannot be started`,
      isPortTaken: false
    })
  }
  const hasStarted = (): boolean => /postfix\/master\[\d+\]: daemon started/.test(privateFiles.readLog(directory))
  yield* poll(60, () => hasStarted() || hasEnded(master.child))
  if (hasStarted() && !hasEnded(master.child)) return master
  yield* master.stop
  const found = reasons(programs, directory)
  return yield* new StartError({
    message: found.length === 0 ? "Postfix gives no reason: is its port in use?" : found.map(exit.lineOf).join("\n"),
    isPortTaken: found.length === 0
  })
})

/**
 * Signals of the process, shared by all listening layers. Stopping is the business of `NodeRuntime.runMain`, which
 * interrupts the program at the first SIGTERM or SIGINT; but at the second it only interrupts again, and SIGHUP would end
 * the process without a word.
 */
import * as Effect from "effect/Effect"

/** One listening layer. */
export interface Member {
  readonly reload: (() => void) | undefined
  /** What SIGUSR1 does; without it the signal is logged and ignored. */
  readonly debug?: () => void
  readonly stopping: () => void
  readonly log: (line: Effect.Effect<void>) => void
}

const members = new Set<Member>()
let installed = false
let watchesStops = false
let firstStop: number | undefined
/** Whether another process decides when this one has had enough time to stop. */
let isSupervised = false

// Whoever forwards signals (npm, a shell) may do so in addition to the sender's reaching the whole process group: one stop
// then arrives twice, milliseconds apart.
const sameStop = 100

const onStop = (signal: NodeJS.Signals): void => {
  const now = performance.now()
  if (firstStop === undefined) {
    // Without another listener nothing would stop the process: it ends as it would without this listener.
    if (process.listenerCount(signal) === 1) {
      uninstall()
      ignoreStops()
      process.kill(process.pid, signal)
      return
    }
    firstStop = now
    for (const { stopping } of members) stopping()
  } else if (now - firstStop > sameStop && !isSupervised) {
    for (const { log } of take(1)) log(Effect.logWarning(`${signal} again: ends at once`))
    process.exit(1)
  }
}

/** What SIGHUP does; a supervisor asks for it, too. */
export const hangUp = (): void => {
  const reloads = Array.from(members).flatMap(({ reload }) => reload ?? [])
  for (const reload of reloads) reload()
  // Other listeners handle the signal; a supervisor sends it whether there is something to reload or not.
  if (isSupervised || reloads.length > 0 || process.listenerCount("SIGHUP") > 1) return
  for (const { log } of take(1)) log(Effect.logInfo("SIGHUP: ignored, there is no onReload"))
}

const onDebug = (): void => {
  const actions = Array.from(members).flatMap(({ debug }) => debug ?? [])
  for (const action of actions) action()
  if (actions.length > 0) return
  if (process.listenerCount("SIGUSR1") > 1) return
  for (const { log } of take(1)) {
    log(Effect.logInfo("SIGUSR1: ignored; start Node with --inspect to debug the process"))
  }
}

const take = (count: number): ReadonlyArray<Member> => Array.from(members).slice(0, count)

/**
 * Counts SIGTERM and SIGINT. From before the first layer is built: a program that is told to stop while it still waits for
 * something else must end at the second signal, too.
 */
export const watchStops = (): void => {
  if (watchesStops) return
  watchesStops = true
  // Before others, so that a listener for one time only still counts when ours looks.
  process.prependListener("SIGTERM", onStop)
  process.prependListener("SIGINT", onStop)
}

const ignoreStops = (): void => {
  watchesStops = false
  process.off("SIGTERM", onStop)
  process.off("SIGINT", onStop)
}

/** From here on only the first SIGTERM or SIGINT counts: service managers and terminals signal workers as well. */
export const beSupervised = (): void => {
  isSupervised = true
}

const install = (): void => {
  installed = true
  watchStops()
  process.on("SIGHUP", hangUp)
  // Without a listener Node opens its debugger, on a port of which any user of the machine could run code in the process. It
  // stays: without it again, the signal would end the process.
  if (!process.listeners("SIGUSR1").includes(onDebug)) process.on("SIGUSR1", onDebug)
}

const uninstall = (): void => {
  installed = false
  process.off("SIGHUP", hangUp)
}

export const join = (member: Member): void => {
  members.add(member)
  if (!installed) install()
}

export const leave = (member: Member): void => {
  members.delete(member)
  // While the process is stopping the second signal must count to its end, whatever else there is to release.
  if (members.size === 0 && firstStop === undefined && installed) {
    uninstall()
    ignoreStops()
  }
}

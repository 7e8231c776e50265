/**
 * Tells systemd the state of the process (sd_notify). All state is the process's own, like `NOTIFY_SOCKET`: there is one READY
 * for all listeners.
 *
 * The protocol wants a datagram to a UNIX socket, and Node has no such sockets; systemd brings a program that sends them.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as ChildProcess from "node:child_process"

export type Log = (message: string) => void

/** What one listening layer reports. */
export class Reporter {
  private readonly log: Log

  constructor(log: Log) {
    this.log = log
    starting.add(this)
  }

  /** A server takes connections from these addresses. */
  ready(addresses: ReadonlyArray<string>): void {
    // Once: a listener that gets another server has never been away.
    if (!starting.delete(this)) return
    serving.set(this, addresses)
    announce(this.log)
  }

  reloading(): void {
    if (reloading++ > 0) return
    // systemd ignores a READY=1 that is not newer than the reload it asked for.
    const microseconds = process.hrtime.bigint() / 1000n
    send(this.log, "RELOADING=1", `MONOTONIC_USEC=${microseconds}`, "STATUS=reloading")
  }

  reloaded(): void {
    reloading--
    announce(this.log)
  }

  /** The process was told to stop. */
  stopping(): void {
    if (stopping) return
    stopping = true
    send(this.log, "STOPPING=1", "STATUS=messages in progress end")
  }

  /** Ends the layer's reports; waits until all of them have been sent. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    starting.delete(this)
    serving.delete(this)
    // Another listener may have waited for this one, which has failed.
    announce(this.log)
    if (serving.size === 0) {
      clearInterval(heart)
      heart = undefined
    }
    return Effect.promise(() => sent)
  })
}

const starting = new Set<Reporter>()
const serving = new Map<Reporter, ReadonlyArray<string>>()
let reloading = 0
let stopping = false
let heart: NodeJS.Timeout | undefined

const announce = (log: Log): void => {
  if (stopping || reloading > 0 || starting.size > 0 || serving.size === 0) return
  send(log, "READY=1", `STATUS=listening on ${Array.from(serving.values()).flat().join(", ")}`)
  heart ??= startHeart(log)
}

/** WatchdogSec=: a process whose event loop hangs is restarted. */
const startHeart = (log: Log): NodeJS.Timeout | undefined => {
  const { NOTIFY_SOCKET, WATCHDOG_PID, WATCHDOG_USEC } = process.env
  const milliseconds = Number(WATCHDOG_USEC) / 1000
  const meant = WATCHDOG_PID === undefined || WATCHDOG_PID === String(process.pid)
  if (NOTIFY_SOCKET === undefined || !meant || !(milliseconds > 0)) return undefined
  // Twice in the time allowed, as sd_watchdog_enabled(3) recommends.
  let beating = false
  return setInterval(() => {
    for (const check of checks) check(milliseconds)
    // Heartbeats of a slow machine must not queue up in front of STOPPING.
    if (beating) return
    beating = true
    send(log, "WATCHDOG=1")
    void sent.then(() => {
      beating = false
    })
  }, milliseconds / 2).unref()
}

/** What is looked after at each heartbeat: it gets the milliseconds within which the service manager wants to hear. */
const checks = new Set<(milliseconds: number) => void>()

/** Lets the supervisor of other processes look after them at each heartbeat, until the scope closes. */
export const onHeartbeat = (check: (milliseconds: number) => void): Effect.Effect<void, never, Scope.Scope> =>
  Effect.asVoid(Effect.acquireRelease(
    Effect.sync(() => checks.add(check)),
    () => Effect.sync(() => checks.delete(check))
  ))

/** Longest that one message may take. */
const timeout = 5000

let sent: Promise<void> = Promise.resolve()
let complained = false

/** One after the other, since READY and STOPPING must not overtake each other. */
const send = (log: Log, ...assignments: ReadonlyArray<string>): void => {
  if (process.env["NOTIFY_SOCKET"] === undefined) return
  sent = sent.then(() =>
    new Promise((resolve) => {
      ChildProcess.execFile("systemd-notify", assignments, { timeout }, (error) => {
        if (error !== null && !complained) {
          complained = true
          log(
            `NOTIFY_SOCKET is set, but systemd-notify does not reach it, so the service manager waits: ${error.message}`
          )
        }
        resolve()
      })
    })
  )
}

/** Programs started as child processes: what they print is waited for, and they are killed with the scope. */
import * as Effect from "effect/Effect"
import * as ChildProcess from "node:child_process"
import { forEvent } from "./timeLimits.ts"

/** How to start one. */
export interface Options {
  readonly env?: { readonly [name: string]: string }
  /** Descriptors that the process gets as 3, 4 and so on. */
  readonly pass?: ReadonlyArray<number>
  readonly user?: number
}

/** One that was started. */
export class Child {
  readonly process: ChildProcess.ChildProcess
  output = ""
  private ended: string | number | undefined
  private watchers: Array<() => void> = []

  constructor(child: ChildProcess.ChildProcess) {
    this.process = child
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.output += text
        this.notify()
      })
    }
    child.once("close", (code, signal) => {
      this.ended = code ?? signal ?? "?"
      this.notify()
    })
  }

  private notify(): void {
    for (const watcher of this.watchers.splice(0)) watcher()
  }

  private until<A>(look: () => A | undefined): Effect.Effect<A> {
    return Effect.callback<A>((resume) => {
      const check = (): void => {
        const found = look()
        if (found === undefined) this.watchers.push(check)
        else resume(Effect.succeed(found))
      }
      check()
    })
  }

  /** Waits until all that was printed matches; dies when the process ends without it. */
  shows(pattern: RegExp): Effect.Effect<RegExpExecArray> {
    const look = (): RegExpExecArray | "never" | undefined =>
      pattern.exec(this.output) ?? (this.ended === undefined ? undefined : "never")
    return this.until(look).pipe(
      Effect.timeoutOrElse({ duration: forEvent, orElse: () => Effect.succeed("never" as const) }),
      Effect.flatMap((found) =>
        found === "never" ? Effect.die(new Error(`no ${pattern.source} in\n${this.output}`)) : Effect.succeed(found)
      )
    )
  }

  /** The exit code, or the signal that ended it. */
  get exit(): Effect.Effect<string | number> {
    return this.until(() => this.ended).pipe(
      Effect.timeoutOrElse({ duration: forEvent, orElse: () => Effect.die(new Error(`runs on\n${this.output}`)) })
    )
  }

  signal(signal: NodeJS.Signals): Effect.Effect<void> {
    return Effect.sync(() => void this.process.kill(signal))
  }
}

/** Starts a program, which is killed with the scope. */
export const spawn = (command: string, args: ReadonlyArray<string>, options: Options = {}) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const { NOTIFY_SOCKET: _, ...environment } = process.env
      return new Child(ChildProcess.spawn(command, args, {
        env: { ...environment, ...options.env },
        stdio: ["ignore", "pipe", "pipe", ...options.pass ?? []],
        ...(options.user === undefined ? {} : { uid: options.user, gid: options.user })
      }))
    }),
    (child) => Effect.andThen(child.signal("SIGKILL"), child.exit)
  )

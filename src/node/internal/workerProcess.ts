/** A worker as its supervisor sees it: a process, its last report, and how it ended. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as ChildProcess from "node:child_process"
import {
  type Assignment,
  environmentOf,
  type FromWorker,
  type Ready,
  type Report,
  type ToWorker
} from "./workerMessages.ts"

/** How a worker ended: an exit code, or a signal. */
export type Ended = number | NodeJS.Signals

/** The program of the workers: this one. The debugger's port is the supervisor's, so each worker takes a free one. */
const command = (): ReadonlyArray<string> => [
  ...process.execArgv.map((flag) => flag.replace(/^(--inspect(?:-brk|-wait)?)(?:=.*)?$/, "$1=0")),
  ...process.argv.slice(1)
]

// stdin, stdout, stderr and the channel.
const firstDescriptor = 4

export class WorkerProcess {
  readonly index: number
  readonly pid: number
  readonly ready = Deferred.makeUnsafe<Ready>()
  readonly ended = Deferred.makeUnsafe<Ended>()
  /** Done when the supervisor has noted the end. */
  readonly buried = Deferred.makeUnsafe<void>()
  /** The version of its program, once it takes connections. */
  version: string | undefined
  /** The last that it told. */
  report: Report | undefined
  readonly born = performance.now()
  /** When it was last heard of, by `performance.now()`. */
  heard = performance.now()
  /** Whether it takes connections, or has taken some. */
  hasOpened = false
  /** Whether it was told to end. */
  isLeaving = false
  private readonly onLoaded: (files: ReadonlyArray<string>) => void
  private readonly child: ChildProcess.ChildProcess
  private questions = 0
  private readonly waiting = new Map<number, (report: Report) => void>()

  constructor(assignment: Assignment, onLoaded: (files: ReadonlyArray<string>) => void) {
    this.onLoaded = onLoaded
    const { sockets } = assignment
    this.index = assignment.index
    this.child = ChildProcess.spawn(process.execPath, command(), {
      env: environmentOf({
        ...assignment,
        sockets: sockets.map((socket, index) => ({ ...socket, descriptor: firstDescriptor + index }))
      }),
      // Numbers in maps, as metrics have them, are not for JSON.
      serialization: "advanced",
      stdio: ["ignore", "inherit", "inherit", "ipc", ...sockets.map(({ descriptor }) => descriptor)]
    })
    this.pid = this.child.pid ?? 0
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the same program is at the other end
    this.child.on("message", (message) => this.receive(message as FromWorker))
    // A process that could not be started has no end of its own.
    this.child.on("error", () => this.child.pid === undefined && this.end(1))
    this.child.once("exit", (code, signal) => this.end(code ?? signal ?? 1))
  }

  private end(how: Ended): void {
    Deferred.doneUnsafe(this.ended, Effect.succeed(how))
    Deferred.doneUnsafe(this.ready, Effect.interrupt)
  }

  private receive(message: FromWorker): void {
    this.heard = performance.now()
    switch (message._tag) {
      case "AskToOpen":
        // One that is about to be killed must not take a connection.
        if (this.isLeaving) return
        this.hasOpened = true
        return this.tell({ _tag: "Open" })
      case "Ready":
        this.version = message.version
        return void Deferred.doneUnsafe(this.ready, Effect.succeed(message))
      case "Loaded":
        return this.onLoaded(message.files)
      case "Report":
        this.report = message.report
        this.waiting.get(message.question)?.(message.report)
        this.waiting.delete(message.question)
        return
    }
  }

  tell(message: ToWorker): void {
    if (this.child.connected) this.child.send(message, () => undefined)
  }

  kill(): void {
    this.child.kill("SIGKILL")
  }

  /** Asks for a report. Without an answer in time there is the last one. */
  ask(milliseconds: number): Effect.Effect<Report | undefined> {
    return Effect.callback<Report>((resume) => {
      const question = ++this.questions
      this.waiting.set(question, (report) => resume(Effect.succeed(report)))
      this.tell({ _tag: "Ask", question })
      return Effect.sync(() => this.waiting.delete(question))
    }).pipe(
      Effect.timeoutOption(milliseconds),
      Effect.map(() => this.report)
    )
  }
}

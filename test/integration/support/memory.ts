/** A server in a process of its own whose memory is watched, and a peer that sends faster than it works, or does not read. */
import * as Frame from "effect-milter/Frame"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Net from "node:net"
import { fileURLToPath } from "node:url"
import { forEvent } from "../../../testbed/timeLimits.ts"

/** The filters of processes/memory.ts. */
export type Name =
  /** Watches header fields: holds the first until it is released, then is slow now and then. */
  | "headers"
  /** Watches the body in the same way. */
  | "body"
  /** Refuses the sender `flood` in many words. */
  | "wordy"
  /** Replaces the body by a stream of 50 MB. */
  | "replace"
  /** Puts text before and after that of the body. */
  | "mime"
  /** Answers MAIL, RCPT and end of message, looks at the content, and takes 20,000 connections. */
  | "open"
  /** The same with limits of 1,000 header fields and recipients. */
  | "limited"
  /** Two filters, of which the first may edit: the body waits for the second on the disk. */
  | "spooling"
  /** An SMTP server with two filters that look at the body and add a header field; its port is that for SMTP. */
  | "smtpServer"

/** Bytes. */
export interface Memory {
  readonly rss: number
  readonly heap: number
  /** Of buffers outside of the heap. */
  readonly external: number
}

/**
 * - `settle`: collect garbage, then report
 * - `reset`: the same, and begin anew with the peaks
 * - `report`: report
 * - `release`: let the hook go that holds everything up; no report
 */
export type Request = "settle" | "reset" | "report" | "release"

export interface Report {
  readonly now: Memory
  readonly peak: Memory
  /** How many events the filter's hook has seen. */
  readonly seen: number
  /** Open files without a name. */
  readonly openFiles: number
  /** All descriptors. */
  readonly descriptors: number
  /** Connections that the server knows. */
  readonly sessions: number
  /** Milliseconds of the processor so far. */
  readonly cpu: number
}

export class MemoryError extends Data.TaggedError("MemoryError")<{ readonly message: string }> {}

const script = fileURLToPath(new URL("./processes/memory.ts", import.meta.url))

export interface Server {
  readonly port: number
  readonly pid: number
  readonly ask: (request: Exclude<Request, "release">) => Effect.Effect<Report>
  readonly release: Effect.Effect<void>
  /** Waits until the server has written this to its log. */
  readonly logs: (pattern: RegExp) => Effect.Effect<void, MemoryError>
}

/** Starts the server; it is killed with the scope. Temporary files go to this directory. */
export const start = Effect.fnUntraced(function*(name: Name, temporary: string) {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      ChildProcess.fork(script, [name], {
        // Memory for young objects grows to three times 16 MB with what is allocated, whatever is kept of it.
        execArgv: ["-C", "effect-milter-source", "--expose-gc", "--max-semi-space-size=4"],
        env: { ...process.env, TMPDIR: temporary },
        stdio: ["ignore", "pipe", "pipe", "ipc"]
      })
    ),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  let log = ""
  const message = <A>() =>
    Effect.callback<A>((resume) => {
      // The script sends what it is asked for, one message at a time.
      child.once("message", (value) => resume(Effect.succeed(value as A)))
    })
  let changed = (): void => undefined
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.on("data", (chunk: Buffer) => {
      log += chunk.toString()
      changed()
    })
  }
  const port = yield* message<number>().pipe(
    Effect.timeoutOrElse({
      duration: forEvent,
      orElse: () => Effect.fail(new MemoryError({ message: `the server does not start:\n${log}` }))
    })
  )
  const server: Server = {
    port,
    pid: child.pid!,
    ask: (request) => Effect.suspend(() => (child.send(request), message<Report>())),
    release: Effect.sync(() => void child.send("release" satisfies Request)),
    logs: (pattern) =>
      Effect.callback<void>((resume) => {
        const look = (): void => {
          if (pattern.test(log)) resume(Effect.void)
          else changed = look
        }
        look()
      }).pipe(Effect.timeoutOrElse({
        duration: forEvent,
        orElse: () => Effect.fail(new MemoryError({ message: `no ${pattern.source} in\n${log}` }))
      }))
  }
  return server
})

/** How much it grew, in megabytes. */
export const growth = (before: Memory, after: Memory): Memory => ({
  rss: megabytes(after.rss - before.rss),
  heap: megabytes(after.heap - before.heap),
  external: megabytes(after.external - before.external)
})

const megabytes = (bytes: number): number => Math.round(bytes / 104_857.6) / 10

// ---------------------------------------------------------------------------------------------------------------------

/** A peer on a real socket, which counts what it receives. */
export class Peer {
  readonly socket: Net.Socket
  private readonly decoder = Frame.makeDecoder()
  /** Letters of the replies, except for pieces of a body. */
  replies = ""
  /** Bytes of a replaced body. */
  body = 0
  closed = false
  private changed: () => void = () => undefined

  constructor(port: number) {
    this.socket = Net.connect({ port, host: "127.0.0.1", noDelay: true })
    this.socket.on("data", (chunk) => {
      const frames: Array<Frame.Frame> = []
      this.decoder.push(chunk, frames)
      for (const { code, limit, offset } of frames) {
        const letter = String.fromCharCode(code)
        if (letter === "b") this.body += limit - offset
        else this.replies += letter
      }
      this.changed()
    })
    this.socket.on("error", () => undefined)
    this.socket.on("close", () => {
      this.closed = true
      this.changed()
    })
  }

  write(bytes: Uint8Array): void {
    this.socket.write(bytes)
  }

  /** Writes `count` times, never more than the system takes; completes when all is out, or the connection is closed. */
  flood(bytes: Uint8Array, count: number): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      let left = count
      const done = (): void => {
        this.socket.off("close", done)
        resume(Effect.void)
      }
      this.socket.once("close", done)
      const push = (): void => {
        while (left > 0 && !this.socket.destroyed) {
          left--
          if (!this.socket.write(bytes)) {
            this.socket.once("drain", push)
            return
          }
        }
        done()
      }
      push()
    })
  }

  until(what: string, probe: () => boolean, seconds = 30): Effect.Effect<void, MemoryError> {
    return Effect.callback<void>((resume) => {
      this.changed = () => {
        if (probe()) resume(Effect.void)
      }
      this.changed()
    }).pipe(
      Effect.timeoutOrElse({
        duration: seconds * 1000,
        orElse: () =>
          Effect.fail(
            new MemoryError({ message: `${what}: not after ${seconds} s, got ${this.replies.slice(0, 100)}` })
          )
      })
    )
  }
}

export const connect = (port: number) =>
  Effect.acquireRelease(
    Effect.sync(() => new Peer(port)),
    (peer) => Effect.sync(() => peer.socket.destroy())
  )

/** The names in a directory. */
export const names = (directory: string): Effect.Effect<ReadonlyArray<string>> =>
  Effect.sync(() => Fs.readdirSync(directory))

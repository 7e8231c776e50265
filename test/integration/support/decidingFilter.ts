/** A filter in a process of its own, to be stopped, killed and started again while mail flows. */
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import { fileURLToPath } from "node:url"
import { type Child, spawn } from "../../../testbed/childProcess.ts"
import { realTime } from "../../../testbed/realTime.ts"

/** What becomes of a message, by the first word of its sender's local part; all others get the header `X-Filtered`. */
export type Decision =
  /** Rejected at mail. */
  | "early"
  /** Rejected at end of message. */
  | "late"
  /** Discarded at end of message. */
  | "swallow"
  /** Never gets an answer to its body. */
  | "hang"

/** The argument of processes/deciding.ts. */
export interface Setup {
  /** As for `NodeMilterServer.layer`. */
  readonly listen: string
  /** How long end of message takes. */
  readonly milliseconds: number
  /** A file of lines, each of them `Begins` or what the message's scope learned, and the sender. */
  readonly journal?: string
  /** The number of processes that serve; without it there is one, without a supervisor. */
  readonly workers?: number
  /** A file that stands for the code of the filter: what it says when a process starts is the header `X-Code`. */
  readonly code?: string
}

const script = fileURLToPath(new URL("./processes/deciding.ts", import.meta.url))

/** Starts the filter; when it listens. It is killed with the scope. */
export const start = Effect.fnUntraced(function*(setup: Setup) {
  const child: Child = yield* spawn(process.execPath, ["-C", "effect-milter-source", script, JSON.stringify(setup)])
  for (let worker = 0; worker < (setup.workers ?? 1); worker++) {
    yield* realTime(child.shows(new RegExp(`(?:deciding listens on [^]*){${worker + 1}}`)))
  }
  return child
})

/** Its address, for Postfix. */
export const addressOf = (child: Child): string =>
  /listens on inet:(\d+)@/.exec(child.output)!.slice(1).map((port) => `inet:127.0.0.1:${port}`).join()

export interface Entry {
  readonly event: "Begins" | "Accepted" | "Rejected" | "TempFailed" | "Discarded" | "GivenUp"
  readonly sender: string
}

export const readJournal = (path: string): ReadonlyArray<Entry> =>
  !Fs.existsSync(path) ? [] : Fs.readFileSync(path, "utf8").split("\n").slice(0, -1).map((line) => {
    const [event = "", sender = ""] = line.split(" ")
    return { event: event as Entry["event"], sender } // the script writes nothing else
  })

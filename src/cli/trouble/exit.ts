/**
 * How the program ends. 0: it did what it was asked to, and all is well; 1: it failed; from 2 on: it did, and the code tells
 * the result.
 */
import * as Data from "effect/Data"
import * as Runtime from "effect/Runtime"
import { showInvisible } from "../../internal/bytes/invisible.ts"

/** A problem that the user can solve: one line that says how. Exit code 1. */
export class Trouble extends Data.TaggedError("Trouble")<{ readonly message: string }> {
  override readonly [Runtime.errorExitCode] = 1
  /** The message is printed, not logged. */
  override readonly [Runtime.errorReported] = false
}

/** The program did its work, and scripts need to know the result. Nothing is printed. */
export class Result extends Data.TaggedError("Result")<{ readonly code: number }> {
  override readonly [Runtime.errorExitCode] = this.code
  override readonly [Runtime.errorReported] = false
}

export const trouble = (message: string): Trouble => new Trouble({ message })

/** Exit codes of `send` and `test`. Part of the public interface, as the others in docs/operate/cli.md. */
export const verdictCodes = {
  Accepted: 0,
  Rejected: 2,
  TempFailed: 3,
  Discarded: 4,
  Quarantined: 5
} as const

/** Exit code of `send` and `test` when a message gets another verdict than `--expect` says. */
export const unexpected = 6

/** Exit code of `replay` when an answer differs from the recording. */
export const differs = 2

/** The text of any error, on one line, without bytes that a terminal obeys. */
export const lineOf = (error: unknown): string =>
  showInvisible(
    (error instanceof Error ? error.message : String(error)).split("\n").map((line) => line.trim())
      .filter((line) => line !== "").join(" ")
  )

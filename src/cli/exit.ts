/**
 * How the program ends. 0: it did what it was asked to, and all is well; 1: it could not; from 2 on: it could, and this is
 * what came of it.
 */
import * as Data from "effect/Data"
import * as Runtime from "effect/Runtime"
import { showInvisible } from "../internal/bytes/invisible.ts"

/** Something is wrong that the person at the keyboard can mend: one line that says how. Exit code 1. */
export class Trouble extends Data.TaggedError("Trouble")<{ readonly message: string }> {
  override readonly [Runtime.errorExitCode] = 1
  /** It is printed, not logged. */
  override readonly [Runtime.errorReported] = false
}

/** All went as it should, and the result is one that scripts want to know about. Nothing is printed. */
export class Result extends Data.TaggedError("Result")<{ readonly code: number }> {
  override readonly [Runtime.errorExitCode] = this.code
  override readonly [Runtime.errorReported] = false
}

export const trouble = (message: string): Trouble => new Trouble({ message })

/** Exit codes of `send`. Part of the public interface, as the others in docs/operate/cli.md. */
export const verdictCodes = {
  Accepted: 0,
  Rejected: 2,
  TempFailed: 3,
  Discarded: 4,
  Quarantined: 5
} as const

/** Exit code of `replay` when an answer is another one than that of the recording. */
export const differs = 2

/** Text of an error from anywhere, on one line, and nothing in it that a terminal obeys. */
export const lineOf = (error: unknown): string =>
  showInvisible(
    (error instanceof Error ? error.message : String(error)).split("\n").map((line) => line.trim())
      .filter((line) => line !== "").join(" ")
  )

/** The last failures of a server: a bounded list, with texts as the log has them. */
import * as Cause from "effect/Cause"
import type { Stage } from "../../Stage.ts"
import { printable } from "./messageLog.ts"

/**
 * Something that went wrong: a hook that failed, broke or took too long, or a connection that was closed for an error.
 *
 * @category models
 * @since 0.1.0
 */
export interface Failure {
  /** In ISO 8601, UTC. */
  readonly time: string
  /** The filter whose hook failed; for a connection, the filter of the server. */
  readonly filter: string
  /** The stage of the hook. */
  readonly stage?: Stage
  /** The queue id, if the MTA has told it by then. */
  readonly queueId?: string
  /** One line of at most 320 characters, without characters that a terminal obeys, as in the log. */
  readonly error: string
}

/** The most failures that are kept, and shown. */
export const maxFailures = 10

/** What a hook failed with; undefined if it was only interrupted. */
export const errorOf = (cause: Cause.Cause<unknown>): string | undefined =>
  cause.reasons.length === 0 || Cause.hasInterruptsOnly(cause) ? undefined : printable(String(Cause.squash(cause)))

/** The last of several lists, the oldest first. */
export const latest = (lists: Iterable<ReadonlyArray<Failure>>): ReadonlyArray<Failure> =>
  [...lists].flat().toSorted((one, other) => one.time < other.time ? -1 : one.time > other.time ? 1 : 0)
    .slice(-maxFailures)

/** The failures of a server. */
export class Failures {
  private readonly now: () => number
  private readonly kept: Array<Failure> = []

  constructor(now: () => number) {
    this.now = now
  }

  add(filter: string, error: string, where: { readonly stage?: Stage; readonly queueId?: string | undefined }): void {
    const { queueId, stage } = where
    this.kept.push({
      time: new Date(this.now()).toISOString(),
      filter,
      ...(stage === undefined ? {} : { stage }),
      ...(queueId === undefined ? {} : { queueId }),
      error: printable(error)
    })
    if (this.kept.length > maxFailures) this.kept.shift()
  }

  get list(): ReadonlyArray<Failure> {
    return [...this.kept]
  }
}

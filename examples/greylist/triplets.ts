/** Who has tried to write to whom from where, and since when: in a PostgreSQL that several filters may share. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as SqlClient from "effect/sql/SqlClient"
import { explain } from "../support/postgres.ts"

export interface Triplet {
  /** Such as `192.0.2.0/24`. */
  readonly network: string
  /** Empty for the null sender. */
  readonly sender: string
  readonly recipient: string
}

/** The database gives no answer. */
export class Unavailable extends Data.TaggedError("Unavailable")<{ readonly message: string }> {}

export interface Times {
  /** From the first attempt until one is let through. */
  readonly delay: Duration.Duration
  /** From the first attempt until it counts for nothing, if no later one was let through. */
  readonly retryWithin: Duration.Duration
  /** From the last one that was let through until its triplet has to wait again. */
  readonly keepFor: Duration.Duration
}

export class Triplets extends Context.Service<Triplets, {
  /** Notes an attempt, and tells how long ago the first was. */
  readonly attempt: (triplet: Triplet) => Effect.Effect<Duration.Duration, Unavailable>
}>()("examples/greylist/Triplets") {
  static readonly layer = (times: Times): Layer.Layer<Triplets, never, SqlClient.SqlClient> =>
    Layer.effect(Triplets, make(times))
}

/** The tables, for {@link Triplets.layer}. */
export const migrations = {
  "1_greylist": Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    yield* sql`CREATE TABLE greylist (
      network cidr NOT NULL,
      sender text NOT NULL,
      recipient text NOT NULL,
      first_attempt timestamptz NOT NULL,
      expires timestamptz NOT NULL,
      PRIMARY KEY (network, sender, recipient)
    )`
    yield* sql`CREATE INDEX greylist_expires ON greylist (expires)`
  })
}

/** An index takes no more than some 2700 bytes; without a limit one long address would be an error of the database. */
const longest = 320

/** The hooks of a filter have 8 seconds. */
const timeout = "3 seconds"

const make = Effect.fnUntraced(function*(times: Times) {
  const sql = yield* SqlClient.SqlClient
  const [delay, retryWithin, keepFor] = [times.delay, times.retryWithin, times.keepFor].map(Duration.toMillis)

  /**
   * One statement, hence one transaction: it has ended before the SMTP client gets its answer, whatever the client does
   * then. Of two that note the same triplet at once the second sees what the first has made.
   */
  const note = (triplet: Triplet, now: number) => {
    const at = (after = 0) => sql`to_timestamp(${(now + after) / 1000}::float8)`
    const [sender, recipient] = [triplet.sender, triplet.recipient].map((address) => address.slice(0, longest))
    return sql<{ readonly waited: number }>`
      INSERT INTO greylist AS known (network, sender, recipient, first_attempt, expires)
      VALUES (${triplet.network}::cidr, ${sender}, ${recipient}, ${at()}, ${at(retryWithin)})
      ON CONFLICT (network, sender, recipient) DO UPDATE SET
        first_attempt = CASE
          WHEN known.expires <= ${at()} THEN excluded.first_attempt
          ELSE known.first_attempt
        END,
        expires = CASE
          WHEN known.expires <= ${at()} THEN excluded.expires
          WHEN known.first_attempt <= ${at(-delay!)} THEN ${at(keepFor)}
          ELSE known.expires
        END
      RETURNING (extract(epoch FROM ${at()} - first_attempt) * 1000)::float8 AS waited`
  }

  const cleanUp = Effect.gen(function*() {
    const now = yield* Clock.currentTimeMillis
    const gone = yield* sql`DELETE FROM greylist WHERE expires <= to_timestamp(${now / 1000}::float8) RETURNING 1`
    yield* Effect.logDebug(`forgot ${gone.length} triplets`)
  }).pipe(
    // The next time is as good.
    Effect.catch((error) => Effect.logWarning(`cannot forget old triplets: ${explain(error)}`))
  )
  yield* Effect.forkScoped(Effect.repeat(cleanUp, Schedule.spaced("1 hour")))

  return Triplets.of({
    attempt: Effect.fnUntraced(
      function*(triplet) {
        const [row] = yield* note(triplet, yield* Clock.currentTimeMillis)
        return Duration.millis(Math.max(0, Math.round(row!.waited)))
      },
      (_) => Effect.timeout(_, timeout),
      (_) =>
        Effect.mapError(_, (error) => new Unavailable({ message: `no answer from the database: ${explain(error)}` }))
    )
  })
})

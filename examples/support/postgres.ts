/** A PostgreSQL with the tables that an example needs. */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Migrator from "effect/sql/Migrator"
import type * as SqlClient from "effect/sql/SqlClient"
import * as SqlError from "effect/sql/SqlError"

/** The database cannot be used. */
export class NoDatabase extends Data.TaggedError("NoDatabase")<{ readonly message: string }> {}

/** For `Flag.filter`: `postgres://user:password@host:5432/name`, or `postgres:///name?host=/run/postgresql&user=me`. */
export const isUrl = (url: Redacted.Redacted): boolean =>
  /^postgres(?:ql)?:$/.test(URL.parse(Redacted.value(url))?.protocol ?? "")

/**
 * Connects, and makes the tables that are not there yet: `migrations` have names such as `1_first`. It fails if that is not
 * possible now; a connection that breaks later is made again.
 *
 * Somebody waits for each answer, so nothing waits long: neither for a connection nor, in the database, for a statement.
 */
export const layer = (
  url: Redacted.Redacted,
  { migrations, name }: {
    /** What the database calls the connections, and the table in which it keeps which migrations it has had. */
    readonly name: string
    readonly migrations: Readonly<Record<string, Effect.Effect<unknown, SqlError.SqlError, SqlClient.SqlClient>>>
  }
): Layer.Layer<SqlClient.SqlClient, NoDatabase> => {
  const client = PgClient.layer({
    url,
    applicationName: name,
    connectTimeout: "2 seconds",
    startupParameters: { statement_timeout: "2000", lock_timeout: "1000" }
  })
  const loader = Migrator.fromRecord(
    Object.fromEntries(Object.entries(migrations).map(([id, migration]) => [id, Effect.asVoid(migration)]))
  )
  const migrated = Layer.effectDiscard(Migrator.make({})({ loader, table: `${name}_migrations` }))
  return migrated.pipe(
    Layer.provideMerge(client),
    Layer.catch((error) =>
      Layer.effectContext(new NoDatabase({ message: `no database at ${placeOf(url)}: ${explain(error)}` }))
    )
  )
}

/** Without the password. */
const placeOf = (url: Redacted.Redacted): string => {
  const parsed = URL.parse(Redacted.value(url))
  return parsed?.searchParams.get("host") ?? decodeURIComponent(parsed?.host ?? "")
}

/** What is wrong, in the words of the database or of the system. */
export const explain = (error: Error): string => {
  const inner: unknown = SqlError.isSqlError(error)
    ? error.reason
    : error instanceof AggregateError
    ? error.errors[0]
    : error.cause
  return inner instanceof Error ? explain(inner) : error.message
}

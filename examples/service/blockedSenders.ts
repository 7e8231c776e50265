/** Whom the accounts of this service do not want mail from. Knows nothing of HTTP, nor of mail servers. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as SqlClient from "effect/sql/SqlClient"
import type * as SqlError from "effect/sql/SqlError"

/** Addresses are compared without regard to case; a blocked sender is an address or a whole domain. */
export class BlockedSenders extends Context.Service<BlockedSenders, {
  readonly list: (account: string) => Effect.Effect<ReadonlyArray<string>, SqlError.SqlError>
  readonly add: (account: string, sender: string) => Effect.Effect<void, SqlError.SqlError>
  readonly remove: (account: string, sender: string) => Effect.Effect<void, SqlError.SqlError>
  readonly has: (account: string, address: string) => Effect.Effect<boolean, SqlError.SqlError>
}>()("examples/service/BlockedSenders") {
  static readonly layer: Layer.Layer<BlockedSenders, never, SqlClient.SqlClient> = Layer.effect(
    BlockedSenders,
    Effect.map(SqlClient.SqlClient, (sql) => {
      const lower = (text: string) => text.toLowerCase()
      return {
        list: (account) =>
          Effect.map(
            sql<{ readonly sender: string }>`
              SELECT sender FROM blocked_senders WHERE account = ${lower(account)} ORDER BY sender`,
            (rows) => rows.map(({ sender }) => sender)
          ),
        add: (account, sender) =>
          Effect.asVoid(sql`
            INSERT INTO blocked_senders (account, sender) VALUES (${lower(account)}, ${lower(sender)})
            ON CONFLICT DO NOTHING`),
        remove: (account, sender) =>
          Effect.asVoid(sql`
            DELETE FROM blocked_senders WHERE account = ${lower(account)} AND sender = ${lower(sender)}`),
        has: (account, address) =>
          Effect.map(
            sql`
              SELECT 1 FROM blocked_senders WHERE account = ${lower(account)}
              AND sender IN (${lower(address)}, ${lower(address.slice(address.lastIndexOf("@") + 1))})`,
            (rows) => rows.length > 0
          )
      }
    })
  )
}

/** Its table. */
export const migrations = {
  "1_blocked_senders": SqlClient.SqlClient.use((sql) =>
    sql`CREATE TABLE blocked_senders (
      account text NOT NULL,
      sender text NOT NULL,
      since timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (account, sender)
    )`
  )
}

/** Who may send to how many recipients in which time. */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

const Limit = Schema.Struct({
  recipients: Schema.Int.check(Schema.isGreaterThan(0)),
  per: Schema.DurationFromString.check(
    Schema.makeFilter((per) =>
      Duration.isGreaterThanOrEqualTo(per, Duration.seconds(1)) || "expected at least 1 second"
    )
  )
})
export type Limit = typeof Limit.Type

const Name = Schema.String.check(Schema.isPattern(/^[\w-]{1,32}$/))

/** The file. An account that is not named has the tier `otherwise`; a tier without limits is only counted. */
export const Tiers = Schema.Struct({
  tiers: Schema.Record(Name, Schema.Array(Limit)),
  accounts: Schema.Record(Schema.String, Name),
  otherwise: Name
})
export type Tiers = typeof Tiers.Type

/** The file is not in order. */
export class InvalidTiers extends Data.TaggedError("InvalidTiers")<{ readonly message: string }> {}

export const parse = Effect.fnUntraced(function*(json: string): Effect.fn.Return<Tiers, InvalidTiers> {
  const tiers = yield* Effect.mapError(
    Schema.decodeEffect(Schema.fromJsonString(Tiers), { onExcessProperty: "error" })(json),
    ({ message }) => new InvalidTiers({ message: message.replace(/\s*\n\s*/g, " ") })
  )
  const missing = [tiers.otherwise, ...Object.values(tiers.accounts)].find((name) => !Object.hasOwn(tiers.tiers, name))
  if (missing !== undefined) return yield* new InvalidTiers({ message: `there is no tier ${missing}` })
  const accounts = Object.entries(tiers.accounts).map(([account, name]) => [account.toLowerCase(), name] as const)
  return { ...tiers, accounts: Object.fromEntries(accounts) }
})

/** The account is in lower case. */
export const tierOf = ({ accounts, otherwise }: Tiers, account: string): string =>
  Object.hasOwn(accounts, account) ? accounts[account]! : otherwise

/** A limit in a stretch of time, the same for all processes. */
export interface Window {
  readonly key: string
  readonly limit: Limit
  /** Milliseconds since 1970. */
  readonly ends: number
}

/** Windows follow each other since 1970: those of an hour begin on the hour, those of a day at midnight, UTC. */
export const windowsOf = (tiers: Tiers, account: string, now: number): ReadonlyArray<Window> =>
  tiers.tiers[tierOf(tiers, account)]!.map((limit) => {
    const length = Duration.toMillis(limit.per)
    const number = Math.floor(now / length)
    return { key: `${length}:${number}:${account}`, limit, ends: (number + 1) * length }
  })

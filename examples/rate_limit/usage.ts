/** How much accounts have used up, and what they are billed for: in memory, or in a Redis that several filters share. */
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redis from "effect/persistence/Redis"
import * as References from "effect/References"
import type { Window } from "./tiers.ts"

/** Redis does not answer. */
export class Unavailable extends Data.TaggedError("Unavailable")<{ readonly message: string }> {}

/** A line of the bill of a month such as `2026-11`. */
export interface Billed {
  readonly tier: string
  readonly account: string
  readonly recipients: number
}

export class Usage extends Context.Service<Usage, {
  /** Takes one place in each of the windows, or in none of them: then it gives one that is full. */
  readonly reserve: (windows: ReadonlyArray<Window>) => Effect.Effect<Window | undefined, Unavailable>
  /** Gives places back; a window may be named several times. */
  readonly release: (windows: ReadonlyArray<Window>) => Effect.Effect<void, Unavailable>
  readonly bill: (month: string, billed: Billed) => Effect.Effect<void, Unavailable>
  readonly billed: (month: string) => Effect.Effect<ReadonlyArray<Billed>, Unavailable>
}>()("examples/rate_limit/Usage") {
  /** Forgets everything when the process ends. */
  static readonly layerMemory: Layer.Layer<Usage> = Layer.sync(Usage, () => makeMemory())

  /** Fails if there is no Redis when the layer is built. */
  static readonly layerRedis = (url: string): Layer.Layer<Usage, Unavailable> =>
    Layer.effect(Usage, makeRedis).pipe(Layer.provide(connected(url)))
}

// --- in memory

const makeMemory = () => {
  const used = new Map<string, { places: number; readonly ends: number }>()
  const bills = new Map<string, Map<string, number>>()
  let swept = 0

  const sweep = (now: number) => {
    if (now - swept < 60_000) return
    swept = now
    for (const [key, { ends }] of used) if (ends <= now) used.delete(key)
  }

  return Usage.of({
    reserve: (windows) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        sweep(now)
        const full = windows.find(({ key, limit }) => (used.get(key)?.places ?? 0) >= limit.recipients)
        if (full !== undefined) return full
        for (const { ends, key } of windows) {
          const found = used.get(key)
          if (found === undefined) used.set(key, { places: 1, ends })
          else found.places++
        }
        return undefined
      }),
    release: (windows) =>
      Effect.sync(() => {
        for (const { key } of windows) {
          const found = used.get(key)
          if (found !== undefined) found.places--
        }
      }),
    bill: (month, { account, recipients, tier }) =>
      Effect.sync(() => {
        const bill = bills.get(month) ?? new Map<string, number>()
        bills.set(month, bill)
        const field = fieldOf(tier, account)
        bill.set(field, (bill.get(field) ?? 0) + recipients)
      }),
    billed: (month) => Effect.sync(() => toBilled([...bills.get(month) ?? []]))
  })
}

// --- in Redis

const prefix = "rate_limit"

// A script is one step for Redis: nobody else takes the last place between the question and the answer.
const reserve = Redis.script(
  (windows: ReadonlyArray<Window>, now: number) => [
    ...windows.map(({ key }) => `${prefix}:used:${key}`),
    ...windows.flatMap(({ ends, limit }) => [limit.recipients, Math.max(1, ends - now)])
  ],
  {
    numberOfKeys: (windows) => windows.length,
    lua: `
for i, key in ipairs(KEYS) do
  if tonumber(redis.call("GET", key) or "0") >= tonumber(ARGV[2 * i - 1]) then return i end
end
for i, key in ipairs(KEYS) do
  redis.call("INCR", key)
  redis.call("PEXPIRE", key, ARGV[2 * i])
end
return 0`
  }
).withReturnType<number>()

// A window that has ended is not there any more, and nothing is given back to it.
const release = Redis.script(
  (windows: ReadonlyArray<Window>) => windows.map(({ key }) => `${prefix}:used:${key}`),
  {
    numberOfKeys: (windows) => windows.length,
    lua: `
for _, key in ipairs(KEYS) do
  if redis.call("EXISTS", key) == 1 then redis.call("DECR", key) end
end`
  }
)

/** A Redis that hangs must not hang the mail; the hooks of a filter have 8 seconds. */
const timeout = "2 seconds"

const makeRedis = Effect.gen(function*() {
  const redis = yield* Redis.Redis
  const [evalReserve, evalRelease] = [redis.eval(reserve), redis.eval(release)]
  const billKey = (month: string) => `${prefix}:billed:${month}`

  const inTime = <A>(effect: Effect.Effect<A, Redis.RedisError>) =>
    effect.pipe(
      Effect.timeout(timeout),
      Effect.mapError((error) =>
        new Unavailable({
          message: error._tag === "TimeoutError"
            ? `Redis does not answer within ${timeout}`
            : `Redis: ${causeOf(error)}`
        })
      )
    )

  return Usage.of({
    reserve: Effect.fnUntraced(function*(windows) {
      if (windows.length === 0) return undefined
      const full = yield* inTime(evalReserve(windows, yield* Clock.currentTimeMillis))
      return windows[full - 1]
    }),
    release: (windows) => windows.length === 0 ? Effect.void : inTime(evalRelease(windows)),
    bill: (month, { account, recipients, tier }) =>
      Effect.asVoid(inTime(redis.send("HINCRBY", billKey(month), fieldOf(tier, account), String(recipients)))),
    billed: (month) =>
      Effect.map(
        inTime(redis.send<{ readonly [field: string]: string }>("HGETALL", billKey(month))),
        (bill) => toBilled(Object.entries(bill).map(([field, recipients]) => [field, Number(recipients)]))
      )
  })
})

const connected = (url: string) =>
  NodeRedis.layer({
    url,
    // The protocol in which a hash comes as an object.
    RESP: 3,
    // Without Redis a command fails at once, in place of waiting until it is back.
    disableOfflineQueue: true,
    socket: { connectTimeout: 2000 }
  }).pipe(
    Layer.catch((error) =>
      Layer.effectContext(new Unavailable({ message: `no Redis at ${hostOf(url)}: ${causeOf(error)}` }))
    ),
    // What goes wrong is said by who needed it.
    Layer.provide(Layer.succeed(References.MinimumLogLevel, "None"))
  )

/** Without the password. */
const hostOf = (url: string): string => URL.parse(url)?.host ?? url

const causeOf = ({ cause }: Redis.RedisError): string =>
  cause instanceof AggregateError ? String(cause.errors[0]) : cause instanceof Error ? cause.message : String(cause)

// --- both

/** Names of tiers have no blank. */
const fieldOf = (tier: string, account: string): string => `${tier} ${account}`

const toBilled = (pairs: ReadonlyArray<readonly [field: string, recipients: number]>): ReadonlyArray<Billed> =>
  pairs.map(([field, recipients]) => {
    const blank = field.indexOf(" ")
    return { tier: field.slice(0, blank), account: field.slice(blank + 1), recipients }
  }).toSorted((left, right) => left.account < right.account ? -1 : left.account > right.account ? 1 : 0)

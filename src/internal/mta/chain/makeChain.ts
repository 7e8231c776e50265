/** Dials the filters of a chain one after the other, and builds the public `Chain` on them. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type { InvalidValue } from "../../../InvalidValue.ts"
import { checkKeys, keysOf } from "../../bytes/knownKeys.ts"
import { type OpenFile, Spool } from "../../bytes/spool.ts"
import type { Dialing } from "../../net/dialer.ts"
import type { Chain, ChainOptions, FilterOptions } from "../chainTypes.ts"
import type { ClientError } from "../clientError.ts"
import type { Options } from "../clientTypes.ts"
import { checkOptions as checkShared, dial } from "../dial.ts"
import { called, type Manners, mtaOf } from "../manners/mtaManners.ts"
import { StreamedBody } from "../streamedBody.ts"
import type { Link } from "./chainLink.ts"
import { ChainSession } from "./chainSession.ts"

const dialLink = (dialing: Dialing, filter: FilterOptions, options: ChainOptions, manners: Manners) =>
  Effect.gen(function*() {
    const { address } = filter
    const { observe } = options
    const client = yield* Effect.result(
      Effect.tap(
        dial(dialing, address, {
          as: mtaOf(manners),
          timeouts: { ...options.timeouts, ...filter.timeouts },
          ...given("maxFrameLength", filter.maxFrameLength ?? options.maxFrameLength),
          ...given("maxModifications", filter.maxModifications ?? options.maxModifications),
          ...given("maxModificationBytes", filter.maxModificationBytes ?? options.maxModificationBytes),
          ...given("observe", observe && ((from, packet) => observe(address, from, packet)))
        }),
        (client) => client.negotiate(manners.offer)
      )
    )
    const link: Link = {
      address,
      client: Result.isSuccess(client) ? client.success : undefined,
      policy: filter.onFailure ?? options.onFailure ?? manners.onFailure,
      failure: undefined
    }
    return [link, Result.isFailure(client) ? client.failure : undefined] as const
  })

/** Leaves an option out instead of setting it to undefined, which `exactOptionalPropertyTypes` does not allow. */
const given = <K extends keyof Options>(key: K, value: Options[K]): Pick<Options, K> | undefined =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- one property, of that name
  value === undefined ? undefined : { [key]: value } as Pick<Options, K>

const filterNames = keysOf<FilterOptions>({
  address: true,
  onFailure: true,
  timeouts: true,
  maxFrameLength: true,
  maxModifications: true,
  maxModificationBytes: true
})

/** Throws an `InvalidValue` for an option that would be ignored. */
export const checkOptions = (filters: ReadonlyArray<string | FilterOptions>, options: ChainOptions): void => {
  const { macros: _, observe: _observe, onFailure: _onFailure, ...shared } = options
  checkShared(shared)
  for (const filter of filters) if (typeof filter !== "string") checkKeys("option of a filter", filter, filterNames)
}

let messages = 0

/** A new queue id for each message: the time in milliseconds tells processes apart, the count tells messages apart. */
const nextQueueId = Effect.map(
  Clock.currentTimeMillis,
  (now) => `${now.toString(16)}${(messages++ & 0xffff).toString(16).padStart(4, "0")}`.toUpperCase()
)

// Every filter of a chain has a policy, so no other failure reaches the caller.
const onlyInvalid = ({ reason }: ClientError): Effect.Effect<never, InvalidValue> =>
  reason._tag === "InvalidValue" ? Effect.fail(reason) : Effect.die(reason)

/** Takes a message through the filters while its body arrives. */
const streamMessage = Effect.fnUntraced(function*<E, R>(
  session: ChainSession,
  openFile: OpenFile | undefined,
  { body, headers }: Parameters<Chain["streamMessage"]>[0] & { readonly body: Stream.Stream<Uint8Array, E, R> }
) {
  const context = yield* Effect.context<R>()
  const spool = yield* Effect.acquireRelease(Effect.sync(() => new Spool(openFile)), (spool) => spool.close)
  return yield* Effect.scoped(Effect.gen(function*() {
    const source = yield* Stream.toPull(body)
    return yield* session.streamMessage(headers, new StreamedBody(Effect.provide(source, context), spool))
  })).pipe(
    Effect.catchTags({ ClientError: onlyInvalid, SourceFailure: ({ cause }) => Effect.failCause(cause) })
  )
})

export const make = (
  dialing: Dialing,
  filters: ReadonlyArray<string | FilterOptions>,
  options: ChainOptions,
  imitated: Manners
): Effect.Effect<Chain, never, Scope.Scope> =>
  Effect.gen(function*() {
    const manners = options.macros === undefined ? imitated : called(imitated, options.macros)
    const links = yield* Effect.forEach(filters, (filter) =>
      dialLink(dialing, typeof filter === "string" ? { address: filter } : filter, options, manners))
    const session = new ChainSession(
      links.map(([link]) =>
        link
      ),
      manners,
      nextQueueId
    )
    for (const [link, error] of links) {
      if (error !== undefined) yield* Effect.orDie(session.fail(link, error))
    }
    const semaphore = Semaphore.makeUnsafe(1)
    const step = <A>(effect: Effect.Effect<A, ClientError>): Effect.Effect<A, InvalidValue> =>
      semaphore.withPermit(Effect.catch(effect, onlyInvalid))
    const quit = Effect.forEach(
      session.links,
      ({ client, failure }) =>
        client === undefined || failure !== undefined ? Effect.void : Effect.ignore(client.quit()),
      { discard: true }
    )
    const chain: Chain = {
      filters: session.links.map(({ address }) => address),
      get failures() {
        return session.failures
      },
      macros: (stage, values) => step(session.macros(stage, values)),
      connect: (client) => step(session.connect(client)),
      helo: (name) => step(session.helo(name)),
      mail: (sender, parameters) => step(session.mail(sender, parameters)),
      rcpt: (recipient, parameters, { refused } = {}) => step(session.rcpt(recipient, parameters, refused)),
      data: () => step(session.other("data", (client) => client.data())),
      message: (content) => step(session.message(content)),
      streamMessage: (content) => semaphore.withPermit(streamMessage(session, dialing.openFile, content)),
      unknown: (line) => step(session.other("unknown", (client) => client.unknown(line))),
      reset: () => Effect.orDie(step(session.reset())),
      quit: () => semaphore.withPermit(quit),
      sendMessage: (message) => step(session.sendMessage(message))
    }
    return chain
  })

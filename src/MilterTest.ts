/**
 * Tests of filters without sockets and without waiting: a scripted MTA talks to the filter in memory. Time is that of
 * Effect's Clock, so under a TestClock an hour passes when the test says so.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { planOf } from "./internal/engine/contentPasses.ts"
import { wantedOf } from "./internal/engine/negotiationRequest.ts"
import { resolveWith } from "./internal/filter/definition.ts"
import type { Client } from "./internal/mta/client.ts"
import { checkOptions, dial } from "./internal/mta/dial.ts"
import { dialerOf, dialingKey } from "./internal/net/dialer.ts"
import { listenerOf } from "./internal/net/listener.ts"
import * as memoryNetwork from "./internal/net/memoryNetwork.ts"
import * as playScript from "./internal/testing/playScript.ts"
import * as internal from "./internal/testing/replay.ts"
import type { PlayedMessage, SessionScript } from "./internal/testing/sessionScript.ts"
import { type Filter, isFilter, type NoFailure } from "./Milter.ts"
import * as MilterClient from "./MilterClient.ts"
import * as MilterServer from "./MilterServer.ts"
import * as Negotiation from "./Negotiation.ts"
import type * as Packet from "./Packet.ts"
import type * as Recording from "./Recording.ts"

export {
  assertAccepted,
  assertDiscarded,
  assertRejected,
  assertTempFailed,
  type ExpectedMessage,
  type ExpectedRefusal,
  format,
  OutcomeMismatch
} from "./internal/testing/assertions.ts"
export { MessageScript, type PlayedMessage, SessionScript } from "./internal/testing/sessionScript.ts"
export { postfix, postfix23, postfix26, postfix311, postfix38, sendmail, sendmail818 } from "./MilterClient.ts"

/**
 * All MTAs that the client can behave like, for a test that must pass with each of them.
 *
 * @category MTAs
 * @since 0.1.0
 */
export const mtas: ReadonlyArray<MilterClient.Mta> = Object.values(playScript.mtas)

/**
 * The one address of the network of {@link layer}.
 *
 * @category constants
 * @since 0.1.0
 */
export const address = "memory:filter"

const network = Effect.sync(() => {
  const { dialer, listener } = memoryNetwork.make(address)
  return Context.make(MilterServer.Listener, listenerOf(listener)).pipe(
    Context.add(MilterClient.Dialer, dialerOf(dialer))
  )
})

/**
 * A network in memory: `MilterServer.layer` listens on it, and `MilterClient.dial` reaches it at {@link address}. For servers
 * with options of their own; otherwise use {@link run}.
 *
 * **Gotchas**
 *
 * Open a client in a smaller scope than the server. A server that stops waits for open sessions, and under a TestClock it
 * waits until the test moves the clock.
 *
 * **Example** (A server with a limit)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Layer from "effect/Layer"
 * import * as Milter from "effect-milter/Milter"
 * import * as MilterClient from "effect-milter/MilterClient"
 * import * as MilterServer from "effect-milter/MilterServer"
 * import * as MilterTest from "effect-milter/MilterTest"
 * import * as Verdict from "effect-milter/Verdict"
 *
 * const Nothing = Milter.make("nothing").on({ mail: () => Effect.succeed(Verdict.continue) })
 *
 * const test = MilterClient.dial(MilterTest.address).pipe(
 *   Effect.flatMap((mta) => mta.sendMessage({ from: "alice@example.org", to: ["bob@example.net", "carol@example.net"] })),
 *   Effect.scoped,
 *   Effect.provide(
 *     MilterServer.layer(Nothing, { maxRecipients: 1 }).pipe(Layer.provideMerge(MilterTest.layer))
 *   )
 * )
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<MilterServer.Listener | MilterClient.Dialer> = Layer.effectContext(network)

/**
 * Options of {@link run} and {@link message}: the MTA to behave like (`as`, Postfix 3.7 if not given), its timeouts, an
 * observer of the packets.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends MilterClient.Options {
  /** Whether to negotiate before the script runs; true by default. */
  readonly negotiate?: boolean
}

const isDataFirst = (args: IArguments): boolean => isFilter(args[0])

/** A server closes the connection to an MTA that offers too little. Gives the reason in place of that. */
const explained = Effect.fnUntraced(function*<R>(
  error: MilterClient.ClientError,
  filter: Filter<NoFailure, R>,
  { name, offer }: MilterClient.Mta
): Effect.fn.Return<never, MilterClient.ClientError, R> {
  if (error.reason._tag !== "Closed") return yield* error
  const definitions = yield* resolveWith(filter)
  const agreed = Negotiation.negotiate(wantedOf(definitions, planOf(definitions, offer.actions)), offer)
  if (Result.isSuccess(agreed)) return yield* error
  const { failure } = agreed
  return yield* new MilterClient.ClientError({
    reason: failure,
    command: error.command,
    address: `${name} and ${address}`
  })
})

/** {@link run}, for the scripts of this module. */
const runClient = <R, A, E, R2>(
  filter: Filter<NoFailure, R>,
  script: (mta: Client) => Effect.Effect<A, E, R2>,
  options: Options = {}
): Effect.Effect<A, E | MilterClient.ClientError, R | Exclude<R2, Scope.Scope>> =>
  Effect.gen(function*() {
    const { negotiate, ...ofClient } = options
    checkOptions(ofClient)
    // Each run has a network of its own, whatever layers the caller shares. A filter that dials uses the caller's.
    const context = yield* network
    const listener = Layer.succeed(MilterServer.Listener, Context.get(context, MilterServer.Listener))
    yield* Layer.build(Layer.provide(MilterServer.layer(filter), listener))
    const { [dialingKey]: dialing } = Context.get(context, MilterClient.Dialer)
    const mta = options.as ?? MilterClient.postfix
    const client = yield* dial(dialing, address, { ...ofClient, as: mta })
    if (negotiate !== false) yield* Effect.catch(client.negotiate(), (error) => explained(error, filter, mta))
    const result = yield* script(client)
    // The filter may have closed already, and the script may have quit itself.
    yield* Effect.ignore(client.quitAndWait())
    return result
  }).pipe(Effect.scoped)

/**
 * Serves the filter in memory, connects to it, negotiates as the MTA does, and runs the script with the client. The steps of
 * the client send what that MTA sends with them, macros above all. After the script the session is quit. The effect completes
 * when all finalizers of the filter have run.
 *
 * **Example** (Greylisting, an hour in no time)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import { TestClock } from "effect/testing"
 * import * as Milter from "effect-milter/Milter"
 * import * as MilterTest from "effect-milter/MilterTest"
 * import * as Verdict from "effect-milter/Verdict"
 *
 * const Slow = Milter.make("slow").on({
 *   rcpt: () => Effect.as(Effect.sleep("5 seconds"), Verdict.continue)
 * })
 *
 * const test = MilterTest.run(Slow, Effect.fnUntraced(function*(mta) {
 *   yield* mta.connect({ hostname: "client.example.org", address: "192.0.2.1" })
 *   yield* mta.mail("<alice@example.org>")
 *   const [answer] = yield* Effect.all([mta.rcpt("<bob@example.net>"), TestClock.adjust("5 seconds")], {
 *     concurrency: "unbounded"
 *   })
 *   return answer._tag // Continue
 * }))
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const run: {
  /** Serves the filter in memory, connects and negotiates as the MTA does, and runs the script with the client. */
  <A, E, R2>(
    script: (mta: MilterClient.Client) => Effect.Effect<A, E, R2>,
    options?: Options
  ): <R>(filter: Filter<NoFailure, R>) => Effect.Effect<A, E | MilterClient.ClientError, R | Exclude<R2, Scope.Scope>>
  /** Serves the filter in memory, connects and negotiates as the MTA does, and runs the script with the client. */
  <R, A, E, R2>(
    filter: Filter<NoFailure, R>,
    script: (mta: MilterClient.Client) => Effect.Effect<A, E, R2>,
    options?: Options
  ): Effect.Effect<A, E | MilterClient.ClientError, R | Exclude<R2, Scope.Scope>>
} = dual(
  isDataFirst,
  <R, A, E, R2>(
    filter: Filter<NoFailure, R>,
    script: (mta: MilterClient.Client) => Effect.Effect<A, E, R2>,
    options: Options = {}
  ) => runClient(filter, script, options)
)

/**
 * Sends one message through the filter and returns its outcome.
 *
 * @see {@link run} for a session step by step
 *
 * **Example** (A filter's test)
 *
 * ```ts
 * import { it } from "@effect/vitest"
 * import * as Effect from "effect/Effect"
 * import * as Milter from "effect-milter/Milter"
 * import * as MilterTest from "effect-milter/MilterTest"
 * import * as Verdict from "effect-milter/Verdict"
 *
 * const Tagged = Milter.make("tagged", { modify: ["addHeader"] }).on({
 *   endOfMessage: (_, { edit }) => Effect.as(edit.addHeader("X-Tagged", "yes"), Verdict.continue)
 * })
 *
 * it.effect("adds a header", () =>
 *   Effect.gen(function*() {
 *     const outcome = yield* MilterTest.message(Tagged, { from: "alice@example.org", to: "bob@example.net", body: "hi" })
 *     MilterTest.assertAccepted(outcome, { headers: { "X-Tagged": "yes" } })
 *   }))
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const message: {
  /** Sends one message through the filter, served in memory, and returns its outcome. */
  (
    message: MilterClient.Message,
    options?: Options
  ): <R>(filter: Filter<NoFailure, R>) => Effect.Effect<MilterClient.Outcome, MilterClient.ClientError, R>
  /** Sends one message through the filter, served in memory, and returns its outcome. */
  <R>(
    filter: Filter<NoFailure, R>,
    message: MilterClient.Message,
    options?: Options
  ): Effect.Effect<MilterClient.Outcome, MilterClient.ClientError, R>
} = dual(
  isDataFirst,
  <R>(filter: Filter<NoFailure, R>, message: MilterClient.Message, options?: Options) =>
    run(filter, (mta) => mta.sendMessage(message), options)
)

/**
 * Plays a whole session to the filter, as {@link SessionScript} describes it, and returns the outcomes of its messages.
 *
 * @category running
 * @since 0.1.0
 */
export const session: {
  /** Plays a whole SMTP session to the filter, and returns the outcomes of its messages. */
  (
    script: SessionScript,
    options?: Omit<Options, "as" | "negotiate">
  ): <R>(
    filter: Filter<NoFailure, R>
  ) => Effect.Effect<ReadonlyArray<PlayedMessage>, MilterClient.ClientError, R>
  /** Plays a whole SMTP session to the filter, and returns the outcomes of its messages. */
  <R>(
    filter: Filter<NoFailure, R>,
    script: SessionScript,
    options?: Omit<Options, "as" | "negotiate">
  ): Effect.Effect<ReadonlyArray<PlayedMessage>, MilterClient.ClientError, R>
} = dual(
  isDataFirst,
  <R>(filter: Filter<NoFailure, R>, script: SessionScript, options?: Options) =>
    runClient(filter, (mta) => playScript.play(mta, script), {
      ...options,
      as: playScript.mtas[script.mta]
    })
)

/**
 * A command of a recording, the packets that the recorded filter sent in answer, and those that the filter under test
 * sends.
 *
 * @category models
 * @since 0.1.0
 */
export interface Exchange {
  readonly command: Packet.MtaPacket
  readonly recorded: ReadonlyArray<Packet.FilterPacket>
  readonly replayed: ReadonlyArray<Packet.FilterPacket>
}

/**
 * Plays the MTA's side of a recorded connection to the filter, byte for byte except for the negotiation. The MTA offers what
 * the recorded filter agreed to, because the recorded conversation follows from that. The filter under test can ask for less,
 * but not for another conversation.
 *
 * **Gotchas**
 *
 * Compare verdicts and modifications, not numbers of packets: a step that one of the two filters does not answer has no packet
 * where the other has a continue. A frame that was cut in the recording is sent as far as it was recorded.
 *
 * @category running
 * @since 0.1.0
 */
export const replay: {
  /** Plays the MTA's side of a recorded connection to the filter, and returns what the recorded and this filter answered. */
  (
    connection: Recording.Connection
  ): <R>(filter: Filter<NoFailure, R>) => Effect.Effect<ReadonlyArray<Exchange>, MilterClient.ClientError, R>
  /** Plays the MTA's side of a recorded connection to the filter, and returns what the recorded and this filter answered. */
  <R>(
    filter: Filter<NoFailure, R>,
    connection: Recording.Connection
  ): Effect.Effect<ReadonlyArray<Exchange>, MilterClient.ClientError, R>
} = dual(
  2,
  <R>(filter: Filter<NoFailure, R>, connection: Recording.Connection) =>
    runClient(filter, (mta) => internal.replay(mta, connection), { negotiate: false })
)

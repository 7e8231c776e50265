/**
 * The MTA's side of the protocol: connects to any milter, sends it the stages of an SMTP session one by one and returns its
 * answers. A layer says how milters are reached: `NodeMilterClient` in `effect-milter/node` by TCP and UNIX sockets,
 * `MilterTest` in memory, `EffectSocket` through a socket of Effect.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { Delivered, DeliveryError } from "./Delivery.ts"
import * as makeChain from "./internal/mta/chain/makeChain.ts"
import type { Chain, ChainOptions, FilterOptions } from "./internal/mta/chainTypes.ts"
import type { ClientError } from "./internal/mta/clientError.ts"
import type { Client, Message, Mta, Options } from "./internal/mta/clientTypes.ts"
import * as internal from "./internal/mta/dial.ts"
import { mannersOf } from "./internal/mta/manners/mtaManners.ts"
import { postfix } from "./internal/mta/manners/presets.ts"
import { Dialer, dialingKey } from "./internal/net/dialer.ts"
import type { ModificationPacket } from "./internal/wire/filterPackets.ts"
import type { Agreement } from "./Negotiation.ts"

export type { Answer, NotSentBecause, Replied } from "./internal/mta/answerTypes.ts"
export type { Chain, ChainOptions, Decision, FilterOptions, Refused } from "./internal/mta/chainTypes.ts"
export { ClientError, type ClientErrorReason } from "./internal/mta/clientError.ts"
export type {
  Client,
  EndOfMessage,
  Failure,
  Message,
  Mta,
  Options,
  Outcome,
  Recipient,
  StreamedDelivery,
  StreamedOutcome
} from "./internal/mta/clientTypes.ts"
export type { Connect, DefaultAction, MacroValues, Text } from "./internal/mta/clientValues.ts"
export {
  postfix,
  postfix23,
  postfix26,
  postfix311,
  postfix38,
  sendmail,
  sendmail818
} from "./internal/mta/manners/presets.ts"
export { Dialer } from "./internal/net/dialer.ts"
export type { ModificationPacket } from "./internal/wire/filterPackets.ts"

/**
 * Connects to a filter. The connection closes with the Scope.
 *
 * **Gotchas**
 *
 * - Nothing is sent yet: go on with `negotiate`, or with `sendMessage`, which negotiates.
 * - Steps go one at a time. An interrupted step, and every failure but `InvalidValue`, closes the connection: the late answer
 *   would be taken for that of the next command.
 * - Modifications count only if the verdict lets the message pass. {@link applyTo} shows what the MTA makes of them.
 * - The client behaves like Postfix 3.7 unless the option `as` names another MTA: stages, macros and numbers of header fields
 *   differ.
 *
 * @see {@link chain} for several filters in a row
 *
 * **Example** (What does the filter say to this sender?)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as MilterClient from "effect-milter/MilterClient"
 * import { NodeMilterClient } from "effect-milter/node"
 *
 * const program = Effect.gen(function*() {
 *   const filter = yield* MilterClient.dial("inet:9000@127.0.0.1")
 *   yield* filter.negotiate()
 *   yield* filter.connect({ hostname: "client.example.org", address: "192.0.2.1" })
 *   yield* filter.helo("client.example.org")
 *   const answer = yield* filter.mail("<someone@example.com>")
 *   yield* filter.quit()
 *   return answer._tag
 * }).pipe(Effect.scoped, Effect.provide(NodeMilterClient.layer))
 * ```
 *
 * **Example** (A whole message)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as MilterClient from "effect-milter/MilterClient"
 *
 * const program = Effect.gen(function*() {
 *   const filter = yield* MilterClient.dial("unix:/run/filter.sock", { as: MilterClient.sendmail })
 *   const outcome = yield* filter.sendMessage({
 *     from: "alice@example.org",
 *     to: ["bob@example.net", "carol@example.net"],
 *     headers: [["Subject", "hello"]],
 *     body: "Hello Bob, hello Carol\n"
 *   })
 *   return outcome.modifications
 * })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const dial = (
  address: string,
  options: Options = {}
): Effect.Effect<Client, ClientError, Dialer | Scope.Scope> =>
  Effect.flatMap(Dialer, (dialer) => {
    internal.checkOptions(options)
    return internal.dial(dialer[dialingKey], address, options)
  })

/**
 * Connects to several filters in a row for one SMTP session, as an MTA does when a client has connected. The connections
 * close with the Scope.
 *
 * **Gotchas**
 *
 * - A filter that cannot be reached, now or later, does not fail the effect: its policy `onFailure` decides about mail. By
 *   default the client is put off. With `"accept"` mail passes without that filter.
 * - The order counts: each filter gets the content of a message with the changes of the filters before it, so a filter that
 *   signs comes last.
 * - A refusal at connect or helo holds for the whole session: every later command gives it again.
 *
 * @see {@link dial} for one filter, step by step
 *
 * **Example** (Before an SMTP server)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as MilterClient from "effect-milter/MilterClient"
 * import { NodeMilterClient } from "effect-milter/node"
 *
 * const program = Effect.gen(function*() {
 *   const filters = yield* MilterClient.chain([
 *     "unix:/run/opendkim/opendkim.sock",
 *     { address: "inet:11332@127.0.0.1", onFailure: "accept" }
 *   ])
 *   yield* filters.connect({ hostname: "client.example.org", address: "192.0.2.1" })
 *   yield* filters.helo("client.example.org")
 *   const decision = yield* filters.mail("<alice@example.org>")
 *   if (decision._tag === "Refused") return decision.reply
 *   yield* filters.rcpt("<bob@example.net>")
 *   yield* filters.data()
 *   const outcome = yield* filters.message({ headers: [["Subject", "hello"]], body: "Hello Bob\n" })
 *   yield* filters.quit()
 *   return outcome.delivered
 * }).pipe(Effect.scoped, Effect.provide(NodeMilterClient.layer))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const chain = (
  filters: ReadonlyArray<string | FilterOptions>,
  options: ChainOptions = {}
): Effect.Effect<Chain, never, Dialer | Scope.Scope> =>
  Effect.flatMap(
    Dialer,
    (dialer) => {
      makeChain.checkOptions(filters, options)
      return makeChain.make(dialer[dialingKey], filters, options, mannersOf(options.as ?? postfix))
    }
  )

/**
 * Applies the modifications of an {@link EndOfMessage} or an {@link Outcome} to a message as the MTA would. `agreed` is what
 * the filter and the client agreed on: it says whether header values include the space after the colon.
 *
 * Fails with `DeliveryError` where Postfix would report a broken configuration.
 *
 * **Gotchas**
 *
 * Call it only for a message that the filter accepted: the modifications of a refused or discarded message are lost. Without
 * `agreed` the step `leadingSpace` counts as not agreed on: the MTA puts a space before each value.
 *
 * @see `Delivery.postfix` and `Delivery.sendmail` for the models
 *
 * **Example** (The same changes, by both MTAs)
 *
 * ```ts
 * import * as MilterClient from "effect-milter/MilterClient"
 * import { ByteString } from "effect-milter/Wire"
 *
 * const message: MilterClient.Message = {
 *   from: "alice@example.org",
 *   to: "bob@example.net",
 *   headers: [["X-Tag", "one"], ["Subject", "hello"]]
 * }
 * const changes: ReadonlyArray<MilterClient.ModificationPacket> = [
 *   { _tag: "AddHeader", name: ByteString.fromText("X-Tag"), value: ByteString.fromText("two") }
 * ]
 * MilterClient.applyTo(message, changes) // one, hello, two
 * MilterClient.applyTo(message, changes, { as: MilterClient.sendmail }) // two, one, hello
 * ```
 *
 * @category delivering
 * @since 0.1.0
 */
export const applyTo = (
  message: Message,
  modifications: ReadonlyArray<ModificationPacket>,
  options: { readonly as?: Mta; readonly agreed?: Agreement | undefined } = {}
): Result.Result<Delivered, DeliveryError> =>
  internal.applyTo(message, modifications, mannersOf(options.as ?? postfix), options.agreed)

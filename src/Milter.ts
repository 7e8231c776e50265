/**
 * Filters: what users of this library write.
 *
 * {@link make} sets a filter's name, state and capabilities; `.on` adds its hooks. The type of a filter says what it needs
 * (`R`) and how it may fail (`E`). `MilterServer.layer` serves a filter whose failures are handled (`E = never`).
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import { checkKeys, keysOf } from "./internal/bytes/knownKeys.ts"
import { define, type FailureHandler, resolve, resolveWith, servicesOf } from "./internal/filter/definition.ts"
import { type FailurePolicy, type Filter, type Made, type NoFailure, TypeId } from "./internal/filter/filterTypes.ts"
import { fromDefinitions, mapped, variance } from "./internal/filter/filterValue.ts"
import { mapInner } from "./internal/filter/wrapping.ts"
import type { MacroStage } from "./Macros.ts"
import type { Capability, EditorOf } from "./Modification.ts"
import type { Envelope, Events, Mail, Outcome, OutsideMessage, Session, Stage } from "./Stage.ts"
import type * as Verdict from "./Verdict.ts"

export { circuitBreaker, type CircuitBreakerOptions } from "./internal/filter/circuitBreaker.ts"
export { delayReject, type DelayRejectOptions } from "./internal/filter/delayReject.ts"
export {
  type AnyFilter,
  type Failure,
  type FailurePolicy,
  type Filter,
  type Made,
  type Needs,
  type NoFailure,
  TypeId
} from "./internal/filter/filterTypes.ts"
export { remote, RemoteError, type RemoteOptions } from "./internal/filter/remote/remoteFilter.ts"
export { sequence } from "./internal/filter/sequence.ts"
export { shadow, type ShadowOptions } from "./internal/filter/shadow/shadowFilter.ts"
export { when } from "./internal/filter/when/conditionalFilter.ts"
export {
  type Condition,
  type ConditionAt,
  type DataCondition,
  type RecipientCondition
} from "./internal/filter/when/conditionTypes.ts"

/**
 * A Context key that is also a filter, which needs the service of the key. Servers and sequences therefore take keys as they
 * take filters. Made by {@link Service}.
 *
 * @category models
 * @since 0.1.0
 */
export interface FilterKey<Self, Id extends string>
  extends Context.ServiceClass<Self, Id, Filter<never, never>>, Filter<never, Self>
{}

/**
 * Returns whether a value is a filter. A {@link FilterKey} is one.
 *
 * @category guards
 * @since 0.1.0
 */
export const isFilter = (u: unknown): u is Filter<unknown, unknown> => Predicate.hasProperty(u, TypeId)

/**
 * The second argument of a hook. The state of the message and the envelope are there from mail to end of message, the editor
 * at end of message only.
 *
 * @category models
 * @since 0.1.0
 */
export type At<C, M, A extends Capability, O extends Capability, K extends Stage> =
  & { readonly session: Session; readonly connection: C }
  & (K extends OutsideMessage ? {} : { readonly message: M; readonly envelope: Envelope })
  & (K extends "endOfMessage" ? { readonly edit: EditorOf<A, O> } : {})

/**
 * A hook that answers its stage.
 *
 * @category models
 * @since 0.1.0
 */
export type Hook<C, M, A extends Capability, O extends Capability, K extends keyof Verdict.ByStage, E, R> = (
  event: Events[K],
  at: At<C, M, A, O, K>
) => Effect.Effect<Verdict.ByStage[K], E, R>

/**
 * A hook as `on` takes it: the stage and its verdicts come first, so that the compiler's message about another verdict says
 * what is legal there.
 *
 * @category models
 * @since 0.1.0
 */
export type AtStage<K extends keyof Verdict.ByStage, V, A, E, R> = (event: Events[K], at: A) => Effect.Effect<V, E, R>

/**
 * A hook that watches its stage without a verdict. An MTA that offers it does not wait for an answer at that stage.
 *
 * @category models
 * @since 0.1.0
 */
export type Observer<C, M, K extends Stage, E, R> = (
  event: Events[K],
  at: At<C, M, never, never, K>
) => Effect.Effect<void | undefined, E, R>

/**
 * The options of {@link make}. All are optional.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<
  C,
  CE,
  CR,
  M,
  ME,
  MR,
  A extends Capability,
  O extends Capability,
  RR extends boolean
> {
  /**
   * The modifications that this filter may make. If an MTA does not offer one of them, the negotiation fails and the MTA
   * treats the filter as not available.
   *
   * **Gotchas**
   *
   * Sendmail passes mail unfiltered when a filter is not available, unless its configuration has a flag (`F=T`, `F=R` or
   * `F=4`) for the filter. Declare what the filter can do without in `modifyIfOffered`.
   */
  readonly modify?: ReadonlyArray<A>
  /** The modifications that this filter makes if the MTA offers them; the editor has each as an `Option`. */
  readonly modifyIfOffered?: ReadonlyArray<O>
  /**
   * The macros to request, by stage. Without an entry for a stage the MTA sends what its administrator configured. An empty
   * entry is the same, since Postfix knows no empty selection.
   *
   * **Gotchas**
   *
   * A list replaces the MTA's own selection for that stage: name everything that the filter reads there, also what the MTA
   * sends by itself. Without `v` at connect, for instance, `session.macros.mta` is not known at connect.
   */
  readonly macros?: { readonly [K in MacroStage]?: ReadonlyArray<string> }
  /**
   * Whether to show `observes.rejectedRecipient` the recipients that the MTA has refused itself.
   *
   * **Gotchas**
   *
   * Sendmail never shows such recipients: do not rely on this hook with it.
   */
  readonly rejectedRecipients?: RR
  /**
   * The answer if a hook dies or takes longer than the server's time limit. `tempFail` by default, so that the sender tries
   * again.
   *
   * **Gotchas**
   *
   * Text from a stranger can make a hook die, for instance in a verdict or an editor method (`InvalidValue`). With `"pass"`
   * such mail passes unchecked.
   */
  readonly onDefect?: FailurePolicy
  /**
   * Whether a failure at connect or helo is answered there. By default the answer is continue, and each message of the
   * session gets the answer of the failure: so a short failure neither refuses nor passes a whole SMTP session unseen.
   */
  readonly refuseConnection?: boolean
  /**
   * Builds the state of a connection. Its Scope closes with the connection.
   *
   * **Gotchas**
   *
   * One SMTP session can have many messages: what belongs to one message goes into the state of `message`.
   */
  readonly connection?: (session: Session) => Effect.Effect<C, CE, CR>
  /**
   * Builds the state of a message at MAIL, before the mail hook. Its Scope closes when the message has ended: with a success
   * that carries the {@link Outcome}, with an interruption if the message was aborted, or with the cause of its failure.
   *
   * **Gotchas**
   *
   * The hook of end of message does not run for every message: clients give messages up, and other verdicts end them. Release
   * and count in a finalizer of this Scope, see {@link outcome}.
   */
  readonly message?: (
    mail: Mail,
    // As long as C is not inferred, a builder written with `Effect.fnUntraced` would infer `never` from here.
    at: { readonly session: Session; readonly connection: [C] extends [never] ? void : C }
  ) => Effect.Effect<M, ME, MR>
}

/**
 * The result of {@link make}: state and capabilities are set, and the types of the hooks given to `on` follow from them. A
 * stage belongs into one of the two records. The MTA is asked for the stages in these records, and for those that keep
 * sessions in order (connect, helo, mail, rcpt).
 *
 * @category models
 * @since 0.1.0
 */
export interface Making<C, M, A extends Capability, O extends Capability, RR extends boolean, E, R> {
  readonly on: <
    E1 = never,
    R1 = never,
    E2 = never,
    R2 = never,
    E3 = never,
    R3 = never,
    E4 = never,
    R4 = never,
    E5 = never,
    R5 = never,
    E6 = never,
    R6 = never,
    E7 = never,
    R7 = never,
    E8 = never,
    R8 = never,
    E9 = never,
    R9 = never,
    E10 = never,
    R10 = never,
    F1 = never,
    S1 = never,
    F2 = never,
    S2 = never,
    F3 = never,
    S3 = never,
    F4 = never,
    S4 = never,
    F5 = never,
    S5 = never,
    F6 = never,
    S6 = never,
    F7 = never,
    S7 = never,
    F8 = never,
    S8 = never,
    F9 = never,
    S9 = never,
    F10 = never,
    S10 = never,
    F11 = never,
    S11 = never
  >(answers: {
    /** A client has connected, and is not greeted yet. A refusal is for the whole SMTP session. */
    readonly connect?: AtStage<"connect", Verdict.ByStage["connect"], At<C, M, A, O, "connect">, E1, R1>
    /** HELO or EHLO; again after STARTTLS. A refusal is for the whole SMTP session. */
    readonly helo?: AtStage<"helo", Verdict.ByStage["helo"], At<C, M, A, O, "helo">, E2, R2>
    /** MAIL FROM: a message begins. A refusal is for the message. */
    readonly mail?: AtStage<"mail", Verdict.ByStage["mail"], At<C, M, A, O, "mail">, E3, R3>
    /** RCPT TO, once for each recipient. Reject and tempFail refuse this recipient; accept and discard are for the whole message. */
    readonly rcpt?: AtStage<"rcpt", Verdict.ByStage["rcpt"], At<C, M, A, O, "rcpt">, E4, R4>
    /** DATA: all recipients are known. A client may repeat a DATA that was refused. */
    readonly data?: AtStage<"data", Verdict.ByStage["data"], At<C, M, A, O, "data">, E5, R5>
    /** One header field. The MTA has received the whole message by now. */
    readonly header?: AtStage<"header", Verdict.ByStage["header"], At<C, M, A, O, "header">, E6, R6>
    /** The empty line after the header. */
    readonly endOfHeaders?: AtStage<
      "endOfHeaders",
      Verdict.ByStage["endOfHeaders"],
      At<C, M, A, O, "endOfHeaders">,
      E7,
      R7
    >
    /** A piece of the body, cut anywhere: a view of a buffer that is written again, to be copied if it is kept. */
    readonly body?: AtStage<"body", Verdict.ByStage["body"], At<C, M, A, O, "body">, E8, R8>
    /** The whole message has been seen. Only here `edit` can change it. */
    readonly endOfMessage?: AtStage<
      "endOfMessage",
      Verdict.ByStage["endOfMessage"],
      At<C, M, A, O, "endOfMessage">,
      E9,
      R9
    >
    /** An SMTP command that the MTA does not know. */
    readonly unknown?: AtStage<"unknown", Verdict.ByStage["unknown"], At<C, M, A, O, "unknown">, E10, R10>
  }, observes?: {
    /** A client has connected, and is not greeted yet. A refusal is for the whole SMTP session. */
    readonly connect?: Observer<C, M, "connect", F1, S1>
    /** HELO or EHLO; again after STARTTLS. A refusal is for the whole SMTP session. */
    readonly helo?: Observer<C, M, "helo", F2, S2>
    /** MAIL FROM: a message begins. A refusal is for the message. */
    readonly mail?: Observer<C, M, "mail", F3, S3>
    /** RCPT TO, once for each recipient. Reject and tempFail refuse this recipient; accept and discard are for the whole message. */
    readonly rcpt?: Observer<C, M, "rcpt", F4, S4>
    /** DATA: all recipients are known. A client may repeat a DATA that was refused. */
    readonly data?: Observer<C, M, "data", F5, S5>
    /** One header field. The MTA has received the whole message by now. */
    readonly header?: Observer<C, M, "header", F6, S6>
    /** The empty line after the header. */
    readonly endOfHeaders?: Observer<C, M, "endOfHeaders", F7, S7>
    /** A piece of the body, cut anywhere: a view of a buffer that is written again, to be copied if it is kept. */
    readonly body?: Observer<C, M, "body", F8, S8>
    /** The whole message has been seen. Only here `edit` can change it. */
    readonly endOfMessage?: Observer<C, M, "endOfMessage", F9, S9>
    /** An SMTP command that the MTA does not know. */
    readonly unknown?: Observer<C, M, "unknown", F10, S10>
    /** RCPT TO that the MTA has refused itself; needs the option `rejectedRecipients`. Sendmail never shows one. */
    readonly rejectedRecipient?: RR extends true ? Observer<C, M, "rejectedRecipient", F11, S11> : never
  }) => Made<
    E | E1 | E2 | E3 | E4 | E5 | E6 | E7 | E8 | E9 | E10 | F1 | F2 | F3 | F4 | F5 | F6 | F7 | F8 | F9 | F10 | F11,
    | R
    | Exclude<
      | R1
      | R2
      | R3
      | R4
      | R5
      | R6
      | R7
      | R8
      | R9
      | R10
      | S1
      | S2
      | S3
      | S4
      | S5
      | S6
      | S7
      | S8
      | S9
      | S10
      | S11,
      Scope.Scope
    >
  >
}

const optionNames = keysOf<Options<never, never, never, never, never, never, never, never, never>>({
  modify: true,
  modifyIfOffered: true,
  macros: true,
  rejectedRecipients: true,
  onDefect: true,
  refuseConnection: true,
  connection: true,
  message: true
})

/**
 * Begins a filter: its name (for logs, metrics and replies), state, capabilities and policies. `.on(answers, observes)`
 * finishes it.
 *
 * **Details**
 *
 * The hooks of a connection run one at a time, each in the Scope of its message; before MAIL, in the Scope of the connection.
 * What a hook acquires is released when that Scope closes.
 *
 * **Gotchas**
 *
 * - The rcpt hook runs once for each recipient, and its reject refuses that recipient only. The helo hook runs again after
 *   STARTTLS, and the data hook may.
 * - Both MTAs send header and body only when they have the whole message: refuse at rcpt or earlier to save the transfer.
 * - A piece of the body is cut anywhere and is a view of a buffer that the server writes to again: copy what is kept after the hook.
 * - `Verdict.acceptMessage` and `Verdict.acceptConnection` show the filter no more of the message or session. The verdict for
 *   "go on" is `Verdict.continue`.
 * - A hook that fails needs {@link onFailure} before the filter can be served. A hook that dies, or takes too long, is answered
 *   by the option `onDefect`.
 *
 * **Example** (Refuse one sender domain)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Milter from "effect-milter/Milter"
 * import * as Verdict from "effect-milter/Verdict"
 *
 * const NotFromUs = Milter.make("not-from-us").on({
 *   mail: ({ sender }) =>
 *     Effect.succeed(
 *       sender.domain === "example.com"
 *         ? Verdict.reject({ enhanced: "5.7.1", text: "not allowed here!" })
 *         : Verdict.continue
 *     )
 * })
 * ```
 *
 * **Example** (State of a message, and a modification)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Ref from "effect/Ref"
 * import * as Milter from "effect-milter/Milter"
 * import * as Verdict from "effect-milter/Verdict"
 *
 * const CountHeaders = Milter.make("count-headers", {
 *   modify: ["addHeader"],
 *   message: () => Ref.make(0)
 * }).on({
 *   endOfMessage: Effect.fnUntraced(function*(_, { edit, message }) {
 *     yield* edit.addHeader("X-Header-Count", String(yield* Ref.get(message)))
 *     return Verdict.continue
 *   })
 * }, {
 *   header: (_, { message }) => Ref.update(message, (n) => n + 1)
 * })
 * ```
 *
 * @see `Message.make` for filters of whole messages
 * @see {@link sequence} for several filters as one
 *
 * @category constructors
 * @since 0.1.0
 */
export function make<
  C = void,
  CE = never,
  CR = never,
  M = void,
  ME = never,
  MR = never,
  const A extends Capability = never,
  const O extends Capability = never,
  const RR extends boolean = false
>(
  name: string,
  options: Options<C, CE, CR, M, ME, MR, A, O, RR>
): Making<C, M, A, O, RR, CE | ME, Exclude<CR | MR, Scope.Scope>>
/** Begins a filter without options: its name, for logs, metrics and replies. `.on(answers, observes)` finishes it. */
export function make(name: string): Making<void, void, never, never, false, never, never>
export function make(name: string, options: object = {}): unknown {
  checkKeys(`option of ${name}`, options, optionNames)
  return {
    on: (answers: object, observes: object = {}) => fromDefinitions([define(name, options, answers, observes)])
  }
}

/**
 * Handles the typed failures of a filter at every stage. The handler gets the stage of the failure and returns the answer.
 *
 * **Details**
 *
 * At connect and helo the answer is held and given to each message of the session (see `refuseConnection`). A failure in a
 * hook that only observes is answered at the next stage that has an answer, end of message at the latest.
 *
 * **Gotchas**
 *
 * - `Verdict.tempFail` loses no mail: the sender tries again. With `"pass"` mail goes on that this filter has not checked, and
 *   without its modifications.
 * - At rcpt a refusal is for that recipient, as in a hook.
 * - Defects and hooks that take too long do not come here: the option `onDefect` of {@link make} answers them.
 * - The first handler counts. Handle the failures of a filter before it goes into a {@link sequence}, if filters differ.
 *
 * **Example** (A lookup that may fail)
 *
 * ```ts
 * import * as Data from "effect/Data"
 * import * as Effect from "effect/Effect"
 * import * as Milter from "effect-milter/Milter"
 * import * as Verdict from "effect-milter/Verdict"
 *
 * class LookupFailed extends Data.TaggedError("LookupFailed")<{}> {}
 *
 * const Lookup = Milter.make("lookup").on({
 *   mail: ({ sender }) => sender.isNull ? new LookupFailed() : Effect.succeed(Verdict.continue)
 * })
 *
 * const Handled = Milter.onFailure(Lookup, (error) =>
 *   Effect.as(Effect.logWarning(error), Verdict.tempFail({ text: "try again later" })))
 * ```
 *
 * @see {@link circuitBreaker} to leave a filter alone that keeps failing
 *
 * @category error handling
 * @since 0.1.0
 */
export const onFailure: {
  /**
   * Handles the typed failures of a filter at every stage: `f` gets the failure and its stage, and returns the answer, reject,
   * tempFail or `"pass"`.
   */
  <E, R2>(
    f: (error: E, at: { readonly stage: Stage }) => Effect.Effect<FailurePolicy, never, R2>
  ): <R>(self: Filter<E, R>) => Made<never, R | R2>
  /**
   * Handles the typed failures of a filter at every stage: `f` gets the failure and its stage, and returns the answer, reject,
   * tempFail or `"pass"`.
   */
  <E, R, R2>(
    self: Filter<E, R>,
    f: (error: E, at: { readonly stage: Stage }) => Effect.Effect<FailurePolicy, never, R2>
  ): Made<never, R | R2>
} = dual(
  2,
  (self: Filter<unknown, never>, f: FailureHandler): Made<never, never> =>
    mapped(self, (definition) => mapInner(definition, (inner) => ({ ...inner, onFailure: inner.onFailure ?? f })))
)

/**
 * Makes a key under which a layer provides a filter. A module exports its key and a layer (see {@link layer}). An
 * application uses the key as it would use the filter, and a missing layer is a compile error that names the key.
 *
 * **Example** (A filter as a service)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Milter from "effect-milter/Milter"
 * import * as Verdict from "effect-milter/Verdict"
 *
 * class Greylist extends Milter.Service<Greylist>()("app/Greylist") {
 *   static readonly layer = Milter.layer(
 *     this,
 *     Milter.make("greylist").on({ rcpt: () => Effect.succeed(Verdict.continue) })
 *   )
 * }
 * ```
 *
 * **Example** (Modules that each bring a filter, and a test that swaps one)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Layer from "effect/Layer"
 * import * as Milter from "effect-milter/Milter"
 * import * as MilterServer from "effect-milter/MilterServer"
 * import * as MilterTest from "effect-milter/MilterTest"
 * import * as Verdict from "effect-milter/Verdict"
 *
 * class Greylist extends Milter.Service<Greylist>()("app/Greylist") {
 *   static readonly layer = Milter.layer(this, Milter.make("greylist").on({}))
 * }
 *
 * class Quota extends Milter.Service<Quota>()("app/Quota") {
 *   static readonly layer = Milter.layer(this, Milter.make("quota").on({}))
 * }
 *
 * // The application says what there is, and in what order.
 * const filters = Milter.sequence([Greylist, Quota])
 *
 * const server = MilterServer.layer(filters).pipe(
 *   Layer.provide(Layer.mergeAll(Greylist.layer, Quota.layer))
 * )
 *
 * const full = Milter.make("full").on({
 *   rcpt: () => Effect.succeed(Verdict.reject({ enhanced: "5.2.2", text: "mailbox full" }))
 * })
 *
 * const test = MilterTest.message(filters, { from: "alice@example.org", to: "bob@example.net" }).pipe(
 *   Effect.provide(Layer.mergeAll(Greylist.layer, Milter.layer(Quota, full)))
 * )
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export const Service = <Self>() => <const Id extends string>(id: Id): FilterKey<Self, Id> => {
  const key = Context.Service<Self, Filter<never, never>>()(id)
  return Object.assign(key, { [TypeId]: variance, resolve: Effect.flatMap(key, resolve) })
}

/**
 * Provides a filter under a key. The services that the filter needs come from the context in which the layer is built, once.
 *
 * @see {@link Service} for the key
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <I, R>(
  key: Context.Key<I, Filter<never, never>>,
  filter: Filter<NoFailure, R>
): Layer.Layer<I, never, R> =>
  Layer.effect(
    key,
    Effect.gen(function*() {
      const context = yield* Effect.context<R>()
      const definitions = yield* resolveWith(filter)
      const services = servicesOf(context)
      return fromDefinitions(definitions.map((definition) => ({
        ...definition,
        services: definition.services === undefined ? services : Context.merge(services, definition.services)
      })))
    })
  )

/**
 * Reads how a message ended from the Exit that the finalizers of its Scope receive. `None` if the message had no verdict: it
 * was aborted, the connection was lost, or the filter failed.
 *
 * **Gotchas**
 *
 * `Accepted` means that the MTA got the message back. It is no proof of delivery: the MTA or a later filter may still refuse.
 *
 * **Example** (Do something only for messages that were let through)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Option from "effect/Option"
 * import * as Milter from "effect-milter/Milter"
 *
 * const Audit = Milter.make("audit", {
 *   message: (mail) =>
 *     Effect.addFinalizer((exit) =>
 *       Option.match(Milter.outcome(exit), {
 *         onNone: () => Effect.void,
 *         onSome: (outcome) => Effect.log(mail.sender.address, outcome._tag)
 *       })
 *     )
 * }).on({})
 * ```
 *
 * @category scopes
 * @since 0.1.0
 */
export const outcome = (exit: Exit.Exit<unknown, unknown>): Option.Option<Outcome> =>
  Exit.isSuccess(exit) && Predicate.hasProperty(exit.value, "_tag")
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- only scopes of messages succeed with something that has a tag
    ? Option.some(exit.value as Outcome)
    : Option.none()

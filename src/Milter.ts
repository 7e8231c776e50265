/**
 * Filters: what users of this library write.
 *
 * {@link make} fixes a filter's name, state and capabilities; `.on` gives it its hooks. A filter says in its type what it
 * needs (`R`) and how it may fail (`E`); `MilterServer.layer` serves one whose failures are handled.
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
import { define, type FailureHandler, resolve, resolveWith, servicesOf } from "./internal/filter/definition.ts"
import { type FailurePolicy, type Filter, type Made, TypeId } from "./internal/filter/filterTypes.ts"
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
  TypeId
} from "./internal/filter/filterTypes.ts"
export { sequence } from "./internal/filter/sequence.ts"
export { shadow } from "./internal/filter/shadow/shadowFilter.ts"
export { type Condition, type ConditionAt, when } from "./internal/filter/when.ts"

/**
 * A Context key that *is* a filter needing itself, so that servers and sequences take keys and values alike. Made by
 * {@link Service}.
 *
 * @category models
 * @since 0.1.0
 */
export interface FilterKey<Self, Id extends string>
  extends Context.ServiceClass<Self, Id, Filter<never, never>>, Filter<never, Self>
{}

/**
 * Whether a value is a filter, a key included.
 *
 * @category guards
 * @since 0.1.0
 */
export const isFilter = (u: unknown): u is Filter<unknown, unknown> => Predicate.hasProperty(u, TypeId)

/**
 * What a hook gets beside its event. State of a message and its envelope exist from mail to end of message, the editor
 * only at end of message.
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
 * A hook that only watches its stage: where the MTA allows, it does not wait for it.
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
  /** The modifications this filter may make. An MTA that does not offer one of them is refused before mail is touched. */
  readonly modify?: ReadonlyArray<A>
  /** Modifications it makes where the MTA offers them; the editor has them as `Option`. */
  readonly modifyIfOffered?: ReadonlyArray<O>
  /**
   * The macros to ask for, by stage, in place of the MTA's own selection for that stage. Without an entry the MTA sends
   * what its administrator configured; an empty entry is the same, since Postfix knows no empty selection.
   */
  readonly macros?: { readonly [K in MacroStage]?: ReadonlyArray<string> }
  /** Also show, to `observes.rejectedRecipient`, the recipients that the MTA has refused itself. */
  readonly rejectedRecipients?: RR
  /** The answer when a hook dies. `tempFail` by default, so that the sender tries again. */
  readonly onDefect?: FailurePolicy
  /**
   * A failure at connect or helo normally answers continue and gives the policy for each message, so that one hiccup
   * neither bars nor frees a whole SMTP session; `true` answers with it at once.
   */
  readonly refuseConnection?: boolean
  /** Builds the state of a connection. Its Scope closes with the connection. */
  readonly connection?: (session: Session) => Effect.Effect<C, CE, CR>
  /**
   * Builds the state of a message at MAIL, before the mail hook. Its Scope closes when the message has ended, with a
   * success that carries the {@link Outcome}, with an interruption if it was aborted, or with the cause of its failure.
   */
  readonly message?: (
    mail: Mail,
    // While nothing has fixed C, a builder written with `Effect.fnUntraced` would infer `never` from here.
    at: { readonly session: Session; readonly connection: [C] extends [never] ? void : C }
  ) => Effect.Effect<M, ME, MR>
}

/**
 * The result of {@link make}: state and capabilities are fixed, so the hooks given to `on` are inferred against them. A
 * stage stands in one of the two records only; the MTA is asked for nothing but the stages named, and those it takes to
 * keep sessions in order (connect, helo, mail, rcpt).
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
    readonly connect?: Hook<C, M, A, O, "connect", E1, R1>
    readonly helo?: Hook<C, M, A, O, "helo", E2, R2>
    readonly mail?: Hook<C, M, A, O, "mail", E3, R3>
    readonly rcpt?: Hook<C, M, A, O, "rcpt", E4, R4>
    readonly data?: Hook<C, M, A, O, "data", E5, R5>
    readonly header?: Hook<C, M, A, O, "header", E6, R6>
    readonly endOfHeaders?: Hook<C, M, A, O, "endOfHeaders", E7, R7>
    readonly body?: Hook<C, M, A, O, "body", E8, R8>
    readonly endOfMessage?: Hook<C, M, A, O, "endOfMessage", E9, R9>
    readonly unknown?: Hook<C, M, A, O, "unknown", E10, R10>
  }, observes?: {
    readonly connect?: Observer<C, M, "connect", F1, S1>
    readonly helo?: Observer<C, M, "helo", F2, S2>
    readonly mail?: Observer<C, M, "mail", F3, S3>
    readonly rcpt?: Observer<C, M, "rcpt", F4, S4>
    readonly data?: Observer<C, M, "data", F5, S5>
    readonly header?: Observer<C, M, "header", F6, S6>
    readonly endOfHeaders?: Observer<C, M, "endOfHeaders", F7, S7>
    readonly body?: Observer<C, M, "body", F8, S8>
    readonly endOfMessage?: Observer<C, M, "endOfMessage", F9, S9>
    readonly unknown?: Observer<C, M, "unknown", F10, S10>
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

/**
 * Begins a filter: its name (for logs, metrics and replies), state, capabilities and policies. `.on(answers, observes)`
 * finishes it.
 *
 * Hooks run one at a time for a connection, with the Scope of their message (before MAIL, of their connection): what they
 * acquire is released when that ends.
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
export function make(name: string): Making<void, void, never, never, false, never, never>
export function make(name: string, options: object = {}): unknown {
  return {
    on: (answers: object, observes: object = {}) => fromDefinitions([define(name, options, answers, observes)])
  }
}

/**
 * Handles the typed failures of a filter, at whatever stage they happen; the stage is given. At connect and helo the
 * answer is held for the messages (see `refuseConnection`); a failure at a stage that is not answered is answered at the
 * next one that is, end of message at the latest.
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
 * @category error handling
 * @since 0.1.0
 */
export const onFailure: {
  <E, R2>(
    f: (error: E, at: { readonly stage: Stage }) => Effect.Effect<FailurePolicy, never, R2>
  ): <R>(self: Filter<E, R>) => Made<never, R | R2>
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
 * A key under which a layer provides a filter. A module exports its key and a layer (see {@link layer}); applications
 * list the key where they would list the filter, and a missing layer is a compile error that names it.
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
 * Provides a filter under a key: what the filter needs is taken from the layer's own surroundings, once.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <I, R>(
  key: Context.Key<I, Filter<never, never>>,
  filter: Filter<never, R>
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
 * How a message ended, from the Exit that the finalizers of its Scope receive: `None` if it had no verdict (aborted,
 * connection lost, failed).
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

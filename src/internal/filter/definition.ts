/** What a filter is at run time: the record that `Milter.make(…).on(…)` builds and the session engine runs. */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import { InvalidValue } from "../../InvalidValue.ts"
import { checkName, type MacroStage } from "../../Macros.ts"
import type { Capability } from "../../Modification.ts"
import type { Envelope, Events, Mail, Session, Stage } from "../../Stage.ts"
import type { Verdict } from "../../Verdict.ts"
import type { FailurePolicy, Filter } from "./filterTypes.ts"

/** A hook that failed: the policy that takes the place of its verdict, and why. */
export class Failed {
  readonly policy: FailurePolicy
  readonly cause: Cause.Cause<unknown>
  /** Its time was over: it may be running still, and no time is left for others. */
  readonly expired: boolean
  constructor(policy: FailurePolicy, cause: Cause.Cause<unknown>, expired = false) {
    this.policy = policy
    this.cause = cause
    this.expired = expired
  }
}

/** What hooks get beside their event; which of the fields a hook may see is settled by the public types. */
export interface At {
  readonly session: Session
  readonly connection: unknown
  readonly message?: unknown
  readonly envelope?: Envelope
  readonly edit?: unknown
}

/** What it gives may also be a {@link Failed}: a policy that something around the author's hook has chosen. */
export type Hook = (event: unknown, at: At) => Effect.Effect<Verdict | Failed | void, unknown>

/** Whether an event is that of a stage: a hook is called with no other. */
export const isEventOf = <K extends Stage>(wanted: K, stage: Stage, _event: unknown): _event is Events[K] =>
  stage === wanted

export type FailureHandler = (
  error: unknown,
  at: { readonly stage: Stage }
) => Effect.Effect<FailurePolicy>

/** Effects here need nothing by their types: the public types have told what they need, and it is in the context they run with. */
export interface Definition {
  readonly name: string
  readonly modify: ReadonlyArray<Capability>
  readonly modifyIfOffered: ReadonlyArray<Capability>
  readonly macros: { readonly [K in MacroStage]?: ReadonlyArray<string> }
  readonly rejectedRecipients: boolean
  /** Undefined: refuse for now, in words that name the session. */
  readonly onDefect: FailurePolicy | undefined
  readonly refuseConnection: boolean
  readonly connection: ((session: Session) => Effect.Effect<unknown, unknown>) | undefined
  readonly message:
    | ((mail: Mail, at: { readonly session: Session; readonly connection: unknown }) => Effect.Effect<unknown, unknown>)
    | undefined
  readonly answers: { readonly [K in Stage]?: Hook }
  readonly observes: { readonly [K in Stage]?: Hook }
  readonly onFailure: FailureHandler | undefined
  /** Stands around each hook and builder; a {@link Failed} in place of its result is a policy to follow. */
  readonly guard: ((effect: Effect.Effect<unknown, unknown>) => Effect.Effect<unknown, unknown>) | undefined
  /** Set by `effect-milter/auth`: what it adds covers the rest of the message, so nobody may edit that any more. */
  readonly signer: "dkim" | "arc" | undefined
  /** Set by `effect-milter/auth`: it checks signatures, which an edit of the body before it would have broken. */
  readonly verifier: boolean
  /** The services that a layer captured for this filter. */
  readonly services: Context.Context<never> | undefined
  /** Of a filter made from another, by `Milter.when` and the like: that one, and how to make the same of it once it is changed. */
  readonly around: Around | undefined
}

export interface Around {
  readonly inner: Definition
  readonly make: (inner: Definition) => Definition
}

const defaults: Omit<Definition, "name" | "answers" | "observes"> = {
  modify: [],
  modifyIfOffered: [],
  macros: {},
  rejectedRecipients: false,
  onDefect: undefined,
  refuseConnection: false,
  connection: undefined,
  message: undefined,
  onFailure: undefined,
  guard: undefined,
  signer: undefined,
  verifier: false,
  services: undefined,
  around: undefined
}

/** Options and hooks as `Milter.make(name, options).on(answers, observes)` got them; what types cannot say is checked here. */
export const define = (name: string, options: object, answers: object, observes: object): Definition => {
  const invalid = (reason: string): InvalidValue => new InvalidValue({ what: "filter", value: name, reason })
  const definition = { ...defaults, ...options, name, answers, observes }
  const twice = Object.keys(answers).find((stage) => Object.hasOwn(observes, stage))
  if (twice !== undefined) throw invalid(`expected ${twice} to be answered or observed, not both`)
  if (Object.hasOwn(observes, "rejectedRecipient") && !definition.rejectedRecipients) {
    throw invalid("expected the option rejectedRecipients, since rejectedRecipient is observed")
  }
  // A space or NUL in a name would ask the MTA for something else, or break the packet.
  for (const names of Object.values(definition.macros)) names.forEach((name) => Result.getOrThrow(checkName(name)))
  return definition
}

/** One after the other: those of a sequence, mostly one. */
export type Definitions = ReadonlyArray<Definition>

/** The hidden part of every filter: how to get at its definitions, which for a key means asking the context. */
export interface Resolvable {
  readonly resolve: Effect.Effect<Definitions, never, unknown>
}

export const resolve = (filter: object): Effect.Effect<Definitions, never, unknown> =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- every filter is made by fromResolve or Milter.Service
  (filter as Resolvable).resolve

/** The same with what the filter needs in the type. */
export const resolveWith = <R>(filter: Filter<never, R>): Effect.Effect<Definitions, never, R> =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- R is all that a filter needs
  resolve(filter) as Effect.Effect<Definitions, never, R>

/** Services for hooks. Scope and span of a layer are not those of a message: what a hook acquires must not live as long as it. */
export const servicesOf = <R>(context: Context.Context<R>): Context.Context<never> =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- omit asks for keys that are there; here they may be
  Context.omit(Scope.Scope, Tracer.ParentSpan)(context as Context.Context<Scope.Scope>)

/** Modifications of the header. */
export const editsHeaders: ReadonlySet<Capability> = new Set([
  "addHeader",
  "insertHeader",
  "changeHeader",
  "deleteHeader"
])

/** Whether filters behind one that may do this see another header or body. */
export const isContent = (capability: Capability): boolean =>
  editsHeaders.has(capability) || capability === "replaceBody"

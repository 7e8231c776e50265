/** The definition of a filter: the record that `Milter.make(…).on(…)` builds and the engine runs. */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import { InvalidValue } from "../../InvalidValue.ts"
import { checkName, type MacroStage } from "../../Macros.ts"
import { actionOf, type Capability } from "../../Modification.ts"
import type { Envelope, Events, Mail, Session, Stage } from "../../Stage.ts"
import type { Verdict } from "../../Verdict.ts"
import { checkKeys, checkNames } from "../bytes/knownKeys.ts"
import { allStages, answeredStages, macroStages } from "../protocol/stageTable.ts"
import type { FailurePolicy, Filter, NoFailure } from "./filterTypes.ts"

/** The failure of a hook: its cause, and the policy that takes the place of the verdict. */
export class Failed {
  readonly policy: FailurePolicy
  readonly cause: Cause.Cause<unknown>
  /** Whether the hook's time was over: it may still be running, and no time is left for other filters. */
  readonly expired: boolean
  constructor(policy: FailurePolicy, cause: Cause.Cause<unknown>, expired = false) {
    this.policy = policy
    this.cause = cause
    this.expired = expired
  }
}

/** What hooks get in addition to their event; the public types settle which of the fields a hook may see. */
export interface At {
  readonly session: Session
  readonly connection: unknown
  readonly message?: unknown
  readonly envelope?: Envelope
  readonly edit?: unknown
}

/** A hook. It may also give a {@link Failed}, with a policy chosen by a wrapper of the author's hook. */
export type Hook = (event: unknown, at: At) => Effect.Effect<Verdict | Failed | void, unknown>

/** Whether an event is that of a stage: a hook is called with no other. */
export const isEventOf = <K extends Stage>(wanted: K, stage: Stage, _event: unknown): _event is Events[K] =>
  stage === wanted

export type FailureHandler = (
  error: unknown,
  at: { readonly stage: Stage }
) => Effect.Effect<FailurePolicy>

/** The types of effects here have no requirements: the public types state them, and the engine provides them. */
export interface Definition {
  readonly name: string
  readonly modify: ReadonlyArray<Capability>
  readonly modifyIfOffered: ReadonlyArray<Capability>
  readonly macros: { readonly [K in MacroStage]?: ReadonlyArray<string> }
  readonly rejectedRecipients: boolean
  /** If undefined, the message gets a temporary error that names the session. */
  readonly onDefect: FailurePolicy | undefined
  readonly refuseConnection: boolean
  readonly connection: ((session: Session) => Effect.Effect<unknown, unknown>) | undefined
  readonly message:
    | ((mail: Mail, at: { readonly session: Session; readonly connection: unknown }) => Effect.Effect<unknown, unknown>)
    | undefined
  readonly answers: { readonly [K in Stage]?: Hook }
  readonly observes: { readonly [K in Stage]?: Hook }
  readonly onFailure: FailureHandler | undefined
  /**
   * Wraps each hook and builder; it may replace the result by a {@link Failed}, whose policy is followed. `hook`: the stage of a
   * hook, undefined for a builder of state.
   */
  readonly guard:
    | ((effect: Effect.Effect<unknown, unknown>, hook: Stage | undefined) => Effect.Effect<unknown, unknown>)
    | undefined
  /** Set by `effect-milter/auth`: the filter signs the message, so no later filter may edit it. */
  readonly signer: "dkim" | "arc" | undefined
  /** Set by `effect-milter/auth`: the filter checks signatures, so no earlier filter may edit the body. */
  readonly verifier: boolean
  /** Of another milter that runs as a filter: the times that are declared for its answers, in milliseconds. */
  readonly remote: { readonly [K in "connect" | "command" | "endOfMessage"]: number | undefined } | undefined
  /** The services that a layer captured for this filter. */
  readonly services: Context.Context<never> | undefined
  /** For a filter made from another, by `Milter.when` and the like: the other one, and how to wrap it again after a change. */
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
  remote: undefined,
  services: undefined,
  around: undefined
}

/** Builds a definition from the arguments of `Milter.make(name, options).on(answers, observes)`; checks what types cannot. */
export const define = (name: string, options: object, answers: object, observes: object): Definition => {
  const invalid = (reason: string): InvalidValue => new InvalidValue({ what: "filter", value: name, reason })
  const definition = { ...defaults, ...options, name, answers, observes }
  // With a misspelt name the hook would not run, and mail would pass without it.
  checkHooks(name, answers, answeredStages)
  checkHooks(name, observes, allStages)
  for (const key of ["modify", "modifyIfOffered"] as const) {
    checkNames(`${key} of ${name}`, definition[key], Object.keys(actionOf))
  }
  checkKeys(`stage in macros of ${name}`, definition.macros, macroStages)
  const twice = Object.keys(answers).find((stage) => Object.hasOwn(observes, stage))
  if (twice !== undefined) throw invalid(`expected ${twice} to be answered or observed, not both`)
  if (Object.hasOwn(observes, "rejectedRecipient") && !definition.rejectedRecipients) {
    throw invalid("expected the option rejectedRecipients, since rejectedRecipient is observed")
  }
  // A space or NUL in a name would ask the MTA for something else, or break the packet.
  for (const names of Object.values(definition.macros)) names.forEach((name) => Result.getOrThrow(checkName(name)))
  return definition
}

const checkHooks = (name: string, hooks: object, known: ReadonlyArray<string>): void => {
  checkKeys(`stage of ${name}`, hooks, known)
  for (const [stage, hook] of Object.entries(hooks)) {
    if (hook === undefined || typeof hook === "function") continue
    throw new InvalidValue({ what: "filter", value: name, reason: `expected a function at ${stage}` })
  }
}

/** The definitions of a filter: several for a sequence, else one. */
export type Definitions = ReadonlyArray<Definition>

/** The hidden part of every filter: gives its definitions; those of a service come from the context. */
export interface Resolvable {
  readonly resolve: Effect.Effect<Definitions, never, unknown>
}

export const resolve = (filter: object): Effect.Effect<Definitions, never, unknown> =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- every filter is made by fromResolve or Milter.Service
  (filter as Resolvable).resolve

/** The same, with the filter's requirements in the type. */
export const resolveWith = <R>(filter: Filter<NoFailure, R>): Effect.Effect<Definitions, never, R> =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- R is all that a filter needs
  resolve(filter) as Effect.Effect<Definitions, never, R>

/** Services for hooks, without the layer's scope and span: what a hook acquires must not live as long as the layer. */
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

/** Whether the filters after one with this capability may see another header or body. */
export const editsContent = (capability: Capability): boolean =>
  editsHeaders.has(capability) || capability === "replaceBody"

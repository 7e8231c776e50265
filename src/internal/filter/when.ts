/** Lets a filter take part only where a condition holds; earlier events are held for the filter. Re-exported by `Milter`. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { dual } from "effect/Function"
import * as Scope from "effect/Scope"
import type { Events, Helo, Mail, OutsideMessage, Session, Stage } from "../../Stage.ts"
import * as Verdict from "../../Verdict.ts"
import { ByteString } from "../../Wire.ts"
import { allStages, type BeginningStage, isBeginning } from "../protocol/stageTable.ts"
import { type Definition, Failed } from "./definition.ts"
import type { Filter, Made } from "./filterTypes.ts"
import { mapped } from "./filterValue.ts"
import { wholeOf } from "./sessionView.ts"
import {
  decide,
  goesOn,
  inside,
  madeFrom,
  type StateHook,
  type StateHooks,
  type WrappedResult,
  wrapWithState
} from "./wrapping.ts"

/** Asks the condition, once for each object `about`: so all filters of a sequence get the same answer. */
type Ask<K extends BeginningStage> = (about: object, event: Events[K], session: Session) => Effect.Effect<boolean>

const askOnce = <K extends BeginningStage>(test: ConditionAt<K, never>): Ask<K> => {
  const known = new WeakMap<object, boolean>()
  return (about, event, session) =>
    Effect.suspend(() => {
      const answer = known.get(about) ?? test(event, { session })
      return Effect.map(Effect.isEffect(answer) ? answer : Effect.succeed(answer), (takesPart) => {
        known.set(about, takesPart)
        return takesPart
      })
    })
}

/** The inner filter in one SMTP session. */
class ConditionalSession {
  private readonly inner: Definition
  /** The scope of the connection, since at MAIL hooks run with the scope of the message. */
  private readonly scope: Scope.Scope
  /** Whether the filter takes part in the session, or in the open message; undefined before that is known. */
  takesPart: boolean | undefined
  /** Whether the state of the connection is built. */
  isOpen = false
  state: unknown
  /** Events that are held. */
  connect: unknown
  helo: unknown
  /** What the held hooks have decided: for the session, and since the latest HELO. */
  private verdict: Verdict.Verdict | undefined
  private heloVerdict: Verdict.Verdict | undefined

  constructor(inner: Definition, scope: Scope.Scope) {
    this.inner = inner
    this.scope = scope
  }

  /** Builds the state and runs the held hooks, once; gives the verdict in force. After a failure the next call tries again. */
  enter(session: Session): Effect.Effect<WrappedResult, unknown> {
    if (this.isOpen) return this.greet(session)
    return Effect.flatMap(
      this.open(session),
      (failed) => failed === undefined ? this.greet(session) : Effect.succeed(failed)
    )
  }

  private open(session: Session): Effect.Effect<Failed | undefined, unknown> {
    return Effect.flatMap(Scope.fork(this.scope), (scope) =>
      this.build(session).pipe(
        Effect.provideService(Scope.Scope, scope),
        // After a failure, nothing that was acquired is of use any more.
        Effect.onExit((exit): Effect.Effect<void> => {
          this.isOpen = Exit.isSuccess(exit) && exit.value === undefined
          return this.isOpen ? Effect.void : Scope.close(scope, exit)
        })
      ))
  }

  private readonly build = Effect.fnUntraced(function*(this: ConditionalSession, session: Session) {
    const { connection } = this.inner
    const state = connection === undefined ? undefined : yield* inside(this.inner, () => connection(session))
    if (state instanceof Failed) return state
    this.state = state
    if (this.connect === undefined) return undefined
    const decision = yield* this.hook("connect", this.connect, session)
    if (decision instanceof Failed) return decision
    this.verdict = decision._tag === "Continue" ? undefined : decision
    return undefined
  })

  private readonly greet = Effect.fnUntraced(function*(this: ConditionalSession, session: Session) {
    if (this.verdict !== undefined) return this.verdict
    if (this.helo === undefined) return this.heloVerdict ?? Verdict.continue
    const decision = yield* Effect.provideService(this.hook("helo", this.helo, session), Scope.Scope, this.scope)
    if (decision instanceof Failed) return decision
    this.helo = undefined
    if (decision._tag === "AcceptConnection") this.verdict = decision
    else this.heloVerdict = decision
    return decision
  })

  /** Runs a hook outside messages. */
  hook(stage: OutsideMessage, event: unknown, session: Session): Effect.Effect<WrappedResult, unknown> {
    return decide(this.inner, stage, event, { session, connection: this.state })
  }

  get isIn(): boolean {
    return this.takesPart === true && this.isOpen && this.verdict === undefined
  }
}

const newSession = (inner: Definition): Effect.Effect<ConditionalSession, never, Scope.Scope> =>
  Effect.map(Effect.scope, (scope) => new ConditionalSession(inner, scope))

/** The inner filter in one message: its state, or a verdict from before the message. */
interface ConditionalMessage {
  readonly verdict: Verdict.Verdict | undefined
  readonly state: unknown
}

const conditionalMessage = (verdict: Verdict.Verdict | undefined, state: unknown): ConditionalMessage => ({
  verdict,
  state
})

/** The filter takes no part in the message. */
const out = conditionalMessage(Verdict.acceptMessage, undefined)

const join = Effect.fnUntraced(function*(inner: Definition, part: ConditionalSession, mail: Mail, session: Session) {
  const decision = yield* part.enter(session)
  if (decision instanceof Failed) return decision
  if (decision._tag !== "Continue") {
    return conditionalMessage(decision._tag === "AcceptConnection" ? Verdict.acceptMessage : decision, undefined)
  }
  const { message } = inner
  if (message === undefined) return conditionalMessage(undefined, undefined)
  const state = yield* inside(inner, () => message(mail, { session, connection: part.state }))
  return state instanceof Failed ? state : conditionalMessage(undefined, state)
})

type ConditionalHook<K extends Stage = Stage> = StateHook<ConditionalSession, ConditionalMessage, K>
type ConditionalHooks = StateHooks<ConditionalSession, ConditionalMessage>

interface Messages {
  readonly message: (
    mail: Mail,
    at: { readonly session: Session; readonly connection: ConditionalSession }
  ) => Effect.Effect<ConditionalMessage | Failed, unknown, Scope.Scope>
  readonly answers: ConditionalHooks
  readonly observes: ConditionalHooks
}

/** The hooks of messages, which are the same for all conditions. */
const messages = (
  inner: Definition,
  takesPart: (part: ConditionalSession, mail: Mail, session: Session) => Effect.Effect<boolean, never, Scope.Scope>
): Messages => {
  const inMessage = (stage: keyof Definition["answers"]): ConditionalHook => (event, at) => {
    const { state, verdict } = at.message
    // Given at MAIL, and later to an MTA that goes on all the same.
    if (verdict !== undefined) return Effect.succeed(verdict)
    return decide(inner, stage, event, { ...at, connection: at.connection.state, message: state })
  }
  const unknown: ConditionalHook = (event, at) => {
    const part = at.connection
    return part.isIn ? part.hook("unknown", event, at.session) : goesOn
  }
  const hooks = (record: Definition["answers"]): ConditionalHooks =>
    Object.fromEntries(
      allStages.filter((stage) => !isBeginning(stage) && Object.hasOwn(record, stage)).map((stage) => [
        stage,
        stage === "unknown" ? unknown : inMessage(stage)
      ])
    )
  return {
    message: (mail, { connection, session }) => {
      return Effect.flatMap(
        takesPart(connection, mail, session),
        (takesPart) => takesPart ? join(inner, connection, mail, session) : Effect.succeed(out)
      )
    },
    answers: { ...hooks(inner.answers), mail: inMessage("mail") },
    observes: hooks(inner.observes)
  }
}

const has = ({ answers, observes }: Definition, stage: OutsideMessage): boolean =>
  answers[stage] !== undefined || observes[stage] !== undefined

const atConnect = (ask: Ask<"connect">) => (inner: Definition): Definition => {
  const later = messages(inner, ({ takesPart }) => Effect.succeed(takesPart === true))
  const live = (stage: "connect" | "helo"): ConditionalHook => (event, at) => {
    const part = at.connection
    return part.takesPart === true ? part.hook(stage, event, at.session) : goesOn
  }
  const hooks = (record: Definition["answers"]): ConditionalHooks => ({
    ...(record.connect === undefined ? {} : { connect: live("connect") }),
    ...(record.helo === undefined ? {} : { helo: live("helo") })
  })
  return wrapWithState<ConditionalSession, ConditionalMessage>(inner, {
    ...later,
    connection: (session) =>
      Effect.flatMap(newSession(inner), (part) =>
        Effect.flatMap(
          ask(wholeOf(session), { hostname: session.hostname, client: session.client }, session),
          (takesPart) => {
            part.takesPart = takesPart
            if (!takesPart) return Effect.succeed(part)
            return Effect.map(part.enter(session), (decision) => decision instanceof Failed ? decision : part)
          }
        )),
    answers: { ...later.answers, ...hooks(inner.answers) },
    observes: { ...later.observes, ...hooks(inner.observes) }
  })
}

const holdConnect: ConditionalHook = (event, at) => {
  at.connection.connect = event
  return goesOn
}

const atHelo = (ask: Ask<"helo">) => (inner: Definition): Definition => {
  const decided = (part: ConditionalSession, about: object, event: Helo, session: Session): Effect.Effect<boolean> =>
    Effect.map(ask(about, event, session), (takesPart) => part.takesPart = takesPart)
  const later = messages(inner, (part, _, session) =>
    part.takesPart === undefined
      // A client may send MAIL without HELO.
      ? decided(part, wholeOf(session), { name: "", raw: ByteString.fromText("") }, session)
      : Effect.succeed(part.takesPart))
  const helo: ConditionalHook<"helo"> = (event, at) => {
    const part = at.connection
    part.helo = event
    return Effect.flatMap(
      decided(part, event, event, at.session),
      (takesPart) => takesPart ? part.enter(at.session) : goesOn
    )
  }
  const isAnswered = inner.answers.connect !== undefined || inner.answers.helo !== undefined
  return wrapWithState<ConditionalSession, ConditionalMessage>(inner, {
    ...later,
    connection: () => newSession(inner),
    answers: { ...later.answers, ...(isAnswered ? { helo } : {}) },
    observes: {
      ...later.observes,
      ...(has(inner, "connect") ? { connect: holdConnect } : {}),
      ...(isAnswered ? {} : { helo })
    }
  })
}

const holdHelo: ConditionalHook = (event, at) => {
  at.connection.helo = event
  return goesOn
}

const atMail = (ask: Ask<"mail">) => (inner: Definition): Definition => {
  const later = messages(inner, (part, mail, session) => {
    const leave = Effect.addFinalizer(() => Effect.sync(() => part.takesPart = false))
    return Effect.tap(
      Effect.map(ask(mail, mail, session), (takesPart) => part.takesPart = takesPart),
      // Runs with the scope of the message. The time between messages matters to no other hook.
      (takesPart) => takesPart && has(inner, "unknown") ? leave : Effect.void
    )
  })
  // No hook of the filter runs at connect or helo.
  return wrapWithState<ConditionalSession, ConditionalMessage>({ ...inner, refuseConnection: false }, {
    ...later,
    connection: () => newSession(inner),
    observes: {
      ...later.observes,
      ...(has(inner, "connect") ? { connect: holdConnect } : {}),
      ...(has(inner, "helo") ? { helo: holdHelo } : {})
    }
  })
}

/** Wraps each definition. Called once for all filters of a sequence, so that they get the same answers. */
const conditioned = ({ connect, helo, mail }: Condition): (inner: Definition) => Definition => {
  const make = connect !== undefined
    ? atConnect(askOnce(connect))
    : helo !== undefined
    ? atHelo(askOnce(helo))
    : mail !== undefined
    ? atMail(askOnce(mail))
    : absurd()
  return (inner) => madeFrom(inner, make)
}

/** The types ask for one of the three; JavaScript does not. */
const absurd = (): never => {
  throw new TypeError("a condition says connect, helo or mail")
}

/**
 * What {@link when} asks at one stage: whether the filter takes part, as a boolean or an effect that gives one. The effect
 * can look up what is known of the session so far, and must handle its own failures.
 *
 * @category models
 * @since 0.1.0
 */
export type ConditionAt<K extends Stage, R> = (
  event: Events[K],
  at: { readonly session: Session }
) => Effect.Effect<boolean, never, R> | boolean

/**
 * A condition of {@link when}: one function, under the name of the stage at which it can be decided.
 *
 * - `connect`: once for the SMTP session
 * - `helo`: at each HELO or EHLO, of which there are two where the client uses STARTTLS. For a client that sends mail
 *   without HELO and EHLO the name is empty.
 * - `mail`: for each message
 *
 * @category models
 * @since 0.1.0
 */
export type Condition<R = never> =
  | { readonly connect: ConditionAt<"connect", R>; readonly helo?: never; readonly mail?: never }
  | { readonly connect?: never; readonly helo: ConditionAt<"helo", R>; readonly mail?: never }
  | { readonly connect?: never; readonly helo?: never; readonly mail: ConditionAt<"mail", R> }

/**
 * Limits a filter to the sessions or messages for which a condition is true. For others no hook runs and no state is built, and
 * a circuit breaker or failure policy is not involved.
 *
 * **Details**
 *
 * Events before the stage of the condition are held. Once the condition is true, the state of the connection is built, and the
 * hooks of connect and helo run, the latter for the latest HELO only, with the session as it is then. The negotiation with the
 * MTA comes before any condition and does not depend on it.
 *
 * **Gotchas**
 *
 * - The held hooks decide late: a reject at MAIL refuses the message, and the next messages, too. `acceptConnection` at MAIL lets
 *   pass this message and all later ones of the session. Hooks that fail run again for the next message.
 * - Macros, such as the name of an authenticated user, are what the peer says. Restrict who may connect (the server's option
 *   `peers`, or the mode of a UNIX socket) before a condition exempts a user from a filter.
 * - The hook of unknown commands does not see those before the stage of the condition. With a condition of `mail` it does not
 *   see those between messages, either.
 *
 * @see {@link delayReject} to exempt recipients
 *
 * **Example** (By network, and by user)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Milter from "effect-milter/Milter"
 * import * as Verdict from "effect-milter/Verdict"
 *
 * const Greylist = Milter.make("greylist").on({ rcpt: () => Effect.succeed(Verdict.tempFail()) })
 *
 * const FromOutside = Milter.when(Greylist, {
 *   connect: ({ client }) => !client.isLoopback && !client.isWithin("10.0.0.0/8")
 * })
 *
 * const NotForUsers = Greylist.pipe(
 *   Milter.when({ mail: (_, { session }) => session.macros.authentication === undefined })
 * )
 * ```
 *
 * @category combining
 * @since 0.1.0
 */
export const when: {
  <R2 = never>(condition: Condition<R2>): <E, R>(self: Filter<E, R>) => Made<E, R | R2>
  <E, R, R2 = never>(self: Filter<E, R>, condition: Condition<R2>): Made<E, R | R2>
} = dual(
  2,
  // What the condition needs is in the type of the result.
  (self: Filter<never, never>, condition: Condition): Made<never, never> => mapped(self, conditioned(condition))
)

/** Another milter as a filter. Re-exported by `Milter`. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Dialer } from "../../../MilterClient.ts"
import { Step } from "../../../Negotiation.ts"
import type { Connect, Events, Mail, RejectedRecipient, Session } from "../../../Stage.ts"
import type { Verdict } from "../../../Verdict.ts"
import { ByteString, ofParts } from "../../bytes/byteString.ts"
import type { Answer } from "../../mta/answerTypes.ts"
import type { Client } from "../../mta/client.ts"
import type { ClientError } from "../../mta/clientError.ts"
import type * as clientValues from "../../mta/clientValues.ts"
import { dialingKey } from "../../net/dialer.ts"
import { type AnsweredStage, answeredStages } from "../../protocol/stageTable.ts"
import { define, type Definition } from "../definition.ts"
import type { Made } from "../filterTypes.ts"
import { fromResolve } from "../filterValue.ts"
import { wholeOf } from "../sessionView.ts"
import { goesOn } from "../wrapping.ts"
import { checkEdits, makeEdits } from "./childEdits.ts"
import { ChildSession } from "./childSession.ts"
import type { RemoteError } from "./remoteError.ts"
import { checkRemote, type RemoteOptions, stagesOf, timesOf } from "./remoteOptions.ts"

export { RemoteError } from "./remoteError.ts"
export type { RemoteOptions } from "./remoteOptions.ts"

/** What a hook gets, with the state that `connection` builds. */
interface At {
  readonly session: Session
  readonly connection: ChildSession
  readonly edit?: object
}

/** The commands of the stages with an answer that is nothing but a verdict. */
type Commands = {
  readonly [K in Exclude<AnsweredStage, "endOfMessage">]: (
    client: Client,
    event: Events[K],
    session: Session
  ) => Effect.Effect<Answer, ClientError>
}

const { toBytes } = ByteString

const introduced = ({ client, hostname }: Connect): clientValues.Connect => {
  switch (client._tag) {
    case "IPv4":
    case "IPv6":
      return { hostname, address: client.address, port: client.port }
    case "Unix":
      return { hostname, address: client.path }
    case "Unknown":
      return { hostname }
  }
}

const keepsSpace = ({ agreed }: Session): boolean => (agreed.steps & Step.leadingSpace) !== 0

const commands: Commands = {
  connect: (client, event) => client.connect(introduced(event)),
  helo: (client, { raw }) => client.helo(toBytes(raw)),
  mail: (client, { parameters, sender }) => client.mail(toBytes(sender.raw), parameters.raw.map(toBytes)),
  rcpt: (client, { parameters, recipient }) => client.rcpt(toBytes(recipient.raw), parameters.raw.map(toBytes)),
  data: (client) => client.data(),
  // Without the step, all of the value came from the sender: a space at its beginning, too.
  header: (client, { name, raw }, session) =>
    client.header(toBytes(ofParts(name)), toBytes(raw), { verbatim: keepsSpace(session) }),
  endOfHeaders: (client) => client.endOfHeaders(),
  body: (client, { bytes }) => client.body(bytes),
  unknown: (client, { raw }) => client.unknown(toBytes(raw))
}

const hookOf = <K extends keyof Commands>(stage: K) => (event: Events[K], { connection, session }: At) => {
  if (connection.leavesOut(stage)) return goesOn
  return Effect.map(
    connection.ask(stage, session, (client) => commands[stage](client, event, session)),
    (answer) => connection.verdictOf(stage, answer)
  )
}

const endOfMessage = (
  _: unknown,
  { connection, edit, session }: At
): Effect.Effect<Verdict, RemoteError> =>
  Effect.flatMap(
    connection.ask("endOfMessage", session, (client) => client.endOfMessage()),
    ({ modifications, verdict: answer }) => {
      const verdict = connection.verdictOf("endOfMessage", answer)
      if (modifications.length === 0) return Effect.succeed(verdict)
      const wrong = checkEdits(connection.options.modify, modifications)
      if (wrong !== undefined) return connection.refuse(wrong)
      const adds = keepsSpace(session) && !connection.hasAgreedOn(Step.leadingSpace)
      return Effect.as(makeEdits(edit!, modifications, adds), verdict)
    }
  )

/** The MTA takes no answer. */
const rejectedRecipient = (
  { enhanced, parameters, recipient, text }: RejectedRecipient,
  { connection, session }: At
): Effect.Effect<void, RemoteError> =>
  Effect.asVoid(
    connection.ask("rcpt", session, (client) =>
      client.rcpt(toBytes(recipient.raw), parameters.raw.map(toBytes), { refused: { enhanced, text } }))
  )

/** The abort after the message. */
const message = (_: Mail, { connection }: At): Effect.Effect<void, RemoteError, Scope.Scope> =>
  Effect.andThen(connection.check, Effect.addFinalizer(() => connection.endMessage))

/**
 * Runs another milter as a filter: any process that speaks the protocol, such as opendkim, rspamd or clamav-milter, in a
 * {@link sequence}, under {@link when}, in a {@link shadow}, with {@link onFailure} and a {@link circuitBreaker}.
 *
 * **Details**
 *
 * - What the filter agrees on with the MTA comes from the declaration alone, since the MTA negotiates before the milter is
 *   dialled. `effect-milter probe ADDRESS` asks a milter what it wants, and prints the declaration.
 * - The milter is dialled when the filter first takes part in the SMTP session; under {@link when} not before. It is offered
 *   what is declared and the MTA has given. One that wants more has failed, and the log names the missing words.
 * - Every failure is a {@link RemoteError}. The milter is out for the rest of the SMTP session then, as with an MTA:
 *   `onFailure` answers in its place, and nothing dials again before the next session.
 * - An accept concerns this milter only. Its other answers go to the MTA as they are: reject, tempFail, discard, and replies
 *   with their text. Its edits reach the later filters of a sequence.
 * - The milter sees this filter as its MTA: aborts and quit come as from Postfix.
 *
 * **Gotchas**
 *
 * - The path of a UNIX socket is the one that this process sees, not the one in the chroot of Postfix's smtpd.
 * - A macro list that any filter asks for replaces what the MTA's administrator has configured for that stage: name in
 *   `macros` all that the milter reads there.
 * - The MTA waits for the server, which has less patience with a filter than an MTA with a milter: 8 s for a command. A milter
 *   with slow checks at RCPT needs a longer `commandTimeout` of the server, below the MTA's own. All filters of a sequence
 *   share the time of an answer, at end of message too. A server whose milters declare more `timeouts` together than the
 *   server has does not start.
 * - Under {@link delayReject} a milter that has refused is told nothing more of the message: mail to an exempt recipient passes
 *   it unseen.
 * - The replies `4` and `f`, which only MTAs use among themselves, are failures.
 *
 * **Example** (Two milters and a filter)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Layer from "effect/Layer"
 * import * as Milter from "effect-milter/Milter"
 * import * as MilterServer from "effect-milter/MilterServer"
 * import { NodeMilterClient } from "effect-milter/node"
 * import * as Verdict from "effect-milter/Verdict"
 *
 * const Opendkim = Milter.remote("opendkim", {
 *   to: "unix:/run/opendkim/opendkim.sock",
 *   modify: ["insertHeader", "changeHeader", "deleteHeader"],
 *   signs: true
 * })
 *
 * const Rspamd = Milter.remote("rspamd", {
 *   to: "inet:11332@127.0.0.1",
 *   modify: ["addHeader", "changeHeader", "deleteHeader", "quarantine"]
 * })
 *
 * const Tagged = Milter.make("tagged", { modify: ["insertHeader"] }).on({
 *   endOfMessage: (_, { edit }) => Effect.as(edit.insertHeader(1, "X-Tagged", "yes"), Verdict.continue)
 * })
 *
 * const All = Milter.sequence([Rspamd, Tagged, Opendkim]).pipe(
 *   Milter.onFailure(() => Effect.succeed(Verdict.tempFail()))
 * )
 *
 * const server = MilterServer.layer(All).pipe(Layer.provide(NodeMilterClient.layer))
 * ```
 *
 * @see `MilterClient.chain` to ask milters from an SMTP server
 *
 * @category constructors
 * @since 0.1.0
 */
export const remote = (name: string, options: RemoteOptions): Made<RemoteError, Dialer> => {
  checkRemote(name, options)
  const definition = fromOptions(name, options)
  // Throws for a name of a modification or macro that is wrong: here, and not when the server starts.
  definition(new WeakMap())
  // A filter may stand in a sequence twice, or in the shadow and beside it: each place has connections of its own.
  return fromResolve(Effect.sync(() => [definition(new WeakMap())]))
}

/** By SMTP session: the state of a filter may be built again under a condition, but there is no second connection. */
type Sessions = WeakMap<Session, ChildSession>

const fromOptions = (name: string, options: RemoteOptions): (sessions: Sessions) => Definition => {
  const stages = stagesOf(options)
  const times = timesOf(options)
  // MAIL is answered even if the milter does not want it: there a failure is answered for the message.
  const asked = answeredStages.filter((stage) => stages.has(stage) || stage === "mail")
  const answers = Object.fromEntries(
    asked.map((stage) => [stage, stage === "endOfMessage" ? endOfMessage : hookOf(stage)])
  )
  const rejectedRecipients = stages.has("rejectedRecipient")
  return (sessions) => {
    const connection = (session: Session): Effect.Effect<ChildSession, RemoteError, Dialer | Scope.Scope> =>
      Effect.gen(function*() {
        const { [dialingKey]: dialing } = yield* Dialer
        const whole = wholeOf(session)
        const child = sessions.get(whole) ?? new ChildSession(name, options, times)
        sessions.set(whole, child)
        yield* child.enter(dialing, session)
        return child
      })
    const definition = define(
      name,
      { modify: options.modify, macros: options.macros ?? {}, rejectedRecipients, connection, message },
      answers,
      rejectedRecipients ? { rejectedRecipient } : {}
    )
    return { ...definition, signer: options.signs === true ? "dkim" : undefined, remote: times }
  }
}

/** The definition of another milter that runs as a filter. Loaded when a server or a test starts with such a filter. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Step } from "../../../Negotiation.ts"
import type { Connect, Events, Mail, RejectedRecipient, Session } from "../../../Stage.ts"
import type { Verdict } from "../../../Verdict.ts"
import { ByteString, ofParts } from "../../bytes/byteString.ts"
import type { Answer } from "../../mta/answerTypes.ts"
import type { Client } from "../../mta/client.ts"
import type { ClientError } from "../../mta/clientError.ts"
import type * as clientValues from "../../mta/clientValues.ts"
import { Dialer, dialingKey } from "../../net/dialer.ts"
import { type AnsweredStage, answeredStages } from "../../protocol/stageTable.ts"
import { define, type Definition } from "../definition.ts"
import { wholeOf } from "../sessionView.ts"
import { goesOn } from "../wrapping.ts"
import { checkEdits, makeEdits } from "./childEdits.ts"
import { ChildSession } from "./childSession.ts"
import type { RemoteError } from "./remoteError.ts"
import { type RemoteOptions, stagesOf, timesOf } from "./remoteOptions.ts"

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

/** By SMTP session: the state of a filter may be built again under a condition, but there is no second connection. */
type Sessions = WeakMap<Session, ChildSession>

/** Makes the definition of such a filter. Each call makes one with connections of its own. */
export const remoteDefinition = (name: string, options: RemoteOptions): Definition => {
  const stages = stagesOf(options)
  const times = timesOf(options)
  // MAIL is answered even if the milter does not want it: there a failure is answered for the message.
  const asked = answeredStages.filter((stage) => stages.has(stage) || stage === "mail")
  const answers = Object.fromEntries(
    asked.map((stage) => [stage, stage === "endOfMessage" ? endOfMessage : hookOf(stage)])
  )
  const rejectedRecipients = stages.has("rejectedRecipient")
  const sessions: Sessions = new WeakMap()
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

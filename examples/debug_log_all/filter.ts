/** Logs all that an MTA tells a filter: to see what yours does, and which macros there are to work with. */
import * as Milter from "effect-milter/Milter"
import type * as Stage from "effect-milter/Stage"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { jsonLine } from "../support/jsonLine.ts"

/** A line for an event: its details, and all macros that are valid by then. The server adds the id of the session. */
const log = ({ macros }: Stage.Session, event: string, details: { readonly [name: string]: unknown } = {}) =>
  Effect.logInfo(`${event} ${jsonLine(details)} macros ${jsonLine(Object.fromEntries(macros.entries()))}`)

const ofMailbox = ({ address, raw }: Stage.Mail["sender"], { raw: parameters }: Stage.Mail["parameters"]) => ({
  address,
  raw,
  parameters
})

/** Watches every stage, recipients that the MTA has refused included, and leaves all mail as it is. */
export const debugLogAll = Milter.make("debug_log_all", {
  rejectedRecipients: true,
  // What ends has no stage of its own: a message, or a session, is over when its Scope closes.
  connection: (session) => Effect.addFinalizer(() => log(session, "disconnect")),
  message: (_, { session }) =>
    Effect.addFinalizer((exit) =>
      Option.match(Milter.outcome(exit), {
        onNone: () => log(session, "abort"),
        onSome: () => Effect.void
      })
    )
}).on({}, {
  connect: ({ client, hostname }, { session }) =>
    log(session, "connect", { hostname, client: String(client), kind: client._tag, origin: session.origin }),
  helo: ({ name }, { session }) => log(session, "helo", { name }),
  mail: ({ parameters, sender }, { session }) => log(session, "mail", ofMailbox(sender, parameters)),
  rcpt: ({ parameters, recipient }, { session }) => log(session, "rcpt", ofMailbox(recipient, parameters)),
  rejectedRecipient: ({ enhanced, parameters, recipient, text }, { session }) =>
    log(session, "rejectedRecipient", { ...ofMailbox(recipient, parameters), enhanced, text }),
  data: (_, { session }) => log(session, "data"),
  header: ({ name, value }, { session }) => log(session, "header", { name, value }),
  endOfHeaders: (_, { session }) => log(session, "endOfHeaders"),
  body: ({ bytes }, { session }) => log(session, "body", { bytes: bytes.length }),
  endOfMessage: (_, { envelope, session }) =>
    log(session, "endOfMessage", { recipients: envelope.recipients.map(({ recipient }) => recipient.address) }),
  unknown: ({ line }, { session }) => log(session, "unknown", { line })
})

/** Says in a header of outgoing mail, encrypted, who has sent it and how. */
import * as Header from "effect-milter/Header"
import * as Milter from "effect-milter/Milter"
import type * as Stage from "effect-milter/Stage"
import * as Verdict from "effect-milter/Verdict"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import { type AccountData, Sealing } from "./sealing.ts"

export const defaultName = "X-Account-Data"

/**
 * Mail of a client that has logged in gets the header. Fields of that name which are there already are removed from all
 * mail: only the filter may write them.
 */
export const accountHeader = (name: string = defaultName) =>
  Milter.make("account_header", {
    modify: ["addHeader", "deleteHeader"],
    message: () => Effect.sync(() => ({ forged: 0, messageId: undefined as string | undefined }))
  }).on({
    endOfMessage: Effect.fnUntraced(function*(_, { edit, envelope, message, session }) {
      if (message.forged > 0) yield* Effect.logWarning(`${message.forged} forged ${name} removed`)
      for (let occurrence = message.forged; occurrence > 0; occurrence--) yield* edit.deleteHeader(name, occurrence)
      const login = session.macros.authentication?.login
      if (login === undefined) return Verdict.continue
      const sealing = yield* Sealing
      const time = DateTime.formatIso(yield* DateTime.now)
      yield* edit.addHeader(name, yield* sealing.seal(accountData(login, time, session, envelope, message.messageId)))
      return Verdict.continue
    })
  }, {
    header: (header, { message }) =>
      Effect.sync(() => {
        if (header.name.toLowerCase() === name.toLowerCase()) message.forged++
        if (header.name.toLowerCase() === "message-id") message.messageId ??= Header.unfold(header.value).trim()
      })
  })

const accountData = (
  login: string,
  time: string,
  { client, heloName, hostname, macros }: Stage.Session,
  { sender }: Stage.Envelope,
  messageId: string | undefined
): AccountData => {
  const { authentication, queueId, tls } = macros
  return {
    login,
    mechanism: authentication?.type,
    client: { address: String(client), hostname, port: "port" in client && client.port > 0 ? client.port : undefined },
    helo: heloName,
    tls: tls && { version: tls.version, cipher: tls.cipher },
    time,
    queueId,
    sender: sender.address,
    messageId
  }
}

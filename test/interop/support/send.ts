/** Messages for daemons, and what comes back. */
import * as MilterClient from "effect-milter/MilterClient"
import { NodeMilterClient } from "effect-milter/node"
import { ByteString } from "effect-milter/Wire"
import * as Effect from "effect/Effect"

/** A client that a signer signs for. */
export const inside = { address: "127.0.0.1", hostname: "localhost" }

/** One of which nobody has heard. */
export const outside = { address: "192.0.2.1", hostname: "client.example.org" }

export const message: MilterClient.Message = {
  from: "alice@example.org",
  to: "bob@example.net",
  client: outside,
  headers: [
    ["From", "Alice <alice@example.org>"],
    ["To", "bob@example.net"],
    ["Subject", "Lunch?"],
    ["Date", "Mon, 05 Jan 2026 10:00:00 +0000"],
    ["Message-ID", "<1@example.org>"]
  ],
  body: "Shall we meet at noon?\n\n.\nAlice\n"
}

/** GTUBE, the text that all spam filters take for spam. */
export const gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n"

/** Sends messages over one connection and says goodbye. */
export const sendAll = (
  address: string,
  messages: ReadonlyArray<MilterClient.Message>,
  options: MilterClient.Options = {}
) =>
  Effect.gen(function*() {
    const filter = yield* MilterClient.dial(address, options)
    const outcomes = yield* Effect.forEach(messages, (message) => filter.sendMessage(message))
    yield* filter.quit()
    return outcomes
  }).pipe(Effect.scoped, Effect.provide(NodeMilterClient.layer))

export const send = (address: string, message: MilterClient.Message, options?: MilterClient.Options) =>
  Effect.map(sendAll(address, [message], options), ([outcome]) => outcome!)

/** The values of the fields of this name that the filter has put in. */
export const added = ({ modifications }: MilterClient.Outcome, name: string): ReadonlyArray<string> =>
  modifications.flatMap((modification) =>
    (modification._tag === "AddHeader" || modification._tag === "InsertHeader") &&
      modification.name.toLowerCase() === name.toLowerCase()
      ? [ByteString.toText(modification.value).trimStart()]
      : []
  )

/** The reply in one line. */
export const replyOf = ({ reply }: MilterClient.Outcome): string | undefined =>
  reply && [reply.code, reply.enhanced, ...reply.lines].filter((part) => part !== undefined).join(" ")

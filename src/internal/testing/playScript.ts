/** Plays the sessions of property tests, as the MTA that a script names. */
import * as Effect from "effect/Effect"
import type { Message, Mta, Text } from "../../MilterClient.ts"
import { contentOf } from "../bytes/lineEnds.ts"
import type { Answer } from "../mta/answerTypes.ts"
import type { Client } from "../mta/client.ts"
import type { ClientError } from "../mta/clientError.ts"
import { isRefusal } from "../mta/interpretReply.ts"
import { postfix, postfix23, postfix26, postfix311, postfix38, sendmail, sendmail818 } from "../mta/manners/presets.ts"
import { bracketed } from "../mta/messageInput.ts"
import type { MessageScript, PlayedMessage, SessionScript } from "./sessionScript.ts"

/** The MTAs, by their names in scripts. */
export const mtas = { postfix, postfix23, postfix26, postfix38, postfix311, sendmail, sendmail818 } satisfies {
  readonly [name: string]: Mta
}

const messageOf = ({ body, from, headers, parameters, to }: MessageScript): Message => ({
  from,
  to: to.map((address) => ({ address })),
  headers,
  body,
  parameters
})

/** Sends the message up to the command at which the client gives up. */
const giveUp = (client: Client, script: MessageScript, patience: number) =>
  Effect.gen(function*() {
    let left = patience
    let over = false
    const text = (address: string): Text => bracketed(address)
    const step = (effect: Effect.Effect<Answer, ClientError>) =>
      Effect.suspend(() => {
        if (over || left-- <= 0) {
          over = true
          return Effect.succeed<Answer>({ _tag: "Continue" })
        }
        return effect
      })
    const verdict = yield* step(client.mail(text(script.from), script.parameters))
    if (isRefusal(verdict)) over = true
    let accepted = 0
    for (const address of script.to) {
      if (!isRefusal(yield* step(client.rcpt(text(address))))) accepted++
    }
    if (accepted === 0) over = true
    if (isRefusal(yield* step(client.data()))) over = true
    for (const [name, value] of script.headers) yield* step(client.header(name, value))
    yield* step(client.endOfHeaders())
    yield* step(client.body(contentOf(script.body)))
  })

/** How many commands there are before end of message, body pieces not counted. */
const lengthOf = ({ headers, to }: MessageScript): number => 4 + to.length + headers.length

export const play = (client: Client, script: SessionScript): Effect.Effect<ReadonlyArray<PlayedMessage>, ClientError> =>
  Effect.gen(function*() {
    const played: Array<PlayedMessage> = []
    const { manners } = client
    yield* client.connect(manners.introduce(script.client))
    yield* client.helo(script.helo)
    if (script.unknown !== undefined) yield* client.unknown(script.unknown)
    for (const [index, message] of script.messages.entries()) {
      if (index === 1 && script.heloAgain) yield* client.helo(script.helo)
      const { givesUpAfter } = message
      if (givesUpAfter === undefined || givesUpAfter >= lengthOf(message)) {
        played.push({ script: message, outcome: yield* client.sendMessage(messageOf(message)) })
        continue
      }
      yield* giveUp(client, message, givesUpAfter)
      played.push({ script: message, outcome: undefined })
      const vanishes = script.end === "vanishes" && index === script.messages.length - 1
      if (!vanishes) yield* client.abort()
    }
    if (script.end === "vanishes") {
      client.connection.close()
      yield* client.closed
    }
    return played
  })

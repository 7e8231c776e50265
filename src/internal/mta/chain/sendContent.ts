/** Takes one filter through the content of a message, from the first header field to the end of the message. */
import * as Effect from "effect/Effect"
import { ByteString } from "../../bytes/byteString.ts"
import type { Message } from "../../delivery/deliveryTypes.ts"
import type { AnsweredStage } from "../../protocol/stageTable.ts"
import type { ModificationPacket } from "../../wire/filterPackets.ts"
import type { Answer } from "../answerTypes.ts"
import type { Client } from "../client.ts"
import type { ClientError } from "../clientError.ts"
import type * as MilterClient from "../clientTypes.ts"
import { isRefusal } from "../interpretReply.ts"
import type { SourceFailure, StreamedBody } from "../streamedBody.ts"

/** What the filter says in the end, and at which stage. */
export interface Answered {
  readonly answer: Answer
  readonly stage: AnsweredStage
}

interface Context<E> {
  readonly macros: NonNullable<MilterClient.Message["macros"]>
  /** The body, if it is still arriving. */
  readonly streamed: StreamedBody<E> | undefined
  /** Gets the modifications of a filter that lets the message pass. */
  readonly changes: Array<ModificationPacket>
  /** Called with each stage that no verdict has settled beforehand. */
  readonly heard: (stage: AnsweredStage) => void
}

const { toBytes } = ByteString

export const sendContent = Effect.fnUntraced(function*<E>(
  client: Client,
  { body, headers }: Message,
  { changes, heard, macros, streamed }: Context<E>
): Effect.fn.Return<Answered, ClientError | SourceFailure<E>> {
  const decides = (stage: AnsweredStage, answer: Answer): boolean => {
    if (answer._tag !== "NotSent" || answer.because !== "decided") heard(stage)
    return isRefusal(answer) || answer._tag === "Accept" || answer._tag === "Discard"
  }
  const own = (stage: AnsweredStage): Effect.Effect<void, ClientError> => {
    const values = macros[stage]
    return values === undefined ? Effect.void : client.macros(stage, values)
  }
  for (const { name, value } of headers) {
    yield* own("header")
    const answer = yield* client.header(toBytes(name), toBytes(value), { verbatim: true })
    if (decides("header", answer)) return { answer, stage: "header" }
  }
  yield* own("endOfHeaders")
  const atEnd = yield* client.endOfHeaders()
  if (decides("endOfHeaders", atEnd)) return { answer: atEnd, stage: "endOfHeaders" }
  yield* own("body")
  const atBody = yield* streamed === undefined ? client.body(body) : client.body(streamed.pieces)
  if (decides("body", atBody)) return { answer: atBody, stage: "body" }
  // A filter may act on the end of the message: the rest must have come, though the filter is not interested in it.
  if (streamed !== undefined) yield* streamed.rest
  yield* own("endOfMessage")
  const { modifications, verdict } = yield* client.endOfMessage()
  decides("endOfMessage", verdict)
  // Not spread: they may be more than the stack takes.
  if (!isRefusal(verdict) && verdict._tag !== "Discard") { for (const change of modifications) changes.push(change) }
  return { answer: verdict, stage: "endOfMessage" }
})

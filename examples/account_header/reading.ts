/** The other end: what the headers of a message say. */
import * as Header from "effect-milter/Header"
import * as Effect from "effect/Effect"
import { type AccountData, Sealing } from "./sealing.ts"

export interface Reading {
  readonly found: ReadonlyArray<AccountData>
  /** Fields that do not open, or that were made for another message. */
  readonly problems: ReadonlyArray<string>
}

/** Reads all fields of this name in a message, or one value that stands alone. */
export const read = Effect.fnUntraced(function*(headerName: string, input: string) {
  const sealing = yield* Sealing
  const header = Header.unfold(input.replace(/\r?\n\r?\n[^]*$/, "\n")).split(/\r?\n/)
  const valuesOf = (name: string) =>
    header.filter((line) => line.toLowerCase().startsWith(`${name.toLowerCase()}:`))
      .map((line) => line.slice(name.length + 1).trim())
  const fields = valuesOf(headerName)
  const isMessage = fields.length > 0 || header.some((line) => /^[!-9;-~]+:/.test(line))
  const [messageId] = valuesOf("message-id")
  const found: Array<AccountData> = []
  const problems: Array<string> = []
  if (isMessage && fields.length === 0) problems.push(`there is no ${headerName} in this message`)
  for (const value of isMessage ? fields : [input]) {
    const opened = yield* Effect.result(sealing.open(value))
    if (opened._tag === "Failure") {
      problems.push(`${headerName}: ${opened.failure.message}`)
      continue
    }
    found.push(opened.success)
    if (isMessage && opened.success.messageId !== undefined && opened.success.messageId !== messageId) {
      problems.push(`${headerName}: it was made for the message ${opened.success.messageId}, not for this one`)
    }
  }
  const reading: Reading = { found, problems }
  return reading
})

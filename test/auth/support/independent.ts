/** The opinion of others on signatures: mailauth, used as its own documentation says. */
import type * as Auth from "effect-milter/auth"
import type * as MilterClient from "effect-milter/MilterClient"
import * as Effect from "effect/Effect"
import { authenticate, dkimVerify } from "mailauth"
import { toText } from "./mail.ts"

export const resolver = (records: Auth.RecordTable) => (name: string): Promise<Array<Array<string>>> => {
  const entry = records[name]
  return entry === undefined || typeof entry === "string" || entry.TXT === undefined || typeof entry.TXT === "string"
    ? Promise.reject(Object.assign(new Error(name), { code: "ENOTFOUND" }))
    : Promise.resolve(entry.TXT.map((text) => [text]))
}

/** A message as text, or what a filter made of one. */
type Text = MilterClient.Outcome | string

/** Of text, lines may end with LF. */
const bytesOf = (text: Text): Buffer =>
  typeof text === "string" ? Buffer.from(text.replace(/\r?\n/g, "\r\n"), "latin1") : toText(text)

/** Of each signature from the top. */
export const verdicts = (text: Text, records: Auth.RecordTable) =>
  Effect.promise(() => dkimVerify(bytesOf(text), { resolver: resolver(records), strict: true })).pipe(
    Effect.map(({ results }) => results.map(({ status }) => status.result))
  )

/** Of the whole chain of seals. */
export const chain = (text: Text, records: Auth.RecordTable) =>
  Effect.promise(() =>
    authenticate(bytesOf(text), {
      resolver: resolver(records),
      strict: true,
      disableBimi: true,
      ip: "192.0.2.99",
      helo: "reader.example",
      sender: "alice@example.org"
    })
  ).pipe(Effect.map(({ arc }) => arc === false ? undefined : { result: arc.status.result, i: arc.i }))

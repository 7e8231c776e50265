/** Keys, records and messages for tests of authentication. */
import * as Auth from "effect-milter/auth"
import * as Delivery from "effect-milter/Delivery"
import type * as MilterClient from "effect-milter/MilterClient"
import * as MilterTest from "effect-milter/MilterTest"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { generateKeyPairSync } from "node:crypto"

const pem = { type: "pkcs8", format: "pem" } as const

/** The PEM of a new key. */
export const newKey = (kind: "rsa" | "ed25519" = "rsa", modulusLength = 2048): string =>
  (kind === "rsa" ? generateKeyPairSync("rsa", { modulusLength }) : generateKeyPairSync("ed25519"))
    .privateKey.export(pem).toString()

const rsa = newKey()
const ed25519 = newKey("ed25519")

export const input = (domain: string, selector = "rsa"): Auth.KeyInput => ({
  domain,
  selector,
  privateKey: Redacted.make(selector === "rsa" ? rsa : ed25519)
})

/** The records of these keys. */
export const recordsOf = (inputs: ReadonlyArray<Auth.KeyInput>): Auth.RecordTable =>
  Object.fromEntries(inputs.map((key) => {
    const { name, record } = Result.getOrThrow(Auth.makeKey(key))
    return [name, { TXT: [record] }]
  }))

/** A message that one of our users hands in. */
export const message = {
  from: "alice@example.org",
  to: "bob@example.net",
  headers: [
    ["From", "Alice <alice@example.org>"],
    ["To", "Bob <bob@example.net>"],
    ["Subject", "lunch"],
    ["Date", "Mon, 23 Nov 2026 12:00:00 +0000"],
    ["Message-ID", "<1@example.org>"]
  ],
  body: "Shall we meet at noon?\r\n",
  client: { hostname: "mail.example.org", address: "192.0.2.25" },
  macros: { mail: { auth_type: "PLAIN", auth_authen: "alice" } }
} satisfies MilterClient.Message

/** As it goes out. */
export const delivered = ({ delivered }: MilterClient.Outcome): Delivery.Delivered => {
  if (delivered === undefined) throw new Error("the message was not accepted")
  return delivered
}

/** The same message on its way into the next MTA, from outside. */
export const onward = (outcome: MilterClient.Outcome): MilterClient.Message => ({
  from: message.from,
  to: message.to,
  headers: delivered(outcome).headers.map(({ name, value }) => [name, value.replace(/^ /, "")] as const),
  body: delivered(outcome).body,
  client: message.client,
  helo: "mail.example.org"
})

export const valuesOf = (outcome: MilterClient.Outcome, name: string): ReadonlyArray<string> =>
  delivered(outcome).headers.filter((field) => field.name.toLowerCase() === name.toLowerCase())
    .map(({ value }) => value.replace(/^ /, ""))

/** What mailauth says of a message, asked by itself. */
export const toText = (outcome: MilterClient.Outcome): Buffer => Buffer.from(Delivery.toBytes(delivered(outcome)))

/** A message at {@link Auth.verify}: the outcome, the results that the filter gave, and those that it wrote. */
export const verified = Effect.fnUntraced(function*(
  message: MilterClient.Message,
  options: Partial<Auth.VerifyOptions>,
  records: Auth.RecordTable
) {
  let results: Auth.Results | undefined
  const outcome = yield* MilterTest.message(
    Auth.verify({
      authservId: "mx.example.net",
      onResult: (found) => {
        results = found
        return Effect.succeed(Verdict.continue)
      },
      ...options
    }),
    message
  ).pipe(Effect.provide(Auth.Dns.layerRecords(records)))
  return { outcome, results: results!, written: valuesOf(outcome, "Authentication-Results") }
})

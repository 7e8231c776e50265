/** Conditions on recipients with the MTAs in memory: the table, old ones included. */
import { assert, describe, it } from "@effect/vitest"
import type * as MilterClient from "effect-milter/MilterClient"
import * as MilterTest from "effect-milter/MilterTest"
import { ByteString } from "effect-milter/Wire"
import * as Effect from "effect/Effect"
import { deliveredTo, filterOf, isTagged, isUnknown, rows } from "../support/conditionRows.ts"

const said = (answer: MilterClient.Answer): string =>
  answer._tag === "NotSent" && answer.because === "refused"
    ? "mta"
    : answer._tag === "Reply"
    ? `${answer.code} ${answer.enhanced} ${answer.lines.map(ByteString.toText).join("\n")}`
    : answer._tag.startsWith("Not") || answer._tag === "Continue" || answer._tag === "Accept" ||
        answer._tag === "Discard"
    ? "ok"
    : answer._tag

const mtas = [
  MilterTest.postfix,
  MilterTest.sendmail,
  MilterTest.postfix23,
  { ...MilterTest.postfix, name: "Postfix without DATA", offer: { ...MilterTest.postfix.offer, version: 3 } }
]

describe.each(mtas)("conditions on recipients with $name", (mta) => {
  it.effect.each(rows)("$name", (row) =>
    Effect.gen(function*() {
      const { filter, seen } = filterOf(row)
      const outcome = yield* MilterTest.message(filter, {
        from: "alice@example.org",
        to: row.to.map((name) => ({
          address: `${name}@test.example`,
          ...(isUnknown(name) ? { refused: { enhanced: "5.1.1", text: "User unknown" } } : {})
        })),
        helo: "client.example.org",
        headers: [["Subject", "hello"]],
        body: "Hello.\n"
      }, { as: mta })
      const answers = outcome.recipients.map(({ answer }) => said(answer))
      // Recipients after a discard are not asked about.
      assert.deepStrictEqual(answers, row.isDiscarded === true ? row.answers.slice(0, answers.length) : row.answers)
      assert.deepStrictEqual(seen, row.seen)
      const recipients = deliveredTo(row)
      if (row.data !== undefined) {
        const hasData = mta.offer.version > 3
        MilterTest.assertRejected(outcome, { stage: hasData ? "data" : "endOfMessage", reply: row.data })
      } else if (recipients === undefined) MilterTest.assertDiscarded(outcome)
      else if (recipients.length > 0) {
        MilterTest.assertAccepted(outcome, { recipients, headers: { "X-Tag": isTagged(row) ? "yes" : undefined } })
      }
    }))
})

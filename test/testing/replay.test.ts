/**
 * Recorded MTAs meet filters that do what the recorded ones did, and get the recorded answers.
 *
 * Compared are the verdict on each command and the modifications, not the bytes of the whole conversation:
 *
 * - The negotiation differs by design. Our filters take what is theirs to take (leading space, skip) and leave out what
 *   they do not need, whatever the recorded filter asked for. So the MTA offers what was agreed on in the recording.
 * - Where the recorded filter had given up its answer and ours has not, ours says continue.
 * - Progress goes by the clock.
 * - A body is one, in however many pieces it comes, and it commutes with the other modifications; ours go out without it
 *   first. What a filter changes in a message that it then refuses is not sent.
 * - A reply without an enhanced status code is not something our filters say.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import * as MilterTest from "../../src/MilterTest.ts"
import * as Packet from "../../src/Packet.ts"
import * as Reply from "../../src/Reply.ts"
import * as mirror from "../support/mirror.ts"
import * as recordings from "../support/recordings.ts"
import { concat, toHex } from "../support/wire.ts"

// The same from both MTAs.
const crlf =
  `AddHeader name="X-Fold" value="first\\r\\n\\tsecond", which goes out as AddHeader name="X-Fold" value="first\\n\\tsecond"`
const injected =
  `Invalid header value "first\\nX-Evil: second\\n\\nbody?": expected line breaks only where a line is folded, before a space or a tab`
const occurrence = `Invalid header occurrence "0": an integer from 1`
const twoRuns = "something between two pieces of the body"
const parameter =
  `Invalid ESMTP parameter of a recipient "BOGUS=1": expected NOTIFY and ORCPT, once each and with a value as in RFC 3461`
// No line of ours is longer than RFC 5322 allows: it is encoded.
const long = `AddHeader name="X-Added" value=" ${
  "x".repeat(5000)
}", which goes out as AddHeader name="X-Added" value=" =?`
const utf8 = `Invalid address "böb@test.example": expected ASCII, this message is not SMTPUTF8`

/** Recordings in which the filter does what ours cannot, each with what that is, or how it begins. */
const illegal: { readonly [name: string]: string } = {
  "postfix-filter-optneg-junk": "bytes that are no frame",
  "postfix-header-bytes": long,
  "postfix-mod-addheader-crlf": crlf,
  "postfix-mod-addheader-inject": injected,
  "postfix-mod-addrcptpar": parameter,
  "postfix-mod-chgheader-edge": occurrence,
  "postfix-mod-malformed": "AddHeader: expected a string that ends with NUL at byte 5",
  "postfix-mod-replbody-split": twoRuns,
  "postfix-mod-smtputf8": utf8,
  "postfix-no-all": "no MAIL",
  "postfix-reply-payload": "Continue: expected the end of the packet at byte 5",
  "postfix-reply-shutdown-eom": "Shutdown as a verdict",
  "postfix-replycode-nonul": "ReplyCode: expected a string that ends with NUL at byte 5",
  "postfix-zero-frame": "bytes that are no frame",
  "sendmail-double-reply": "more than one answer",
  "sendmail-filter-optneg-short": "Negotiated: expected four bytes at byte 13",
  "sendmail-half-frame": "bytes that are no frame",
  "sendmail-huge-frame": "bytes that are no frame",
  "sendmail-header-bytes": long,
  "sendmail-mod-addheader-crlf": crlf,
  "sendmail-mod-addheader-inject": injected,
  "sendmail-mod-addrcptpar": parameter,
  "sendmail-mod-chgheader-edge": occurrence,
  "sendmail-mod-replbody-split": twoRuns,
  "sendmail-mod-smtputf8": utf8,
  "sendmail-reply-conn-fail": "ConnectionFail as a verdict"
}

const meaningOf = (packet: Packet.FilterPacket, withStatus: boolean): string => {
  if (packet._tag !== "ReplyCode") return Packet.format(packet)
  const { code, enhanced, lines } = Result.getOrThrow(Reply.parse(packet.text))
  return `${code} ${withStatus ? enhanced : ""} ${lines.join("\n")}`
}

const hasStatus = (packet: Packet.FilterPacket | undefined): boolean =>
  packet?._tag !== "ReplyCode" || Result.getOrThrow(Reply.parse(packet.text)).enhanced !== undefined

const passes = ({ _tag }: Packet.FilterPacket): boolean => _tag === "Continue" || _tag === "Accept"

const meaning = (answer: ReadonlyArray<Packet.FilterPacket>, withStatus: boolean): ReadonlyArray<string> => {
  const packets = answer.filter(({ _tag }) => _tag !== "Progress")
  const last = packets[packets.length - 1]
  if (last === undefined) return ["Continue"]
  const modifications: Array<string> = []
  const body: Array<Uint8Array> = []
  if (passes(last)) {
    for (const packet of packets.slice(0, -1)) {
      if (packet._tag === "ReplaceBody") body.push(packet.bytes)
      else modifications.push(meaningOf(packet, withStatus))
    }
  }
  return [
    ...modifications,
    ...(body.length > 0 ? [`body ${toHex(concat(body))}`] : []),
    meaningOf(last, withStatus)
  ]
}

describe("replay", () => {
  for (const name of recordings.names) {
    const found = recordings.connections(name).map((connection) => ({ connection, filter: mirror.make(connection) }))
    const why = found.map(({ filter }) => filter).find((filter) => typeof filter === "string")
    if (why !== undefined || name in illegal) {
      it(`${name} cannot be told to a filter of ours`, () => {
        const expected = illegal[name]
        assert.strictEqual(why?.slice(0, expected?.length), expected)
      })
      continue
    }
    for (const { connection, filter } of found) {
      if (typeof filter === "string") continue
      it.effect(`${name}, connection ${connection.connection}`, () =>
        Effect.gen(function*() {
          const exchanges = yield* MilterTest.replay(filter, connection)
          for (const { command, recorded, replayed } of exchanges) {
            if (command._tag === "Negotiate") {
              const [answer] = replayed
              assert.isTrue(answer?._tag === "Negotiated" && answer.version <= command.version)
            } else {
              const withStatus = hasStatus(recorded[recorded.length - 1])
              assert.deepStrictEqual(
                meaning(replayed, withStatus),
                meaning(recorded, withStatus),
                Packet.format(command)
              )
            }
          }
          const frames = connection.lines.filter((line) => line._tag === "Frame" && line.from === "mta")
          assert.isAtLeast(exchanges.length, frames.length)
        }))
    }
  }
})

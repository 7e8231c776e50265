/** Whole SMTP sessions as data, for property tests. Re-exported by `MilterTest`. */
import * as Schema from "effect/Schema"
import type { Outcome } from "../../MilterClient.ts"

const upTo = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))

const matching = (pattern: RegExp) => Schema.String.check(Schema.isPattern(pattern))

/** Addresses as most clients send them, and a few unusual ones. */
const Address = Schema.Union([
  matching(/^[a-z]{1,8}@[a-z]{1,8}\.example$/),
  Schema.Literals([
    "alice@example.org",
    "Bob.Smith+tag@Example.ORG",
    "\"quoted local\"@example.org",
    "user@[192.0.2.1]",
    "postmaster",
    "jörg@bücher.example",
    "@relay.example:bob@example.net",
    `${"a".repeat(64)}@example.org`
  ])
])

const HeaderName = Schema.Literals(["From", "To", "Subject", "subject", "Received", "X-Tag", "Message-Id", "Date"])

/** Header values: words, and values that are hard to parse. Folds are line breaks before white space. */
const HeaderValue = Schema.Union([
  matching(/^[ -~]{0,40}$/),
  Schema.Literals([
    "",
    "one\n\ttwo\n three",
    "=?UTF-8?Q?gr=C3=BC=C3=9Fe?=",
    "Grüße",
    "\u00ff",
    "<1@example.org>",
    "Mon, 05 Jan 2026 10:00:00 +0000",
    "x".repeat(998)
  ])
])

const Body = Schema.Union([
  matching(/^[ -~]{0,60}$/),
  Schema.Literals([
    "",
    "Hello\n",
    "two\n\nparagraphs\n",
    "no end",
    ".\n..\n",
    "Grüße\n",
    "line\n".repeat(20_000) // more than one packet
  ])
])

/**
 * A message of a {@link SessionScript}. `givesUpAfter`: the client stops after so many commands from MAIL on, with RSET;
 * if the message has fewer, it is completed.
 *
 * @category schemas
 * @since 0.1.0
 */
export const MessageScript = Schema.Struct({
  /** `""` is the null sender. */
  from: Schema.Union([Address, Schema.Literal("")]),
  to: Schema.NonEmptyArray(Address).check(Schema.isMaxLength(4)),
  parameters: Schema.Array(Schema.Literals(["SIZE=1000", "BODY=8BITMIME", "SMTPUTF8", "AUTH=<>"])).check(
    Schema.isMaxLength(2)
  ),
  headers: Schema.Array(Schema.Tuple([HeaderName, HeaderValue])).check(Schema.isMaxLength(6)),
  body: Body,
  givesUpAfter: Schema.optionalKey(upTo(12))
})

/**
 * A message of a script.
 *
 * @category models
 * @since 0.1.0
 */
export type MessageScript = typeof MessageScript.Type

/**
 * A whole SMTP session: the MTA, the client, up to three messages, and the end. `vanishes` is an MTA that dies: the
 * connection closes without a quit. For property tests: `it.effect.prop` derives sessions from this schema, usual ones and
 * odd ones.
 *
 * **Example** (Whatever comes, this filter never refuses)
 *
 * ```ts
 * import { assert, it } from "@effect/vitest"
 * import * as Effect from "effect/Effect"
 * import * as Milter from "effect-milter/Milter"
 * import * as MilterTest from "effect-milter/MilterTest"
 * import * as Verdict from "effect-milter/Verdict"
 *
 * const Tagged = Milter.make("tagged", { modify: ["addHeader"] }).on({
 *   endOfMessage: (_, { edit }) => Effect.as(edit.addHeader("X-Tagged", "yes"), Verdict.continue)
 * })
 *
 * it.effect.prop("never refuses", { script: MilterTest.SessionScript }, ({ script }) =>
 *   Effect.gen(function*() {
 *     for (const { outcome } of yield* MilterTest.session(Tagged, script)) {
 *       if (outcome !== undefined) assert.strictEqual(outcome._tag, "Accepted")
 *     }
 *   }))
 * ```
 *
 * @category schemas
 * @since 0.1.0
 */
export const SessionScript = Schema.Struct({
  mta: Schema.Literals(["postfix", "postfix23", "postfix26", "postfix38", "postfix311", "sendmail", "sendmail818"]),
  client: Schema.Struct({
    hostname: Schema.optionalKey(Schema.Literals(["client.example.org", "[192.0.2.1]", "localhost"])),
    address: Schema.optionalKey(Schema.Literals(["192.0.2.1", "2001:db8::25", "::1", "/run/client"]))
  }),
  helo: Schema.Union([matching(/^[a-z]{1,10}\.example$/), Schema.Literals(["", "[192.0.2.1]", "two words", "grüße"])]),
  /** A command that the MTA does not know, before the messages. */
  unknown: Schema.optionalKey(Schema.Literals(["FOO", "HELP me", "ÄÖ"])),
  /** HELO again before the second message. */
  heloAgain: Schema.Boolean,
  messages: Schema.Array(MessageScript).check(Schema.isMaxLength(3)),
  end: Schema.Literals(["quit", "vanishes"])
})

/**
 * A session of a property test.
 *
 * @category models
 * @since 0.1.0
 */
export type SessionScript = typeof SessionScript.Type

/**
 * A message of a script and its outcome; `undefined` if the client gave up the message, or the MTA vanished.
 *
 * @category models
 * @since 0.1.0
 */
export interface PlayedMessage {
  readonly script: MessageScript
  readonly outcome: Outcome | undefined
}

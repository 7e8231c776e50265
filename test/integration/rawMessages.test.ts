/**
 * The bytes of a sender's header, in real MTAs and in the imitated ones: what filters are shown of it and what is
 * delivered. The imitation gets the same message by `RawMessage.parse`.
 */
import { assert, it } from "@effect/vitest"
import * as Delivery from "effect-milter/Delivery"
import * as Milter from "effect-milter/Milter"
import * as MilterClient from "effect-milter/MilterClient"
import type { ListenError } from "effect-milter/MilterServer"
import { NodeMilterClient } from "effect-milter/node"
import * as RawMessage from "effect-milter/RawMessage"
import * as Verdict from "effect-milter/Verdict"
import { ByteString } from "effect-milter/Wire"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { missing } from "../../testbed/daemon.ts"
import { type Delivered, type MtaError, socketDirectory } from "../../testbed/mta.ts"
import { opendkim, prerequisites } from "../../testbed/opendkim.ts"
import * as Postfix from "../../testbed/postfix.ts"
import { describeWith } from "../../testbed/prerequisite.ts"
import * as Sendmail from "../../testbed/sendmail.ts"
import * as SmtpClient from "../../testbed/smtpClient.ts"
import * as FilterServer from "./support/filterServer.ts"

const watching = Milter.make("watching").on(
  { endOfMessage: () => Effect.succeed(Verdict.continue) },
  { header: () => Effect.void, body: () => Effect.void }
)

const lineOf = (length: number): string => "x".repeat(length)

/** Header fields as a client sends them, one character a byte. */
const headers: { readonly [what: string]: ReadonlyArray<string> } = {
  "no space after the colon": ["X-None:value", "Subject:value", "X-Tabs:\t\tvalue"],
  "nothing after the colon": ["Subject:", "X-Space: ", "X-Spaces:   "],
  "a tab after the colon": ["X-Tab:\tb", "Subject:\tb"],
  "a fold right after the colon": ["Subject:\r\n\tone", "X-Fold:\r\n two\r\n three", "X-Both: \r\n four"],
  "several spaces": ["Subject:  two", "X-End: spaces \t "],
  "a space before the colon": ["Subject : one", "X-Tab\t:two"],
  "eight bits": ["Subject:gr\xc3\xbc\xc3\x9fe", "X-Latin: \xe9"],
  "NUL": ["Subject: one\0two", "X-None:\0", "X-Fold: a\r\n b\0c\r\n d"]
}

const textOf = (fields: ReadonlyArray<string>): string => fields.map((field) => `${field}\r\n`).join("")

const rest = "Date: Mon, 01 Jan 2024 00:00:00 +0000\r\nMessage-Id: <1@example.org>\r\n\r\nHello\r\n"

interface Mta {
  readonly port: number
  readonly tap: FilterServer.Tap
  readonly withoutReceived: (message: Delivered) => string
  readonly takeOne: (queueId: string | undefined) => Effect.Effect<Delivered, MtaError>
}

const tapped = (mode: number) =>
  Effect.gen(function*() {
    const directory = yield* socketDirectory
    const address = yield* FilterServer.serve(watching, { listen: `unix:${directory}/filter` })
    return yield* FilterServer.tap(address, `${directory}/tap`, mode)
  })

const shown = (tap: FilterServer.Tap): ReadonlyArray<string> =>
  tap.takePackets().flatMap((packet) => packet._tag === "Header" ? [`${packet.name}:${packet.value}`] : [])

/** Short where it is long, so that a difference can be read. */
const short = (text: string): string =>
  text.replace(/(.)\1{99,}/g, (run, character: string) => `${character}{${run.length}}`).replace(
    /(?:\n\t\d+ x\{100\}){20,}/,
    (run) => ` many {${run.length}}`
  )

const compare = Effect.fnUntraced(
  function*(mta: Mta, as: MilterClient.Mta, message: string) {
    const { tap } = mta
    tap.takePackets()
    const bytes = ByteString.toBytes(ByteString.make(message))
    const client = yield* SmtpClient.connect(mta.port)
    const { last, queueId } = yield* client.sendMail({ from: "a@example.org", to: "bob@test.example", message: bytes })
    assert.strictEqual(last.code, 250, last.text)
    yield* client.quit
    const real = { shown: shown(tap), delivered: mta.withoutReceived(yield* mta.takeOne(queueId)) }
    const imitation = yield* MilterClient.dial(tap.address, { as })
    const outcome = yield* imitation.sendMessage({
      from: "a@example.org",
      to: "bob@test.example",
      ...RawMessage.parse(bytes)
    })
    yield* imitation.quit()
    const delivered = outcome.delivered === undefined ? "" : ByteString.fromBytes(Delivery.toBytes(outcome.delivered))
    const imitated = { shown: shown(tap), delivered: delivered.replaceAll("\r\n", "\n") }
    return [real, imitated].map(({ shown, delivered }) => ({ shown: shown.map(short), delivered: short(delivered) }))
  },
  Effect.scoped,
  Effect.provide(NodeMilterClient.layer)
)

const suite = (
  as: MilterClient.Mta,
  start: Effect.Effect<Mta, ListenError | MtaError, Scope.Scope>,
  more: { readonly [what: string]: ReadonlyArray<string> }
) =>
() => {
  it.live("are the same", () =>
    Effect.gen(function*() {
      const mta = yield* start
      for (const [what, fields] of Object.entries({ ...headers, ...more })) {
        const [real, imitated] = yield* compare(mta, as, `From:a@example.org\r\n${textOf(fields)}${rest}`)
        assert.deepStrictEqual(imitated, real, what)
      }
    }).pipe(Effect.scoped))
}

Postfix.describePostfix(
  "headers with Postfix",
  suite(
    MilterClient.postfix,
    Effect.gen(function*() {
      const tap = yield* tapped(0o666)
      const postfix = yield* Postfix.make({ milters: tap.address })
      return {
        tap,
        port: postfix.port,
        withoutReceived: Postfix.withoutReceived,
        takeOne: (queueId) => postfix.takeOne({ queueId })
      }
    }),
    {
      "long lines": [`X-Long: ${lineOf(990)}`, `X-Longer: ${lineOf(2500)}`, `X-Longest: ${lineOf(5000)}`],
      "60,000 bytes": [
        `X-A: ${lineOf(59_994)}`,
        `X-B: ${lineOf(59_995)}`,
        `X-C: ${lineOf(59_996)}`,
        `X-D:${lineOf(59_996)}`,
        `X-E:${lineOf(59_997)}`
      ],
      "70,000 bytes": [`X-A: ${lineOf(70_000)}`, "X-B: after"],
      "70,000 bytes in lines": [
        `X-A: ${Array.from({ length: 700 }, (_, n) => `${n} ${lineOf(100)}`).join("\r\n\t")}`,
        "X-B: after"
      ]
    }
  )
)

Sendmail.describeSendmail(
  "headers with Sendmail",
  suite(
    MilterClient.sendmail,
    Effect.gen(function*() {
      const tap = yield* tapped(0o600)
      const sendmail = yield* Sendmail.make({ filters: [{ address: tap.address }], mailerFlags: "" })
      return {
        tap,
        port: sendmail.port,
        withoutReceived: Sendmail.withoutReceived,
        takeOne: (queueId) => sendmail.takeOne({ queueId })
      }
    }),
    {
      "long lines": [`X-Long: ${lineOf(990)}`, `X-Longer: ${lineOf(2500)}`, `X-Longest: ${lineOf(5000)}`],
      "folded lines": [
        `X-A: one\r\n\t${lineOf(2040)}\r\n\t${lineOf(2500)}\r\n two`,
        `X-B: ${lineOf(2298)}\r\n two`,
        `X-C: ${lineOf(2299)}\r\n two`,
        `X-D: ${lineOf(2300)} ${lineOf(9000)}\r\n two`,
        `X-E: one\r\n\t${lineOf(2302)}`,
        `X-F: one\r\n\t${lineOf(2303)}`
      ]
    }
  )
)

describeWith(
  missing(prerequisites) ?? Postfix.missingPrerequisite(),
  "a simple signature of opendkim behind Postfix",
  () => {
    it.live("stays valid in the imitated MTA", () =>
      Effect.gen(function*() {
        const signer = yield* opendkim(undefined, "simple/simple")
        const postfix = yield* Postfix.make({ milters: signer })
        for (const [what, fields] of Object.entries(headers)) {
          const client = yield* SmtpClient.connect(postfix.port)
          const { last, queueId } = yield* client.sendMail({
            from: "alice@example.org",
            to: "bob@test.example",
            message: ByteString.toBytes(
              ByteString.make(`From:alice@example.org\r\nTo:\tbob@test.example\r\n${textOf(fields)}${rest}`)
            )
          })
          assert.strictEqual(last.code, 250, what)
          yield* client.quit
          const delivered = Postfix.withoutReceived(yield* postfix.takeOne({ queueId }))
          assert.match(delivered, /^DKIM-Signature: [^]* c=simple\/simple;/)
          for (const as of [MilterClient.postfix, MilterClient.sendmail]) {
            const chain = yield* MilterClient.chain([signer], { as })
            const outcome = yield* chain.sendMessage({
              from: "alice@example.org",
              to: "bob@test.example",
              client: { hostname: "client.example.org", address: "192.0.2.1" },
              ...RawMessage.parse(ByteString.toBytes(ByteString.make(delivered)))
            })
            yield* chain.quit()
            const results = outcome.delivered?.headers.find(({ name }) => name === "Authentication-Results")
            assert.match(results?.value ?? "", /dkim=pass/, `${what}, ${as.name}`)
          }
        }
      }).pipe(Effect.scoped, Effect.provide(NodeMilterClient.layer)))
  }
)

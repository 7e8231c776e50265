/**
 * The filter of the differential test, which exists in C on libmilter and in TypeScript: the client takes the same messages
 * through both and must come to the same outcomes, as each MTA.
 */
import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as Delivery from "effect-milter/Delivery"
import * as MilterClient from "effect-milter/MilterClient"
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterServer } from "effect-milter/node"
import * as Packet from "effect-milter/Packet"
import { ByteString } from "effect-milter/Wire"
import * as Path from "node:path"
import { describeWith } from "../../testbed/prerequisite.ts"
import { type VariantName, variants } from "../differential/filter.ts"
import * as Reference from "../differential/reference.ts"
import { quiet } from "../support/listeners.ts"
import { message, outside, sendAll } from "./support/send.ts"

const stages = ["", "data-", "eoh-", "eom-"]
const words = ["accept", "reject", "tempfail", "discard", "reply550", "reply451", "multi550", "multi451"]

/** A sender that is a wish for a stage, and one that makes all kinds of changes. */
const messages: ReadonlyArray<MilterClient.Message> = [
  message,
  ...stages.flatMap((stage) =>
    words.map((word) => ({ ...message, from: `${stage === "" ? "do-" : stage}${word}@example.org` }))
  ),
  ...words.map((word) => ({ ...message, to: [`do-${word}@example.net`, "bob@example.net"] })),
  ...words.map((word) => ({ ...message, headers: [...message.headers ?? [], [`do-${word}`, "x"] as const] })),
  { ...message, body: `do-skip\r\n${"0123456789".repeat(20_000)}` },
  {
    ...message,
    parameters: ["SIZE=1000", "BODY=8BITMIME"],
    headers: [
      ...message.headers ?? [],
      ["X-Do", "add X-Added a value"],
      ["X-Do", "insert 1 X-Inserted another"],
      ["X-Do", "change 1 Subject changed"],
      ["X-Do", "delete 1 Date"],
      ["X-Do", "addrcpt <carol@example.net>"],
      ["X-Do", "delrcpt <bob@example.net>"],
      ["X-Do", "from <bounces@example.org>"],
      ["X-Do", "macro {mail_addr}"],
      ["X-Do", "client"],
      ["X-Do", "quarantine for a reason"],
      // This library sends it last.
      ["X-Do", "body 100000"]
    ]
  }
]

/** In text, without what tells the two apart: where they listen, and how they cut a new body into pieces. */
const comparable = ({ _tag, delivered, modifications, recipients, reply, stage }: MilterClient.Outcome) => ({
  verdict: [_tag, stage, reply, recipients],
  delivered: delivered && ByteString.fromBytes(Delivery.toBytes(delivered)),
  modifications: modifications.flatMap((packet, index) =>
    packet._tag !== "ReplaceBody"
      ? [Packet.format(packet)]
      : modifications[index - 1]?._tag === "ReplaceBody"
      ? []
      : [packet._tag]
  )
})

const clients = [outside, { address: "2001:db8::1", hostname: "[2001:db8::1]" }]

const names: ReadonlyArray<VariantName> = ["answering", "watching", "mixed"]

describeWith(Reference.missingPrerequisite(), "libmilter", () => {
  for (const name of names) {
    it.live(`and this library agree with the client, ${name}`, () =>
      Effect.gen(function*() {
        const directory = yield* Reference.temporaryDirectory
        const program = yield* Reference.compile(directory)
        const theirs = Path.join(directory, "theirs")
        const ours = Path.join(directory, "ours")
        const variant = variants[name]
        yield* Reference.start(program, theirs, variant)
        yield* Layer.build(
          MilterServer.layer(variant.filter).pipe(
            Layer.provide(NodeMilterServer.layer({ listen: `unix:${ours}` })),
            Layer.provide(quiet)
          )
        )
        for (const as of [MilterClient.postfix, MilterClient.sendmail]) {
          for (const client of clients) {
            const introduced = messages.map((message) => ({ ...message, client }))
            const [expected, actual] = yield* Effect.all(
              [sendAll(`unix:${theirs}`, introduced, { as }), sendAll(`unix:${ours}`, introduced, { as })],
              { concurrency: 2 }
            )
            for (const [index, outcome] of actual.entries()) {
              assert.deepStrictEqual(
                comparable(outcome),
                comparable(expected[index]!),
                JSON.stringify(introduced[index])
              )
            }
            const reached = new Set(actual.map(({ _tag, stage }) => `${_tag} ${stage}`))
            assert.isAbove(reached.size, 5)
          }
        }
      }))
  }
})

/** A remote milter that fails: at no command and in no place does mail pass where the policy does not say so. */
import { assert, describe, it } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import type * as MilterClient from "effect-milter/MilterClient"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import * as Mta from "../../support/rawMta.ts"
import { agreeing, declare, explained, failed, serve } from "../../support/remoteFilters.ts"
import type * as Scripted from "../../support/scriptedFilter.ts"

const commands = [
  "Negotiate",
  "Connect",
  "Helo",
  "Mail",
  "Rcpt",
  "Data",
  "Header",
  "EndOfHeaders",
  "Body",
  "EndOfMessage"
] as const

type Filter = Milter.Made<never, MilterClient.Dialer>

const rcpt: Milter.ConditionAt<"rcpt", never> = ({ recipient }) => recipient.localPart === "bob"

const edits = Milter.make("edits", { modify: ["addHeader", "replaceBody"] }).on({
  endOfMessage: (_, { edit }) => Effect.as(edit.addHeader("X-Edited", "yes"), Verdict.continue)
})

const accepts = Milter.make("accepts").on({ mail: () => Effect.succeed(Verdict.acceptMessage) })

const places: { readonly [name: string]: (filter: Filter) => Filter } = {
  "alone": (filter) => filter,
  "under a condition of connect": (filter) => Milter.when(filter, { connect: () => true }),
  "under a condition of helo": (filter) => Milter.when(filter, { helo: () => true }),
  "under a condition of mail": (filter) => Milter.when(filter, { mail: () => true }),
  "under a condition of rcpt for each": (filter) => Milter.when(filter, { rcpt, recipients: "each" }),
  "under a condition of rcpt for any": (filter) => Milter.when(filter, { rcpt, recipients: "any" }),
  "under a condition with separate": (filter) => Milter.when(filter, { rcpt, recipients: "each", mixed: "separate" }),
  "under delayReject": (filter) => Milter.delayReject(filter, { at: "rcpt", except: () => false }),
  "after a filter that edits": (filter) => Milter.sequence([edits, filter]),
  "before a filter that accepts": (filter) => Milter.sequence([filter, accepts])
}

const ways: { readonly [name: string]: (child: Scripted.Filter) => ReadonlyArray<Uint8Array> } = {
  closes: (child) => {
    child.close()
    return []
  },
  // A frame of an unknown type.
  babbles: () => [new Uint8Array([0, 0, 0, 1, 0x7e])]
}

const kinds: { readonly [name: string]: Milter.RemoteError["kind"] } = { closes: "closed", babbles: "protocol" }

describe.each(Object.entries(places))("a remote milter %s", (_, place) => {
  for (const [way, fail] of Object.entries(ways)) {
    it.effect.each(commands)(`that ${way} at %s fails this message and the next`, (command) =>
      Effect.gen(function*() {
        const { dials, server } = yield* serve(
          agreeing((packet, child) => packet._tag === command ? fail(child) : undefined),
          place(explained(declare()))
        )
        for (const rset of [[], [Mta.abort]]) {
          const before = dials()
          const mta = yield* server.open()
          yield* mta.each(Mta.connect(), Mta.helo())
          for (let count = 0; count < 2; count++) {
            const answers = yield* mta.each(...Mta.message, ...rset)
            assert.include(answers, failed(kinds[way]!), answers.join())
          }
          assert.strictEqual(dials() - before, 1)
        }
      }))
  }
})

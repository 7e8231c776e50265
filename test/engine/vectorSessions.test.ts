/** What becomes of a session, or of a client, that gets one of the malformed packets among the vectors. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import * as Fs from "node:fs"
import * as Milter from "../../src/Milter.ts"
import type * as MilterClient from "../../src/MilterClient.ts"
import { Action } from "../../src/Negotiation.ts"
import type * as Packet from "../../src/Packet.ts"
import * as Verdict from "../../src/Verdict.ts"
import { before, commands, goOn } from "../support/filters.ts"
import { order } from "../support/names.ts"
import * as Mta from "../support/rawMta.ts"
import { dial, orContinue } from "../support/scriptedFilter.ts"
import { fromHex } from "../support/wire.ts"

interface Malformed {
  readonly name: string
  readonly direction: "mta->filter" | "filter->mta"
  readonly hex: string
  readonly decoded: { readonly valid?: false; readonly expect: string }
}

const all: ReadonlyArray<Malformed> = JSON.parse(
  Fs.readFileSync(new URL("../fixtures/vectors.json", import.meta.url), "utf8")
)

/** One test for each malformed vector of a direction. One that the table does not know fails, as does an entry without. */
const forEachOf = <Case>(
  direction: Malformed["direction"],
  table: { readonly [name: string]: Case },
  test: (vector: Malformed, entry: Case) => Effect.Effect<void, unknown, Scope.Scope>
): void => {
  const vectors = all.filter((vector) => vector.decoded.valid === false && vector.direction === direction)
  it("all of them", () => {
    assert.deepStrictEqual(Object.keys(table).toSorted(), vectors.map(({ name }) => name).toSorted())
  })
  for (const vector of vectors) {
    it.effect(`${vector.name}: ${vector.decoded.expect}`, () => {
      const entry = table[vector.name]
      return entry === undefined ? Effect.die("it is not in the table") : test(vector, entry)
    })
  }
}

describe("a session gets malformed packets", () => {
  interface Case {
    /** Where the session is: what the MTA has said before, or nothing, not even the negotiation. */
    readonly after: ReadonlyArray<Packet.MtaPacket> | "nothing"
    /** An intact frame of a command that expects an answer gets one, whatever is in it. */
    readonly answer?: "TempFail" | "Continue"
    /** The only line in the log. */
    readonly log: RegExp
  }

  const started = before("connect")
  const cases: { readonly [name: string]: Case } = {
    "malformed/length-zero": { after: before("endOfHeaders"), log: /^FrameError: .* a length of 0/ },
    "malformed/length-negative": { after: before("mail"), log: /^FrameError: .* 4294967295 is over the cap/ },
    "malformed/oversize-65537": { after: before("body"), log: /^FrameError: .* 65537 is over the cap/ },
    "malformed/unknown-command": { after: before("mail"), log: /^PacketError: .* 0x7a/ },
    "malformed/helo-missing-nul": { after: before("helo"), answer: "TempFail", log: /^PacketError: Helo/ },
    "malformed/connect-missing-address": { after: started, answer: "TempFail", log: /^PacketError: Connect/ },
    "malformed/connect-unknown-family": { after: started, answer: "TempFail", log: /^PacketError: Connect/ },
    "malformed/connect-unterminated-address": { after: started, answer: "TempFail", log: /^PacketError: Connect/ },
    "malformed/mail-no-nul": { after: before("mail"), answer: "TempFail", log: /^PacketError: Mail/ },
    "malformed/mail-trailing-junk": { after: before("mail"), answer: "Continue", log: /^Mail: / },
    "malformed/header-one-string": { after: before("header"), answer: "TempFail", log: /^PacketError: Header/ },
    "malformed/header-empty-name": { after: before("header"), answer: "TempFail", log: /^PacketError: Header/ },
    "malformed/header-unterminated": { after: before("header"), answer: "TempFail", log: /^PacketError: Header/ },
    "malformed/macro-no-stage": { after: before("mail"), log: /^PacketError: Macro/ },
    "malformed/macro-odd-strings": { after: started, log: /^Macro: / },
    // Nothing has been agreed on yet that could be answered.
    "malformed/optneg-short": { after: "nothing", log: /^PacketError: Negotiate/ },
    "malformed/optneg-v1": { after: "nothing", log: /^NegotiationError: .* version 1/ }
  }

  forEachOf("mta->filter", cases, ({ decoded: { expect }, hex }, { after, answer, log }) =>
    Effect.gen(function*() {
      const macros: Array<string | undefined> = []
      const filter = Milter.make("test").on({
        connect: (_, { session }) => Effect.sync(() => (macros.push(session.macros.get("j")), Verdict.continue)),
        helo: () => goOn,
        mail: () => goOn,
        rcpt: () => goOn,
        data: () => goOn,
        header: () => goOn,
        endOfHeaders: () => goOn,
        body: () => goOn
      })
      const cap = /\bcap is (\d+)/.exec(expect)?.[1]
      const server = yield* Mta.serve(filter, cap === undefined ? {} : { maxFrameLength: Number(cap) })
      const bystander = yield* server.open()
      const mta = yield* after === "nothing" ? server.dial : server.open()
      const said = after === "nothing" ? [] : after
      assert.deepStrictEqual(yield* mta.each(...said), said.map(() => "Continue"))
      assert.deepStrictEqual(yield* mta.raw(fromHex(hex)), answer === undefined ? [] : [answer])
      assert.strictEqual(yield* mta.closed, /^close\b/.test(expect))
      assert.deepStrictEqual(server.logs.map(({ level }) => level), ["Warn"])
      assert.match(server.logs[0]!.text, log)
      if (/^ignore\b/.test(expect)) {
        // It stands for the command itself, if it is one that is answered.
        const rest = order.slice(said.length + (answer === undefined ? 0 : 1))
        assert.deepStrictEqual(yield* mta.each(...rest.map((stage) => commands[stage])), rest.map(() => "Continue"))
        assert.strictEqual(server.logs.length, 1)
      } else {
        assert.match(expect, /^close\b/)
        assert.match(server.logs[0]!.text, /; closing the connection/)
        assert.deepStrictEqual(yield* mta.say(Mta.unknown()), [])
      }
      assert.deepStrictEqual(yield* bystander.each(Mta.connect(), Mta.mail()), ["Continue", "Continue"])
      // The name without a value has left nothing behind.
      for (const macro of macros) assert.isUndefined(macro)
    }))
})

describe("a client gets malformed packets", () => {
  interface Case {
    /** The command that it comes as the answer to. */
    readonly to: "Negotiate" | "Connect" | "Rcpt" | "EndOfMessage"
    readonly reason: MilterClient.ClientErrorReason["_tag"]
  }

  const cases: { readonly [name: string]: Case } = {
    "malformed/continue-with-payload": { to: "Connect", reason: "PacketError" },
    "malformed/replycode-single-percent": { to: "Rcpt", reason: "ReplyError" },
    "malformed/replycode-no-nul": { to: "Rcpt", reason: "PacketError" },
    "malformed/replycode-trailing-crlf": { to: "Rcpt", reason: "ReplyError" },
    "malformed/chgfrom-three-strings": { to: "EndOfMessage", reason: "PacketError" },
    "malformed/setsymlist-as-packet": { to: "Negotiate", reason: "PacketError" },
    "malformed/optneg-filter-v7": { to: "Negotiate", reason: "NegotiationError" },
    "malformed/optneg-symlist-no-nul": { to: "Negotiate", reason: "PacketError" }
  }

  forEachOf("filter->mta", cases, ({ decoded: { expect }, hex }, { reason, to }) =>
    Effect.gen(function*() {
      assert.match(expect, /^(filter error|Postfix refuses)\b/)
      const script = orContinue(({ _tag }) => (_tag === to ? fromHex(hex) : undefined), {
        actions: Action.changeSender
      })
      const [mta, filter] = yield* dial(script)
      const error = yield* Effect.gen(function*() {
        yield* mta.negotiate()
        yield* mta.connect({ hostname: "client.example.org", address: "192.0.2.1", port: 4711 })
        yield* mta.mail("<alice@example.org>")
        yield* mta.rcpt("<bob@example.net>")
        yield* mta.data()
        yield* mta.endOfMessage()
      }).pipe(Effect.flip)
      assert.strictEqual(error._tag, "ClientError")
      assert.deepStrictEqual([error.command, error.reason._tag], [to, reason])
      yield* mta.closed
      yield* Mta.settle
      assert.isTrue(filter.closed)
    }))
})

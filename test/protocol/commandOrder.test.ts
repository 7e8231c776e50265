/** Which command may come when. */
import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import {
  type Command,
  initial,
  type PhaseName,
  phases,
  ProtocolError,
  transition
} from "../../src/internal/protocol/commandOrder.ts"
import * as Packet from "../../src/Packet.ts"

const codeOf = (command: Command): number => Packet.mtaDefinitions.find(({ name }) => name === command)!.code

const names = ["new", "idle", "mail", "rcpt", "data", "header", "endOfHeaders", "body"] as const

const commands = [
  "Negotiate",
  "Macro",
  "Connect",
  "Helo",
  "Mail",
  "Rcpt",
  "Data",
  "Header",
  "EndOfHeaders",
  "Body",
  "EndOfMessage",
  "Unknown",
  "Abort",
  "Quit",
  "QuitNewConnection"
] as const satisfies ReadonlyArray<Command>

/** Of each command: the phase that it leads to from each of the phases, in their order; `.` stays, `-` is a violation. */
const table: { readonly [K in Command]: string } = {
  Negotiate: "idle - - - - - - -",
  Macro: "- . . . . . . .",
  Connect: "- idle - - - - - -",
  Helo: "- idle idle idle idle idle idle idle",
  Mail: "- mail mail mail mail mail mail mail",
  Rcpt: "- - rcpt rcpt rcpt - - -",
  Data: "- - data data data - - -",
  Header: "- - header header header header - -",
  EndOfHeaders: "- - endOfHeaders endOfHeaders endOfHeaders endOfHeaders - -",
  Body: "- - body body body body body body",
  EndOfMessage: "- - idle idle idle idle idle idle",
  Unknown: "- . . . . . . .",
  Abort: "- idle idle idle idle idle idle idle",
  Quit: "new idle idle idle idle idle idle idle",
  QuitNewConnection: "- idle idle idle idle idle idle idle"
}

/** These end a message that is open. */
const ending: ReadonlySet<Command> = new Set(["Helo", "Mail", "Abort", "QuitNewConnection"])

describe("transitions", () => {
  it("go from these phases", () => {
    assert.deepStrictEqual(phases.map(({ name }) => name), [...names])
    assert.deepStrictEqual(phases.map(({ number }) => number), names.map((_, index) => index))
    assert.deepStrictEqual(phases.map(({ hasMessage }) => hasMessage), names.map((_, index) => index > 1))
  })

  for (const command of commands) {
    const row = table[command].split(" ")
    it(`${command}: ${row.join(" ")}`, () => {
      assert.strictEqual(row.length, phases.length)
      for (const [index, phase] of phases.entries()) {
        const expected = row[index]!
        const found = transition(phase, codeOf(command))
        if (expected === "-") {
          assert.isUndefined(found, phase.name)
          continue
        }
        assert.strictEqual(found?.phase.name, expected === "." ? phase.name : expected as PhaseName, phase.name)
        assert.strictEqual(found?.endsMessage, phase.hasMessage && ending.has(command), phase.name)
      }
    })
  }

  it("are none for bytes that are no command", () => {
    const codes = new Set(commands.map((command) => codeOf(command)))
    for (const phase of phases) {
      for (let code = 0; code < 256; code++) {
        if (!codes.has(code)) assert.isUndefined(transition(phase, code))
      }
    }
  })
})

describe("ProtocolError", () => {
  it("names the rule and the place", () => {
    const message = (state: PhaseName, command: Command) => new ProtocolError({ state, command, offset: 17 }).message
    assert.strictEqual(message("new", "Mail"), "Mail before the negotiation at byte 17")
    assert.strictEqual(message("idle", "Negotiate"), "a second negotiation at byte 17")
    assert.strictEqual(message("body", "Rcpt"), "Rcpt out of order, after body, at byte 17")
  })
})

describe("any sequence of commands", () => {
  it.prop("opens and ends messages one at a time", [Schema.Array(Schema.Literals(commands))], ([sequence]) => {
    let phase = initial
    let negotiated = 0
    let open = false
    let stage = 0
    for (const command of sequence) {
      const next = transition(phase, codeOf(command))
      if (next === undefined) {
        // The connection would be closed here. What real MTAs send at any time is never a reason for that.
        assert.isTrue(
          phase === initial ||
            !["Macro", "Helo", "Mail", "Unknown", "Abort", "Quit", "QuitNewConnection"].includes(command)
        )
        continue
      }
      if (command === "Negotiate") assert.strictEqual(++negotiated, 1)
      else if (command !== "Quit") assert.strictEqual(negotiated, 1)
      if (next.endsMessage) {
        assert.isTrue(open)
        open = false
      }
      switch (command) {
        case "Mail":
          assert.isFalse(open)
          open = true
          stage = 0
          break
        case "Rcpt":
        case "Data":
          assert.isTrue(open && stage <= 1)
          stage = 1
          break
        case "Header":
        case "EndOfHeaders":
        case "Body":
        case "EndOfMessage": {
          // Never back; only headers and pieces of the body come again.
          const at = { Header: 2, EndOfHeaders: 3, Body: 4, EndOfMessage: 5 }[command]
          assert.isTrue(open && (stage < at || (stage === at && (at === 2 || at === 4))))
          stage = at
          if (command === "EndOfMessage") open = false
          break
        }
        case "Connect":
        case "Helo":
        case "QuitNewConnection":
        case "Abort":
          assert.isFalse(open)
      }
      phase = next.phase
      if (command !== "Quit") assert.strictEqual(phase.hasMessage, open)
      else return
    }
  }, { arbitrary: { runs: 500, size: 60 } })
})

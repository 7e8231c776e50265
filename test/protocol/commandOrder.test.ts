import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import {
  type Command,
  hasMessage,
  type Phase,
  ProtocolError,
  transition
} from "../../src/internal/protocol/commandOrder.ts"

const phases = ["new", "idle", "mail", "rcpt", "data", "header", "endOfHeaders", "body"] as const

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
  for (const command of commands) {
    const row = table[command].split(" ")
    it(`${command}: ${row.join(" ")}`, () => {
      assert.strictEqual(row.length, phases.length)
      for (const [index, phase] of phases.entries()) {
        const expected = row[index]!
        const found = transition(phase, command)
        if (expected === "-") {
          assert.isUndefined(found, phase)
          continue
        }
        assert.strictEqual(found?.phase, expected === "." ? phase : expected as Phase, phase)
        assert.strictEqual(found?.endsMessage, hasMessage(phase) && ending.has(command), phase)
      }
    })
  }

  it("are the same objects each time", () => {
    for (const phase of phases) {
      for (const command of commands) assert.strictEqual(transition(phase, command), transition(phase, command))
    }
  })
})

describe("ProtocolError", () => {
  it("names the rule and the place", () => {
    const message = (state: Phase, command: Command) => new ProtocolError({ state, command, offset: 17 }).message
    assert.strictEqual(message("new", "Mail"), "Mail before the negotiation at byte 17")
    assert.strictEqual(message("idle", "Negotiate"), "a second negotiation at byte 17")
    assert.strictEqual(message("body", "Rcpt"), "Rcpt out of order, after body, at byte 17")
  })
})

describe("any sequence of commands", () => {
  it.prop("opens and ends messages one at a time", [Schema.Array(Schema.Literals(commands))], ([sequence]) => {
    let phase: Phase = "new"
    let negotiated = 0
    let open = false
    let stage = 0
    for (const command of sequence) {
      const next = transition(phase, command)
      if (next === undefined) {
        // The connection would be closed here. What real MTAs send at any time is never a reason for that.
        assert.isTrue(
          phase === "new" ||
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
      if (command !== "Quit") assert.strictEqual(hasMessage(phase), open)
      else return
    }
  }, { arbitrary: { runs: 500, size: 60 } })
})

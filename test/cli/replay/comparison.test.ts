/** What the program says of differences between two replies or messages. */
import { assert, describe, it } from "@effect/vitest"
import * as comparison from "../../../src/cli/replay/comparison.ts"
import { plain } from "../../../src/cli/terminal/style.ts"
import type { Exchange } from "../../../src/MilterTest.ts"
import type * as Packet from "../../../src/Packet.ts"
import { ByteString } from "../../../src/Wire.ts"

const text = ByteString.fromText
const goesOn: Packet.FilterPacket = { _tag: "Continue" }
const accept: Packet.FilterPacket = { _tag: "Accept" }
const reject: Packet.FilterPacket = { _tag: "Reject" }
const mail: Packet.MtaPacket = { _tag: "Mail", sender: text("<a@b>"), parameters: [] }
const end: Packet.MtaPacket = { _tag: "EndOfMessage", bytes: new Uint8Array(0) }
const header = (value: string): Packet.FilterPacket => ({
  _tag: "InsertHeader",
  index: 1,
  name: text("X-S"),
  value: text(value)
})

const isSame = (
  command: Packet.MtaPacket,
  recorded: ReadonlyArray<Packet.FilterPacket>,
  replayed: ReadonlyArray<Packet.FilterPacket>,
  ...ignored: ReadonlyArray<string>
): boolean => comparison.differences([{ command, recorded, replayed }], new Set(ignored)).length === 0

describe("differences", () => {
  it("are other verdicts, other modifications, another order", () => {
    assert.isTrue(isSame(mail, [goesOn], [goesOn]))
    assert.isFalse(isSame(mail, [goesOn], [reject]))
    assert.isFalse(isSame(mail, [goesOn], [accept]))
    assert.isFalse(isSame(end, [header("1"), goesOn], [header("2"), goesOn]))
    assert.isFalse(isSame(end, [header("1"), header("2"), goesOn], [header("2"), header("1"), goesOn]))
  })

  it("are not what means the same to the MTA", () => {
    assert.isTrue(isSame(mail, [], [goesOn]))
    assert.isTrue(isSame(end, [accept], [goesOn]))
    assert.isTrue(isSame(end, [{ _tag: "Progress" }, header("1"), goesOn], [header("1"), accept]))
    assert.isTrue(isSame(end, [header("1"), goesOn], [header("2"), goesOn], "x-s"))
    assert.isFalse(isSame(end, [header("1"), goesOn], [goesOn], "x-s"))
  })

  it("are shown like a diff", () => {
    const exchange: Exchange = { command: mail, recorded: [goesOn], replayed: [reject] }
    assert.strictEqual(
      comparison.show(2, 5, comparison.differences([exchange], new Set()), plain),
      `connection 2: 5 commands, 1 other answer
  @@ Mail sender="<a@b>" parameters=[] @@
  - Continue
  + Reject
`
    )
    assert.strictEqual(comparison.show(1, 1, [], plain), "connection 1: 1 command, same answers\n")
    assert.strictEqual(comparison.summary(1, 1, 0, plain), "")
    assert.strictEqual(comparison.summary(2, 9, 3, plain), "2 connections, 9 commands: 3 other answers\n")
  })
})

/** The edits of several filters, put together in one message. */
import { assert, describe, it } from "@effect/vitest"
import type * as Packet from "effect-milter/Packet"
import { ByteString } from "effect-milter/Wire"
import { combine } from "../../src/internal/engine/editedContent.ts"
import type { Edits } from "../../src/internal/filter/editor.ts"
import { assertLinear } from "../support/growth.ts"

const edits = (packets: Array<Packet.FilterPacket>): Edits => ({
  openFile: undefined,
  most: Infinity,
  packets,
  body: undefined
})

const recipient = (name: string): Packet.FilterPacket => ({
  _tag: "AddRecipient",
  recipient: ByteString.fromText(`<${name}@example.org>`)
})

const reason = (text: string): Packet.FilterPacket => ({ _tag: "Quarantine", reason: ByteString.fromText(text) })

describe("edits of several filters", () => {
  it("add a recipient once, and have one reason, the last", () => {
    assert.deepStrictEqual(
      combine([edits([recipient("a"), reason("first"), recipient("b")]), edits([reason("last"), recipient("a")])])
        .packets,
      [recipient("b"), reason("last"), recipient("a")]
    )
  })

  it("take time that grows with their number", () => {
    assertLinear(
      1000,
      (size) => [0, 1].map(() => edits(Array.from({ length: size }, (_, index) => recipient(`user${index}`)))),
      (all) => void combine(all)
    )
  })
})

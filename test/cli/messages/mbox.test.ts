/** Mailbox files, taken apart. */
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { isMbox, messages } from "../../../src/cli/messages/mbox.ts"

const line = "From alice@example.org Mon Jan  5 10:00:00 2026\n"

const apart = (text: string, size = 65_536): ReadonlyArray<string> => {
  const bytes = Buffer.from(text, "latin1")
  // One buffer for all chunks, as a reader of files has it.
  const buffer = Buffer.alloc(size)
  const chunks = function*(): Generator<Buffer> {
    for (let at = 0; at < bytes.length; at += size) {
      const length = bytes.copy(buffer, 0, at, at + size)
      yield buffer.subarray(0, length)
    }
  }
  return Array.from(messages(chunks()), (message) => message.toString("latin1"))
}

describe("messages", () => {
  it("begin at a From line after an empty line, and end before the empty line", () => {
    assert.deepStrictEqual(apart(`${line}A: 1\n\none\n\n${line}A: 2\n\ntwo\n\n`), ["A: 1\n\none\n", "A: 2\n\ntwo\n"])
    assert.deepStrictEqual(apart(`${line}A: 1\r\n\r\none\r\n\r\n${line}A: 2\n\ntwo`), [
      "A: 1\r\n\r\none\r\n",
      "A: 2\n\ntwo"
    ])
    assert.deepStrictEqual(apart(`${line}${line}`), [line])
    assert.deepStrictEqual(apart(""), [])
  })

  it("keep prose that begins with From", () => {
    const prose = "A: 1\n\none\n\nFrom here on it goes well.\nFrom x Mon 10:00 2026 within a paragraph\n"
    assert.deepStrictEqual(apart(`${line}${prose}`), [prose])
  })

  it("lose one mark of a quoted From", () => {
    assert.deepStrictEqual(apart(`${line}A: 1\n\n>From me\n>>From you\n> From\n>Fromage\n`), [
      "A: 1\n\nFrom me\n>From you\n> From\n>Fromage\n"
    ])
  })

  const Line = Schema.Literals(["", "A: 1", line.trimEnd(), "text", "From here on", "\r"])

  it.prop(
    "do not depend on how the file is read",
    [Schema.Array(Line), Schema.Literals([1, 2, 3, 7, 64, 1000])],
    ([lines, size]) => {
      const text = `${line}${lines.map((line) => `${line}\n`).join("")}`
      assert.deepStrictEqual(apart(text, size), apart(text))
    }
  )

  it.prop(
    "come back as they were written",
    [Schema.Array(Schema.Array(Schema.Literals(["", "text", "From x 10:00", ">From x 10:00"])))],
    ([bodies]) => {
      const whole = bodies.map((body) => ["A: 1", "", ...body, "end"].map((line) => `${line}\n`).join(""))
      const file = whole.map((text) => `${line}${text.replace(/^(>*From )/gm, ">$1")}\n`).join("")
      assert.deepStrictEqual(apart(file), whole)
    }
  )
})

describe("isMbox", () => {
  it("tells a mailbox from a message", () => {
    assert.isTrue(isMbox(Buffer.from(`${line}A: 1\n`)))
    for (const text of ["", "From", "From: a@b\n", "From : a@b\n", "From a@b\n", line.trimEnd()]) {
      assert.isFalse(isMbox(Buffer.from(text)), text)
    }
  })
})

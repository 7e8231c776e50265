/** RawMessage: messages from bytes and from text. */
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as Delivery from "../src/Delivery.ts"
import * as MilterClient from "../src/MilterClient.ts"
import * as RawMessage from "../src/RawMessage.ts"
import { ByteString } from "../src/Wire.ts"

const bytes = (text: string): Uint8Array => ByteString.toBytes(text as ByteString) // one character per byte

const parsed = (text: string): unknown => {
  const { body, headers } = RawMessage.parse(bytes(text))
  return [
    headers.map(([name, value, ...space]) => [
      name,
      typeof value === "string" ? value : Array.from(value),
      ...space
    ]),
    ByteString.fromBytes(body)
  ]
}

describe("parse", () => {
  const cases: ReadonlyArray<readonly [string, string, ReadonlyArray<readonly [string, unknown, ""?]>, string]> = [
    ["CR LF", "A: 1\r\nB: 2\r\n\r\nbody\r\n", [["A", "1"], ["B", "2"]], "body\r\n"],
    ["LF", "A: 1\nB: 2\n\nbody\n", [["A", "1"], ["B", "2"]], "body\r\n"],
    ["folds", "A: 1\n 2\r\n\t3\nB:\n\n", [["A", "1\n 2\n\t3"], ["B", "", ""]], ""],
    ["spaces", "A:1\nB:  2 \nC :3\nD: \n", [["A", "1", ""], ["B", " 2 "], ["C", "3", ""], ["D", ""]], ""],
    ["a tab after the colon", "A:\t1\n", [["A", "\t1", ""]], ""],
    ["a fold after the colon", "A:\n 1\nB: \n\t2\n", [["A", "\n 1", ""], ["B", "\n\t2"]], ""],
    ["no header", "\nbody\n", [], "body\r\n"],
    ["no empty line", "A: 1\nbody\n\nmore", [["A", "1"]], "body\r\n\r\nmore\r\n"],
    ["no body", "A: 1", [["A", "1"]], ""],
    ["a body of one empty line", "A: 1\n\n\n", [["A", "1"]], "\r\n"],
    ["no last line end", "A: 1\n\nbody", [["A", "1"]], "body\r\n"],
    ["nothing", "", [], ""],
    ["UTF-8", "A: \xc3\xa9\n\n\xc3\xa9\n", [["A", "é"]], "\xc3\xa9\r\n"],
    ["other bytes", "A: \xe9\n\n\xff\0\r x\n", [["A", [0xe9]]], "\xff\0\r x\r\n"],
    ["a mailbox file", "From alice Mon\nA: 1\n\nFrom here\n", [["A", "1"]], "From here\r\n"],
    ["white space before the colon of From", "From : a@b\nA: 1\n", [["From", "a@b"], ["A", "1"]], ""],
    ["a line that begins the header with a fold", " x\nA: 1\n", [], " x\r\nA: 1\r\n"]
  ]
  it.each(cases)("%s", (_, text, headers, body) => {
    assert.deepStrictEqual(parsed(text), [headers, body])
  })
})

describe("gives a message that comes out as it went in", () => {
  const files: ReadonlyArray<string> = [
    "From: a@b\r\nX: \xe9\r\n\t\xc3\xa9\r\n\r\n\xff.\r\n",
    "From:a@b\r\nSubject:\r\nTo:\tb\r\nX-Fold:\r\n one\r\n\ttwo\r\nX-Space: \r\nX-Two:  a \r\n\r\nbody\r\n",
    "X:\xe9\r\nX:\t\xe9\r\n\r\n"
  ]
  it.each(files)("%j", (file) => {
    for (const as of [MilterClient.postfix, MilterClient.sendmail]) {
      const message = { from: "a@b", to: "c@d", ...RawMessage.parse(bytes(file)) }
      const delivered = Result.getOrThrow(MilterClient.applyTo(message, [], { as }))
      assert.strictEqual(ByteString.fromBytes(Delivery.toBytes(delivered)), ByteString.make(file))
    }
  })
})

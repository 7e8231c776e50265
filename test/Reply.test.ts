/** Reply: SMTP replies, checked and rendered. */
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as Reply from "../src/Reply.ts"
import { ByteString } from "../src/Wire.ts"

const reject = (input: Reply.ReplyInput<"5">): string => Result.getOrThrow(Reply.render(input, "5"))
const tempFail = (input: Reply.ReplyInput<"4">): string => Result.getOrThrow(Reply.render(input, "4"))
const reason = (result: Result.Result<unknown, { readonly message: string }>): string => {
  assert.isTrue(Result.isFailure(result))
  return Result.isFailure(result) ? result.failure.message : ""
}
const parse = (wire: string) => Reply.parse(wire as ByteString)

describe("Reply.render", () => {
  it("fills in code and status", () => {
    assert.strictEqual(reject({ text: "no" }), "550 5.7.1 no")
    assert.strictEqual(tempFail({ text: "later" }), "451 4.7.1 later")
    assert.strictEqual(reject({ code: "550", text: "no" }), "550 5.7.1 no")
    assert.strictEqual(reject({ code: "552", text: "big" }), "552 5.0.0 big")
    assert.strictEqual(tempFail({ code: "421", text: "bye" }), "421 4.0.0 bye")
    assert.strictEqual(reject({ enhanced: "5.1.1", text: "who" }), "550 5.1.1 who")
    assert.strictEqual(reject({ code: "554", enhanced: "5.6.0", text: "" }), "554 5.6.0 ")
  })

  it("repeats code and status on each line", () => {
    assert.strictEqual(
      reject({ code: "554", enhanced: "5.7.9", text: ["first line", "second line", "third line"] }),
      "554-5.7.9 first line\r\n554-5.7.9 second line\r\n554 5.7.9 third line"
    )
  })

  it("doubles percent signs", () => {
    assert.strictEqual(reject({ text: "100% no %s %%" }), "550 5.7.1 100%% no %%s %%%%")
  })

  it("refuses codes and statuses of another class or form", () => {
    for (const code of ["450", "55", "5500", "560", "5.5", "5 0", "5-1", "5٣٣", "250"]) {
      assert.match(reason(Reply.render({ code: code as "550", text: "" }, "5")), /reply code/)
    }
    for (const enhanced of ["4.7.1", "5.7", "5.7.1.1", "5.7.1000", "5.07.1", "5.-7.1", "5.1e3.1", "5.7.1 "]) {
      assert.match(reason(Reply.render({ enhanced: enhanced as "5.7.1", text: "" }, "5")), /enhanced status/)
    }
  })

  it("refuses what would forge lines or is not ASCII", () => {
    assert.match(reason(Reply.render({ text: "a\r\n250 ok" }, "5")), /0x0d at 1; give several lines as an array/)
    assert.match(reason(Reply.render({ text: "a\nb" }, "5")), /0x0a/)
    assert.match(reason(Reply.render({ text: "a\0b" }, "4")), /0x00/)
    assert.match(reason(Reply.render({ text: ["ok", "\x7f"] }, "4")), /0x7f at 0/)
    assert.match(reason(Reply.render({ text: "größe" }, "4")), /not ASCII at 2/)
    assert.strictEqual(reject({ text: "a\tb" }), "550 5.7.1 a\tb")
  })

  it("continues long lines at spaces, within 512 bytes for the client", () => {
    const wire = reject({ text: Array.from({ length: 200 }, (_, index) => `word${index}`).join(" ") })
    const lines = wire.split("\r\n")
    assert.isAbove(lines.length, 1)
    for (const line of lines) assert.isAtMost(line.length + 2, 512)
    assert.isAbove(lines[0]!.length, 500)
    assert.strictEqual(lines.map((line) => line.slice(10)).join(" ").split(" ").length, 200)
  })

  it("lets a long word through and refuses one that fits nowhere", () => {
    const url = `https://example.org/${"a".repeat(900)}`
    assert.deepStrictEqual(reject({ text: `see ${url} now` }).split("\r\n"), [
      "550-5.7.1 see",
      `550-5.7.1 ${url}`,
      "550 5.7.1 now"
    ])
    assert.match(reason(Reply.render({ text: "a".repeat(981) }, "5")), /980 bytes/)
    assert.match(reason(Reply.render({ text: "%".repeat(491) }, "5")), /980 bytes/)
    assert.isTrue(Result.isSuccess(Reply.render({ text: "%".repeat(490) }, "5")))
  })

  it("refuses no lines and more than 32", () => {
    assert.match(reason(Reply.render({ text: [] }, "5")), /at least one line/)
    assert.isTrue(Result.isSuccess(Reply.render({ text: Array.from({ length: 32 }, () => "x") }, "5")))
    assert.match(
      reason(Reply.render({ text: Array.from({ length: 33 }, () => "x") }, "5")),
      /at most 32 lines, found 33/
    )
  })
})

describe("Reply.parse", () => {
  it("reads what MTAs take", () => {
    assert.deepStrictEqual(Result.getOrThrow(parse("550 5.7.1 100%% no")), {
      code: "550",
      enhanced: "5.7.1",
      lines: [ByteString.fromText("100% no")]
    })
    assert.deepStrictEqual(Result.getOrThrow(parse("550 no")), {
      code: "550",
      enhanced: undefined,
      lines: [ByteString.fromText("no")]
    })
    assert.deepStrictEqual(Result.getOrThrow(parse("421 4.3.2")), {
      code: "421",
      enhanced: "4.3.2",
      lines: [ByteString.fromText("")]
    })
    assert.deepStrictEqual(Result.getOrThrow(parse("550 5.7.1.2 x")).enhanced, undefined)
    assert.deepStrictEqual(Result.getOrThrow(parse("550 ")).lines, [ByteString.fromText("")])
    assert.deepStrictEqual(Result.getOrThrow(parse("550 5.7.1 gr\xfc\xdf")).lines, ["gr\xfc\xdf" as ByteString])
    assert.deepStrictEqual(Result.getOrThrow(parse("554-5.7.9 a\r\n554-b\r\n554 5.7.9")).lines, ["a", "b", ""] as never)
  })

  it.each([
    ["", 0],
    ["55", 0],
    ["250 2.0.0 fine", 0],
    ["354 go", 0],
    ["5x0 no", 0],
    ["550", 3],
    ["550_no", 3],
    ["550-no", 3],
    ["550 no\r\n550 more", 3],
    ["550 4.7.1 mixed", 4],
    ["550 42", 4],
    ["550 5.7.1 no\r\n", 3],
    ["550-5.7.1 a\r\n", 13],
    ["550-a\r\n551 b", 7],
    ["550 5.7.1 a\r\nQUIT", 3],
    ["550-5.7.1 a\r\nQUIT", 13],
    ["550 a\nb", 5],
    ["550 a\rb", 5],
    ["550 a\0b", 5],
    ["550 no 100% x", 10],
    ["550 %%%", 6],
    ["451 4.7.1 100% busy", 13]
  ])("refuses %j", (wire, offset) => {
    const result = parse(wire)
    assert.isTrue(Result.isFailure(result))
    if (Result.isFailure(result)) {
      assert.strictEqual(result.failure._tag, "ReplyError")
      assert.strictEqual(result.failure.offset, offset)
      assert.match(result.failure.message, /expected .+ at byte/)
    }
  })

  const Text = Schema.String.check(Schema.isPattern(/^[\t -~]{0,60}$/))
  it.prop("gives back what was rendered", [Schema.NonEmptyArray(Text)], ([text]) => {
    const lines = text.slice(0, 32)
    const reply = Result.getOrThrow(Reply.parse(Result.getOrThrow(Reply.render({ text: lines }, "4"))))
    assert.deepStrictEqual(reply, { code: "451", enhanced: "4.7.1", lines: lines as never })
  })

  it.prop("never throws", [Schema.Array(Schema.Literals(["550", "5.7.1", " ", "-", "%", "\r\n", "\r", "\0", "x"]))], (
    [parts]
  ) => {
    const wire = parts.join("") as ByteString
    const result = Reply.parse(wire)
    if (Result.isFailure(result)) assert.isAtMost(result.failure.offset, wire.length)
    else assert.isAbove(result.success.lines.length, 0)
  })
})

describe("Reply.sanitize", () => {
  it("makes one line of ASCII", () => {
    assert.strictEqual(Reply.sanitize(" a\r\n\tb\0 größe 😀 "), "a b gr??e ?")
    assert.strictEqual(Reply.sanitize("abcdef", 3), "abc")
    assert.strictEqual(Reply.sanitize("x".repeat(10_000)).length, 400)
    assert.strictEqual(Reply.sanitize("abc", -1), "")
  })

  it.prop("gives what render accepts, in one line", [Schema.String, Schema.Int], ([text, maximum]) => {
    const wire = reject({ text: Reply.sanitize(text, maximum) })
    assert.notInclude(wire, "\r")
  })
  it("does so for percent signs too", () => {
    assert.isTrue(Result.isSuccess(Reply.render({ text: Reply.sanitize("%".repeat(1000)) }, "5")))
  })
})

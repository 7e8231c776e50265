/** The example attachment_policy. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type * as MilterClient from "effect-milter/MilterClient"
import * as MilterTest from "effect-milter/MilterTest"
import { attachmentPolicy, forbiddenName, type Options } from "../../examples/attachment_policy/filter.ts"

const filter = (options: Partial<Options> = {}) =>
  attachmentPolicy({ extensions: new Set(["exe", "js"]), action: "remove", otherwise: "reject", ...options })

const mailOf = (body: string, type = "multipart/mixed; boundary=b"): MilterClient.Message => ({
  from: "eve@example.com",
  to: "bob@example.net",
  headers: [["Subject", "hi"], ["MIME-Version", "1.0"], ["Content-Type", type]],
  body
})

const file = (name: string): string =>
  `--b\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename="${name}"\r\n\r\nMZ\r\n`

const text = "--b\r\nContent-Type: text/plain\r\n\r\nHello\r\n"

describe("names", () => {
  const extensions = new Set(["exe"])
  for (
    const [name, forbidden] of [
      ["a.exe", true],
      ["A.EXE", true],
      ["a.pdf.exe", true],
      ["a.exe.", true],
      ["a.exe . .", true],
      [".exe", true],
      ["exe", true],
      ["a.exe.pdf", false],
      ["a.ex", false],
      ["", false],
      ["...", false]
    ] as const
  ) {
    it(JSON.stringify(name), () => {
      assert.strictEqual(forbiddenName({ filenames: ["a.pdf", name] }, extensions) !== undefined, forbidden)
    })
  }
})

describe("the filter", () => {
  it.effect("puts a note in the place of files, with every MTA", () =>
    Effect.gen(function*() {
      const mail = mailOf(`${text}${file("a.pdf")}${file("b.EXE")}--b--\r\n`)
      const note = "--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n" +
        "The file b.EXE was removed.\r\n"
      for (const as of MilterTest.mtas.filter(({ name }) => !name.startsWith("Postfix 2.3"))) {
        const outcome = yield* MilterTest.message(filter(), mail, { as })
        MilterTest.assertAccepted(outcome)
        assert.strictEqual(
          Buffer.from(outcome.delivered?.body ?? []).toString(),
          `${text}${file("a.pdf")}${note}--b--\r\n`
        )
      }
    }))

  it.effect("leaves other messages as they are", () =>
    Effect.gen(function*() {
      for (const mail of [mailOf(`${text}${file("a.pdf")}--b--\r\n`), mailOf("Hello\r\n", "text/plain")]) {
        const outcome = yield* MilterTest.message(filter(), mail)
        MilterTest.assertAccepted(outcome)
        assert.deepStrictEqual(outcome.modifications, [])
      }
    }))

  it.effect("refuses messages if it is told to, or cannot remove the file", () =>
    Effect.gen(function*() {
      const program = mailOf(`${text}${file("a.exe")}--b--\r\n`)
      const signed = mailOf(`${file("a\u202eb.exe")}${file("b.p7s")}--b--\r\n`, "multipart/signed; boundary=b")
      const broken = mailOf(text, "multipart/mixed")
      MilterTest.assertRejected(yield* MilterTest.message(filter({ action: "reject" }), program), {
        reply: /^550 5\.7\.1 Files like a\.exe are not accepted/
      })
      MilterTest.assertRejected(yield* MilterTest.message(filter(), signed), {
        reply: /^550 5\.7\.1 Files like a\?+b\.exe/
      })
      MilterTest.assertRejected(yield* MilterTest.message(filter(), broken), { reply: /^550 5\.6\.0 / })
      for (const mail of [signed, broken]) {
        const outcome = yield* MilterTest.message(filter({ otherwise: "pass" }), mail)
        MilterTest.assertAccepted(outcome)
        assert.deepStrictEqual(outcome.modifications, [])
      }
    }))

  it.effect("finds files in messages in the message", () =>
    Effect.gen(function*() {
      const inner = `Subject: x\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n${
        file("a.js").replace("--b", "--c")
      }--c--\r\n`
      const part = (body: string, encoding: string): string =>
        `--b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: ${encoding}\r\n\r\n${body}\r\n--b--\r\n`
      const plain = yield* MilterTest.message(filter(), mailOf(part(inner, "7bit")))
      MilterTest.assertAccepted(plain)
      assert.include(Buffer.from(plain.delivered!.body).toString(), "The file a.js was removed.")
      const encoded = yield* MilterTest.message(filter(), mailOf(part(btoa(inner), "base64")))
      MilterTest.assertRejected(encoded, { reply: /a\.js/ })
    }))
})

/** Banners that are recognized, and taken out of replies. And mail that no person has written. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Ref, Result } from "effect"
import * as Message from "effect-milter/Message"
import type * as MilterClient from "effect-milter/MilterClient"
import * as MilterTest from "effect-milter/MilterTest"
import * as Verdict from "effect-milter/Verdict"
import { edit } from "./support/editing.ts"
import * as fixtures from "./support/fixtures.ts"
import type { Mail } from "./support/mimeMessages.ts"
import { base64, quotedPrintable, sourceOf } from "./support/mimeMessages.ts"
import { leavesOf, textOf } from "./support/parsed.ts"

const banner: Message.Banner = { text: "CAUTION: external mail\nDo not click", html: "<p>CAUTION</p>", once: "acme" }

const prepend = (mail: Mail, given: Message.Banner = banner) => edit(mail, (mime) => mime.prepend(given))

const remove = (mail: Mail, id = "acme") => edit(mail, (mime) => mime.removeMarked(id))

const short = (result: Result.Result<Message.MimeResult, Message.NotEditable>): string => {
  const { edited, left } = Result.getOrThrow(result)
  return [...edited.map(({ how, path }) => `${how} ${path}`), ...left.map(({ path, why }) => `${why} ${path}`)].join(
    ", "
  )
}

const withoutField = ({ body, fields }: Mail): Mail => ({
  body,
  fields: fields.filter(([name]) => name !== "X-Milter-Marked")
})

const mark = "--- acme ---\r\nCAUTION\r\n--- /acme ---\r\n"

const plain = (body: string, more = ""): Mail => ({
  fields: [["MIME-Version", " 1.0"], ["Content-Type", ` text/plain; charset=utf-8${more}`]],
  body
})

const html = (body: string): Mail => ({ fields: [["Content-Type", " text/html; charset=utf-8"]], body })

describe("once", () => {
  it.effect("a message is not stamped twice, with its field or without", () =>
    Effect.gen(function*() {
      for (const mail of Object.values(fixtures.all)) {
        const first = yield* prepend(mail)
        if (Result.getOrThrow(first.result).edited.length === 0) continue
        assert.include(first.mail.fields.map(([name, value]) => name + value), "X-Milter-Marked acme")
        for (const again of [first.mail, withoutField(first.mail)]) {
          const second = yield* prepend(again)
          assert.strictEqual(short(second.result), "marked ")
          assert.deepStrictEqual(second.mail, again)
        }
        assert.notStrictEqual(short((yield* prepend(first.mail, { ...banner, once: "other" })).result), "marked ")
      }
    }))

  it.effect("nor a reply that quotes the banner", () =>
    Effect.gen(function*() {
      const quoted = [
        plain(`Yes.\r\n> ${mark.replaceAll("\r\n", "\r\n> ")}\r\n> Hello\r\n`),
        plain(`Yes.\r\n>>| ${mark.replaceAll("\r\n", "\r\n>>| ")}\r\n`, "; format=flowed"),
        html("<p>Yes</p><blockquote><!-- acme begin --><p>CAUTION</p><!-- acme end -->Hello</blockquote>"),
        html("<p>Yes</p><blockquote>&gt; --- acme ---<br>&gt; CAUTION<br></blockquote>")
      ]
      for (const mail of quoted) assert.strictEqual(short((yield* prepend(mail)).result), "marked ")
    }))

  it.effect("but mark stamps whatever is there", () =>
    Effect.gen(function*() {
      const { once: _, ...unmarked } = banner
      const { mail, result } = yield* prepend(plain(mark), { ...unmarked, mark: "acme" })
      assert.strictEqual(short(result), "inside 1")
      assert.strictEqual(
        mail.body,
        `--- acme ---\r\nCAUTION: external mail\r\nDo not click\r\n--- /acme ---\r\n${mark}`
      )
    }))
})

describe("removing", () => {
  it.effect("what was put in comes out again", () =>
    Effect.gen(function*() {
      for (const [name, mail] of Object.entries(fixtures.all)) {
        const first = yield* prepend(mail)
        const { edited } = Result.getOrThrow(first.result)
        if (edited.length === 0) continue
        const { mail: after, result, undone } = yield* remove(first.mail)
        assert.strictEqual(undone, first.mail.body)
        assert.strictEqual(Result.getOrThrow(result).edited.length, edited.length, name)
        const [before, now] = yield* Effect.promise(() =>
          Promise.all([leavesOf(sourceOf(mail)), leavesOf(sourceOf(after))])
        )
        const texts = (leaves: typeof before) =>
          leaves!.map(textOf).map((text) => text.replaceAll("\n", "")).filter((text) => text !== "")
        assert.deepStrictEqual(texts(now), texts(before), name)
        assert.notInclude(sourceOf(after), "X-Milter-Marked")
      }
    }))

  const replies: ReadonlyArray<readonly [before: string, after: string]> = [
    [`Yes.\r\n${mark}Hello\r\n`, "Yes.\r\nHello\r\n"],
    [`Yes.\r\n> ${mark.replaceAll("\r\n", "\r\n> ")}Hello\r\n`, "Yes.\r\n> Hello\r\n"],
    [`${mark}a\r\n${mark}b\r\n`, "a\r\nb\r\n"],
    // A half of a pair takes nothing with it.
    ["--- acme ---\r\nYes\r\n", "--- acme ---\r\nYes\r\n"],
    ["Yes\r\n--- /acme ---\r\n", "Yes\r\n--- /acme ---\r\n"],
    [`--- acme ---\r\nYes\r\n${mark}No\r\n`, "--- acme ---\r\nYes\r\nNo\r\n"],
    ["--- acme ---\r\nYes\r\n> --- /acme ---\r\n", "--- acme ---\r\nYes\r\n> --- /acme ---\r\n"],
    [
      `--- acme ---\r\n${"x\r\n".repeat(30_000)}--- /acme ---\r\n`,
      `--- acme ---\r\n${"x\r\n".repeat(30_000)}--- /acme ---\r\n`
    ],
    ["--- other ---\r\nYes\r\n--- /other ---\r\n", "--- other ---\r\nYes\r\n--- /other ---\r\n"]
  ]
  for (const [before, after] of replies) {
    it.effect(`in ${JSON.stringify(before.slice(0, 60))}, in each encoding`, () =>
      Effect.gen(function*() {
        const encodings: ReadonlyArray<readonly [name: string, encode: (text: string) => string]> = [
          ["8bit", (text) => text],
          ["quoted-printable", quotedPrintable],
          ["base64", (text) => base64(text)]
        ]
        for (const [name, encode] of encodings) {
          const mail: Mail = {
            fields: [...plain("").fields, ["Content-Transfer-Encoding", ` ${name}`]],
            body: `${encode(before)}${name === "base64" ? "\r\n" : ""}`
          }
          const { mail: edited } = yield* remove(mail)
          if (before === after) assert.deepStrictEqual(edited, mail)
          const [leaf] = (yield* Effect.promise(() => leavesOf(sourceOf(edited))))!
          assert.strictEqual(textOf(leaf!).trimEnd(), after.replaceAll("\r\n", "\n").trimEnd())
        }
      }))
  }

  it.effect("in HTML, where the marks are balanced", () =>
    Effect.gen(function*() {
      const inside = "<!-- acme begin --><p>CAUTION<br><img src=x></p><!-- acme end -->"
      const cases: ReadonlyArray<readonly [string, string]> = [
        [`<p>Yes</p>\r\n${inside}\r\n<p>Hello</p>\r\n`, "<p>Yes</p>\r\n\r\n<p>Hello</p>\r\n"],
        [`<p>Yes</p>${inside}<p>Hello</p>\r\n`, "<p>Yes</p>\r\n<p>Hello</p>\r\n"],
        ["<!-- acme begin --><div><!-- acme end --></div>\r\n", "<!-- acme begin --><div><!-- acme end --></div>\r\n"]
      ]
      for (const [before, after] of cases) assert.strictEqual((yield* remove(html(before))).mail.body, after)
    }))

  it.effect("not in signed parts, nor in files", () =>
    Effect.gen(function*() {
      const body = (field: string): string =>
        `--s\r\nContent-Type: text/plain${field}\r\n\r\n${mark}\r\n--s\r\nContent-Type: a/b\r\n\r\nx\r\n--s--\r\n`
      for (const [subtype, field] of [["signed", ""], ["mixed", "; name=a.txt"]] as const) {
        const mail: Mail = { fields: [["Content-Type", ` multipart/${subtype}; boundary=s`]], body: body(field) }
        const { mail: after, result } = yield* remove(mail)
        assert.strictEqual(short(result), "")
        assert.deepStrictEqual(after, mail)
      }
    }))

  it.effect("before a new one is put in: there is always one, and nobody can forge it", () =>
    Effect.gen(function*() {
      const { once: _, ...unmarked } = banner
      for (const [mail, count] of [[plain(`${mark}Hello\r\n`), 1], [plain("Hello\r\n"), 1]] as const) {
        const { mail: after } = yield* edit(mail, (mime) =>
          Effect.andThen(mime.removeMarked("acme"), mime.prepend({ ...unmarked, mark: "acme" })))
        assert.strictEqual(after.body.split("--- acme ---").length - 1, count)
        assert.isTrue(after.body.endsWith("--- /acme ---\r\nHello\r\n"))
      }
    }))
})

/** What the MTA would deliver. */
const delivered = (sent: MilterClient.Message, as: NonNullable<MilterTest.Options["as"]>) =>
  Effect.gen(function*() {
    const filter = Message.make("banner", { modify: ["mime"] }).on({
      document: ({ mime }) => Effect.as(Effect.orDie(mime.append({ text: "Grüße", once: "acme" })), Verdict.continue)
    })
    return (yield* MilterTest.message(filter, sent, { as })).delivered
  })

describe("with an MTA", () => {
  for (const as of [MilterTest.postfix, MilterTest.sendmail]) {
    it.effect(`is what ${as.name} delivers`, () =>
      Effect.gen(function*() {
        const found = yield* delivered({
          from: "alice@example.org",
          to: "bob@example.net",
          headers: [["From", "alice@example.org"], ["Subject", "hello"]],
          body: "Hello\n"
        }, as)
        assert.deepStrictEqual(
          found?.headers.map(({ name, value }): string => `${name}:${value}`).slice(2),
          [
            "X-Milter-Marked: acme",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: quoted-printable",
            "MIME-Version: 1.0"
          ]
        )
        assert.strictEqual(
          Buffer.from(found!.body).toString(),
          "Hello\r\n--- acme ---\r\nGr=C3=BC=C3=9Fe\r\n--- /acme ---\r\n"
        )
      }))
  }

  it.effect("needs a body", () =>
    Effect.sync(() => {
      assert.throws(
        () =>
          Message.make("x", { modify: ["mime"], body: false }).on({ document: () => Effect.succeed(Verdict.continue) }),
        /expected a body/
      )
    }))
})

describe("mail that no person has written", () => {
  const cases: ReadonlyArray<
    readonly [fields: ReadonlyArray<readonly [string, string]>, automatic: boolean, from?: string]
  > = [
    [[], false],
    [[], true, ""],
    [[["Auto-Submitted", "no"]], false],
    [[["Auto-Submitted", "auto-replied (vacation)"]], true],
    [[["auto-submitted", "AUTO-GENERATED; x=y"]], true],
    [[["Precedence", "bulk"]], true],
    [[["Precedence", "list"]], false],
    [[["Precedence", "auto_reply"]], true],
    [[["X-Autoreply", "yes"]], true],
    [[["X-Auto-Response-Suppress", "All"]], true],
    [[["X-Auto-Response-Suppress", "DR, OOF"]], false],
    [[["X-Failed-Recipients", "bob@example.net"]], true],
    [[["Content-Type", "multipart/report; boundary=x"]], true],
    [[["List-Id", "<list.example.org>"]], false]
  ]
  for (const [headers, automatic, from = "alice@example.org"] of cases) {
    it.effect(`${from || "<>"} ${headers.map((field) => field.join(": ")).join()}: ${automatic}`, () =>
      Effect.gen(function*() {
        const seen = yield* Ref.make(Option.none<boolean>())
        const filter = Message.make("looking", { body: false }).on({
          document: (head) => Effect.as(Ref.set(seen, Option.some(Message.isAutomatic(head))), Verdict.continue)
        })
        yield* MilterTest.message(filter, { from, to: "bob@example.net", headers: [["Subject", "x"], ...headers] })
        assert.deepStrictEqual(yield* Ref.get(seen), Option.some(automatic))
      }))
  }
})

/** Banners: which parts get them, with which bytes, and which messages are left alone. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Result } from "effect"
import type * as Message from "effect-milter/Message"
import { edit } from "./support/editing.ts"
import * as fixtures from "./support/fixtures.ts"
import type { Mail } from "./support/mimeMessages.ts"
import { sourceOf } from "./support/mimeMessages.ts"
import { leavesOf, textOf } from "./support/parsed.ts"

const banner: Message.Banner = { text: "-- \nVertraulich für Bob", html: "<p>Vertraulich für Bob</p>" }

const append = (mail: Mail, given: Message.Banner = banner) => edit(mail, (mime) => mime.append(given))

const done = <A>(result: Result.Result<A, Message.NotEditable>): A => Result.getOrThrow(result)

const short = ({ edited, left }: Message.MimeResult): string =>
  [...edited.map(({ how, path }) => `${how} ${path}`), ...left.map(({ path, why }) => `${why} ${path}`)].join(", ")

const texts = (mail: Mail) =>
  Effect.map(Effect.promise(() => leavesOf(sourceOf(mail))), (leaves) => leaves!.map(textOf))

const typeOf = ({ fields }: Mail): string | undefined => fields.find(([name]) => name === "Content-Type")?.[1]

describe("which parts", () => {
  const table: ReadonlyArray<readonly [name: keyof typeof fixtures.all, append: string, prepend?: string]> = [
    ["bare", "inside 1"],
    ["latin", "inside 1"],
    ["webmail", "inside 1, inside 2"],
    ["apple", "inside 3", "inside 1"],
    ["outlook", "inside 1.1.1, inside 1.1.2"],
    ["invitation", "calendar 1"],
    ["invitationWithText", "inside 1, calendar 2"],
    ["amp", "inside 1, inside 3, amp 2"],
    ["signed", "signed "],
    ["encrypted", "encrypted "],
    ["smime", "encrypted 1"],
    ["inlinePgp", "pgp 1"],
    ["report", "report "],
    ["tnef", "tnef 1"],
    ["onePdf", "beside "],
    ["listed", "inside 2", "inside 2, signed 1"],
    ["flowed", "inside 1"],
    ["japanese", "inside 1"],
    ["forwarded", "inside 1, message 3", "inside 1"]
  ]
  for (const [name, last, first = last] of table) {
    it.effect(name, () =>
      Effect.gen(function*() {
        const mail = fixtures.all[name]
        const [appended, prepended] = [
          yield* append(mail),
          yield* edit(mail, (mime) => mime.prepend(banner))
        ]
        assert.strictEqual(short(done(appended.result)), last)
        assert.strictEqual(short(done(prepended.result)), first)
        for (const { mail: after, result, undone } of [appended, prepended]) {
          assert.strictEqual(undone, mail.body)
          const isEdited = done(result).edited.length > 0
          if (!isEdited) assert.deepStrictEqual(after, mail)
          const count = (yield* texts(after)).filter((text) => /Vertraulich f(?:ü|&#252;)r Bob/.test(text)).length
          assert.strictEqual(count, done(result).edited.length)
        }
      }))
  }

  for (const name of ["signed", "encrypted", "smime", "inlinePgp"] as const) {
    it.effect(`${name}, beside it on request, and its bytes stay`, () =>
      Effect.gen(function*() {
        const mail = fixtures.all[name]
        const { mail: after, result } = yield* append(mail, { ...banner, beside: true })
        assert.match(short(done(result)), /^beside /)
        assert.match(typeOf(after)!, /^ multipart\/mixed;\n boundary="=_[0-9a-f]{32}"$/)
        assert.include(after.body, `\r\n\r\n${mail.body}\r\n--=_`)
        assert.include(after.body, `Content-Type:${typeOf(mail)!}\r\n`)
      }))
  }

  it.effect("reports, invitations and winmail.dat never get one beside them", () =>
    Effect.gen(function*() {
      for (const name of ["report", "invitation", "tnef"] as const) {
        const { mail } = yield* append(fixtures.all[name], { ...banner, beside: true })
        assert.deepStrictEqual(mail, fixtures.all[name])
      }
    }))

  it.effect("an empty body gets a part of its own", () =>
    Effect.gen(function*() {
      const { mail, result } = yield* append(fixtures.mail("Subject: x\n\n"), { text: "Hello" })
      assert.strictEqual(short(done(result)), "beside ")
      assert.deepStrictEqual(mail.fields.map(([name]) => name), ["Subject", "Content-Type", "MIME-Version"])
      assert.deepStrictEqual((yield* texts(mail)).map((text) => text.trim()), ["", "Hello"])
    }))

  it.effect("a mixed message without text keeps its boundary", () =>
    Effect.gen(function*() {
      const files = fixtures.mail(
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=m\n\npreamble\n" +
          "--m  \nContent-Type: image/png; name=a.png\n\nA\n--m\nContent-Type: image/png; name=b.png\n\nB\n--m-- \nepilogue\n"
      )
      const first = yield* edit(files, (mime) => mime.prepend({ text: "Hello" }))
      const part = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\nHello\r\n"
      assert.strictEqual(first.mail.body, files.body.replace("--m  ", `--m\r\n${part}--m  `))
      const last = yield* append(files, { text: "Hello" })
      assert.strictEqual(last.mail.body, files.body.replace("--m-- ", `--m\r\n${part}--m-- `))
      assert.deepStrictEqual(last.mail.fields, files.fields)
    }))
})

describe("bytes", () => {
  it.effect("7bit stays if it can", () =>
    Effect.gen(function*() {
      const { mail } = yield* append(fixtures.bare, { text: "Bye\n" })
      assert.strictEqual(mail.body, "Hello, Bob.\r\nBye\r\n")
      assert.deepStrictEqual(mail.fields, fixtures.bare.fields)
    }))

  it.effect("7bit becomes quoted-printable and UTF-8 for what is not ASCII, never 8bit", () =>
    Effect.gen(function*() {
      const { mail } = yield* append(fixtures.bare, { text: "Grüße" })
      assert.strictEqual(mail.body, "Hello, Bob.\r\nGr=C3=BC=C3=9Fe\r\n")
      assert.deepStrictEqual(mail.fields.slice(2), [
        ["Content-Type", " text/plain; charset=utf-8"],
        ["Content-Transfer-Encoding", " quoted-printable"],
        ["MIME-Version", " 1.0"]
      ])
    }))

  it.effect("8bit keeps its charset if that has the characters", () =>
    Effect.gen(function*() {
      const { mail } = yield* append(fixtures.latin, { text: "Grüße" })
      assert.strictEqual(mail.body, "Gr\u00fc\u00dfe\r\nGr\u00fc\u00dfe\r\n")
      assert.deepStrictEqual(mail.fields, fixtures.latin.fields)
    }))

  it.effect("and becomes UTF-8 if not", () =>
    Effect.gen(function*() {
      const { mail } = yield* append(fixtures.latin, { text: "日本" })
      assert.deepStrictEqual(yield* texts(mail), ["Grüße\n日本\n"])
      assert.strictEqual(typeOf(mail), " text/plain; charset=utf-8")
    }))

  it.effect("text that is not of its charset gets a part beside it", () =>
    Effect.gen(function*() {
      const broken = fixtures.mail("Content-Type: text/plain; charset=shift_jis\nContent-Transfer-Encoding: 8bit\n\nx")
      const { mail, result } = yield* append({ ...broken, body: "\xff\xff\r\n" }, { text: "Grüße" })
      assert.strictEqual(short(done(result)), "beside , charset 1")
      assert.include(mail.body, "\r\n\r\n\xff\xff\r\n\r\n--=_")
    }))

  it.effect("quoted-printable around it stays byte for byte", () =>
    Effect.gen(function*() {
      const { mail } = yield* append(fixtures.webmail)
      assert.strictEqual(
        mail.body,
        fixtures.webmail.body
          .replace("softly.\r\n", "softly.\r\n--=20\r\nVertraulich f=C3=BCr Bob")
          .replace("</div>\r\n", "</div>\r\n\r\n<p>Vertraulich f&#252;r Bob</p>\r\n")
      )
    }))

  it.effect("HTML keeps its charset, and the place is before the last </body>", () =>
    Effect.gen(function*() {
      const { mail } = yield* append(fixtures.outlook)
      assert.include(mail.body, "<p>Gr=FC=DFe</p>\r\n<p>Vertraulich f&#252;r Bob</p>\r\n</body>")
      assert.include(mail.body, "Gr=FC=DFe\r\n--=20\r\nVertraulich f=FCr Bob")
    }))

  it.effect("HTML in ISO-2022-JP: bytes of characters are not tags", () =>
    Effect.gen(function*() {
      const { mail } = yield* append(fixtures.japanese)
      assert.strictEqual(
        mail.body,
        "<html><body>\x1b$B</body><!--\x1b(B\r\n<p>Vertraulich f&#252;r Bob</p>\r\n</body></html>\r\n"
      )
    }))

  it.effect("base64 is encoded anew from the insertion on", () =>
    Effect.gen(function*() {
      const content = "A text of some length, so that it has several lines in base64, which all stay as they are.\r\n"
      const lines = btoa(content).replace(/.{40}/g, "$&\r\n")
      const mail = fixtures.mail("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\nx")
      const { mail: after } = yield* append({ ...mail, body: `${lines}\r\n` }, { text: "Grüße" })
      const kept = lines.slice(0, lines.length - 4)
      assert.isTrue(after.body.startsWith(kept))
      assert.deepStrictEqual(yield* texts(after), [`${content.replaceAll("\r\n", "\n")}Grüße\n`])
      for (const line of after.body.split("\r\n")) assert.isAtMost(line.length, 76)
    }))

  it.effect("format=flowed stays flowed, and the last line does not flow into the banner", () =>
    Effect.gen(function*() {
      const { mail } = yield* append(fixtures.flowed, { text: "-- \n> not a quotation \n indented\nFrom us" })
      assert.strictEqual(
        mail.body,
        "A paragraph that flows \r\n\r\n-- \r\n > not a quotation\r\n  indented\r\n From us\r\n"
      )
      assert.deepStrictEqual(mail.fields, fixtures.flowed.fields)
    }))

  it.effect("a long line goes into quoted-printable", () =>
    Effect.gen(function*() {
      const { mail } = yield* append(fixtures.bare, { text: "x".repeat(2000) })
      for (const line of mail.body.split("\r\n")) assert.isAtMost(line.length, 76)
      assert.deepStrictEqual(yield* texts(mail), [`Hello, Bob.\n${"x".repeat(2000)}\n`])
    }))

  it.effect("Content-MD5 of an edited part goes, that of others stays", () =>
    Effect.gen(function*() {
      const mail = fixtures.mail(
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=m\n\n--m\nContent-MD5: a\nX-Note: 1\n\nHello\n" +
          "--m\nContent-Type: image/png; name=a.png\nContent-MD5: b\n\nA\n--m--\n"
      )
      const { mail: after } = yield* append(mail, { text: "Bye" })
      assert.strictEqual(
        after.body,
        mail.body.replace("Content-MD5: a\r\n", "").replace("Hello", "Hello\r\nBye")
      )
    }))

  it.effect("several banners stand in their order, and the first one before the last", () =>
    Effect.gen(function*() {
      const { mail } = yield* edit(fixtures.bare, (mime) =>
        Effect.gen(function*() {
          yield* mime.append({ text: "one" })
          yield* mime.append({ text: "two" })
          yield* mime.prepend({ text: "three" })
          yield* mime.prepend({ text: "four" })
        }))
      assert.strictEqual(mail.body, "four\r\nthree\r\nHello, Bob.\r\none\r\ntwo\r\n")
    }))

  it.effect("a text that would be a delimiter is not put in", () =>
    Effect.gen(function*() {
      const evil = fixtures.mail(
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"- CAUTION ---\"\n\n" +
          "--- CAUTION ---\n\nHello\n--- CAUTION -----\n"
      )
      const { mail, result } = yield* append(evil, { text: "--- CAUTION ---\nfrom outside" })
      assert.strictEqual(short(done(result)), "beside , boundary 1")
      assert.deepStrictEqual(yield* texts(mail), ["Hello\n", "--- CAUTION ---\nfrom outside"])
    }))

  it.effect("HTML that ends in a comment, a script or a tag hides what follows, so it is left", () =>
    Effect.gen(function*() {
      for (const end of ["<!-- ", "<script>", "<style>", "<textarea>", "<div class='", "<title>", "<template>"]) {
        const mail = fixtures.mail(`Content-Type: text/html\n\n<p>Hello</p>${end}`)
        const { result } = yield* append(mail)
        assert.strictEqual(short(done(result)), "beside , html 1", end)
        assert.strictEqual(short(done((yield* edit(mail, (mime) => mime.prepend(banner))).result)), "inside 1", end)
      }
    }))

  const places: ReadonlyArray<readonly [html: string, first: string, last: string]> = [
    ["<html><body>x</body></html>", "<html><body>@x</body></html>", "<html><body>x@</body></html>"],
    ["<HTML><HEAD></HEAD><BODY a='>'>x", "<HTML><HEAD></HEAD><BODY a='>'>@x", "<HTML><HEAD></HEAD><BODY a='>'>x@"],
    ["<!doctype html>x</html>", "<!doctype html>@x</html>", "<!doctype html>x@</html>"],
    ["x<!-- </body> -->y", "@x<!-- </body> -->y", "x<!-- </body> -->y@"],
    ["<script>'</body>'</script>x", "@<script>'</body>'</script>x", "<script>'</body>'</script>x@"],
    ["<body>a</body><body>b</body>", "<body>@a</body><body>b</body>", "<body>a</body><body>b@</body>"],
    ["<head></head>\r\nx\r\n\r\n", "<head></head>@\r\nx\r\n\r\n", "<head></head>\r\nx\r\n\r\n@"]
  ]
  for (const [html, first, last] of places) {
    it.effect(`the place in ${JSON.stringify(html)}`, () =>
      Effect.gen(function*() {
        const mail = { ...fixtures.mail("Content-Type: text/html\n\nx"), body: html }
        const mark = (body: string): string => body.replace("\r\n<b>B</b>\r\n", "@")
        const given = { text: "B", html: "<b>B</b>" }
        assert.strictEqual(mark((yield* edit(mail, (mime) => mime.prepend(given))).mail.body), first)
        assert.strictEqual(mark((yield* append(mail, given)).mail.body), last)
      }))
  }
})

describe("values", () => {
  it.effect("that cannot go into a message are defects", () =>
    Effect.gen(function*() {
      const bad: ReadonlyArray<Message.Banner> = [
        { text: "a\0b" },
        { text: "a", html: "\0" },
        { text: "a", once: "a b" },
        { text: "a", once: "a--b" },
        { text: "a", mark: "" }
      ]
      for (const given of bad) {
        const exit = yield* Effect.exit(edit(fixtures.bare, (mime) => mime.append(given)))
        assert.match(String(Exit.isFailure(exit) ? exit.cause : ""), /InvalidValue|Invalid banner/)
      }
    }))
})

/** Parts: what is read of them, what can be replaced, files that are added, and input that is broken in every way. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Stream } from "effect"
import type * as Message from "effect-milter/Message"
import { edit } from "./support/editing.ts"
import * as fixtures from "./support/fixtures.ts"
import { type Mail, sourceOf } from "./support/mimeMessages.ts"
import { leavesOf, textOf } from "./support/parsed.ts"

const read = <A>(mail: Mail, look: (tree: Message.MimeTree<Message.EditableMimePart>) => Effect.Effect<A>) =>
  Effect.gen(function*() {
    const { mail: after, result } = yield* edit(mail, (mime) => Effect.flatMap(mime.tree, look))
    // To read changes nothing.
    assert.deepStrictEqual(after, mail)
    return Result.getOrThrow(result)
  })

const bytesOf = (part: Message.MimePart) =>
  Effect.map(Stream.mkUint8Array(part.content), (bytes) => Buffer.from(bytes).toString("latin1"))

describe("the tree", () => {
  it.effect("has the leaves with their paths", () =>
    Effect.gen(function*() {
      const seen = yield* read(fixtures.outlook, ({ complete, leaves }) =>
        Effect.succeed([
          complete,
          ...leaves.map(({ charset, disposition, filename, inSigned, path, type }) =>
            [path, type, charset, disposition, filename, inSigned] as const
          )
        ]))
      assert.deepStrictEqual(seen, [
        true,
        ["1.1.1", "text/plain", "iso-8859-1", undefined, undefined, false],
        ["1.1.2", "text/html", "iso-8859-1", undefined, undefined, false],
        ["1.2", "image/png", undefined, undefined, "image001.png", false],
        ["2", "application/pdf", undefined, "attachment", "offer.pdf", false]
      ])
    }))

  it.effect("has content and text, decoded", () =>
    Effect.gen(function*() {
      const seen = yield* read(fixtures.outlook, ({ leaves }) =>
        Effect.all([Effect.orDie(leaves[0]!.text), bytesOf(leaves[3]!)]))
      assert.deepStrictEqual(seen, ["Grüße\r\n", "%PDF-1.4\n"])
    }))

  it.effect("knows signed parts", () =>
    Effect.gen(function*() {
      const seen = yield* read(fixtures.listed, ({ leaves }) =>
        Effect.succeed(leaves.map(({ inSigned, path }) => [path, inSigned])))
      assert.deepStrictEqual(seen, [["1.1", true], ["1.2", true], ["2", false]])
    }))

  it.effect("goes into messages in the message, in base64 too", () =>
    Effect.gen(function*() {
      const seen = yield* read(fixtures.forwarded, ({ complete, leaves }) =>
        Effect.map(
          Effect.forEach(leaves.filter(({ filename }) => filename === "a.exe"), bytesOf),
          (programs) => ({ complete, programs, paths: leaves.map(({ inMessage, path }) => [path, inMessage]) })
        ))
      assert.deepStrictEqual(seen, {
        complete: true,
        programs: ["MZ", "MZ"],
        paths: [
          ["1", undefined],
          ["2", undefined],
          ["2.1", "2"],
          ["2.2", "2"],
          ["3", undefined],
          ["3.1", "3"],
          ["3.2", "3"]
        ]
      })
    }))

  it.effect("goes 20 messages deep, and says that there is more", () =>
    Effect.gen(function*() {
      const nested = (depth: number): string =>
        depth === 0 ? "\r\nHello\r\n" : `Content-Type: message/rfc822\r\n\r\n${nested(depth - 1)}`
      for (const [depth, complete] of [[20, true], [21, false], [200, false]] as const) {
        const source = nested(depth)
        const end = source.indexOf("\r\n\r\n")
        const mail: Mail = {
          fields: [["Content-Type", " message/rfc822"]],
          body: source.slice(end + 4)
        }
        const seen = yield* read(mail, (tree) => Effect.succeed([tree.complete, tree.leaves.length]))
        assert.deepStrictEqual(seen, [complete, 21])
      }
    }))

  it.effect("says what cannot be decoded", () =>
    Effect.gen(function*() {
      const parts = [
        ["text/plain; charset=utf-8", "8bit", "\xff"],
        ["text/plain; charset=x-unknown", "7bit", "a"],
        ["text/plain; charset=utf-8", "x-uuencode", "a"],
        ["text/plain; charset=us-ascii", "8bit", "\xc3\xbc"],
        ["text/plain", "8bit", "\xfc"]
      ]
      const mail: Mail = {
        fields: [["Content-Type", " multipart/mixed; boundary=b"]],
        body: parts.map(([type, encoding, body]) =>
          `--b\r\nContent-Type: ${type!}\r\nContent-Transfer-Encoding: ${encoding!}\r\n\r\n${body!}\r\n`
        ).join("") + "--b--\r\n"
      }
      const seen = yield* read(mail, ({ leaves }) =>
        Effect.forEach(leaves, ({ text }) => Effect.result(text)))
      assert.deepStrictEqual(
        seen.map((text) => Result.isSuccess(text) ? text.success : text.failure.message),
        [
          "Part 1 cannot be decoded: its bytes are not utf-8",
          "Part 2 cannot be decoded: its bytes are not x-unknown",
          "Part 3 cannot be decoded: its bytes are not utf-8",
          "ü",
          "Part 5 cannot be decoded: its bytes are not UTF-8"
        ]
      )
    }))
})

describe("filenames", () => {
  const cases: ReadonlyArray<readonly [type: string, disposition: string | undefined, names: ReadonlyArray<string>]> = [
    ["application/pdf; name=a.pdf", undefined, ["a.pdf"]],
    ["application/pdf; name=\"a b.pdf\"", "attachment; filename=\"c d.pdf\"", ["c d.pdf", "a b.pdf"]],
    ["application/pdf", "attachment; filename=invoice(1).pdf", ["invoice(1).pdf"]],
    ["application/pdf", "attachment (x); filename=a.pdf (a comment; filename=b)", ["a.pdf"]],
    ["application/pdf", "attachment; filename=\"a\\\"b.pdf\"", ["a\"b.pdf"]],
    ["application/pdf", "attachment; filename*=utf-8''gr%C3%BCn.exe", ["grün.exe"]],
    ["application/pdf", "attachment; filename*=iso-8859-1'de'gr%FCn.exe", ["grün.exe"]],
    ["application/pdf", "attachment; filename*0*=utf-8''gr%C3; filename*1*=%BCn; filename*2=.exe", ["grün.exe"]],
    ["application/pdf", "attachment; filename*1=.exe; filename*0=a", ["a.exe"]],
    ["application/pdf", "attachment; filename*0=a; filename*2=b", ["a"]],
    ["application/pdf", "attachment; filename*=utf-8''b.exe; filename=a.pdf", ["b.exe", "a.pdf"]],
    ["application/pdf; name=\"=?utf-8?Q?gr=C3=BCn.exe?=\"", undefined, ["grün.exe"]],
    ["application/pdf", "attachment; filename=\"=?utf-8?B?Z3LDvG4=?=\r\n =?utf-8?Q?.exe?=\"", ["grün.exe"]],
    ["application/pdf", "attachment; filename=\"gr\xfcn.exe\"", ["grün.exe"]],
    ["application/pdf", "attachment; filename=\"gr\xc3\xbcn.exe\"", ["grün.exe"]],
    ["application/pdf", "attachment; filename*=x-unknown''a.exe", ["a.exe"]],
    ["application/pdf", "attachment; filename*=a.exe", ["a.exe"]],
    ["application/pdf; name=", "attachment; filename=\"\"", []],
    ["application/pdf", "attachment; filename=(a.exe", ["(a.exe"]],
    ["application/pdf", "attachment;;; =x; filename = a.exe ;", ["a.exe"]]
  ]
  for (const [type, disposition, names] of cases) {
    it.effect(JSON.stringify(disposition ?? type), () =>
      Effect.gen(function*() {
        const mail: Mail = {
          fields: [["Content-Type", " multipart/mixed; boundary=b"]],
          body: `--b\r\nContent-Type: ${type}\r\n${
            disposition === undefined ? "" : `Content-Disposition: ${disposition}\r\n`
          }\r\nx\r\n--b--\r\n`
        }
        const seen = yield* read(mail, ({ leaves }) =>
          Effect.succeed(leaves.map(({ filename, filenames }) => [filename, filenames])))
        assert.deepStrictEqual(seen, [[names[0], names]])
      }))
  }

  it.effect("of added files come back as they were", () =>
    Effect.gen(function*() {
      const names = ["a.txt", "grün \"1\".txt", "日本".repeat(60), "a;b=c%20'd'*.txt", "x".repeat(300), ""]
      for (const filename of names) {
        const { mail } = yield* edit(
          fixtures.bare,
          (mime) => mime.attach({ filename, type: "text/plain", content: "x" })
        )
        for (const line of sourceOf(mail).split("\r\n")) assert.isAtMost(line.length, 300)
        const seen = yield* read(mail, ({ leaves }) => Effect.succeed(leaves[1]?.filename))
        assert.strictEqual(seen, filename === "" ? undefined : filename)
      }
    }))
})

describe("attaching", () => {
  it.effect("text, bytes and streams, to messages of all kinds", () =>
    Effect.gen(function*() {
      const content = Uint8Array.from({ length: 1000 }, (_, index) => index % 256)
      for (const [name, mail] of Object.entries(fixtures.all)) {
        for (
          const given of [content, Stream.make(content.subarray(0, 100), content.subarray(100)), "Grüße"] as const
        ) {
          const { mail: after, result, undone } = yield* edit(mail, (mime) =>
            mime.attach({ filename: "a.bin", type: "text/x-note", content: given }))
          assert.strictEqual(undone, mail.body)
          if (Result.isFailure(result)) {
            assert.include(["invitation", "report", "tnef"], name)
            assert.deepStrictEqual(after, mail)
            continue
          }
          const leaves = yield* Effect.promise(() =>
            leavesOf(sourceOf(after))
          )
          const expected = given === "Grüße" ? Buffer.from(given) : content
          assert.deepStrictEqual(Buffer.from(leaves!.at(-1)!.content, "latin1"), Buffer.from(expected))
        }
      }
    }))

  it.effect("keeps 8bit declared around the parts", () =>
    Effect.gen(function*() {
      const { mail } = yield* edit(fixtures.latin, (mime) => mime.attach({ filename: "a", type: "a/b", content: "" }))
      assert.deepStrictEqual(mail.fields.at(-1), ["Content-Transfer-Encoding", " 8bit"])
    }))

  it.effect("goes with banners, whichever comes first", () =>
    Effect.gen(function*() {
      const attach = (mime: Message.EditableMime) => mime.attach({ filename: "a", type: "a/b", content: "x" })
      const append = (mime: Message.EditableMime) => mime.append({ text: "Grüße" })
      for (
        const use of [
          (mime: Message.EditableMime) => Effect.andThen(attach(mime), append(mime)),
          (mime: Message.EditableMime) => Effect.andThen(append(mime), attach(mime))
        ]
      ) {
        const { mail } = yield* edit(fixtures.bare, use)
        const leaves = yield* Effect.promise(() => leavesOf(sourceOf(mail)))
        assert.deepStrictEqual(leaves!.map(textOf), ["Hello, Bob.\nGrüße\n\n", "x"])
      }
    }))
})

describe("replacing", () => {
  const replaceAll = (
    mail: Mail,
    isWanted: (part: Message.MimePart) => boolean,
    replacement: Message.Replacement = { text: "removed" }
  ) =>
    edit(mail, (mime) =>
      Effect.gen(function*() {
        const { leaves } = yield* mime.tree
        return yield* Effect.forEach(leaves.filter(isWanted), (part) =>
          Effect.map(
            Effect.result(part.replace(replacement)),
            (result) => Result.isSuccess(result) ? part.path : `${result.failure.why} ${result.failure.path}`
          ))
      }))

  it.effect("a part, header and all, and no other byte", () =>
    Effect.gen(function*() {
      const { mail, result } = yield* replaceAll(fixtures.outlook, ({ filename }) => filename === "offer.pdf")
      assert.deepStrictEqual(Result.getOrThrow(result), ["2"])
      const start = fixtures.outlook.body.indexOf("Content-Type: application/pdf")
      const end = fixtures.outlook.body.indexOf("\r\n--_004_--")
      assert.strictEqual(
        mail.body,
        `${fixtures.outlook.body.slice(0, start)}Content-Type: text/plain; charset=utf-8\r\n` +
          `Content-Transfer-Encoding: 7bit\r\n\r\nremoved${fixtures.outlook.body.slice(end)}`
      )
      assert.deepStrictEqual(mail.fields, fixtures.outlook.fields)
    }))

  it.effect("the whole body, with its fields", () =>
    Effect.gen(function*() {
      const { mail } = yield* replaceAll(fixtures.onePdf, () => true, { html: "<p>Grüße" })
      assert.deepStrictEqual(mail.fields.slice(2), [
        ["MIME-Version", " 1.0"],
        ["Content-Type", " text/html; charset=utf-8"],
        ["Content-Transfer-Encoding", " quoted-printable"]
      ])
      assert.strictEqual(mail.body, "<p>Gr=C3=BC=C3=9Fe\r\n")
    }))

  it.effect("by a file", () =>
    Effect.gen(function*() {
      const { mail } = yield* replaceAll(fixtures.onePdf, () => true, {
        content: Uint8Array.of(1, 2, 3),
        type: "application/zip",
        filename: "a.zip"
      })
      const leaves = yield* Effect.promise(() => leavesOf(sourceOf(mail)))
      assert.deepStrictEqual(leaves, [{ type: "application/zip", charset: "", content: "\x01\x02\x03" }])
    }))

  it.effect("in a message in the message, unless that is encoded", () =>
    Effect.gen(function*() {
      const { mail, result } = yield* replaceAll(fixtures.forwarded, ({ filename }) => filename === "a.exe")
      assert.deepStrictEqual(Result.getOrThrow(result), ["2.2", "message 3.2"])
      const seen = yield* read(mail, ({ leaves }) => Effect.forEach(leaves.slice(3, 4), bytesOf))
      assert.deepStrictEqual(seen, ["removed"])
    }))

  it.effect("of the message around it takes the parts in it along", () =>
    Effect.gen(function*() {
      const { mail, result } = yield* replaceAll(
        fixtures.forwarded,
        ({ filename, path }) => filename === "a.exe" || path === "2" || path === "3"
      )
      assert.deepStrictEqual(Result.getOrThrow(result), ["2", "2.2", "3", "message 3.2"])
      const leaves = yield* Effect.promise(() => leavesOf(sourceOf(mail)))
      assert.deepStrictEqual(leaves!.map(textOf), ["See below\n", "removed\n", "removed\n"])
    }))

  it.effect("not in signed or encrypted parts", () =>
    Effect.gen(function*() {
      for (const [mail, why] of [[fixtures.signed, "signed"], [fixtures.encrypted, "encrypted"]] as const) {
        const { mail: after, result } = yield* replaceAll(mail, () => true)
        assert.deepStrictEqual(Result.getOrThrow(result), [`${why} 1`, `${why} 2`])
        assert.deepStrictEqual(after, mail)
      }
    }))

  it.effect("with text that a sender chose: no delimiter can be slipped in", () =>
    Effect.gen(function*() {
      const { mail } = yield* replaceAll(fixtures.outlook, ({ path }) => path === "2", {
        text: "x\n--_004_\nContent-Type: text/html\n\n<b>evil</b>\n--_004_--\nwas removed"
      })
      const leaves = yield* Effect.promise(() => leavesOf(sourceOf(mail)))
      assert.strictEqual(leaves!.length, 4)
      assert.include(textOf(leaves![3]!), "was removed")
    }))

  it.effect("of a part read before the body was edited otherwise is refused", () =>
    Effect.gen(function*() {
      const { result } = yield* edit(fixtures.apple, (mime) =>
        Effect.gen(function*() {
          const { leaves } = yield* mime.tree
          yield* leaves[1]!.replace({ text: "removed" })
          // An edit by the same parts is no other edit.
          yield* mime.append({ text: "Bye" })
          yield* leaves[0]!.replace({ text: "removed too" })
          const again = yield* mime.tree
          yield* again.leaves[2]!.replace({ text: "and this" })
          return yield* leaves[2]!.replace({ text: "late" })
        }))
      assert.deepStrictEqual(Result.isFailure(result) && [result.failure.why, result.failure.path], ["stale", "3"])
    }))
})

describe("bad input", () => {
  const parts = "--b\r\nContent-Type: text/plain\r\n\r\nHello\r\n"
  const mixed = (body: string, field = " multipart/mixed; boundary=b"): Mail => ({
    fields: [["MIME-Version", " 1.0"], ["Content-Type", field]],
    body
  })
  const cases: { readonly [name: string]: readonly [mail: Mail, complete: boolean] } = {
    "no boundary": [mixed(parts, " multipart/mixed"), false],
    "a boundary that does not occur": [mixed(parts, " multipart/mixed; boundary=x"), false],
    "a boundary given twice, the same": [mixed(`${parts}--b--\r\n`, " multipart/mixed; boundary=b; boundary=b"), true],
    "a closed multipart that goes on": [mixed(`${parts}--b--\r\n${parts}--b--\r\n`), false],
    "the end first": [mixed(`--b--\r\n${parts}--b--\r\n`), false],
    "a boundary that begins another": [
      mixed(
        `--b\r\nContent-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\n\r\nHello\r\n--bb--\r\n--b--\r\n`
      ),
      true
    ],
    "the grandparent's boundary in between": [
      mixed(
        "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\nContent-Type: multipart/mixed; boundary=d\r\n\r\n" +
          "--d\r\n\r\nHello\r\n--b\r\n\r\nBye\r\n--b--\r\n"
      ),
      true
    ],
    "the parent's boundary again": [
      mixed(`--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n${parts}--b--\r\n--b--\r\n`),
      false
    ],
    "blanks after delimiters": [mixed("--b \t \r\n\r\nHello\r\n--b-- \t\r\n"), true],
    "preamble and epilogue": [mixed(`This is MIME.\r\n${parts}--b--\r\nThat was MIME.\r\n`), true],
    "LF only": [mixed(`${parts}--b--\r\n`.replaceAll("\r\n", "\n")), true],
    "no final line end": [mixed(`${parts}--b--`), true],
    "no end": [mixed(parts), true],
    "cut in a delimiter": [mixed(`${parts}--b`), false],
    "cut in a header": [mixed(`${parts}--b\r\nContent-Type: text/pl`), false],
    "a header without a body": [mixed(`${parts}--b\r\nX-Note: 1\r\n--b--\r\n`), false],
    "200 deep": [
      mixed(
        Array.from(
          { length: 200 },
          (_, depth) =>
            `--b${depth === 0 ? "" : depth}\r\nContent-Type: multipart/mixed; boundary=b${depth + 1}\r\n\r\n`
        ).join("") +
          "--b200\r\n\r\nHello\r\n"
      ),
      false
    ],
    "1000 parts": [mixed(`${parts.repeat(999)}--b--\r\n`), true],
    "1001 parts": [mixed(`${parts.repeat(1001)}--b--\r\n`), false],
    "a long header": [mixed(`--b\r\n${"X-Note: 1\r\n".repeat(40_000)}\r\nHello\r\n--b--\r\n`), false],
    "8-bit in headers": [
      mixed(`--b\r\nContent-Type: text/plain; name="\xfc\xc3\xbc"\r\nX-\xff: \xfe\r\n\r\nHello\r\n--b--\r\n`),
      true
    ],
    "two types": [mixed("--b\r\nContent-Type: text/plain\r\nContent-Type: text/html\r\n\r\nHello\r\n--b--\r\n"), false],
    "invalid base64": [mixed("--b\r\nContent-Transfer-Encoding: base64\r\n\r\nSGVs*bG8=bG8\r\n--b--\r\n"), true],
    "invalid quoted-printable": [
      mixed("--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nHel=lo =\xfc =4\r\n--b--\r\n"),
      true
    ],
    "quoted-printable that ends in a soft line break": [
      mixed("--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nHello=\r\n--b--\r\n"),
      true
    ],
    "an unknown charset": [mixed("--b\r\nContent-Type: text/plain; charset=klingon\r\n\r\nHello\r\n--b--\r\n"), true],
    "an unknown encoding": [mixed("--b\r\nContent-Transfer-Encoding: x-rot13\r\n\r\nHello\r\n--b--\r\n"), true],
    "NUL": [mixed("--b\r\nContent-Type: text/html\r\n\r\n<p>\0Hello\0</p>\r\n--b--\r\n"), true],
    "NUL in a header": [mixed("--b\r\nContent-Type: text/plain\0\r\n\r\nHello\r\n--b--\r\n"), true],
    "nothing": [mixed(""), false]
  }
  for (const [name, [mail, complete]] of Object.entries(cases)) {
    it.effect(name, () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* read(mail, (tree) => Effect.succeed(tree.complete)), complete)
        for (const how of ["append", "prepend"] as const) {
          const { mail: after, result, undone } = yield* edit(mail, (mime) => mime[how]({ text: "Grüße" }))
          assert.strictEqual(undone, mail.body)
          if (!complete) {
            assert.strictEqual(Result.isFailure(result) && result.failure.why, "structure")
            assert.deepStrictEqual(after, mail)
            continue
          }
          assert.isAtLeast(Result.getOrThrow(result).edited.length, 1)
          const leaves = yield* Effect.promise(() => leavesOf(sourceOf(after)))
          assert.strictEqual(
            leaves!.filter((leaf) => /Gr(?:ü|&#252;)/.test(textOf(leaf))).length,
            1,
            sourceOf(after).slice(0, 500)
          )
        }
      }))
  }

  it.effect("a large part in base64, without line ends", () =>
    Effect.gen(function*() {
      const content = "Hello ".repeat(50_000)
      const mail: Mail = {
        fields: [["Content-Type", " text/plain; charset=utf-8"], ["Content-Transfer-Encoding", " base64"]],
        body: `${btoa(content)}\r\n`
      }
      const { mail: after } = yield* edit(mail, (mime) => mime.append({ text: "Bye" }))
      const [leaf] = (yield* Effect.promise(() => leavesOf(sourceOf(after))))!
      assert.strictEqual(textOf(leaf!), `${content}\nBye\n`)
    }))
})

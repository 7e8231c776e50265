/** The runners of public suites, on files in the suites' formats written here. */
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Result } from "effect"
import * as Auth from "effect-milter/auth"
import * as Delivery from "effect-milter/Delivery"
import * as Milter from "effect-milter/Milter"
import type * as MilterClient from "effect-milter/MilterClient"
import * as MilterTest from "effect-milter/MilterTest"
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { root } from "../../scripts/repository.ts"
import { runSuites } from "../../scripts/suites/run.ts"
import { delivered, input, message, recordsOf } from "./support/mail.ts"

Fs.mkdirSync(Path.join(root, "test-results"), { recursive: true })
const directory = Fs.mkdtempSync(Path.join(root, "test-results/suites-"))

afterAll(() => Fs.rmSync(directory, { recursive: true, force: true }))

const file = (name: string, content: string | Uint8Array): string => {
  const path = Path.join(directory, name)
  Fs.mkdirSync(Path.dirname(path), { recursive: true })
  Fs.writeFileSync(path, content)
  return path
}

const keys = [input("example.org")]
const [[keyName, { TXT: [key] }]] = Object.entries(recordsOf(keys)) as [[string, { TXT: [string] }]]

const services = Effect.provide(Layer.merge(Auth.Keys.layer(keys), Auth.Dns.layerRecords({})))

const bytesOf = (outcome: MilterClient.Outcome): string => Buffer.from(Delivery.toBytes(delivered(outcome))).toString()

const signed = MilterTest.message(Auth.sign(), message).pipe(Effect.map(bytesOf), services)

const authservId = "mx.example.org"
const sealed = MilterTest.message(
  Milter.sequence([Auth.verify({ authservId }), Auth.seal({ authservId, domain: "example.org" })]),
  { ...message, macros: {} }
).pipe(Effect.map(bytesOf), services)

/** As the block of a YAML value. */
const block = (text: string): string =>
  ["|", ...text.replaceAll("\r\n", "\n").split("\n").map((line) => `      ${line}`)].join("\n")

const reported = (...args: ReadonlyArray<string>) =>
  Effect.map(runSuites(args), ({ failed, lines }) => ({
    failed,
    lines: lines.map((line) => line.replaceAll(`${directory}/`, ""))
  }))

describe("test:suites", () => {
  it.effect("reads SPF suites: zone data, results, explanations", () =>
    Effect.gen(function*() {
      const path = file(
        "spf.yml",
        `# A comment.
---
description: Records
tests:
  one-of-two: &base
    spec: 4.6/1
    helo: mail.example.net
    host: 192.0.2.1
    mailfrom: alice@spf.example.net
    result: [ neutral, pass ]
  text-before-spf:
    <<: *base
    helo: mail.example.net
    host: 192.0.2.1
    mailfrom: alice@both.example.net
    result: fail
    explanation: Go away.
  no-text:
    helo: mail.example.net
    host: 192.0.2.1
    mailfrom: alice@none.example.net
    result: none
  wrong:
    helo: mail.example.net
    host: 192.0.2.1
    mailfrom: alice@spf.example.net
    result: softfail
  wrong-explanation:
    helo: mail.example.net
    host: 192.0.2.1
    mailfrom: alice@both.example.net
    result: fail
    explanation: DEFAULT
zonedata:
  spf.example.net:
    - SPF: [ v=spf1, ' ip4:192.0.2.1 -all' ]
  both.example.net:
    - SPF: v=spf1 +all
    - TXT: v=spf1 -all exp=why.example.net
  why.example.net:
    - TXT: Go away.
  none.example.net:
    - SPF: v=spf1 +all
    - TXT: NONE
---
description: Types of records
tests:
  mx-by-helo:
    helo: Mail.Example.Net
    host: 2001:db8::1
    mailfrom: ""
    result: pass
  alias:
    helo: mail.example.net
    host: 192.0.2.1
    mailfrom: alice@alias.example.net
    result: pass
  pointer:
    helo: mail.example.net
    host: 192.0.2.1
    mailfrom: alice@pointer.example.net
    result: pass
  timeout:
    helo: mail.example.net
    host: 192.0.2.1
    mailfrom: alice@slow.example.net
    result: temperror
  timeout-of-others:
    helo: mail.example.net
    host: 192.0.2.1
    mailfrom: alice@half.example.net
    result: temperror
  timeout-with-text:
    helo: mail.example.net
    host: 192.0.2.1
    mailfrom: alice@text.example.net
    result: fail
zonedata:
  mail.example.net:
    - SPF: v=spf1 mx -all
    - MX: [ 10, a.example.net ]
  a.example.net:
    - A: 192.0.2.1
    - AAAA: 2001:db8::1
  alias.example.net:
    - CNAME: real.example.net
  real.example.net:
    - TXT: v=spf1 a:a.example.net -all
  pointer.example.net:
    - TXT: v=spf1 ptr:example.net -all
  1.2.0.192.in-addr.arpa:
    - PTR: a.example.net
  slow.example.net:
    - TIMEOUT
  half.example.net:
    - SPF: v=spf1 -all
    - TXT: NONE
    - TIMEOUT
  text.example.net:
    - TXT: v=spf1 -all
    - TIMEOUT
`
      )
      assert.deepStrictEqual(yield* reported("--spf", path), {
        failed: 2,
        lines: [
          "SPF spf.yml: 11 passed, 2 failed, 0 by design",
          "  wrong: expected softfail, got pass",
          "  wrong-explanation explanation: expected DEFAULT, got Go away."
        ]
      })
    }))

  it.effect("reads ARC suites, and lists what differs by design", () =>
    Effect.gen(function*() {
      const text = yield* sealed
      const chain = text.slice(0, text.indexOf("\r\nAuthentication-Results:") + 2)
      const path = file(
        "arc.yml",
        `description: >-
  Chain Validation
tests:
  cv_empty:
    message:     ${block("")}
    cv:          None
  cv_pass:
    message:     ${block(text)}
    cv:          Pass
  cv_changed:
    message:     ${block(text.replace("noon", "night"))}
    cv:          Fail
  cv_wrong:
    message:     ${block(text)}
    cv:          Fail
  arc_set_duplicate:
    message:     ${block(`${chain}${text}`)}
    cv:          Pass
txt-records:
  ${keyName}: >-
    ${key.replace("p=", "p=\n    ")}
`
      )
      const { failed, lines } = yield* reported("--arc", path)
      assert.strictEqual(failed, 1)
      assert.deepStrictEqual(lines.slice(0, 2), [
        "ARC arc.yml: 3 passed, 1 failed, 1 by design",
        "  cv_wrong: expected fail, got pass"
      ])
      assert.match(lines[2]!, /^  arc_set_duplicate: expected pass, got fail, by design: .*RFC 8617/)
      assert.lengthOf(lines, 3)
    }))

  it.effect("reads messages, and compares the bytes that are delivered", () =>
    Effect.gen(function*() {
      file("messages/bare.eml", "From alice Mon Nov 23\nFrom:alice@example.org\nX-Fold:\n\tvalue\n\nno end of line")
      file("messages/broken.eml", "From: alice@example.org\nthis is not a field\nHello\n")
      file("messages/empty.eml", "")
      file("messages/headerOnly.eml", "From: alice@example.org\r\n")
      file("messages/latin1.eml", Buffer.from("Subject: Gr\xfc\xdfe\r\n\r\nsch\xf6n\r\n", "latin1"))
      file("messages/nul.eml", "X-Nul: a\0b\n\nMTAs cannot hand on what stands after NUL in a field.\n")
      file("messages/parts.eml", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\n\ntwo\n--b--\n")
      file("messages/notes.txt", "not a message")
      assert.deepStrictEqual(yield* reported("--messages", Path.join(directory, "messages")), {
        failed: 1,
        lines: [
          "messages messages: 6 passed, 1 failed, 0 by design",
          "  nul.eml: expected read, bytes kept, got bytes differ from byte 8 on"
        ]
      })
    }))

  it.effect("checks signed messages with the keys beside them", () =>
    Effect.gen(function*() {
      const text = yield* signed
      file("signed/changed.eml", text.replace("noon", "night"))
      file("signed/good.eml", text)
      file("signed/plain.eml", "From: alice@example.org\n\nHello\n")
      const records = `txt-records:\n  ${keyName}: ${key}\n`
      const named = ["--dkim", Path.join(directory, "signed")]
      file("signed/keys.yml", `${records}results:\n  plain.eml: none\n  changed.eml: fail\n`)
      assert.deepStrictEqual(yield* reported(...named), {
        failed: 0,
        lines: ["DKIM signed: 6 passed, 0 failed, 0 by design"]
      })
      file("signed/keys.yml", records)
      assert.deepStrictEqual(yield* reported(...named), {
        failed: 2,
        lines: [
          "DKIM signed: 4 passed, 2 failed, 0 by design",
          "  changed.eml signatures: expected pass, got fail",
          "  plain.eml signatures: expected pass, got none"
        ]
      })
    }))

  it.effect("says in one line what it cannot read", () =>
    Effect.gen(function*() {
      const problem = (...args: ReadonlyArray<string>) =>
        Effect.map(
          Effect.result(runSuites(args)),
          (result) => Result.isFailure(result) ? result.failure.message.replace(`${directory}/`, "") : "no problem"
        )
      const [test, zonedata] = ["t: { helo: a, host: 192.0.2.1, mailfrom: a@b.example, result: none }", "zonedata: {}"]
      Fs.mkdirSync(Path.join(directory, "nothing"))
      for (
        const [args, expected] of [
          [["--spf", file("empty.yml", "")], /^empty\.yml: the file is empty$/],
          [["--spf", file("open.yml", "tests: [")], /^open\.yml: Flow sequence .* line 1/],
          [["--spf", file("tests.yml", "tests: {}")], /^tests\.yml: .*zonedata/],
          [
            ["--spf", file("host.yml", `tests: { ${test.replace("host:", "hots:")} }\n${zonedata}`)],
            /^host\.yml: .*host/
          ],
          [
            ["--spf", file("type.yml", `tests: { ${test} }\nzonedata: { b.example: [ { TYPE99: x } ] }`)],
            /^type\.yml: b\.example has a record of the unknown type TYPE99$/
          ],
          [
            ["--spf", file("mx.yml", `tests: { ${test} }\nzonedata: { b.example: [ { MX: 10 a.example } ] }`)],
            /^mx\.yml: b\.example has an MX record that is not a list of priority and host$/
          ],
          [["--arc", Path.join(directory, "missing.yml")], /^missing\.yml: ENOENT: no such file or directory$/],
          [["--messages", Path.join(directory, "missing")], /^missing: ENOENT: no such file or directory$/],
          [["--messages", Path.join(directory, "nothing")], /^nothing: the directory has no \.eml files$/],
          [[], /^test:suites: give --spf FILE/],
          [["--spf"], /^test:suites: give --spf FILE/]
        ] as const
      ) {
        const message = yield* problem(...args)
        assert.match(message, expected)
        assert.notInclude(message, "\n")
      }
    }))

  it("ends with exit code 1 and one line where a file is missing", () => {
    const { status, stdout } = spawnSync(
      process.execPath,
      ["-C", "effect-milter-source", "scripts/publicSuites.ts", "--spf", "missing.yml"],
      { cwd: root, encoding: "utf8" }
    )
    assert.deepStrictEqual({ status, stdout }, {
      status: 1,
      stdout: "missing.yml: ENOENT: no such file or directory\n"
    })
  })
})

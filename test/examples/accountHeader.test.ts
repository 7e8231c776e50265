/** The example account_header. */
import * as NodeCrypto from "@effect/platform-node/NodeCrypto"
import { assert, describe, it } from "@effect/vitest"
import * as MilterTest from "effect-milter/MilterTest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { TestClock } from "effect/testing"
import { randomBytes } from "node:crypto"
import { accountHeader } from "../../examples/account_header/filter.ts"
import { read } from "../../examples/account_header/reading.ts"
import { type AccountData, type InvalidKeys, Sealing } from "../../examples/account_header/sealing.ts"

const key = (id: string) => `${id}:${randomBytes(32).toString("base64")}`

const older = key("2026-10")
const newer = key("2026-11")

const withKeys = (keys: string, name = "X-Account-Data"): Layer.Layer<Sealing, InvalidKeys> =>
  Sealing.layer(name, Redacted.make(keys)).pipe(Layer.provide(NodeCrypto.layer))

const seal = (data: AccountData) => Effect.flatMap(Sealing, (sealing) => sealing.seal(data))
const open = (value: string) => Effect.flatMap(Sealing, (sealing) => sealing.open(value))

const data: AccountData = {
  login: "grüße@example.org",
  client: { address: "2001:db8::1", hostname: "unknown" },
  time: "2026-11-22T12:00:00.000Z",
  sender: "",
  messageId: `<${"x".repeat(500)}@example.org>`
}

const message = {
  from: "alice@example.org",
  to: "bob@example.net",
  headers: [["Subject", "hello"], ["Message-ID", "<1@example.org>"]],
  client: { hostname: "client.example.org", address: "192.0.2.7", port: 4711 },
  helo: "[192.0.2.7]",
  macros: {
    helo: { "{tls_version}": "TLSv1.3", "{cipher}": "TLS_AES_256_GCM_SHA384" },
    mail: { "{auth_authen}": "alice", "{auth_type}": "PLAIN" }
  }
} as const

const { macros: _, ...withoutLogin } = message

/** The values of the field in what is delivered. */
const valuesOf = (outcome: Effect.Success<ReturnType<typeof MilterTest.message>>): ReadonlyArray<string> => {
  MilterTest.assertAccepted(outcome)
  return outcome.delivered!.headers.filter(({ name }) => name.toLowerCase() === "x-account-data").map(({ value }) =>
    value
  )
}

describe("account_header", () => {
  for (const mta of MilterTest.mtas) {
    it.effect(`says who has sent the message and how, with ${mta.name}`, () =>
      Effect.gen(function*() {
        yield* TestClock.setTime(Date.UTC(2026, 10, 22, 12))
        const outcome = yield* MilterTest.message(accountHeader(), message, { as: mta })
        const values = valuesOf(outcome)
        assert.lengthOf(values, 1)
        assert.deepInclude(yield* open(values[0]!), {
          login: "alice",
          mechanism: "PLAIN",
          client: {
            address: "192.0.2.7",
            hostname: "client.example.org",
            ...(mta.name.includes(" 2.3") ? {} : { port: 4711 })
          },
          helo: "[192.0.2.7]",
          tls: { version: "TLSv1.3", cipher: "TLS_AES_256_GCM_SHA384" },
          time: "2026-11-22T12:00:00.000Z",
          sender: "alice@example.org",
          messageId: "<1@example.org>"
        })
        assert.notInclude(values[0]!, "alice")
        assert.isBelow(Math.max(...values[0]!.split("\n").map((line) => line.length)), 78)
      }).pipe(Effect.provide(withKeys(newer))))

    it.effect(`takes forged ones away, with ${mta.name}`, () =>
      Effect.gen(function*() {
        const forged = ["X-Account-Data", "x-account-data", "X-ACCOUNT-DATA"].map((name) => [name, "mallory"] as const)
        const headers = [forged[0]!, ["Subject", "hello"] as const, forged[1]!, forged[2]!]
        const outcome = yield* MilterTest.message(accountHeader(), { ...message, headers }, { as: mta })
        const values = valuesOf(outcome)
        assert.lengthOf(values, 1)
        assert.strictEqual((yield* open(values[0]!)).login, "alice")
        const other = yield* MilterTest.message(accountHeader(), { ...withoutLogin, headers }, { as: mta })
        assert.deepStrictEqual(valuesOf(other), [])
      }).pipe(Effect.provide(withKeys(newer))))
  }

  it.effect("leaves mail without a login alone", () =>
    Effect.gen(function*() {
      const outcome = yield* MilterTest.message(accountHeader(), withoutLogin)
      MilterTest.assertAccepted(outcome)
      assert.deepStrictEqual(outcome.modifications, [])
    }).pipe(Effect.provide(withKeys(newer))))
})

describe("the keys", () => {
  it.effect("seal with the newest and open with all", () =>
    Effect.gen(function*() {
      const before = yield* Effect.provide(seal(data), withKeys(older))
      const after = yield* Effect.provide(seal(data), withKeys(`${older}\n# rotated\n${newer}\n`))
      assert.match(after, /^v1\.2026-11\./)
      assert.deepStrictEqual(yield* Effect.provide(open(before), withKeys(`${older}\n${newer}`)), data)
      assert.deepStrictEqual(yield* Effect.provide(open(after), withKeys(newer)), data)
      const gone = yield* Effect.flip(Effect.provide(open(before), withKeys(newer)))
      assert.strictEqual(gone.message, "there is no key 2026-10")
    }))

  for (
    const [keys, complaint] of [
      ["", "there is no key among the keys"],
      ["# none\n\n", "there is no key among the keys"],
      [`${newer}\nsecret`, "line 2 of the keys is not ID:KEY, with an ID of letters, digits, - and _"],
      [
        "a:c2VjcmV0",
        "line 1 of the keys is not a key: 32 bytes in Base64 are, such as `openssl rand -base64 32` gives"
      ],
      ["a:§§§", "line 1 of the keys is not a key: 32 bytes in Base64 are, such as `openssl rand -base64 32` gives"],
      [`${older}\n${older}`, "line 2 of the keys uses the ID 2026-10 again"]
    ] as const
  ) {
    it.effect(`are refused: ${complaint}`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Effect.provide(Effect.asVoid(Sealing), withKeys(keys)))
        assert.strictEqual(error.message, complaint)
      }))
  }
})

describe("a sealed value", () => {
  it.effect("survives all ways of folding", () =>
    Effect.gen(function*() {
      const value = yield* seal(data)
      const one = value.replace(/\s/g, "")
      for (const other of [one, ` ${one}\r\n`, value.replace(/\n/g, "\r\n\t"), one.replace(/(.{7})/g, "$1\r\n  ")]) {
        assert.deepStrictEqual(yield* open(other), data)
      }
    }).pipe(Effect.provide(withKeys(newer))))

  it.effect("is another each time", () =>
    Effect.gen(function*() {
      assert.notStrictEqual(yield* seal(data), yield* seal(data))
    }).pipe(Effect.provide(withKeys(newer))))

  it.effect("does not open when a character of it has changed, in another header, or with another key", () =>
    Effect.gen(function*() {
      const value = (yield* Effect.provide(seal(data), withKeys(newer))).replace(/\s/g, "")
      const start = "v1.2026-11.".length
      // The last character may hold bits that mean nothing.
      for (let at = 0; at < value.length - 1; at += at < start ? 1 : 41) {
        const changed = `${value.slice(0, at)}${value[at] === "A" ? "B" : "A"}${value.slice(at + 1)}`
        yield* Effect.flip(Effect.provide(open(changed), withKeys(newer)))
      }
      for (const other of [withKeys(newer, "X-Other"), withKeys(key("2026-11"))]) {
        const error = yield* Effect.flip(Effect.provide(open(value), other))
        assert.strictEqual(error.message, "it was not made with our key 2026-11, or not for this header")
      }
      for (const junk of ["", "v1.2026-11.", "v1.2026-11.AA", "v2.2026-11.AAAA", "hello"]) {
        yield* Effect.flip(Effect.provide(open(junk), withKeys(newer)))
      }
    }))
})

describe("reading", () => {
  const found = (value: string) =>
    `Received: from x\r\n\tby y\r\nX-account-DATA: ${value}\r\nMessage-Id:${data.messageId}`

  it.effect("takes a value alone and a message", () =>
    Effect.gen(function*() {
      const value = yield* seal(data)
      for (const input of [value, `${value}\n`, `${found(value)}\r\n\r\nX-Account-Data: body\r\n`]) {
        assert.deepStrictEqual(yield* read("X-Account-Data", input), { found: [data], problems: [] })
      }
    }).pipe(Effect.provide(withKeys(newer))))

  it.effect("says what is wrong", () =>
    Effect.gen(function*() {
      const value = yield* seal(data)
      const problems = (input: string) => Effect.map(read("X-Account-Data", input), ({ problems }) => problems)
      assert.deepStrictEqual(yield* problems("Subject: hello\n\nX-Account-Data: x"), [
        "there is no X-Account-Data in this message"
      ])
      assert.deepStrictEqual(yield* problems("hello"), ["X-Account-Data: it is not one of our values"])
      assert.deepStrictEqual(yield* problems(`${found(value)}\nX-Account-Data: forged\n\n`), [
        "X-Account-Data: it is not one of our values"
      ])
      assert.deepStrictEqual(yield* problems(`X-Account-Data: ${value}\nMessage-ID: <2@example.org>\n\n`), [
        `X-Account-Data: it was made for the message ${data.messageId}, not for this one`
      ])
    }).pipe(Effect.provide(withKeys(newer))))
})

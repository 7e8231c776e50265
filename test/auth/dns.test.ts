/** Dns: records from a list, and other resolvers. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Auth from "effect-milter/auth"
import * as nameServer from "./support/nameServer.ts"

const reasonOf = (name: string, type: Auth.RecordType) =>
  Effect.gen(function*() {
    const { resolve } = yield* Auth.Dns
    return (yield* Effect.flip(resolve(name, type))).reason
  })

describe("Dns.layerRecords", () => {
  it.effect("answers from its table", () =>
    Effect.gen(function*() {
      const { resolve } = yield* Auth.Dns
      assert.deepStrictEqual(yield* resolve("EXAMPLE.org.", "TXT"), ["one", "two"])
      assert.deepStrictEqual(yield* resolve("example.org", "MX"), [{ priority: 10, exchange: "mx.example.org" }])
      assert.strictEqual(yield* reasonOf("example.org", "A"), "NoData")
      assert.strictEqual(yield* reasonOf("org", "A"), "NoData")
      assert.strictEqual(yield* reasonOf("example.com", "A"), "NotFound")
      assert.strictEqual(yield* reasonOf("slow.example", "PTR"), "Timeout")
      assert.strictEqual(yield* reasonOf("odd.example", "TXT"), "Failed")
      // Aliases are followed, unless they are asked for or have a record of the type themselves.
      assert.deepStrictEqual(yield* resolve("s._domainkey.example.org", "TXT"), ["one", "two"])
      assert.deepStrictEqual(yield* resolve("s._domainkey.example.org", "CNAME"), ["alias.example.org."])
      assert.strictEqual(yield* reasonOf("s._domainkey.example.org", "A"), "NoData")
      assert.strictEqual(yield* reasonOf("gone.example", "TXT"), "NotFound")
      assert.strictEqual(yield* reasonOf("late.example", "TXT"), "Timeout")
      assert.strictEqual(yield* reasonOf("loop.example", "TXT"), "Failed")
      assert.deepStrictEqual(yield* resolve("both.example", "TXT"), ["own"])
    }).pipe(Effect.provide(Auth.Dns.layerRecords({
      "example.org": { TXT: ["one", "two"], MX: [{ priority: 10, exchange: "mx.example.org" }] },
      "Slow.example": "Timeout",
      "odd.example": { TXT: "Failed", A: [] },
      "s._domainkey.example.org": { CNAME: ["alias.example.org."] },
      "alias.example.org": { CNAME: ["Example.org"] },
      "gone.example": { CNAME: ["nowhere.example"] },
      "late.example": { CNAME: ["slow.example"] },
      "loop.example": { CNAME: ["loop.example"] },
      "both.example": { CNAME: ["example.org"], TXT: ["own"] }
    }))))
})

const asking = (flags: number, record: Uint8Array) => <A, E>(effect: Effect.Effect<A, E, Auth.Dns>) =>
  Effect.flatMap(
    nameServer.serve(flags, record),
    ({ port }) =>
      Effect.provide(effect, Auth.Dns.layerWith({ servers: [`127.0.0.1:${port}`], timeout: "2 seconds", tries: 1 }))
  )

describe("Dns.layerWith", () => {
  const txt = nameServer.txt("one", "two")

  it.live("joins the strings of a TXT record", () =>
    Effect.gen(function*() {
      const { resolve } = yield* Auth.Dns
      assert.deepStrictEqual(yield* resolve("example.org", "TXT"), ["onetwo"])
    }).pipe(asking(0x8180, txt)))

  it.live("tells why there is nothing", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* asking(0x8183, new Uint8Array())(reasonOf("example.org", "TXT")), "NotFound")
      assert.strictEqual(yield* asking(0x8180, new Uint8Array())(reasonOf("example.org", "TXT")), "NoData")
      assert.strictEqual(yield* asking(0x8182, new Uint8Array())(reasonOf("example.org", "TXT")), "Failed")
      assert.strictEqual(yield* asking(0x8180, txt)(reasonOf(`${"a".repeat(64)}.example.org`, "TXT")), "BadName")
    }))
})

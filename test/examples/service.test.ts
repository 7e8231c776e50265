/** The example service. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { assert, describe, it } from "@effect/vitest"
import * as MilterTest from "effect-milter/MilterTest"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpRouter from "effect/http/HttpRouter"
import * as Layer from "effect/Layer"
import * as SqlError from "effect/sql/SqlError"
import * as Fs from "node:fs"
import { BlockedSenders } from "../../examples/service/blockedSenders.ts"
import { refuseBlocked } from "../../examples/service/filter.ts"
import { routes } from "../../examples/service/service.ts"

const memory = Layer.sync(BlockedSenders, () => {
  const blocked = new Map<string, Set<string>>()
  const of = (account: string) => blocked.get(account) ?? new Set()
  return {
    list: (account) => Effect.sync(() => [...of(account)].toSorted()),
    add: (account, sender) => Effect.sync(() => void blocked.set(account, of(account).add(sender))),
    remove: (account, sender) => Effect.sync(() => void of(account).delete(sender)),
    has: (account, address) =>
      Effect.sync(() => of(account).has(address) || of(account).has(address.slice(address.lastIndexOf("@") + 1)))
  }
})

const gone = Effect.fail(
  new SqlError.SqlError({ reason: new SqlError.ConnectionError({ cause: new Error("gone"), message: "gone" }) })
)
const broken = Layer.succeed(BlockedSenders, { list: () => gone, add: () => gone, remove: () => gone, has: () => gone })

const served = (blocked: Layer.Layer<BlockedSenders>) =>
  HttpRouter.serve(routes, { disableLogger: true, disableListenLog: true }).pipe(
    Layer.provideMerge(NodeHttpServer.layerTest),
    Layer.provideMerge(blocked)
  )

const request = (method: "GET" | "PUT" | "DELETE", path: string) =>
  Effect.gen(function*() {
    const response = yield* HttpClient.execute(HttpClientRequest.make(method)(path))
    return { status: response.status, text: yield* response.text }
  })

const send = (from: string, to: string | ReadonlyArray<string> = "bob@example.net") =>
  MilterTest.message(refuseBlocked, { from, to })

describe("service", () => {
  it.effect("lets the milter use what came by HTTP", () =>
    Effect.gen(function*() {
      MilterTest.assertAccepted(yield* send("alice@example.org"))
      for (const sender of ["alice@example.org", "spam.example"]) {
        assert.strictEqual((yield* request("PUT", `/accounts/bob@example.net/blocked/${sender}`)).status, 204)
      }
      assert.deepStrictEqual(yield* request("GET", "/accounts/bob@example.net/blocked"), {
        status: 200,
        text: "[\"alice@example.org\",\"spam.example\"]"
      })
      for (const sender of ["alice@example.org", "anybody@spam.example"]) {
        MilterTest.assertRejected(yield* send(sender), {
          stage: "rcpt",
          reply: "550 5.7.1 This recipient does not want mail from you"
        })
      }
      for (const sender of ["carol@example.org", "", "anybody@not.spam.example"]) {
        MilterTest.assertAccepted(yield* send(sender))
      }
      const both = yield* send("alice@example.org", ["bob@example.net", "carol@example.net"])
      assert.deepStrictEqual(both.delivered?.recipients.map(({ address }) => address), ["carol@example.net"])
      yield* request("DELETE", "/accounts/bob@example.net/blocked/alice@example.org")
      MilterTest.assertAccepted(yield* send("alice@example.org"))
    }).pipe(Effect.provide(served(memory))))

  it.effect("answers 400 to what is no address", () =>
    Effect.gen(function*() {
      for (
        const path of [
          "/accounts/bob/blocked/a@b",
          "/accounts/bob@b/blocked/a%00",
          "/accounts/bob@b/blocked/a@",
          "/accounts/bob@b/blocked/a%20b"
        ]
      ) {
        assert.deepStrictEqual(yield* request("PUT", path), { status: 400, text: "not an address" })
      }
      assert.strictEqual((yield* request("GET", "/accounts/bob/blocked")).status, 400)
      assert.strictEqual((yield* request("GET", "/elsewhere")).status, 404)
    }).pipe(Effect.provide(served(memory))))

  it.effect("puts both off while the database is gone", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* request("GET", "/accounts/bob@example.net/blocked"), {
        status: 503,
        text: "try again later"
      })
      MilterTest.assertTempFailed(yield* send("alice@example.org"), {
        stage: "rcpt",
        reply: "451 4.3.0 Cannot look up what the recipient wants, please try again later"
      })
    }).pipe(Effect.provide(served(broken))))

  it("has a README that quotes what is there", () => {
    const read = (file: string) => Fs.readFileSync(new URL(`../../examples/service/${file}`, import.meta.url), "utf8")
    const sources = `${read("before.ts")}\n${read("main.ts")}`.split("\n").map((line) => line.trim())
    const quoted = [...read("README.md").matchAll(/^```ts nocheck\n([^]*?)\n```$/gm)]
      .flatMap(([, code]) => code!.split("\n")).filter((line) => line !== "")
    assert.lengthOf(quoted, 4)
    for (const line of quoted) assert.include(sources, line.trim())
  })
})

/** The example sender_restriction. */
import { assert, describe, it } from "@effect/vitest"
import type * as MilterClient from "effect-milter/MilterClient"
import * as MilterTest from "effect-milter/MilterTest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { TestClock } from "effect/testing"
import { type Options, senderRestriction } from "../../examples/sender_restriction/filter.ts"
import * as SenderApi from "../../examples/sender_restriction/senderApi.ts"

interface Asked {
  readonly question: SenderApi.Question
  readonly authorization: string | undefined
}

type Behaviour = (question: SenderApi.Question) => Response | "never"

/** An API in memory, what it was asked, and what to do with it. */
const makeApi = (options: Partial<SenderApi.Options> = {}) => {
  const asked: Array<Asked> = []
  const api = {
    asked,
    behave: (() => Response.json({ allow: true })) as Behaviour
  }
  const client = HttpClient.make((request) =>
    Effect.suspend(() => {
      assert.strictEqual(request.method, "POST")
      assert.strictEqual(request.body._tag, "Uint8Array")
      const text = request.body._tag === "Uint8Array" ? new TextDecoder().decode(request.body.body) : ""
      const question: SenderApi.Question = JSON.parse(text)
      asked.push({ question, authorization: request.headers["authorization"] })
      const response = api.behave(question)
      return response === "never" ? Effect.never : Effect.succeed(HttpClientResponse.fromWeb(request, response))
    })
  )
  const layer = SenderApi.SenderApi.layer({
    url: "http://api.test/check",
    timeout: Duration.seconds(3),
    timeToLive: Duration.minutes(1),
    capacity: 2,
    ...options
  }).pipe(Layer.provide(Layer.succeed(HttpClient.HttpClient, client)))
  return { api, layer }
}

const message = {
  from: "alice@example.org",
  to: "bob@example.net",
  macros: { mail: { "{auth_authen}": "alice" } },
  client: { hostname: "client.example.org", address: "192.0.2.7" }
} as const

const send = (more: Partial<MilterClient.Message> = {}, whenDown: Options["whenDown"] = "tempfail") =>
  MilterTest.message(senderRestriction({ whenDown, campaignHeader: "X-Campaign-Id" }), { ...message, ...more })

/** Sends while the test's clock moves on. */
const sendMeanwhile = Effect.fnUntraced(function*(time: Duration.Input, whenDown?: Options["whenDown"]) {
  const fiber = yield* Effect.forkChild(send({}, whenDown), { startImmediately: true })
  yield* TestClock.adjust(time)
  return yield* Fiber.join(fiber)
})

const down: Behaviour = () => new Response("", { status: 503 })

describe("sender_restriction", () => {
  it.effect("asks who sends, and as whom, and does as it is told", () => {
    const { api, layer } = makeApi({ token: Redacted.make("secret") })
    return Effect.gen(function*() {
      MilterTest.assertAccepted(yield* send())
      assert.deepStrictEqual(api.asked, [{
        question: { login: "alice", sender: "alice@example.org", client: "192.0.2.7" },
        authorization: "Bearer secret"
      }])
      api.behave = () => Response.json({ allow: false, text: "not as \r\nthis, Zoë" })
      MilterTest.assertRejected(yield* send({ from: "" }), { stage: "mail", reply: "550 5.7.1 not as this, Zo?" })
      api.behave = ({ sender }) => Response.json({ allow: false, ...(sender.startsWith("dave") ? { text: "" } : {}) })
      for (const from of ["carol@example.org", "dave@example.org"]) {
        MilterTest.assertRejected(yield* send({ from }), { stage: "mail", reply: "550 5.7.1 You may not send this" })
      }
    }).pipe(Effect.provide(layer))
  })

  it.effect("asks nothing about mail without a login", () => {
    const { api, layer } = makeApi()
    return Effect.gen(function*() {
      MilterTest.assertAccepted(yield* send({ macros: {}, headers: [["X-Campaign-Id", "autumn"]] }))
      assert.lengthOf(api.asked, 0)
    }).pipe(Effect.provide(layer))
  })

  it.effect("asks again about messages with the header for campaigns", () => {
    const { api, layer } = makeApi({ capacity: 10 })
    api.behave = ({ campaign = "spring" }) => Response.json({ allow: campaign === "spring" })
    return Effect.gen(function*() {
      MilterTest.assertAccepted(yield* send({ headers: [["Subject", "one"], ["x-campaign-ID", " spring"]] }))
      assert.deepStrictEqual(api.asked.map(({ question }) => question.campaign), [undefined, "spring"])
      const outcome = yield* send({ headers: [["X-Campaign-Id", "spring"], ["X-Campaign-Id", "autumn"]] })
      MilterTest.assertRejected(outcome, { stage: "header" })
      assert.deepStrictEqual(api.asked.map(({ question }) => question.campaign), [undefined, "spring", "autumn"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("keeps answers for a while, refusals too, and not too many", () => {
    const { api, layer } = makeApi()
    api.behave = ({ sender }) => Response.json({ allow: sender !== "eve@example.org" })
    return Effect.gen(function*() {
      const sendAs = (from: string) => Effect.map(send({ from }), ({ _tag }) => _tag)
      const both = Effect.all([sendAs("alice@example.org"), sendAs("eve@example.org")], { concurrency: 2 })
      for (const expected of [2, 2]) {
        assert.deepStrictEqual(yield* both, ["Accepted", "Rejected"])
        assert.lengthOf(api.asked, expected)
      }
      yield* TestClock.adjust("59 seconds")
      yield* both
      assert.lengthOf(api.asked, 2)
      yield* TestClock.adjust("1 second")
      yield* both
      assert.lengthOf(api.asked, 4)
      // Room for two: the one that was not used longest goes.
      yield* sendAs("carol@example.org")
      yield* sendAs("eve@example.org")
      assert.lengthOf(api.asked, 5)
      yield* sendAs("alice@example.org")
      assert.lengthOf(api.asked, 6)
    }).pipe(Effect.provide(layer))
  })

  for (
    const [whenDown, outcome, reply] of [
      ["tempfail", "TempFailed", "451 4.7.1 Cannot check the sender now, please try again later"],
      ["reject", "Rejected", "550 5.7.1 Cannot check the sender now"],
      ["pass", "Accepted", undefined]
    ] as const
  ) {
    for (
      const [what, behave, attempts] of [
        ["an error", down, 2],
        ["an error that stays", () => new Response("", { status: 401 }), 1],
        ["something else", () => Response.json({ allowed: "yes" }), 1],
        ["no JSON", () => new Response("<html>"), 1],
        ["nothing", () => "never" as const, 1]
      ] as const
    ) {
      it.effect(`with ${whenDown}: ${outcome} if the API says ${what}`, () => {
        const { api, layer } = makeApi()
        api.behave = behave
        return Effect.gen(function*() {
          const found = yield* sendMeanwhile("3 seconds", whenDown)
          assert.strictEqual(found._tag, outcome)
          if (found._tag === "Rejected") MilterTest.assertRejected(found, { stage: "mail", reply: reply! })
          if (found._tag === "TempFailed") MilterTest.assertTempFailed(found, { stage: "mail", reply: reply! })
          assert.lengthOf(api.asked, attempts)
          // Nothing is kept of that.
          api.behave = () => Response.json({ allow: true })
          MilterTest.assertAccepted(yield* send())
        }).pipe(Effect.provide(layer))
      })
    }
  }

  it.effect("tries once more after an error that may pass", () => {
    const { api, layer } = makeApi()
    api.behave = () => api.asked.length === 1 ? new Response("", { status: 502 }) : Response.json({ allow: true })
    return Effect.gen(function*() {
      MilterTest.assertAccepted(yield* sendMeanwhile("100 millis"))
      assert.lengthOf(api.asked, 2)
    }).pipe(Effect.provide(layer))
  })

  it.effect("leaves an API alone that fails again and again, and still says what it knows", () => {
    const { api, layer } = makeApi({ timeToLive: Duration.hours(1) })
    return Effect.gen(function*() {
      MilterTest.assertAccepted(yield* send({ from: "known@example.org" }))
      api.behave = () => new Response("", { status: 401 })
      for (let turn = 0; turn < 7; turn++) MilterTest.assertTempFailed(yield* send())
      assert.lengthOf(api.asked, 1 + 5)
      MilterTest.assertAccepted(yield* send({ from: "known@example.org" }))
      api.behave = () => Response.json({ allow: true })
      yield* TestClock.adjust("9 seconds")
      MilterTest.assertTempFailed(yield* send())
      yield* TestClock.adjust("1 second")
      MilterTest.assertAccepted(yield* send())
      assert.lengthOf(api.asked, 1 + 5 + 1)
    }).pipe(Effect.provide(layer))
  })
})

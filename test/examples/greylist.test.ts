/** The example greylist. */
import { assert, describe, it } from "@effect/vitest"
import * as ClientAddress from "effect-milter/ClientAddress"
import type * as MilterClient from "effect-milter/MilterClient"
import * as MilterTest from "effect-milter/MilterTest"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Result from "effect/Result"
import { TestClock } from "effect/testing"
import { greylist, type Options } from "../../examples/greylist/filter.ts"
import { type Triplet, Triplets, Unavailable } from "../../examples/greylist/triplets.ts"

const options: Options = {
  delay: Duration.minutes(5),
  known: Result.getOrThrow(ClientAddress.network(["198.51.100.0/24", "2001:db8:ffff::/48"])),
  whenDown: "tempfail"
}
const filter = greylist(options)

/** Remembers for ever, and what it was asked. */
const memory = () => {
  const first = new Map<string, number>()
  const asked: Array<Triplet> = []
  const layer = Layer.succeed(Triplets, {
    attempt: (triplet) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        asked.push(triplet)
        const key = JSON.stringify(triplet)
        if (!first.has(key)) first.set(key, now)
        return Duration.millis(now - first.get(key)!)
      })
  })
  return { asked, layer }
}

const message = {
  from: "alice@example.org",
  to: "bob@example.net",
  client: { hostname: "mx.example.org", address: "192.0.2.7" }
} as const

const send = (more: Partial<MilterClient.Message> = {}, by: typeof filter = filter) =>
  MilterTest.message(by, { ...message, ...more })

/** The SMTP reply to the recipient, or that there is none. */
const answer = (more: Partial<MilterClient.Message> = {}) =>
  Effect.map(send(more), ({ reply }) => reply === undefined ? "accepted" : `${reply.code} ${reply.lines.join()}`)

const from = (address: string) => ({ client: { hostname: "mx.example.org", address } })

describe("greylist", () => {
  it.effect("puts off somebody new, and says for how long", () => {
    const { layer } = memory()
    return Effect.gen(function*() {
      MilterTest.assertTempFailed(yield* send(), {
        stage: "rcpt",
        reply: "451 4.7.1 Greylisted, please try again in 5 minutes"
      })
      yield* TestClock.adjust("90 seconds")
      assert.strictEqual(yield* answer(), "451 Greylisted, please try again in 4 minutes")
      yield* TestClock.adjust("209 seconds")
      assert.strictEqual(yield* answer(), "451 Greylisted, please try again in a minute")
      yield* TestClock.adjust("1 second")
      MilterTest.assertAccepted(yield* send())
      MilterTest.assertAccepted(yield* send())
    }).pipe(Effect.provide(layer))
  })

  it.effect("decides on each recipient", () => {
    const { layer } = memory()
    return Effect.gen(function*() {
      yield* send()
      yield* TestClock.adjust("5 minutes")
      const outcome = yield* send({ to: ["new@example.net", "bob@example.net"] })
      MilterTest.assertAccepted(outcome)
      assert.deepStrictEqual(outcome.delivered?.recipients.map(({ address }) => address), ["bob@example.net"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("knows hosts by their network, and senders without what changes", () => {
    const { asked, layer } = memory()
    return Effect.gen(function*() {
      yield* send({ from: "List+1@Example.ORG", to: "<Bob@EXAMPLE.net.>" })
      yield* send({ ...from("192.0.3.7"), from: "bounce-17-bob=example.net@example.org" })
      yield* send({ ...from("2001:db8:1:2:3:4:5:6"), from: "<>" })
      yield* send({ ...from("2001:db8::1"), from: "+@example.org", to: "postmaster" })
      assert.deepStrictEqual(asked, [
        { network: "192.0.2.0/24", sender: "list@example.org", recipient: "bob@example.net" },
        { network: "192.0.3.0/24", sender: "bounce-#-bob=example.net@example.org", recipient: "bob@example.net" },
        { network: "2001:db8:1:2::/64", sender: "", recipient: "bob@example.net" },
        { network: "2001:db8::/64", sender: "@example.org", recipient: "postmaster@" }
      ])
    }).pipe(Effect.provide(layer))
  })

  it.effect("does not ask about those whom it trusts", () => {
    const { asked, layer } = memory()
    return Effect.gen(function*() {
      for (
        const trusted of [
          { macros: { mail: { "{auth_authen}": "alice" } } },
          from("198.51.100.9"),
          from("2001:db8:ffff:1::1"),
          from("127.0.0.2"),
          from("::1"),
          { client: { hostname: "localhost", address: "/run/socket" } }
        ]
      ) {
        assert.strictEqual(yield* answer(trusted), "accepted")
      }
      assert.deepStrictEqual(asked, [])
    }).pipe(Effect.provide(layer))
  })
})

describe("greylist without its database", () => {
  const failing = () => {
    let asked = 0
    const lines: Array<string> = []
    const layer = Layer.merge(
      Layer.succeed(Triplets, {
        attempt: () => Effect.suspend(() => (asked++, Effect.fail(new Unavailable({ message: "it is gone" }))))
      }),
      Logger.layer([Logger.make(({ message }) => void lines.push(String(message)))])
    )
    return { asked: () => asked, layer, lines }
  }

  it.effect("puts mail off, or lets it pass, as it was told", () => {
    const { layer, lines } = failing()
    return Effect.gen(function*() {
      MilterTest.assertTempFailed(yield* send(), {
        stage: "rcpt",
        reply: "451 4.3.0 Cannot look up whether we know you, please try again later"
      })
      MilterTest.assertAccepted(yield* send({}, greylist({ ...options, whenDown: "pass" })))
      assert.include(lines, "it is gone: tempfail")
      assert.include(lines, "it is gone: pass")
    }).pipe(Effect.provide(layer))
  })

  it.effect("leaves it alone for a while", () => {
    const { asked, layer } = failing()
    return MilterTest.run(
      filter,
      Effect.fnUntraced(function*(mta) {
        yield* mta.connect({ hostname: "mx.example.org", address: "192.0.2.7" })
        yield* mta.mail("<alice@example.org>")
        for (let turn = 0; turn < 9; turn++) {
          assert.strictEqual((yield* mta.rcpt("<bob@example.net>"))._tag, "Reply")
        }
        assert.strictEqual(asked(), 3)
        yield* TestClock.adjust("5 seconds")
        yield* mta.rcpt("<bob@example.net>")
        assert.strictEqual(asked(), 4)
      })
    ).pipe(Effect.provide(layer))
  })
})

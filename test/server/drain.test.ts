/** The server stops, on TestClock. */
import { assert, describe, it } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Ref from "effect/Ref"
import * as TestClock from "effect/testing/TestClock"
import * as connection from "../../src/internal/engine/connection.ts"
import { OpenConnections } from "../../src/internal/engine/openConnections.ts"
import type { Program } from "../../src/internal/engine/serverRuntime.ts"
import { makePair } from "../../src/internal/net/memoryTransport.ts"
import { wasOverrun } from "../../src/internal/server/drainState.ts"
import { answering } from "../support/filters.ts"
import * as Mta from "../support/rawMta.ts"
import { effect } from "../support/yielding.ts"

describe("drain", () => {
  effect("lets a message in progress end, puts the next one off and waits for the quit", () =>
    Effect.gen(function*() {
      const server = yield* Mta.serve(answering({}), { drainTimeout: "1 minute" })
      const mta = yield* server.open()
      yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt())
      const stopping = yield* Effect.forkChild(server.stop, { startImmediately: true })
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(
        yield* mta.each(Mta.data, Mta.header(), Mta.endOfHeaders, Mta.body(), Mta.endOfMessage()),
        ["Continue", "Continue", "Continue", "Continue", "Continue"]
      )
      const [refused] = yield* mta.say(Mta.mail())
      assert.match(refused!, /^ReplyCode text="421 4\.3\.2 Service is shutting down \(session .*\)"$/)
      yield* Mta.settle
      assert.isUndefined(stopping.pollUnsafe())
      yield* mta.say(Mta.abort, Mta.abort, Mta.quit)
      yield* Fiber.join(stopping)
      assert.isTrue(yield* mta.closed)
    }))

  effect("waits in a program that was interrupted, as a signal does it", () =>
    Effect.gen(function*() {
      const served = yield* Deferred.make<Mta.Server>()
      const program = yield* Effect.forkChild(
        Mta.serve(answering({}), { drainTimeout: "1 minute" }).pipe(
          Effect.flatMap((server) => Deferred.succeed(served, server)),
          Effect.andThen(Effect.never),
          Effect.scoped
        )
      )
      const mta = yield* (yield* Deferred.await(served)).open()
      yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt())
      const stopping = yield* Effect.forkChild(Fiber.interrupt(program), { startImmediately: true })
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* mta.each(Mta.body(), Mta.endOfMessage()), ["Continue", "Continue"])
      yield* mta.say(Mta.abort, Mta.quit)
      yield* Fiber.join(stopping)
    }))

  effect("takes no more connections", () =>
    Effect.gen(function*() {
      const server = yield* Mta.serve(answering({}), { drainTimeout: "1 minute" })
      yield* server.open()
      yield* Effect.forkChild(server.stop, { startImmediately: true })
      yield* Mta.settle
      const exit = yield* Effect.exit(server.dial)
      assert.strictEqual(exit._tag, "Failure")
      yield* TestClock.adjust("2 minutes")
    }))

  effect("at the deadline interrupts hooks, answers what is awaited for now, and closes", () =>
    Effect.gen(function*() {
      const events = yield* Ref.make<ReadonlyArray<string>>([])
      const note = (event: string) => Ref.update(events, (all) => [...all, event])
      const filter = Milter.make("slow", {
        connection: () => Effect.addFinalizer(() => note("connection")),
        message: () => Effect.addFinalizer((exit) => note(`message ${exit._tag}`))
      }).on({
        endOfMessage: () => Effect.onInterrupt(Effect.never, () => note("hook")) as Effect.Effect<Verdict.Continue>
      })
      const server = yield* Mta.serve(filter, { drainTimeout: "30 seconds", progressInterval: "1 hour" })
      const mta = yield* server.open()
      yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt())
      yield* mta.say(Mta.endOfMessage())
      const stopping = yield* Effect.forkChild(server.stop, { startImmediately: true })
      yield* TestClock.adjust("29 seconds")
      assert.deepStrictEqual(yield* mta.replies, [])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* mta.replies, ["TempFail"])
      yield* Fiber.join(stopping)
      assert.isTrue(yield* mta.closed)
      assert.deepStrictEqual(yield* Ref.get(events), ["hook", "message Failure", "connection"])
      assert.isTrue(wasOverrun())
    }))

  effect("is not kept by a finalizer that does not end", () =>
    Effect.gen(function*() {
      const filter = Milter.make("stuck", { connection: () => Effect.addFinalizer(() => Effect.never) }).on({
        connect: () => Effect.succeed(Verdict.continue)
      })
      const server = yield* Mta.serve(filter, { drainTimeout: "5 seconds" })
      const mta = yield* server.open()
      yield* mta.say(Mta.connect())
      const stopping = yield* Effect.forkChild(server.stop, { startImmediately: true })
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(stopping)
    }))

  effect("is not kept by a hook that does not stop", () =>
    Effect.gen(function*() {
      const stubborn = Effect.uninterruptible(Effect.never) as Effect.Effect<Verdict.Verdict>
      const server = yield* Mta.serve(answering({ mail: stubborn }), { drainTimeout: "5 seconds" })
      const mta = yield* server.open()
      yield* mta.say(Mta.connect(), Mta.mail())
      const stopping = yield* Effect.forkChild(server.stop, { startImmediately: true })
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(stopping)
    }))
})

describe("a connection whose fiber has not run yet", () => {
  it("is known to the server, which can destroy it", () => {
    const [mta, filter] = makePair(["mta", "filter"])
    const connections = new OpenConnections({ connections: 1, silentConnections: 1 })
    // What is looked at before the transport is opened.
    const program = {
      clock: { currentTimeMillisUnsafe: () => 0 },
      limits: { connections: 1, frameLength: 1000, queuedPackets: 1 },
      connections
    } as unknown as Program
    const effect = connection.serveTransport(program, filter)
    assert.isTrue(Effect.isEffect(effect))
    assert.strictEqual(connections.all.size, 1)
    const events: Array<string> = []
    mta.open({
      data: () => events.push("data"),
      end: () => events.push("end"),
      drain: () => events.push("drain"),
      closed: () => events.push("closed")
    })
    for (const one of connections.all.values) {
      one.tick(1_000_000)
      one.destroy()
    }
    return Promise.resolve().then(() => assert.deepStrictEqual(events, ["closed"]))
  })
})

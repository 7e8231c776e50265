/**
 * The filter is stopped and started again while mail flows. A Postfix that queues and retries sends; another one, which
 * refuses for now whatever the filter is not there to look at, receives.
 */
import { assert, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Path from "node:path"
import * as Postfix from "../../testbed/postfix.ts"
import * as SmtpClient from "../../testbed/smtpClient.ts"
import { directory } from "../support/listeners.ts"
import * as DecidingFilter from "./support/decidingFilter.ts"

const { crlf } = SmtpClient

const restarts = 10
const perRestart = 50
const count = restarts * perRestart

class Fixture extends Context.Service<Fixture, {
  readonly setup: DecidingFilter.Setup & { readonly journal: string }
  readonly sender: Postfix.Instance
  readonly receiver: Postfix.Instance
}>()("test/Fixture") {}

const fixture = Layer.effect(
  Fixture,
  Effect.gen(function*() {
    const path = yield* directory
    const setup = {
      listen: `unix:${Path.join(path, "deciding.sock")}`,
      milliseconds: 200,
      journal: Path.join(path, "journal")
    }
    const receiver = yield* Postfix.make<string>({
      milters: setup.listen,
      mainCf: { milter_default_action: "tempfail" }
    })
    const transport = `smtp:[127.0.0.1]:${receiver.port}`
    const sender = yield* Postfix.make<string>({
      milters: "",
      mainCf: {
        // Two hosts of one name would see a loop.
        myhostname: "relay.test.example",
        default_transport: transport,
        relay_transport: transport,
        maximal_queue_lifetime: "1h",
        bounce_queue_lifetime: "1h",
        fast_flush_domains: "",
        queue_run_delay: "1s",
        // Not shorter: a message that is due again while its last delivery is still being written down waits a minute.
        minimal_backoff_time: "2s",
        maximal_backoff_time: "2s",
        // Several messages in a session, and no pause for a receiver that refuses for now.
        smtp_connection_cache_destinations: "127.0.0.1",
        smtp_connection_cache_time_limit: "1s",
        initial_destination_concurrency: "10",
        default_destination_concurrency_limit: "10",
        default_destination_concurrency_failed_cohort_limit: "1000000"
      }
    })
    return { receiver, sender, setup }
  })
)

/** Of ten messages one is refused at once, one in the end, and one swallowed. */
const kinds: ReadonlyArray<DecidingFilter.Decision | "fine"> = [
  "fine",
  "early",
  "fine",
  "late",
  "fine",
  "swallow",
  ...Array.from({ length: 4 }, () => "fine" as const)
]

const senderOf = (number: number): string => `${kinds[number % kinds.length]}-${number}@example.org`

const message = (number: number): string =>
  crlf(`From: <${senderOf(number)}>
To: <bob@test.example>
Subject: ${number}
Date: Mon, 01 Jan 2024 00:00:00 +0000
Message-ID: <${number}@example.org>

Hello, Bob.
`)

const numbers = Array.from({ length: count }, (_, number) => number)
const sendersOf = (...wanted: ReadonlyArray<typeof kinds[number]>): ReadonlyArray<string> =>
  numbers.map(senderOf).filter((sender) => wanted.some((kind) => sender.startsWith(`${kind}-`))).toSorted()

Postfix.describePostfix("drain with Postfix", () => {
  layer(fixture, { excludeTestServices: true, timeout: "1 minute" })((it) => {
    it.effect(
      `stops and starts the filter ${restarts} times during ${count} messages: each is delivered as decided, once`,
      () =>
        Effect.gen(function*() {
          const { receiver, sender, setup } = yield* Fixture
          const client = yield* SmtpClient.connect(sender.port)

          const inject = Effect.fnUntraced(function*(from: number) {
            for (const number of numbers.slice(from, from + perRestart)) {
              const result = yield* client.sendMail({
                from: senderOf(number),
                to: "bob@test.example",
                message: message(number)
              })
              assert.isTrue(result.accepted, result.last.text)
            }
          })

          /** Waits until the filter, since the last look, has ended some messages and is at work on others. */
          const busy = Effect.fnUntraced(function*(seen: number) {
            for (let turn = 0; turn < 3000; turn++) {
              const entries = DecidingFilter.readJournal(setup.journal).slice(seen)
              const begun = entries.filter(({ event }) => event === "Begins").length
              if (entries.length - begun >= 5 && 2 * begun - entries.length >= 3) return
              yield* Effect.sleep(5)
            }
            assert.fail("no messages in progress")
          })

          let interruptedWork = 0
          for (let restart = 0; restart < restarts; restart++) {
            const scope = yield* Scope.make()
            const seen = DecidingFilter.readJournal(setup.journal).length
            const filter = yield* DecidingFilter.start(setup).pipe(Scope.provide(scope))
            const injecting = yield* Effect.forkChild(inject(restart * perRestart))
            yield* busy(seen)
            yield* filter.signal("SIGTERM")
            assert.strictEqual(yield* filter.exit, 0)
            if (/stops when its open connections have ended/.test(filter.output)) interruptedWork++
            yield* Fiber.join(injecting)
            yield* Scope.close(scope, Exit.void)
          }
          assert.strictEqual(interruptedWork, restarts)

          yield* DecidingFilter.start(setup)
          yield* sender.awaitIdle(100_000)
          const delivered = yield* receiver.awaitIdle(10_000)

          const bounces = delivered.filter(({ sender }) => sender === "")
          const mails = delivered.filter(({ sender }) => sender !== "")
          assert.deepStrictEqual(mails.map(({ sender }) => sender).toSorted(), sendersOf("fine"))
          for (const mail of mails) {
            assert.deepStrictEqual(Postfix.headerValues(mail, "X-Filtered"), [mail.sender])
            assert.deepStrictEqual(mail.recipients, ["bob@test.example"])
          }
          assert.deepStrictEqual(bounces.flatMap(({ recipients }) => recipients).toSorted(), sendersOf("early", "late"))
          for (const bounce of bounces) {
            assert.deepStrictEqual(Postfix.headerValues(bounce, "X-Filtered"), ["bounce"])
            assert.include(bounce.raw, `550 5.7.1 refused: ${bounce.recipients[0]}`)
          }

          // The filter has decided each once; what was given up before that is not a decision.
          const decisions = DecidingFilter.readJournal(setup.journal)
            .filter(({ event, sender }) =>
              sender !== "" && event !== "Begins" && event !== "GivenUp" && event !== "TempFailed"
            )
          const decided = (wanted: DecidingFilter.Entry["event"]) =>
            decisions.filter(({ event }) => event === wanted).map(({ sender }) => sender).toSorted()
          assert.deepStrictEqual(decided("Accepted"), sendersOf("fine"))
          assert.deepStrictEqual(decided("Rejected"), sendersOf("early", "late"))
          assert.deepStrictEqual(decided("Discarded"), sendersOf("swallow"))
        }),
      150_000
    )
  })
})

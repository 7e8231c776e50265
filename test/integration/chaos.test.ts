/**
 * Filter, MTA and network die at random moments under load, with a real Postfix: nothing is lost, nothing goes unfiltered. One
 * round each; `npm run chaos` makes ten, whose figures are in docs/operate/reliability.md.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Path from "node:path"
import { attempt, processes } from "../../testbed/mta.ts"
import * as Postfix from "../../testbed/postfix.ts"
import { directory } from "../support/listeners.ts"
import * as Random from "../support/random.ts"
import * as Chaos from "./support/chaos.ts"
import * as DecidingFilter from "./support/decidingFilter.ts"

const rounds = Number(process.env["EFFECT_MILTER_CHAOS"] ?? 1)

/** Postfix asks the filter by `milters`. Its own time limits are short, as an hour of load would need them. */
const postfixWith = (milters: string) =>
  Postfix.make<string>({
    milters,
    mainCf: { milter_default_action: "tempfail", milter_command_timeout: "2s", milter_content_timeout: "2s" }
  })

const setupIn = (path: string): DecidingFilter.Setup => ({
  listen: `unix:${Path.join(path, "deciding.sock")}`,
  milliseconds: 30
})

/** Runs the rounds and prints their account. */
const report = Effect.fnUntraced(
  function*<E, R>(what: string, round: (random: Random.Random, name: string) => Effect.Effect<Chaos.Account, E, R>) {
    const began = performance.now()
    const accounts: Array<Chaos.Account> = []
    for (let number = 1; number <= rounds; number++) accounts.push(yield* round(Random.make(number), `r${number}`))
    const all = Chaos.sum(accounts)
    const text = Object.entries(all).map(([name, count]) => `${name} ${count}`).join(", ")
    const seconds = Math.round((performance.now() - began) / 1000)
    process.stdout.write(`chaos: ${what}, ${rounds} rounds in ${seconds} s: ${text}\n`)
    assert.strictEqual(all.in, all.delivered + all.refused + all.discarded + all.tempFailed + all.brokenOff)
    // Otherwise nothing was proven.
    for (const { delivered, tempFailed, brokenOff } of accounts) {
      assert.isAbove(delivered, 0)
      assert.isAbove(tempFailed + brokenOff, 0)
    }
  }
)

const pause = (random: Random.Random, least: number, most: number) =>
  Effect.suspend(() => Effect.sleep(random.between(least, most)))

Postfix.describePostfix("chaos with Postfix", () => {
  it.live("kill -9 of the filter", () =>
    Effect.gen(function*() {
      const setup = setupIn(yield* directory)
      const postfix = yield* postfixWith(setup.listen)
      yield* report("the filter is killed", (random, name) => {
        const life = Effect.gen(function*() {
          const scope = yield* Scope.make()
          const filter = yield* Scope.provide(DecidingFilter.start(setup), scope)
          yield* pause(random, 100, 1500)
          yield* filter.signal("SIGKILL")
          yield* Scope.close(scope, Exit.void)
          yield* pause(random, 0, 200)
        })
        return Chaos.run(postfix, random, name, Effect.repeat(life, { times: 4 }))
      })
    }))

  it.live("kill -9 of a worker", () =>
    Effect.gen(function*() {
      const setup = setupIn(yield* directory)
      const postfix = yield* postfixWith(setup.listen)
      yield* report("a worker is killed", (random, name) =>
        Effect.scoped(Effect.gen(function*() {
          // A supervisor for each round: the more often its workers end, the longer it waits.
          const supervisor = yield* DecidingFilter.start({ ...setup, workers: 2 })
          const kill = Effect.gen(function*() {
            yield* pause(random, 300, 1500)
            const found = processes().filter(({ parent }) => parent === supervisor.process.pid)
            // All of them may have just been killed.
            if (found.length > 0) process.kill(random.pick(found).pid, "SIGKILL")
          })
          const account = yield* Chaos.run(postfix, random, name, Effect.repeat(kill, { times: 4 }))
          yield* supervisor.signal("SIGTERM")
          yield* supervisor.exit
          return account
        })))
    }))

  it.live("kill -9 of smtpd", () =>
    Effect.gen(function*() {
      const setup = setupIn(yield* directory)
      const postfix = yield* postfixWith(setup.listen)
      yield* DecidingFilter.start(setup)
      yield* report("smtpd is killed", (random, name) => {
        const kill = Effect.gen(function*() {
          yield* pause(random, 50, 400)
          const found = yield* postfix.processesOf("smtpd")
          // It may end by itself in this moment.
          if (found.length > 0) yield* Effect.ignore(attempt("kill", () => process.kill(random.pick(found), "SIGKILL")))
        })
        return Chaos.run(postfix, random, name, Effect.repeat(kill, { times: 19 }))
      })
    }))

  it.live("a network that is cut, and one that swallows all", () =>
    Effect.gen(function*() {
      const path = yield* directory
      const setup = setupIn(path)
      const network = yield* Chaos.network(Path.join(path, "deciding.sock"))
      const postfix = yield* postfixWith(`inet:127.0.0.1:${network.port}`)
      yield* DecidingFilter.start(setup)
      yield* report("the network is cut", (random, name) => {
        const cut = Effect.gen(function*() {
          yield* pause(random, 50, 500)
          if (random.chance(0.8)) return yield* network.cut
          yield* network.hold
          // Postfix gives the filter up after two seconds.
          yield* pause(random, 1000, 3000)
          yield* network.heal
        })
        return Chaos.run(postfix, random, name, Effect.repeat(cut, { times: 14 }))
      })
    }))
})

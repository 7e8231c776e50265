/** The example greylist: processes behind a real Postfix, with a real PostgreSQL. */
import { assert, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { TestClock } from "effect/testing"
import { migrations, type Triplet, Triplets } from "../../examples/greylist/triplets.ts"
import * as postgres from "../../examples/support/postgres.ts"
import { poll } from "../../testbed/mta.ts"
import * as Postfix from "../../testbed/postfix.ts"
import * as PostgresServer from "../../testbed/postgres.ts"
import { describeWith } from "../../testbed/prerequisite.ts"
import { realTime } from "../../testbed/realTime.ts"
import * as SmtpClient from "../../testbed/smtpClient.ts"
import * as Example from "./support/exampleProcess.ts"

const name = "greylist"

class Fixture extends Context.Service<Fixture, {
  readonly postfix: Postfix.Instance<"one" | "two" | "pass">
  readonly server: PostgresServer.Server
  readonly database: string
}>()("test/Fixture") {}

const fixture = Layer.effect(
  Fixture,
  Effect.gen(function*() {
    const server = yield* PostgresServer.make
    const database = yield* server.database("mail")
    const filter = (...args: ReadonlyArray<string>) =>
      Effect.map(
        Example.serve(name, ["--delay", "2 seconds", "--networks", "198.51.100.0/24", ...args], {
          MILTER_DATABASE: database
        }),
        ({ milter }) => milter
      )
    // At once, so that each of them finds no tables.
    const [one, two, pass] = yield* Effect.all([filter(), filter(), filter("--when-down", "pass")], {
      concurrency: "unbounded"
    })
    const options = { smtpd_authorized_xclient_hosts: "127.0.0.1" }
    const postfix = yield* Postfix.make({
      milters: "",
      listeners: {
        one: { milters: one, options },
        two: { milters: two, options },
        pass: { milters: pass, options }
      }
    })
    return { database, postfix, server }
  })
)

const missing = PostgresServer.missingPrerequisite() ?? Postfix.missingPrerequisite()

describeWith(missing, "examples/greylist with Postfix", () => {
  layer(fixture)((it) => {
    /** A client that stands for another. */
    const connect = Effect.fnUntraced(function*(listener: "one" | "two" | "pass", attributes: string) {
      const { postfix } = yield* Fixture
      const client = yield* SmtpClient.connect(postfix.portOf(listener))
      yield* client.command("EHLO client.example.org")
      assert.strictEqual((yield* client.command(`XCLIENT ${attributes}`)).code, 220)
      yield* client.command("EHLO client.example.org")
      return client
    })

    const send = Effect.fnUntraced(function*(client: SmtpClient.SmtpClient, to: string | ReadonlyArray<string>) {
      yield* client.command("RSET")
      const message = "Subject: hello\r\n\r\nHello.\r\n"
      const { last, rcpt } = yield* client.sendMail({ from: "alice@example.org", to, message })
      return { last: last.text, rcpt: rcpt.map(({ text }) => text) }
    })

    /** What became of one message in a session of its own. */
    const sendOne = (listener: "one" | "two" | "pass", attributes: string, to: string) =>
      Effect.scoped(Effect.flatMap(connect(listener, attributes), (client) => send(client, to)))

    const delay = realTime(Effect.sleep("2100 millis"))

    it.effect("puts off the first attempt, and takes the second: several messages on a connection", () =>
      Effect.gen(function*() {
        const { postfix, server } = yield* Fixture
        const attributes = "ADDR=192.0.2.7"
        const first = yield* connect("one", attributes)
        for (const to of ["bob@test.example", "carol@test.example"]) {
          const { last } = yield* send(first, to)
          assert.strictEqual(last, "451 4.7.1 Greylisted, please try again in a minute")
        }
        yield* delay
        // On the old connection, a new one, and one that asks the other filter.
        assert.match((yield* send(first, "bob@test.example")).last, /^250 /)
        const { last, rcpt } = yield* send(first, ["carol@test.example", "dave@test.example"])
        assert.match(rcpt.join("\n"), /^250 .*\n451 4\.7\.1 Greylisted/)
        assert.match(last, /^250 /)
        yield* first.quit
        assert.match((yield* sendOne("one", "ADDR=192.0.2.99", "bob@test.example")).last, /^250 /)
        assert.match((yield* sendOne("two", attributes, "carol@test.example")).last, /^250 /)
        assert.match((yield* sendOne("two", attributes, "erin@test.example")).last, /^451 4\.7\.1 Greylisted/)
        const delivered = yield* postfix.awaitIdle()
        assert.deepStrictEqual(delivered.map(({ recipients }) => recipients.join()), [
          "bob@test.example",
          "carol@test.example",
          "bob@test.example",
          "carol@test.example"
        ])
        yield* postfix.clear
        assert.strictEqual(
          yield* server.query("mail", "SELECT DISTINCT network, sender FROM greylist"),
          "192.0.2.0/24|alice@example.org"
        )
      }))

    it.effect("does not put off who has logged in, who is known and who is local", () =>
      Effect.gen(function*() {
        const { postfix } = yield* Fixture
        for (const attributes of ["ADDR=203.0.113.7 LOGIN=alice", "ADDR=198.51.100.7", "ADDR=IPV6:::1"]) {
          assert.match((yield* sendOne("one", attributes, "bob@test.example")).last, /^250 /, attributes)
        }
        assert.match((yield* sendOne("one", "ADDR=203.0.113.7", "bob@test.example")).last, /^451 /)
        yield* postfix.awaitIdle()
        yield* postfix.clear
      }))

    it.effect("says in one line what is wrong", () =>
      Effect.gen(function*() {
        const { database } = yield* Fixture
        for (
          const [args, line] of [
            [[], /^greylist: [^\n]*--database[^\n]*\n$/],
            [["--database", "mysql://user:geheim@host/mail"], /^greylist: [^\n]*postgres:\/\/[^\n]*\n$/],
            [
              ["--database", "postgres://user:geheim@127.0.0.1:1/mail"],
              /^greylist: no database at 127\.0\.0\.1:1: connect ECONNREFUSED 127\.0\.0\.1:1\n$/
            ],
            [
              ["--database", database.replace("/mail?", "/nothing?")],
              /^greylist: no database at \/[^\n]*: database "nothing" does not exist\n$/
            ],
            [["--database", database, "--delay", "soon"], /^greylist: [^\n]*--delay[^\n]*5 minutes[^\n]*\n$/],
            [["--database", database, "--delay", "3 days"], /^greylist: [^\n]*--retry-within[^\n]*\n$/],
            [["--database", database, "--networks", "10.0.0.1/8"], /^greylist: [^\n]*--networks[^\n]*\n$/],
            [["--database", database, "--when-down", "accept"], /^greylist: [^\n]*--when-down[^\n]*\n$/]
          ] as const
        ) {
          const { code, stderr, stdout } = yield* Example.run(name, ["--listen", "inet:0", ...args])
          assert.match(stderr, line)
          assert.notInclude(stderr, "geheim")
          assert.deepStrictEqual([code, stdout], [1, ""])
        }
      }))

    it.effect("does what it was told while the database is gone, and goes on when it is back", () =>
      Effect.gen(function*() {
        const { postfix, server } = yield* Fixture
        const attributes = "ADDR=192.0.2.55"
        const open = yield* connect("one", attributes)
        yield* server.stop
        for (let turn = 0; turn < 5; turn++) {
          assert.strictEqual(
            (yield* send(open, "frank@test.example")).last,
            "451 4.3.0 Cannot look up whether we know you, please try again later"
          )
        }
        assert.match((yield* sendOne("pass", attributes, "frank@test.example")).last, /^250 /)
        yield* server.start
        const answer = yield* poll(
          20_000,
          Effect.map(send(open, "frank@test.example"), ({ last }) => last.startsWith("451 4.3.0") ? undefined : last)
        )
        assert.strictEqual(answer, "451 4.7.1 Greylisted, please try again in a minute")
        yield* delay
        assert.match((yield* sendOne("two", attributes, "frank@test.example")).last, /^250 /)
        yield* postfix.awaitIdle()
        yield* postfix.clear
      }))
  })
})

// What the filter relies on.

class Database extends Context.Service<Database, {
  readonly server: PostgresServer.Server
  readonly url: Redacted.Redacted
}>()("test/Database") {}

const database = Layer.effect(
  Database,
  Effect.gen(function*() {
    const server = yield* PostgresServer.make
    return { server, url: Redacted.make(yield* server.database("triplets")) }
  })
)

// Short, since the test's clock stops at each hour to clean up.
const times = { delay: Duration.minutes(5), retryWithin: Duration.hours(2), keepFor: Duration.hours(6) }

/** Triplets in a database, with a connection of their own. */
const connected = (url: Redacted.Redacted) =>
  Triplets.layer(times).pipe(Layer.provide(postgres.layer(url, { name, migrations })))

const triplets = Layer.unwrap(Effect.map(Database, ({ url }) => connected(url)))

describeWith(PostgresServer.missingPrerequisite(), "examples/greylist: triplets in PostgreSQL", () => {
  layer(triplets.pipe(Layer.provideMerge(database)))((it) => {
    let recipients = 0
    const triplet = (more: Partial<Triplet> = {}): Triplet => ({
      network: "192.0.2.0/24",
      sender: "alice@example.org",
      recipient: `${++recipients}@example.net`,
      ...more
    })

    /** Milliseconds since the first attempt. */
    const attempt = (triplet: Triplet) => Effect.map(Triplets.use((all) => all.attempt(triplet)), Duration.toMillis)

    it.effect("counts from the first attempt", () =>
      Effect.gen(function*() {
        const one = triplet()
        assert.strictEqual(yield* attempt(one), 0)
        yield* TestClock.adjust("299999 millis")
        assert.strictEqual(yield* attempt(one), 299_999)
        assert.strictEqual(yield* attempt(triplet({ ...one, sender: "" })), 0)
        assert.strictEqual(yield* attempt(triplet({ ...one, network: "2001:db8::/64" })), 0)
        yield* TestClock.adjust("1 millis")
        assert.strictEqual(yield* attempt(one), 300_000)
      }))

    it.effect("forgets who does not come back in time", () =>
      Effect.gen(function*() {
        const [late, early] = [triplet(), triplet()]
        yield* attempt(late)
        yield* attempt(early)
        yield* TestClock.adjust("4 minutes")
        // Too early counts for nothing.
        yield* attempt(early)
        yield* TestClock.adjust("116 minutes")
        assert.deepStrictEqual([yield* attempt(late), yield* attempt(early)], [0, 0])
        yield* TestClock.adjust("119 minutes")
        assert.strictEqual(yield* attempt(late), 119 * 60_000)
      }))

    it.effect("knows who has come back, until nothing was sent for a long time", () =>
      Effect.gen(function*() {
        const one = triplet()
        yield* attempt(one)
        yield* TestClock.adjust("5 minutes")
        assert.strictEqual(yield* attempt(one), 300_000)
        yield* TestClock.adjust("5 hours")
        assert.isAbove(yield* attempt(one), 300_000)
        yield* TestClock.adjust("5 hours")
        assert.isAbove(yield* attempt(one), 300_000)
        yield* TestClock.adjust("6 hours")
        assert.strictEqual(yield* attempt(one), 0)
      }))

    it.effect("notes all that try at once", () =>
      Effect.gen(function*() {
        const one = triplet()
        const found = yield* Effect.all(Array.from({ length: 100 }, () => attempt(one)), { concurrency: "unbounded" })
        assert.deepStrictEqual(found, Array.from({ length: 100 }, () => 0))
      }))

    it.effect("takes whatever addresses there are", () =>
      Effect.gen(function*() {
        const noise = Array.from({ length: 5000 }, (_, index) => String.fromCodePoint(0x1f300 + index * 7 % 1000)).join(
          ""
        )
        for (
          const sender of [noise, `${noise}@example.org`, "'; DROP TABLE greylist; --", "\\", "\ufffd\u0001", "\ud800"]
        ) {
          const one = triplet({ sender, recipient: `${noise}${recipients++}` })
          assert.strictEqual(yield* attempt(one), 0, sender.slice(0, 9))
        }
      }))

    it.effect("says that there is no answer while the table is locked", () =>
      Effect.gen(function*() {
        const { server } = yield* Database
        yield* Effect.forkScoped(server.query("triplets", "BEGIN; LOCK greylist; SELECT pg_sleep(4)"))
        const isLocked = server.query(
          "postgres",
          "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND wait_event = 'PgSleep'"
        )
        yield* poll(5000, Effect.map(isLocked, (answer) => answer === "0" ? undefined : true))
        const { message } = yield* Effect.flip(attempt(triplet()))
        assert.strictEqual(message, "no answer from the database: canceling statement due to lock timeout")
      }))

    it.effect("removes what has expired, each hour", () =>
      Effect.gen(function*() {
        const { server } = yield* Database
        const url = Redacted.make(yield* server.database("expiring"))
        /** How many minutes pass until nothing is left. */
        const untilNone = Effect.gen(function*() {
          for (let minutes = 0; minutes < 1000; minutes += 10) {
            if ((yield* server.query("expiring", "SELECT count(*) FROM greylist")) === "0") return minutes
            yield* TestClock.adjust("10 minutes")
          }
          return Infinity
        })
        yield* Effect.gen(function*() {
          yield* attempt(triplet())
          const minutes = yield* untilNone
          assert.isTrue(minutes >= 120 && minutes <= 200, String(minutes))
          yield* attempt(triplet())
          // It does without the database, too, and goes on when that is back.
          yield* server.stop
          for (let turn = 0; turn < 20; turn++) yield* TestClock.adjust("10 minutes")
          yield* server.start
          assert.isBelow(yield* untilNone, 120)
        }).pipe(Effect.provide(connected(url)))
      }))
  })
})

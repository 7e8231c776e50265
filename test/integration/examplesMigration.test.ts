/** The example migration with a real Postfix: the old milter live, then the new filter. */
import { assert, layer } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { type Child, spawn } from "../../testbed/childProcess.ts"
import { directory } from "../../testbed/daemon.ts"
import * as Postfix from "../../testbed/postfix.ts"
import { realTime } from "../../testbed/realTime.ts"
import * as SmtpClient from "../../testbed/smtpClient.ts"
import * as Example from "./support/exampleProcess.ts"
import * as FilterServer from "./support/filterServer.ts"

/** What the old milter does: the same as the new filter, but for subdomains, too. */
const old = Milter.make("old", { modify: ["addHeader"] }).on({
  mail: ({ sender }) =>
    Effect.succeed(
      /(?:^|\.)example\.com$/.test(sender.domain)
        ? Verdict.reject({ code: "550", enhanced: "5.7.1", text: "not allowed here!" })
        : Verdict.continue
    ),
  endOfMessage: (_, { edit }) => Effect.as(edit.addHeader("X-Checked", "yes"), Verdict.continue)
})

class Fixture extends Context.Service<Fixture, {
  readonly postfix: Postfix.Instance<"swapped" | "away" | "recorded">
  readonly traced: Child
  readonly recording: string
  readonly address: string
  readonly before: Example.Served
  readonly after: Example.Served
}>()("test/Fixture") {}

const fixture = Layer.effect(
  Fixture,
  Effect.gen(function*() {
    const address = yield* FilterServer.serve(old)
    const before = yield* Example.serve("migration", ["--old", address])
    const after = yield* Example.serve("migration", ["--old", address, "--live", "new"])
    const away = yield* Example.serve("migration", ["--old", "inet:1@127.0.0.1"])
    const recording = Path.join(yield* directory, "old.jsonl")
    const traced = yield* command("trace", "--listen", "inet:0", "--upstream", address, "--record", recording)
    const [, listening] = yield* realTime(traced.shows(/listening on (\S+),/))
    const postfix = yield* Postfix.make({
      milters: before.milter,
      listeners: {
        swapped: { milters: after.milter },
        away: { milters: away.milter },
        recorded: { milters: FilterServer.forPostfix(listening!) }
      }
    })
    return { postfix, before, after, traced, recording, address }
  })
)

/** The commands of docs/choose/moving.md. */
const command = (...args: ReadonlyArray<string>) =>
  spawn(process.execPath, [
    "-C",
    "effect-milter-source",
    fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url)),
    ...args
  ])

const large = "0123456789\r\n".repeat(300_000)

Postfix.describePostfix("examples/migration with Postfix", () => {
  layer(fixture)((it) => {
    const send = Effect.fnUntraced(function*(port: number, from: string, body = "hello\r\n") {
      const client = yield* SmtpClient.connect(port)
      const { last, queueId } = yield* client.sendMail({
        from,
        to: "bob@test.example",
        message: `Subject: hello\r\n\r\n${body}`
      })
      yield* client.quit
      return { text: last.text, queueId }
    }, Effect.scoped)

    const refused = "550 5.7.1 not allowed here!"

    it.effect("the old milter decides, and what the new filter does otherwise is logged and counted", () =>
      Effect.gen(function*() {
        const { before, postfix } = yield* Fixture
        const passed = yield* send(postfix.port, "alice@example.org")
        const { fields } = yield* postfix.takeOne({ queueId: passed.queueId })
        assert.deepStrictEqual(fields.filter((field) => field.startsWith("X-Checked")), ["X-Checked: yes"])
        assert.strictEqual((yield* send(postfix.port, "alice@example.com")).text, refused)
        // More than a shadow keeps in memory.
        const { queueId } = yield* send(postfix.port, "alice@example.org", large)
        yield* postfix.takeOne({ queueId })
        assert.strictEqual((yield* send(postfix.port, "alice@mail.example.com")).text, refused)
        const [line] = yield* realTime(before.child.shows(/difference: [^]*?\}/))
        assert.match(
          line,
          /^difference: live rejected at mail, shadow not by then .*same: 3,\s+different: 1,\s+uncompared: 0/s
        )
        assert.notMatch(before.child.output, /cannot keep up|RemoteError/)
      }))

    it.effect("after the swap the new filter decides, and the old milter is in the shadow", () =>
      Effect.gen(function*() {
        const { after, postfix } = yield* Fixture
        const port = postfix.portOf("swapped")
        assert.strictEqual((yield* send(port, "alice@example.com")).text, refused)
        const { queueId } = yield* send(port, "alice@mail.example.com")
        const { fields } = yield* postfix.takeOne({ queueId })
        assert.deepStrictEqual(fields.filter((field) => field.startsWith("X-Checked")), ["X-Checked: yes"])
        yield* realTime(after.child.shows(/difference: live accepted, shadow rejected/))
      }))

    it.effect("while the old milter is away, mail is put off", () =>
      Effect.gen(function*() {
        const { postfix } = yield* Fixture
        const { text } = yield* send(postfix.portOf("away"), "alice@example.org")
        assert.strictEqual(text, "451 4.7.1 Please try again later")
      }))

    it.effect("the commands before that: record, replay, probe", () =>
      Effect.gen(function*() {
        const { address, after, postfix, recording, traced } = yield* Fixture
        for (const sender of ["alice@example.org", "alice@example.com", "alice@mail.example.com"]) {
          yield* send(postfix.portOf("recorded"), sender)
        }
        // All connections are over.
        yield* realTime(traced.shows(/(?:has closed[^]*){3}/))
        const probed = yield* command("probe", address)
        yield* realTime(probed.exit)
        assert.include(probed.output, `modify: ["addHeader", "insertHeader"]`)
        assert.include(probed.output, `stages: ["connect", "helo", "mail", "rcpt", "endOfMessage"]`)
        const replayed = yield* command("replay", recording, "--to", after.address, "--ignore", "DKIM-Signature")
        assert.strictEqual(yield* realTime(replayed.exit), 2)
        assert.match(replayed.output, /^connection \d: \d+ commands, same answers$/m)
        assert.include(replayed.output, "not allowed here!")
      }))
  })
})

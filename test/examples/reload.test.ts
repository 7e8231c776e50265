/** Configuration that changes while sessions go on. */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer } from "effect"
import * as MilterClient from "effect-milter/MilterClient"
import * as MilterTest from "effect-milter/MilterTest"
import { NodeMilterClient } from "effect-milter/node"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { Blocked, Blocklist } from "../../examples/reload/filter.ts"
import { spawn } from "../../testbed/childProcess.ts"
import * as Listeners from "../support/listeners.ts"

const list = Effect.fnUntraced(function*(text: string) {
  const path = Path.join(yield* Listeners.directory, "blocked.txt")
  const write = (text: string) => Effect.sync(() => Fs.writeFileSync(path, text))
  yield* write(text)
  return { path, write }
})

const blocked = (path: string) => Layer.provide(Blocked.layer(path), NodeServices.layer)

describe("a list that is read again", () => {
  it.live("counts from the next message of a session on", () =>
    Effect.gen(function*() {
      const { path, write } = yield* list("spam.example\n")
      yield* Effect.gen(function*() {
        const { reload } = yield* Blocked
        const replies = yield* MilterTest.run(
          Blocklist,
          Effect.fnUntraced(function*(mta) {
            yield* mta.connect({ hostname: "client.example", address: "192.0.2.1" })
            const spam = (yield* mta.mail("<eve@spam.example>"))._tag
            yield* mta.abort()
            const other = (yield* mta.mail("<eve@other.example>"))._tag
            yield* write("other.example\n")
            yield* reload
            // All of a message goes by the list that it began with.
            const begun = (yield* mta.rcpt("<bob@other.example>"))._tag
            yield* mta.abort()
            const again = [(yield* mta.mail("<eve@spam.example>"))._tag]
            yield* mta.abort()
            again.push((yield* mta.mail("<eve@other.example>"))._tag)
            return [spam, other, begun, ...again]
          })
        )
        assert.deepStrictEqual(replies, ["Reply", "Continue", "Continue", "Continue", "Reply"])
      }).pipe(Effect.provide(blocked(path)))
    }))

  it.live("stays as it is when the file is not good", () =>
    Effect.gen(function*() {
      const { path, write } = yield* list("spam.example\n\nOther.Example")
      const { domains, reload } = yield* Effect.provide(Blocked, blocked(path))
      const before = yield* domains
      assert.deepStrictEqual(Array.from(before), ["spam.example", "other.example"])
      yield* write("no domain\n")
      assert.include(String(yield* Effect.exit(reload)), "no domain")
      assert.strictEqual(yield* domains, before)
      const unreadable = yield* Effect.exit(Effect.provide(Blocked, blocked(`${path}.not`)))
      assert.isTrue(Exit.isFailure(unreadable))
    }))

  it.live("is read at SIGHUP, and sessions stay open", () =>
    Effect.gen(function*() {
      const { path, write } = yield* list("spam.example\n")
      const script = fileURLToPath(new URL("../../examples/reload/main.ts", import.meta.url))
      const env = { MILTER_LISTEN: "inet:0", MILTER_BLOCKED: path }
      const child = yield* spawn(process.execPath, ["-C", "effect-milter-source", script], { env })
      const [, port = ""] = yield* child.shows(/listens on inet:(\d+)/)
      const mta = yield* MilterClient.dial(`inet:${port}@127.0.0.1`)
      yield* mta.negotiate()
      yield* mta.connect({ hostname: "client.example", address: "192.0.2.1" })
      assert.strictEqual((yield* mta.mail("<eve@spam.example>"))._tag, "Reply")
      yield* mta.abort()
      yield* write("a.example\nb.example\n")
      yield* child.signal("SIGHUP")
      yield* child.shows(/2 domains are blocked/)
      assert.strictEqual((yield* mta.mail("<eve@spam.example>"))._tag, "Continue")
      yield* mta.abort()
      yield* write("?\n")
      yield* child.signal("SIGHUP")
      yield* child.shows(/"\?" is not a domain/)
      assert.strictEqual((yield* mta.mail("<eve@a.example>"))._tag, "Reply")
    }).pipe(Effect.scoped, Effect.provide(NodeMilterClient.layer)))
})

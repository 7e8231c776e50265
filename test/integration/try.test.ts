/** `effect-milter try` with a real Postfix: what it shows, and what it leaves. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { spawn } from "../../testbed/childProcess.ts"
import { poll, processes } from "../../testbed/mta.ts"
import { describePostfix } from "../../testbed/postfix.ts"
import * as Smtp from "../../testbed/smtpClient.ts"
import { forEvent } from "../../testbed/timeLimits.ts"
import { command } from "../support/commandLine.ts"
import * as Listeners from "../support/listeners.ts"

const filter = fileURLToPath(new URL("../support/modules/filter.ts", import.meta.url))

const message = Smtp.crlf("From: Alice <alice@example.org>\nSubject: hi\n\nHello\n")

/** The processes that have `text` in their command line. */
const runningWith = (text: string): ReadonlyArray<number> =>
  processes().map(({ pid }) => pid).filter((pid) => {
    try {
      return Fs.readFileSync(`/proc/${pid}/cmdline`, "latin1").includes(text)
    } catch {
      return false
    }
  })

describePostfix("try with Postfix", () => {
  it.live("shows conversations, deliveries and holds, and leaves nothing after Ctrl-C", () =>
    Effect.gen(function*() {
      const temporary = yield* Listeners.directory
      Fs.chmodSync(temporary, 0o755)
      const tried = yield* spawn(process.execPath, command(["try", filter]), {
        env: { NO_COLOR: "1", TMPDIR: temporary }
      })
      const [, port] = yield* tried.shows(
        /^Postfix [\d.]+ listens on port (\d+) of 127\.0\.0\.1 and asks .*filter\.ts\./m
      )
      yield* tried.shows(/^Ctrl-C ends it\.$/m)
      const smtp = yield* Smtp.connect(Number(port))
      const send = (from: string, to: string | ReadonlyArray<string>) => smtp.sendMail({ from, to, message })

      const accepted = yield* send("alice@example.org", ["bob@example.net", "carol@example.net", "dave@[127.0.0.1]"])
      assert.isTrue(accepted.accepted)
      const [delivered] = yield* tried.shows(
        /^--- delivered, from <alice@example\.org> to <bob@example\.net>, <carol@example\.net>\n[^]*?^---$/m
      )
      yield* tried.shows(/^--- delivered, from <alice@example\.org> to <dave@\[127\.0\.0\.1\]>\n[^]*?^---$/m)
      assert.match(delivered, /^Subject: hi$/m)
      assert.match(delivered, /^X-Picky: yes$/m)
      assert.match(delivered, /\n\nHello\n---$/)
      assert.include(tried.output, "{rcpt_addr}=bob@example.net {rcpt_host}=example.net {rcpt_mailer}=smtp\n")
      assert.match(tried.output, /MTA +→ Mail sender="<alice@example\.org>"/)
      assert.match(tried.output, /filter ← AddHeader X-Picky: yes\n.*filter ← Continue$/m)

      const rejected = yield* send("mallory@example.com", "bob@example.net")
      assert.strictEqual(rejected.mail.text, "550 5.7.1 not you")
      yield* tried.shows(/550 5\.7\.1 not you/)

      const suspect = yield* send("suspect@example.org", "bob@example.net")
      yield* tried.shows(new RegExp(`^--- ${suspect.queueId} is in quarantine: Postfix holds it$`, "m"))
      yield* smtp.quit

      assert.lengthOf(Fs.readdirSync(temporary), 1)
      const [own] = Fs.readdirSync(temporary)
      assert.isNotEmpty(runningWith(Path.join(temporary, own!)))
      yield* tried.signal("SIGINT")
      assert.strictEqual(yield* tried.exit, 0, tried.output)
      assert.deepStrictEqual(Fs.readdirSync(temporary), [])
      assert.deepStrictEqual(runningWith(Path.join(temporary, own!)), [])
    }).pipe(Effect.scoped))

  it.live("ends when Postfix does", () =>
    Effect.gen(function*() {
      const temporary = yield* Listeners.directory
      Fs.chmodSync(temporary, 0o755)
      const tried = yield* spawn(process.execPath, command(["try", filter]), { env: { TMPDIR: temporary } })
      yield* tried.shows(/^Ctrl-C ends it\.$/m)
      const [own] = Fs.readdirSync(temporary)
      const [master] = runningWith(`${Path.join(temporary, own!, "etc")}\0`)
      process.kill(master!, "SIGKILL")
      assert.strictEqual(yield* tried.exit, 1, tried.output)
      assert.match(tried.output, /^effect-milter: the private Postfix has ended$/m)
      assert.deepStrictEqual(Fs.readdirSync(temporary), [])
      assert.deepStrictEqual(runningWith(Path.join(temporary, own!)), [])
    }).pipe(Effect.scoped))

  it.live("leaves nothing after SIGKILL", () =>
    Effect.gen(function*() {
      const temporary = yield* Listeners.directory
      Fs.chmodSync(temporary, 0o755)
      const tried = yield* spawn(process.execPath, command(["try", filter]), { env: { TMPDIR: temporary } })
      yield* tried.shows(/^Ctrl-C ends it\.$/m)
      yield* tried.signal("SIGKILL")
      const gone = Effect.sync(() =>
        runningWith(temporary).length === 0 && Fs.readdirSync(temporary).length === 0 ? true : undefined
      )
      assert.isTrue(yield* poll(forEvent, gone))
    }).pipe(Effect.scoped))
})

/** The fail2ban filter in deploy/fail2ban finds rejected clients in the log, and nobody else. */
import { assert, it } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import * as MilterTest from "effect-milter/MilterTest"
import * as Verdict from "effect-milter/Verdict"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import * as Util from "node:util"
import * as logFormat from "../../src/cli/serve/logFormat.ts"
import { describeWith } from "../../testbed/prerequisite.ts"
import * as Listeners from "../support/listeners.ts"

const filterFile = fileURLToPath(new URL("../../deploy/fail2ban/filter.d/effect-milter.conf", import.meta.url))

const missing = ChildProcess.spawnSync("fail2ban-regex", ["--version"]).status === 0
  ? undefined
  : "fail2ban is not installed"

/** What a server logs about clients of all kinds, with one of Effect's loggers. */
const logOf = Effect.fnUntraced(function*(logger: Logger.Logger<unknown, unknown>) {
  const lines: Array<string> = []
  const console: Console.Console = {
    ...globalThis.console,
    log: (...values: ReadonlyArray<unknown>) => void lines.push(Util.format(...values).trimEnd())
  }
  const filter = Milter.make("spam \"and\" more").on({
    connect: ({ hostname }) => Effect.succeed(hostname === "listed" ? Verdict.reject() : Verdict.continue),
    mail: ({ sender }) =>
      Effect.succeed(sender.domain === "spam.example" ? Verdict.reject({ text: "no" }) : Verdict.continue)
  })
  const session = (hostname: string, address: string, helo: string, sender: string) =>
    MilterTest.run(filter, (mta) =>
      Effect.gen(function*() {
        yield* mta.connect({ hostname, address })
        if (hostname === "listed") return
        yield* mta.helo(helo)
        yield* mta.mail(sender)
        yield* mta.abort()
      }))
  yield* Effect.gen(function*() {
    yield* session("mx", "192.0.2.1", "mx", "<a@spam.example>")
    yield* session("mx", "2001:db8::1", "say \"hello\" client=192.0.2.66 ", "<a@spam.example>")
    yield* session("listed", "192.0.2.2", "", "")
    // None of these may be found, nor the address that they write into the log.
    yield* session("mx", "192.0.2.3", ": message rejected client=192.0.2.66 x", "<a@example.org>")
    yield* session("mx", "192.0.2.3", "\" message=\"message rejected\" client=192.0.2.66 ", "<a@example.org>")
    yield* session(
      "mx",
      "192.0.2.3",
      "{\"message\":\"message rejected\",\"annotations\":{\"client\":\"192.0.2.66\"",
      "<>"
    )
    yield* session(
      ": message rejected client=192.0.2.66 ",
      "192.0.2.4",
      "mx",
      "<: message rejected client=192.0.2.66 >"
    )
  }).pipe(
    Effect.provideService(References.CurrentLoggers, new Set([logger])),
    Effect.provideService(Console.Console, console),
    Effect.annotateLogs("app", "mail gateway")
  )
  return lines.filter((line) => !line.includes("listens on memory:"))
})

const ofServe = (kind: logFormat.Format): Logger.Logger<unknown, unknown> =>
  Logger.withConsoleLog(Logger.make((line) => logFormat.format(kind, line, false)))

const loggers: ReadonlyArray<readonly [name: string, logger: Logger.Logger<unknown, unknown>]> = [
  ["default", Logger.defaultLogger],
  ["logfmt", Logger.consoleLogFmt],
  ["JSON", Logger.consoleJson],
  ["pretty serve", ofServe("pretty")],
  ["logfmt serve", ofServe("logfmt")],
  ["JSON serve", ofServe("json")]
]

describeWith(missing, "fail2ban", () => {
  for (const [name, logger] of loggers) {
    it.live(`finds the rejected clients in the ${name} log`, () =>
      Effect.gen(function*() {
        const lines = yield* logOf(logger)
        assert.strictEqual(lines.length, 7, lines.join("\n"))
        const log = Path.join(yield* Listeners.directory, "mail.log")
        // As rsyslog or the journal have them.
        Fs.writeFileSync(log, lines.map((line) => `2026-01-05T10:00:00+00:00 mx node[17]: ${line}\n`).join(""))
        const { status, stderr, stdout } = ChildProcess.spawnSync("fail2ban-regex", ["--out", "ip", log, filterFile], {
          encoding: "utf8"
        })
        assert.strictEqual(status, 0, stderr)
        assert.deepStrictEqual(stdout.trim().split("\n"), ["192.0.2.1", "2001:db8::1", "192.0.2.2"], lines.join("\n"))
      }))
  }
})

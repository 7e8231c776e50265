/** The lines that `serve` logs. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as ChildProcess from "node:child_process"
import { root } from "../../../scripts/repository.ts"
import { type Format, format, isJournal } from "../../../src/cli/serve/logFormat.ts"
import { CurrentQueueId } from "../../../src/internal/observe/queueId.ts"

/** What an effect logs. */
const lines = (kind: Format, effect: Effect.Effect<unknown>, toJournal = false) =>
  Effect.gen(function*() {
    const found: Array<string> = []
    const logger = Logger.make<unknown, void>((line) => void found.push(format(kind, line, toJournal)))
    yield* Effect.provide(effect, Logger.layer([logger]))
    return found
  })

const message = Effect.logInfo("message accepted").pipe(
  Effect.annotateLogs({ session: "a-1", recipients: ["b@x.example", "c@x.example"], size: 3, reply: "550 no \"b\"" }),
  Effect.provideService(CurrentQueueId, () => "4YqTzX0Jk1z9rZ")
)

const forged = Effect.logWarning("subject: hi\n<0>2026 FATAL all is lost\u001b[2J").pipe(
  Effect.annotateLogs("text", "a\nb=\u202ec")
)

const failing = Effect.logError("it failed", new Error("boom"))

describe("log formats", () => {
  it.effect("pretty, for people", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* lines("pretty", message), [
        "1970-01-01T00:00:00.000Z INFO  message accepted session=a-1 recipients=b@x.example,c@x.example size=3 " +
        "reply=\"550 no \\\"b\\\"\" queueId=4YqTzX0Jk1z9rZ\n"
      ])
    }))

  it.effect("logfmt, with all in pairs", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* lines("logfmt", message), [
        "time=1970-01-01T00:00:00.000Z level=INFO message=\"message accepted\" session=a-1 " +
        "recipients=b@x.example,c@x.example size=3 reply=\"550 no \\\"b\\\"\" queueId=4YqTzX0Jk1z9rZ\n"
      ])
    }))

  it.effect("JSON, an object a line", () =>
    Effect.gen(function*() {
      const [line] = yield* lines("json", message)
      assert.deepStrictEqual(JSON.parse(line!), {
        time: "1970-01-01T00:00:00.000Z",
        level: "INFO",
        message: "message accepted",
        session: "a-1",
        recipients: ["b@x.example", "c@x.example"],
        size: 3,
        reply: "550 no \"b\"",
        queueId: "4YqTzX0Jk1z9rZ"
      })
    }))

  it.effect("let no text of a stranger make a line of its own, or speak to a terminal", () =>
    Effect.gen(function*() {
      for (const kind of ["pretty", "logfmt", "json"] as const) {
        const [line] = yield* lines(kind, forged)
        assert.match(line!, /^[^\n]*\n$/, kind)
        assert.notMatch(line!, /[\u001b\u202e]/, kind)
      }
    }))

  it.effect("have the cause of a failure", () =>
    Effect.gen(function*() {
      assert.match((yield* lines("pretty", failing))[0]!, /ERROR it failed\n?.*boom/)
      assert.match((yield* lines("logfmt", failing))[0]!, /^[^\n]*boom[^\n]*\n$/)
      assert.match((yield* lines("json", failing))[0]!, /^\{[^\n]*boom[^\n]*\}\n$/)
      const died = Effect.catchCause(Effect.die(new Error("boom")), (cause) => Effect.logError("it died", cause))
      assert.match(JSON.parse((yield* lines("json", died))[0]!).cause, /boom/)
    }))

  it.effect("have priorities on each line for the journal", () =>
    Effect.gen(function*() {
      assert.match((yield* lines("json", message, true))[0]!, /^<6>\{.*\}\n$/)
      const died = Effect.catchCause(Effect.die(new Error("boom")), (cause) => Effect.logError("it died", cause))
      const [text] = yield* lines("pretty", died, true)
      assert.isAbove(text!.split("\n").length, 2)
      for (const line of text!.split("\n").slice(0, -1)) assert.match(line, /^<3>/)
      assert.match((yield* lines("pretty", Effect.logWarning("w"), true))[0]!, /^<4>/)
    }))

  it("are for the journal if standard error is the journal", () => {
    assert.isFalse(isJournal({}))
    assert.isFalse(isJournal({ JOURNAL_STREAM: "1:2" }))
    assert.isFalse(isJournal({ JOURNAL_STREAM: "" }))
  })
})

/** Logs two megabytes in one turn, says so, and ends. */
const program = (end: string): string => `
  import * as Effect from "effect/Effect"
  import * as Fs from "node:fs"
  import { layer } from "${new URL("../../../src/cli/serve/logFormat.ts", import.meta.url).href}"
  const lines = Array.from({ length: ${count} }, (_, index) => Effect.logInfo(String(index), "x".repeat(200)))
  Effect.runSync(Effect.provide(Effect.all(lines, { discard: true }), layer("logfmt")))
  Fs.writeSync(1, "logged")
  ${end}
`

const count = 10_000

const endOf = (end: string) =>
  Effect.callback<{ readonly code: number | null; readonly numbers: ReadonlyArray<number> }>((resume) => {
    const child = ChildProcess.spawn(
      process.execPath,
      ["-C", "effect-milter-source", "--input-type=module", "--eval", program(end)],
      { cwd: root, stdio: ["ignore", "pipe", "pipe"] }
    )
    let text = ""
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk
    })
    // The pipe is full by then: nobody has read from it.
    child.stderr.pause()
    child.stdout.once("data", () => child.stderr.resume())
    child.once("close", (code) => {
      const numbers = Array.from(
        text.matchAll(/^time=\S+ level=INFO message="(\d+) x{200}"$/gm),
        ([, number]) => Number(number)
      )
      resume(Effect.succeed({ code, numbers }))
    })
    return Effect.sync(() => void child.kill())
  })

describe("the last lines of a process", () => {
  it.live.each(
    [
      ["process.exit(3)", 3],
      ["throw new Error('boom')", 1],
      ["", 0]
    ] as const
  )("are written though the reader is late: %s", ([end, expected]) =>
    Effect.gen(function*() {
      const { code, numbers } = yield* endOf(end)
      assert.strictEqual(code, expected)
      assert.deepStrictEqual(numbers, Array.from({ length: count }, (_, index) => index))
    }))

  it.live("do not stop the process while nobody reads", () =>
    Effect.callback<void>((resume) => {
      const child = ChildProcess.spawn(
        process.execPath,
        [
          "-C",
          "effect-milter-source",
          "--input-type=module",
          "--eval",
          program(`setImmediate(() => setImmediate(() => Fs.writeSync(1, " goes on")))`)
        ],
        { cwd: root, stdio: ["ignore", "pipe", "pipe"] }
      )
      let text = ""
      child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk
        if (text !== "logged goes on") return
        child.kill("SIGKILL")
        resume(Effect.void)
      })
      return Effect.sync(() => void child.kill("SIGKILL"))
    }))
})

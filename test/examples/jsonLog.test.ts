/** The example json_log. */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, FileSystem, Layer, Logger, Scope } from "effect"
import type * as MilterClient from "effect-milter/MilterClient"
import * as MilterTest from "effect-milter/MilterTest"
import { createHash } from "node:crypto"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { jsonLog } from "../../examples/json_log/filter.ts"
import * as Sink from "../../examples/json_log/sink.ts"
import * as Listeners from "../support/listeners.ts"

const message: MilterClient.Message = {
  from: "alice@example.org",
  to: "bob@example.net",
  headers: [["From", "Alice <alice@example.org>"], ["Subject", "one\n two"], ["X-Other", "no"]],
  body: "Hello\r\n"
}

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex")

/** Runs it with the lines of the log. */
const logged = <E>(run: Effect.Effect<unknown, E, Sink.Sink>) =>
  Effect.gen(function*() {
    const lines: Array<string> = []
    yield* Effect.provideService(run, Sink.Sink, { write: (line) => Effect.sync(() => void lines.push(line)) })
    return lines.map((line) => JSON.parse(line))
  })

const filter = jsonLog({ headers: ["from", "SUBJECT"] })

describe("json_log", () => {
  it.effect("writes a line for each message of a connection, and changes nothing", () =>
    Effect.gen(function*() {
      for (const as of MilterTest.mtas) {
        const lines = yield* logged(MilterTest.run(
          filter,
          Effect.fnUntraced(function*(mta) {
            const one = yield* mta.sendMessage({
              ...message,
              macros: {
                helo: { tls_version: "TLSv1.3", cipher: "TLS_AES_256_GCM_SHA384" },
                mail: { auth_type: "PLAIN", auth_authen: "alice" }
              }
            })
            const two = yield* mta.sendMessage({ from: "", to: ["carol@example.net", "dave@example.net"], body: "" })
            assert.deepStrictEqual([...one.modifications, ...two.modifications], [])
            MilterTest.assertAccepted(one)
            MilterTest.assertAccepted(two)
          }),
          { as }
        ))
        assert.lengthOf(lines, 2)
        assert.deepInclude(lines[0], {
          outcome: "passed",
          stage: "endOfMessage",
          client: { address: "192.0.2.1", hostname: "client.example.org" },
          helo: "client.example.org",
          auth: { type: "PLAIN", login: "alice" },
          sender: "alice@example.org",
          recipients: ["bob@example.net"],
          refused: [],
          headers: { from: ["Alice <alice@example.org>"], subject: ["one\n two"] },
          bodyBytes: 7,
          bodySha256: sha256("Hello\r\n")
        })
        assert.isString(lines[0].queueId)
        assert.deepInclude(lines[1], {
          outcome: "passed",
          sender: "",
          recipients: ["carol@example.net", "dave@example.net"],
          headers: {},
          bodyBytes: 0,
          bodySha256: sha256("")
        })
        assert.deepStrictEqual(
          Object.keys(lines[1]).toSorted(),
          [
            "bodyBytes",
            "bodySha256",
            "client",
            "headerBytes",
            "headers",
            "helo",
            "milliseconds",
            "outcome",
            "queueId",
            "recipients",
            "refused",
            "sender",
            "session",
            "stage",
            "time",
            ...lines[1].tls === undefined ? [] : ["tls"]
          ].toSorted(),
          as.name
        )
      }
    }))

  it.effect("writes a line for messages that are given up, too", () =>
    Effect.gen(function*() {
      const lines = yield* logged(MilterTest.run(
        filter,
        Effect.fnUntraced(function*(mta) {
          yield* mta.connect({ hostname: "client.example.org", address: "192.0.2.1" })
          yield* mta.helo("client.example.org")
          yield* mta.mail("<one@example.org>")
          yield* mta.rcpt("<bob@example.net>", [], { refused: { enhanced: "5.1.1", text: "User unknown" } })
          yield* mta.abort()
          yield* mta.mail("<two@example.org>")
          yield* mta.rcpt("<bob@example.net>")
          yield* mta.header("Subject", "two")
        })
      ))
      assert.lengthOf(lines, 2)
      assert.deepInclude(lines[0], {
        outcome: "aborted",
        stage: "rcpt",
        sender: "one@example.org",
        recipients: [],
        refused: [{ address: "bob@example.net", enhanced: "5.1.1", text: "User unknown" }]
      })
      assert.deepInclude(lines[1], {
        outcome: "aborted",
        stage: "header",
        recipients: ["bob@example.net"],
        headers: { subject: ["two"] }
      })
      assert.notProperty(lines[1], "bodySha256")
    }))

  it.effect("cuts what is too long, and writes one line whatever is in it", () =>
    Effect.gen(function*() {
      const [line] = yield* logged(
        MilterTest.message(filter, { ...message, headers: [["Subject", `\u202e\u2028${"x".repeat(5000)}`]] })
      )
      assert.strictEqual(line.headers.subject[0], `\u202e\u2028${"x".repeat(998)}…`)
    }))

  it.effect("asks the MTA to wait for nothing that it can do without", () =>
    Effect.gen(function*() {
      const answered: Array<string> = []
      yield* logged(MilterTest.message(filter, message, {
        observe: (from, packet) => void (from === "filter" && answered.push(packet._tag))
      }))
      // MAIL, where the entry begins, and the end of message.
      assert.deepStrictEqual(answered, ["Negotiated", "Continue", "Continue"])
    }))
})

describe("the file", () => {
  const opened = Effect.fnUntraced(function*(
    path: string,
    files: Layer.Layer<FileSystem.FileSystem> = NodeFileSystem.layer
  ) {
    const scope = yield* Scope.make()
    const warnings: Array<string> = []
    const logger = Logger.make(({ message }) => void warnings.push(String(message)))
    const context = yield* Layer.buildWithScope(
      Layer.provide(Sink.layerFile(path), [files, Logger.layer([logger])]),
      scope
    )
    return { sink: yield* Effect.provideContext(Sink.Sink, context), close: Scope.close(scope, Exit.void), warnings }
  })

  it.live("has all lines when the program ends, and is begun anew when it was renamed", () =>
    Effect.gen(function*() {
      const path = Path.join(yield* Listeners.directory, "log")
      const { close, sink } = yield* opened(path)
      yield* sink.write("one")
      while (Fs.readFileSync(path, "utf8") === "") yield* Effect.sleep(10)
      Fs.renameSync(path, `${path}.1`)
      yield* Effect.forEach(Array.from({ length: 5000 }, (_, index) => `line ${index}`), sink.write)
      yield* close
      assert.strictEqual(Fs.readFileSync(`${path}.1`, "utf8"), "one\n")
      const lines = Fs.readFileSync(path, "utf8").split("\n")
      assert.lengthOf(lines, 5001)
      assert.strictEqual(lines[4999], "line 4999")
      assert.strictEqual(Fs.statSync(path).mode & 0o777, 0o640)
    }))

  it.live("that cannot be written is said so at the start", () =>
    Effect.gen(function*() {
      const directory = yield* Listeners.directory
      const error = yield* Effect.flip(opened(directory))
      assert.match(error.message, /^cannot write to \S*: .*EISDIR/)
    }))

  it.live("that cannot be written later costs lines and no mail", () =>
    Effect.gen(function*() {
      const directory = yield* Listeners.directory
      const path = Path.join(directory, "logs", "log")
      Fs.mkdirSync(Path.dirname(path))
      const { close, sink, warnings } = yield* opened(path)
      Fs.rmSync(Path.dirname(path), { recursive: true })
      yield* sink.write("lost")
      while (warnings.length === 0) yield* Effect.sleep(10)
      Fs.mkdirSync(Path.dirname(path))
      yield* sink.write("kept")
      yield* close
      assert.strictEqual(Fs.readFileSync(path, "utf8"), "kept\n")
      assert.match(warnings[0]!, /^cannot write to .*ENOENT/)
      assert.deepStrictEqual(warnings.slice(1), ["1 lines of the log are lost"])
    }))

  it.live("on a disk that hangs costs the lines beyond 10000, and says how many", () =>
    Effect.gen(function*() {
      const began = yield* Deferred.make<void>()
      const gate = yield* Deferred.make<void>()
      let written = ""
      let writes = 0
      const files = FileSystem.layerNoop({
        writeFileString: (_, text) =>
          Effect.andThen(
            // The first one, of nothing, is at the start.
            writes++ === 0 ? Effect.void : Effect.andThen(Deferred.succeed(began, undefined), Deferred.await(gate)),
            Effect.sync(() => {
              written += text
            })
          )
      })
      const { close, sink, warnings } = yield* opened("log", files)
      yield* sink.write("first")
      yield* Deferred.await(began)
      yield* Effect.forEach(Array.from({ length: 10_101 }, (_, index) => `line ${index}`), sink.write)
      yield* Deferred.succeed(gate, undefined)
      yield* close
      assert.lengthOf(written.trimEnd().split("\n"), 10_001)
      assert.deepStrictEqual(warnings, ["101 lines of the log are lost"])
    }))
})

/** Messages that arrive at an SMTP server in Node, and go to the filters as they come. */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, FileSystem, Layer, Logger, Stream } from "effect"
import * as Milter from "effect-milter/Milter"
import * as MilterClient from "effect-milter/MilterClient"
import { NodeMilterClient, NodeSmtpServer } from "effect-milter/node"
import * as Verdict from "effect-milter/Verdict"
import * as Fs from "node:fs"
import * as Os from "node:os"
import { dialerOf, dialingKey } from "../../src/internal/net/dialer.ts"
import * as SmtpClient from "../../testbed/smtpClient.ts"
import { answering } from "../support/filters.ts"
import { serveFilter } from "../support/listeners.ts"
import * as smtpServer from "../support/smtpServer.ts"

const header = "From: alice@example.org\r\nSubject: hello\r\n\r\n"
const line = `${"0123456789abcdef".repeat(4)}\r\n`
const large = `${header}${line.repeat(10_000)}`

const mail = { from: "alice@example.org", to: "bob@example.net", message: large }

/** Temporary files that are open in this process: they have no name any more. */
const temporaryFiles = Effect.sync(() =>
  Fs.readdirSync("/proc/self/fd").filter((descriptor) => {
    try {
      return Fs.readlinkSync(`/proc/self/fd/${descriptor}`).startsWith(`${Os.tmpdir()}/effect-milter-`)
    } catch {
      return false
    }
  }).length
)

const until = <A>(look: Effect.Effect<A>, isSo: (found: A) => boolean): Effect.Effect<A> =>
  Effect.flatMap(
    look,
    (found) => isSo(found) ? Effect.succeed(found) : Effect.andThen(Effect.sleep(5), until(look, isSo))
  )

/** An SMTP server before these filters, what it delivers, and what it logs. */
const serving = Effect.fnUntraced(function*(
  filters: ReadonlyArray<Milter.Filter<Milter.NoFailure, never>>,
  deliver?: (mail: NodeSmtpServer.Mail) => Effect.Effect<unknown, unknown>,
  options: Parameters<typeof smtpServer.listen>[1] = {},
  dialer: Layer.Layer<MilterClient.Dialer> = NodeMilterClient.layer
) {
  const collector = smtpServer.collector()
  const logs: Array<string> = []
  const addresses = yield* Effect.forEach(filters, serveFilter)
  const hooks = yield* NodeSmtpServer.hooks(addresses, deliver ?? collector.deliver).pipe(
    Effect.provide([
      dialer,
      Logger.layer([Logger.make(({ message }) => void logs.push(String(message)))])
    ])
  )
  const port = yield* smtpServer.listen(hooks, options)
  return { delivered: collector.delivered, logs, port }
})

/** A client that has got 354. */
const inData = Effect.fnUntraced(function*(port: number) {
  const client = yield* SmtpClient.connect(port)
  yield* client.command("EHLO there")
  yield* client.command("MAIL FROM:<alice@example.org>")
  yield* client.command("RCPT TO:<bob@example.net>")
  assert.strictEqual((yield* client.command("DATA")).code, 354)
  return client
})

/** Watches a message: what comes of its body, and how it ends. */
const watching = () => {
  let body = ""
  let ended: Exit.Exit<unknown, unknown> | undefined
  const filter = Milter.make("watching", {
    message: () => Effect.addFinalizer((exit) => Effect.sync(() => void (ended = exit)))
  }).on({ endOfMessage: () => Effect.succeed(Verdict.continue) }, {
    body: ({ bytes }) => Effect.sync(() => void (body += Buffer.from(bytes).toString("latin1")))
  })
  return { filter, body: Effect.sync(() => body), ended: Effect.sync(() => ended) }
}

describe("a message that arrives at smtp-server", () => {
  it.live("reaches the first filter while it comes", () =>
    Effect.gen(function*() {
      const first = watching()
      const second = watching()
      const { delivered, port } = yield* serving([first.filter, second.filter])
      const client = yield* inData(port)
      const [begin, end] = [large.slice(0, 200_000), large.slice(200_000)]
      yield* client.raw(begin)
      const seen = yield* until(first.body, (body) => body.length > 100_000)
      assert.isTrue(begin.includes(seen))
      assert.strictEqual(yield* second.body, "")
      yield* client.raw(`${end}.\r\n`)
      assert.strictEqual((yield* client.read).code, 250)
      const expected = large.slice(header.length)
      assert.deepStrictEqual([yield* first.body, yield* second.body], [expected, expected])
      assert.strictEqual(delivered[0]?.text, large)
      assert.strictEqual(delivered[0]?.length, large.length)
      assert.strictEqual(yield* until(temporaryFiles, (count) => count === 0), 0)
    }))

  it.live("goes on with the body of the filter that replaces it", () =>
    Effect.gen(function*() {
      const replacing = Milter.make("replacing", { modify: ["replaceBody", "changeHeader"] }).on({
        endOfMessage: (_, { edit }) =>
          edit.changeHeader("Subject", 1, "new").pipe(
            Effect.andThen(edit.replaceBody(Stream.range(1, 9000).pipe(Stream.map(() => Buffer.from(line))))),
            Effect.as(Verdict.continue)
          )
      })
      const second = watching()
      const { delivered, port } = yield* serving([replacing, second.filter])
      const client = yield* SmtpClient.connect(port)
      assert.strictEqual((yield* client.sendMail(mail)).message?.code, 250)
      assert.strictEqual(yield* second.body, line.repeat(9000))
      const expected = `${header.replace("hello", "new")}${line.repeat(9000)}`
      assert.strictEqual(delivered[0]?.text, expected)
      assert.strictEqual(delivered[0]?.length, expected.length)
    }))

  it.live("can be read by deliver more than once, and in part", () =>
    Effect.gen(function*() {
      const found: Array<string> = []
      const { port } = yield* serving([answering({})], ({ message }) =>
        Effect.gen(function*() {
          const decode = (stream: typeof message) => Stream.mkString(Stream.decodeText(stream))
          found.push(
            yield* decode(message),
            (yield* decode(Stream.take(message, 1))).slice(0, 5),
            yield* decode(message)
          )
        }))
      const client = yield* SmtpClient.connect(port)
      assert.strictEqual((yield* client.sendMail(mail)).message?.code, 250)
      assert.deepStrictEqual(found, [large, "From:", large])
    }))

  it.live("broken off by its client, is given up: scopes close, the file goes, nothing is delivered", () =>
    Effect.gen(function*() {
      const watched = watching()
      const { delivered, logs, port } = yield* serving([answering({}), watched.filter, answering({})])
      for (const how of ["close", "reset"] as const) {
        const client = yield* inData(port)
        yield* client.raw(large.slice(0, 500_000))
        yield* until(temporaryFiles, (count) => count === 1)
        yield* client[how]
        const ended = yield* until(watched.ended, (ended) => ended !== undefined)
        assert.isTrue(Exit.isFailure(ended!))
        yield* until(temporaryFiles, (count) => count === 0)
      }
      // In the header, too.
      const client = yield* inData(port)
      yield* client.raw("From: alice")
      yield* client.reset
      const other = yield* SmtpClient.connect(port)
      assert.strictEqual((yield* other.sendMail(mail)).message?.code, 250)
      assert.lengthOf(delivered, 1)
      assert.deepStrictEqual(logs, [])
    }))

  it.live("longer than the server takes, is given up at the filters while it comes", () =>
    Effect.gen(function*() {
      const watched = watching()
      const { delivered, port } = yield* serving([watched.filter], undefined, { size: 300_000 })
      const client = yield* inData(port)
      yield* client.raw(large.slice(0, 400_000))
      const ended = yield* until(watched.ended, (ended) => ended !== undefined)
      assert.isTrue(Exit.isFailure(ended!))
      assert.isBelow((yield* watched.body).length, 300_000)
      yield* client.raw(`${large.slice(400_000)}.\r\n`)
      assert.strictEqual((yield* client.read).code, 552)
      assert.lengthOf(delivered, 0)
      // The session goes on.
      assert.strictEqual((yield* client.sendMail({ ...mail, message: `${header}Hello\r\n` })).message?.code, 250)
      assert.strictEqual(delivered[0]?.text, `${header}Hello\r\n`)
    }))

  it.live("with a header without end, is refused", () =>
    Effect.gen(function*() {
      const { delivered, port } = yield* serving([answering({})])
      const client = yield* SmtpClient.connect(port)
      const fields = `X-Field: ${"x".repeat(100)}\r\n`.repeat(12_000)
      for (const message of [`${fields}\r\nHello\r\n`, "x".repeat(1_200_000)]) {
        assert.strictEqual(
          (yield* client.sendMail({ ...mail, message })).message?.text,
          "552 5.3.4 Message header too big"
        )
      }
      assert.lengthOf(delivered, 0)
      assert.strictEqual((yield* client.sendMail(mail)).message?.code, 250)
      assert.lengthOf(delivered, 1)
    }))

  it.live("refused at its header, is answered at its end", () =>
    Effect.gen(function*() {
      const refusal = Verdict.reject({ enhanced: "5.7.1", text: "not this" })
      const { delivered, port } = yield* serving([answering({ header: refusal }), answering({})])
      const client = yield* inData(port)
      yield* client.raw(large.slice(0, 400_000))
      yield* client.raw(`${large.slice(400_000)}.\r\n`)
      assert.strictEqual((yield* client.read).text, "550 5.7.1 not this")
      assert.lengthOf(delivered, 0)
    }))

  it.live("of odd bytes, comes out as it went in", () =>
    Effect.gen(function*() {
      const { delivered, port } = yield* serving([answering({})])
      const client = yield* SmtpClient.connect(port)
      const messages = [
        "From: a\r\n\r\n\xff\0\r x\r\n..\r\n.\r\n",
        "no header\r\nFrom: a\r\n",
        "From: a\r\n",
        "\r\nbody\r\n",
        `From: a\r\n\r\n${".\r\n".repeat(2000)}`
      ]
      const expected = [
        messages[0],
        "\r\nno header\r\nFrom: a\r\n",
        "From: a\r\n\r\n",
        "\r\nbody\r\n",
        messages[4]
      ]
      for (const message of messages) {
        assert.strictEqual((yield* client.sendMail({ ...mail, message })).message?.code, 250)
      }
      assert.deepStrictEqual(delivered.map(({ text }) => text), expected)
    }))

  const errno = (code: string) => Object.assign(new Error(`${code}: write`), { code })

  /** The dialer of Node, with a disk that takes nothing. */
  const fullDisk = (code: string) =>
    Layer.effect(
      MilterClient.Dialer,
      Effect.map(MilterClient.Dialer, (dialer) =>
        dialerOf({
          ...dialer[dialingKey],
          openFile: Effect.succeed({
            append: () => Effect.die(errno(code)),
            read: () => Effect.die(errno(code)),
            close: Effect.void
          })
        }))
    ).pipe(Layer.provide(NodeMilterClient.layer))

  it.live("finds the disk full, and is put off with 452", () =>
    Effect.gen(function*() {
      for (const [code, answer] of [["ENOSPC", 452], ["EDQUOT", 452], ["EIO", 451]] as const) {
        const { delivered, logs, port } = yield* serving([answering({})], undefined, {}, fullDisk(code))
        const client = yield* SmtpClient.connect(port)
        const { last } = yield* client.sendMail(mail)
        assert.strictEqual(last.code, answer, last.text)
        assert.strictEqual(last.enhanced, answer === 452 ? "4.3.1" : "4.3.0")
        // The next message is one that needs no disk.
        assert.isTrue((yield* client.sendMail({ ...mail, message: header })).accepted)
        assert.lengthOf(delivered, 1)
        assert.include(logs.join(), "the client is put off")
      }
    }))

  it.live("that cannot be kept by deliver for want of room, is put off with 452", () =>
    Effect.gen(function*() {
      const failures = [
        Effect.die(errno("ENOSPC")),
        Effect.die(new Error("the mailbox", { cause: errno("EDQUOT") })),
        Effect.flatMap(FileSystem.FileSystem, (fs) => fs.writeFileString("/dev/full", "x")).pipe(
          Effect.provide(NodeFileSystem.layer)
        )
      ]
      for (const failure of failures) {
        const { port } = yield* serving([answering({})], () => failure)
        const client = yield* SmtpClient.connect(port)
        const { last } = yield* client.sendMail(mail)
        assert.match(last.text, /^452 4\.3\.1 /)
      }
    }))
})

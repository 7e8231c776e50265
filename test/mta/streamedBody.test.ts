/** Messages whose body arrives in pieces, on their way through several filters. */
import { assert, describe } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Layer, Result, Stream } from "effect"
import type { TemporaryFile } from "../../src/internal/bytes/spool.ts"
import { dialerOf, dialingKey } from "../../src/internal/net/dialer.ts"
import * as MilterClient from "../../src/MilterClient.ts"
import * as MilterTest from "../../src/MilterTest.ts"
import type * as Packet from "../../src/Packet.ts"
import { ByteString } from "../../src/Wire.ts"
import { network, orContinue, type Script } from "../support/scriptedFilter.ts"
import { concat } from "../support/wire.ts"
import * as yielding from "../support/yielding.ts"

const text = ByteString.fromText
const encode = (content: string): Uint8Array => new TextEncoder().encode(content)

const headers = [["Subject", "hello"], ["X-Long", "a\n b"]] as const

const answer = (tag: Packet.MtaPacket["_tag"], ...replies: ReadonlyArray<Packet.FilterPacket>): Script =>
  orContinue((packet) => packet._tag === tag ? replies : undefined, { actions: 0x1ff })

const goesOn: Packet.FilterPacket = { _tag: "Continue" }

/** A dialer that keeps bodies in files, and what became of the files. */
const withFiles = (dialer: Layer.Layer<MilterClient.Dialer>, fails = false) => {
  const files = { opened: 0, open: 0 }
  const openFile = Effect.sync((): TemporaryFile => {
    files.opened++
    files.open++
    let content: Uint8Array = new Uint8Array(0)
    return {
      append: (bytes) =>
        fails ? Effect.die("the disk is full") : Effect.sync(() => void (content = concat([content, bytes]))),
      read: (position, length) => Effect.sync(() => content.slice(position, position + length)),
      close: Effect.sync(() => void files.open--)
    }
  })
  const layer = Layer.effect(
    MilterClient.Dialer,
    Effect.map(MilterClient.Dialer, ({ [dialingKey]: dialing }) => dialerOf({ ...dialing, openFile }))
  ).pipe(Layer.provide(dialer))
  return [files, layer] as const
}

/** A chain before filters `a`, `b`, … that have been told of a client, a sender and two recipients. */
const chainOf = Effect.fnUntraced(
  function*(
    scripts: { readonly [address: string]: Script },
    options: MilterClient.ChainOptions = {},
    fails = false
  ) {
    const { dialer, filters } = yield* network(scripts)
    const [files, layer] = withFiles(dialer, fails)
    const chain = yield* Effect.provide(MilterClient.chain(Object.keys(scripts), options), layer)
    yield* chain.connect({ hostname: "client.example.org", address: "192.0.2.1" })
    yield* chain.helo("client.example.org")
    const begin = Effect.gen(function*() {
      yield* chain.mail("alice@example.org")
      yield* chain.rcpt("bob@example.net")
      yield* chain.data()
    })
    yield* begin
    return { begin, chain, files, filters }
  }
)

/** What a filter was told, without the macros, since queue ids differ. */
const told = (packets: ReadonlyArray<Packet.MtaPacket> | undefined) =>
  (packets ?? []).filter(({ _tag }) => _tag !== "Macro" && _tag !== "Negotiate")

const collect = (stream: Stream.Stream<Uint8Array>) => Effect.map(Stream.runCollect(stream), concat)

const large = encode("0123456789abcdef\r\n".repeat(40_000))

const replacing = answer(
  "EndOfMessage",
  { _tag: "ReplaceBody", bytes: encode("new\nbody") },
  { _tag: "ReplaceBody", bytes: encode(" of two") },
  goesOn
)
const adding = answer("EndOfMessage", { _tag: "AddHeader", name: text("X-A"), value: text("yes") }, goesOn)

const scripts: { readonly [name: string]: Script } = {
  "goes on": orContinue(() => undefined, { actions: 0x1ff }),
  "adds a header": adding,
  "replaces the body": replacing,
  "empties the body": answer("EndOfMessage", { _tag: "ReplaceBody", bytes: new Uint8Array(0) }, goesOn),
  "skips the body": answer("Body", { _tag: "Skip" }),
  "wants no body": orContinue(() => undefined, { actions: 0x1ff, steps: 0x10 }),
  "accepts at a header": answer("Header", { _tag: "Accept" }),
  "accepts at the body": answer("Body", { _tag: "Accept" }),
  "refuses at the end of the header": answer("EndOfHeaders", { _tag: "Reject" }),
  "refuses at the body": answer("Body", { _tag: "TempFail" }),
  "refuses at the end": answer("EndOfMessage", { _tag: "Reject" }),
  "discards at the body": answer("Body", { _tag: "Discard" }),
  "closes at the body": (packet, filter) =>
    packet._tag === "Body" ? filter.close() : scripts["goes on"]!(packet, filter)
}

const pieces = (body: Uint8Array, sizes: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
  const all: Array<Uint8Array> = []
  // Small pieces only at the beginning, so that there are not too many.
  for (let at = 0, turn = 0; at < body.length; turn++) {
    const size = Math.max(sizes[turn % sizes.length]!, turn < 20 ? 1 : 50_000)
    all.push(body.subarray(at, at + size))
    at += size
  }
  return all
}

const bodies = [large, encode("one\ntwo\r\nthree"), encode("\r\n"), new Uint8Array(0), encode("a\r\nb\n").slice(0, 2)]

describe("a body that arrives in pieces", () => {
  for (const as of [MilterTest.postfix, MilterTest.sendmail]) {
    for (const first of Object.keys(scripts)) {
      yielding.effect(
        `becomes what a whole one becomes, with ${as.name} and a first filter that ${first}`,
        () =>
          Effect.gen(function*() {
            for (const [index, body] of bodies.entries()) {
              for (const second of ["adds a header", "replaces the body", "skips the body"]) {
                const filters = { a: scripts[first]!, b: scripts[second]! }
                const sizes = [[1, 65_535], [65_536, 7, 1000], [300_000]][index % 3]!
                const whole = yield* chainOf(filters, { as })
                const expected = yield* whole.chain.message({ headers, body: completed(body) })
                const streamed = yield* chainOf(filters, { as })
                const found = yield* streamed.chain.streamMessage({
                  headers,
                  body: Stream.fromIterable(pieces(body, sizes))
                })
                yield* whole.chain.quit()
                yield* streamed.chain.quit()
                yield* yielding.quiet
                const { delivered, failures, ...rest } = found
                const { delivered: expectedDelivered, failures: expectedFailures, ...expectedRest } = expected
                const what = `${first}, ${second}, body ${index}`
                assert.deepStrictEqual(rest, expectedRest, what)
                assert.deepStrictEqual(failures.map(tagOf), expectedFailures.map(tagOf), what)
                if (delivered === undefined) assert.isUndefined(expectedDelivered, what)
                else {
                  // Twice, since it can be run again.
                  for (let turn = 0; turn < 2; turn++) {
                    const body = yield* collect(delivered.body)
                    assert.lengthOf(body, delivered.bodyLength)
                    const { bodyLength: _, ...whole } = { ...delivered, body: ByteString.fromBytes(body) }
                    assert.deepStrictEqual(
                      whole,
                      { ...expectedDelivered!, body: ByteString.fromBytes(expectedDelivered!.body) },
                      what
                    )
                  }
                }
                for (const name of ["a", "b"]) {
                  assert.deepStrictEqual(
                    told(streamed.filters[name]?.packets),
                    told(whole.filters[name]?.packets),
                    `${what}: ${name}`
                  )
                }
              }
            }
          }).pipe(Effect.scoped)
      )
    }
  }

  yielding.effect("is kept in a file that goes with the scope", () =>
    Effect.gen(function*() {
      const { begin, chain, files } = yield* chainOf({ a: adding, b: adding })
      const small = yield* Effect.scoped(chain.streamMessage({ headers, body: Stream.succeed(encode("Hello\r\n")) }))
      assert.strictEqual(small._tag, "Accepted")
      assert.deepStrictEqual(files, { opened: 0, open: 0 })
      yield* begin
      yield* Effect.scoped(Effect.gen(function*() {
        const { delivered } = yield* chain.streamMessage({ headers, body: Stream.fromIterable(pieces(large, [9999])) })
        assert.deepStrictEqual(files, { opened: 1, open: 1 })
        assert.deepStrictEqual(yield* collect(delivered!.body), large)
      }))
      assert.deepStrictEqual(files, { opened: 1, open: 0 })
    }))

  yielding.effect("is pulled only as fast as the first filter takes it", () =>
    Effect.gen(function*() {
      let pulled = 0
      const seen: Array<number> = []
      const { chain } = yield* chainOf({
        a: orContinue((packet) => {
          if (packet._tag === "Body") seen.push(pulled)
          return undefined
        })
      })
      const body = Stream.fromIterable(pieces(large, [65_535])).pipe(
        Stream.rechunk(1),
        Stream.tap(() => Effect.sync(() => pulled++))
      )
      yield* chain.streamMessage({ headers, body })
      assert.deepStrictEqual(seen, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    }).pipe(Effect.scoped))

  yielding.effect(
    "is pulled to its end before a filter is told of the end, and no further after a refusal",
    () =>
      Effect.gen(function*() {
        let pulled = 0
        const body = Stream.fromIterable(pieces(large, [65_535])).pipe(
          Stream.rechunk(1),
          Stream.tap(() => Effect.sync(() => pulled++))
        )
        let atEnd = 0
        const skipping = yield* chainOf({
          a: orContinue((packet) => {
            if (packet._tag === "EndOfMessage") atEnd = pulled
            return packet._tag === "Body" ? { _tag: "Skip" } : undefined
          })
        })
        yield* skipping.chain.streamMessage({ headers, body })
        assert.strictEqual(atEnd, 11)
        pulled = 0
        const refusing = yield* chainOf({ a: scripts["refuses at the body"]! })
        assert.strictEqual((yield* refusing.chain.streamMessage({ headers, body }))._tag, "TempFailed")
        // The client looks at the answer when it has the next piece.
        assert.isAtMost(pulled, 2)
      }).pipe(Effect.scoped)
  )

  yielding.effect(
    "that fails fails the step; the next message goes through the same filters",
    () =>
      Effect.gen(function*() {
        const { begin, chain, files, filters } = yield* chainOf({ a: adding, b: adding })
        const broken = Stream.fromIterable(pieces(large, [65_535])).pipe(Stream.concat(Stream.fail("gone")))
        assert.strictEqual(yield* Effect.flip(Effect.scoped(chain.streamMessage({ headers, body: broken }))), "gone")
        assert.deepStrictEqual(files, { opened: 1, open: 0 })
        yield* chain.reset()
        yield* yielding.quiet
        const tags = told(filters["a"]!.packets).map(({ _tag }) => _tag)
        assert.notInclude(tags, "EndOfMessage")
        assert.strictEqual(tags.at(-1), "Abort")
        assert.deepStrictEqual(chain.failures, [])
        yield* begin
        const next = yield* chain.streamMessage({ headers, body: Stream.succeed(encode("Hello\r\n")) })
        MilterTest.assertAccepted({ ...next, delivered: { ...next.delivered!, body: encode("Hello\r\n") } }, {
          headers: { "X-A": ["yes", "yes"] }
        })
      }).pipe(Effect.scoped)
  )

  yielding.effect("that finds no room is a defect, and leaves no file", () =>
    Effect.gen(function*() {
      const { chain, files } = yield* chainOf({ a: adding }, {}, true)
      const exit = yield* Effect.exit(Effect.scoped(chain.streamMessage({ headers, body: Stream.succeed(large) })))
      assert.isTrue(Exit.isFailure(exit))
      assert.strictEqual(Exit.isFailure(exit) && Result.getOrThrow(Cause.findDefect(exit.cause)), "the disk is full")
      assert.deepStrictEqual(files, { opened: 1, open: 0 })
    }))

  yielding.effect("lets its services be provided where the message is sent", () =>
    Effect.gen(function*() {
      class Content extends Context.Service<Content, { readonly bytes: Uint8Array }>()("Content") {}
      const { chain } = yield* chainOf({ a: adding })
      const body = Stream.fromEffect(Effect.map(Content, ({ bytes }) => bytes))
      const { delivered } = yield* Effect.provideService(
        chain.streamMessage({ headers, body }),
        Content,
        { bytes: encode("Hello\r\n") }
      )
      assert.strictEqual(delivered?.bodyLength, 7)
    }).pipe(Effect.scoped))
})

const tagOf = ({ error, filter }: MilterClient.Failure) => [filter, error.reason._tag]

/** A whole message as the chain takes it has complete lines, as SMTP has them. */
const completed = (body: Uint8Array): Uint8Array => {
  const content = ByteString.fromBytes(body).replace(/\r?\n/g, "\r\n")
  return encode(content === "" || content.endsWith("\n") ? content : `${content}\r\n`)
}

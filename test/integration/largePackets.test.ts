/**
 * Larger packets (`_FFR_MDS_NEGOTIATE`) with a Sendmail that is built for them, and with its libmilter.
 *
 * No distribution builds them: `npm run test:mtas -- sendmail-8.18-mds` does, and runs this file. Elsewhere it is skipped.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Frame from "effect-milter/Frame"
import * as Milter from "effect-milter/Milter"
import * as MilterClient from "effect-milter/MilterClient"
import * as MilterServer from "effect-milter/MilterServer"
import { maxPayloadOf, Step } from "effect-milter/Negotiation"
import { NodeMilterServer } from "effect-milter/node"
import * as Packet from "effect-milter/Packet"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Net from "node:net"
import { socketDirectory } from "../../testbed/mta.ts"
import { describeWith } from "../../testbed/prerequisite.ts"
import { larger } from "../../testbed/releases.ts"
import * as Sendmail from "../../testbed/sendmail.ts"
import * as SmtpClient from "../../testbed/smtpClient.ts"
import { variants } from "../differential/filter.ts"
import * as Reference from "../differential/reference.ts"
import { sendAll } from "../interop/support/send.ts"
import { quiet } from "../support/listeners.ts"
import * as FilterServer from "./support/filterServer.ts"

const sizes = [["256 KiB", 262_143, Step.payload256K], ["1 MiB", 1_048_575, Step.payload1M]] as const

/** 3 MB in lines that differ, as it is delivered; the filter sends CR LF. */
const body = Array.from({ length: 30_000 }, (_, index) => `line ${index} ${"x".repeat(88)}\n`).join("")

const sentLength = SmtpClient.crlf(body).length

const replacing = Milter.make("replacing", { modify: ["replaceBody"] }).on({
  endOfMessage: (_, { edit }) => Effect.as(edit.replaceBody(body), Verdict.continue)
})

/** Notes how long the fields are. */
const longest = (fields: Array<number>) =>
  Milter.make("longest").on({}, {
    header: ({ value }) => Effect.sync(() => void fields.push(value.length))
  })

/** A filter of another library, which does not know of larger packets. */
const older = Effect.fnUntraced(function*(path: string) {
  const server = Net.createServer((socket) => {
    const decoder = Frame.makeDecoder()
    const frames: Array<Frame.Frame> = []
    socket.on("error", () => undefined).on("data", (chunk) => {
      decoder.push(chunk, frames)
      for (const frame of frames.splice(0)) {
        const { _tag } = Result.getOrThrow(Packet.decodeMta(frame))
        if (_tag === "Negotiate") {
          socket.write(Packet.encode({ _tag: "Negotiated", version: 6, actions: 0, steps: 0, macros: [] }))
        } else if (!["Macro", "Abort", "Quit"].includes(_tag)) socket.write(Packet.encode({ _tag: "Continue" }))
      }
    })
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.listen(path, () => resume(Effect.void))
    }),
    () => Effect.sync(() => server.close())
  )
  return `unix:${path}`
})

const negotiated = (packets: ReadonlyArray<Packet.MtaPacket | Packet.FilterPacket>): ReadonlyArray<number> =>
  packets.flatMap((packet) =>
    packet._tag === "Negotiate" || packet._tag === "Negotiated"
      ? [packet.steps & (Step.payload256K | Step.payload1M)]
      : []
  )

const pieces = (packets: ReadonlyArray<Packet.MtaPacket | Packet.FilterPacket>): ReadonlyArray<number> =>
  packets.flatMap((packet) => packet._tag === "ReplaceBody" ? [packet.bytes.length] : [])

/** How many bytes the pieces of a body have that are cut at this size. */
const cut = (length: number, size: number): ReadonlyArray<number> =>
  Array.from({ length: Math.ceil(length / size) }, (_, index) => Math.min(size, length - index * size))

const message = SmtpClient.crlf("Subject: hi\nDate: Mon, 01 Jan 2024 00:00:00 +0000\nFrom: a@example.org\n\nHello\n")

const send = (port: number, content: string) =>
  SmtpClient.connect(port).pipe(
    Effect.flatMap((client) => client.sendMail({ from: "a@example.org", to: "bob@test.example", message: content })),
    Effect.scoped
  )

const deliver = Effect.fnUntraced(function*(sendmail: Sendmail.Instance, port: number, content = message) {
  const { last } = yield* send(port, content)
  assert.strictEqual(last.code, 250, last.text)
  return yield* sendmail.takeOne()
})

const warnings = (log: string): ReadonlyArray<string> => log.match(/Milter\.maxdatasize: configured.*/g) ?? []

const suite = () => {
  for (const [name, size, step] of sizes) {
    it.live(`${name}: Sendmail offers it, the server confirms it, and a new body arrives whole`, () =>
      Effect.gen(function*() {
        const directory = yield* socketDirectory
        const serve = (path: string, options?: MilterServer.Options) =>
          FilterServer.serve(replacing, { listen: `unix:${directory}/${path}` }, options)
        const tapped = Effect.fnUntraced(function*(path: string, options?: MilterServer.Options) {
          return yield* FilterServer.tap(yield* serve(path, options), `${directory}/${path}.tap`)
        })
        const ours = yield* tapped("ours")
        const small = yield* tapped("small", { maxFrameLength: 65_536 })
        const fields: Array<number> = []
        const header = yield* FilterServer.serve(longest(fields), { listen: `unix:${directory}/header` })
        const smallHeader = yield* FilterServer.serve(longest(fields), { listen: `unix:${directory}/smallHeader` }, {
          maxFrameLength: 65_536
        })
        const other = yield* older(`${directory}/older`)
        const sendmail = yield* Sendmail.make<string>({
          filters: [{ address: ours.address }],
          listeners: {
            small: [{ address: small.address }],
            mixed: [{ address: ours.address }, { address: other }],
            header: [{ address: header }],
            smallHeader: [{ address: smallHeader }]
          },
          mc: [
            "define(`confMAX_HEADERS_LENGTH', `1000000')dnl",
            "LOCAL_CONFIG",
            `O Milter.maxdatasize=${size}`,
            "divert(0)dnl"
          ]
        })

        const delivered = yield* deliver(sendmail, sendmail.port)
        assert.isTrue(delivered.body === body, "the delivered body is the one of the filter")
        const packets = ours.takePackets()
        assert.deepStrictEqual(negotiated(packets), [step, step])
        assert.deepStrictEqual(pieces(packets), cut(sentLength, size))
        assert.deepStrictEqual(warnings(yield* sendmail.log), [])

        // A server that does not take such frames does not confirm them.
        assert.isTrue((yield* deliver(sendmail, sendmail.portOf("small"))).body === body)
        const unconfirmed = small.takePackets()
        assert.deepStrictEqual(negotiated(unconfirmed), [step, 0])
        assert.deepStrictEqual(pieces(unconfirmed), cut(sentLength, 65_535))
        assert.lengthOf(warnings(yield* sendmail.log), 1)

        // Another filter of the session does not confirm: Sendmail's own limit falls, and what comes from the first is taken.
        assert.isTrue((yield* deliver(sendmail, sendmail.portOf("mixed"))).body === body)
        assert.deepStrictEqual(pieces(ours.takePackets()), cut(sentLength, size))

        // What Sendmail itself sends in a larger packet.
        const folded = Array.from({ length: 100 }, () => "x".repeat(990)).join("\r\n ")
        const long = `X-Long: ${folded}\r\n${message}`
        yield* deliver(sendmail, sendmail.portOf("header"), long)
        assert.isAbove(Math.max(...fields), 99_000)
        // Where the size is not confirmed it gives up the filter, and goes by F=T.
        const { last } = yield* send(sendmail.portOf("smallHeader"), long)
        assert.strictEqual(last.code, 451, last.text)
      }))

    it.live(`${name}: the client reaches the same agreement and outcome with that libmilter as with the server`, () =>
      Effect.gen(function*() {
        const directory = yield* Reference.temporaryDirectory
        const program = yield* Reference.compile(directory, larger()!.root)
        const { filter } = variants.answering
        yield* Reference.start(program, `${directory}/theirs`, variants.answering)
        yield* Layer.build(
          MilterServer.layer(filter).pipe(
            Layer.provide(NodeMilterServer.layer({ listen: `unix:${directory}/ours` })),
            Layer.provide(quiet)
          )
        )
        const { offer } = MilterClient.sendmail818
        const as = { ...MilterClient.sendmail818, offer: { ...offer, steps: offer.steps | step } }
        const run = Effect.fnUntraced(function*(socket: string) {
          const packets: Array<Packet.MtaPacket | Packet.FilterPacket> = []
          const [outcome] = yield* sendAll(`unix:${directory}/${socket}`, [{
            from: "a@example.org",
            to: "bob@example.net",
            headers: [["X-Do", "body 3000000"]],
            body: "x".repeat(200_000)
          }], { as, observe: (_, packet) => packets.push(packet) })
          return { outcome: outcome!, packets }
        })
        const theirs = yield* run("theirs")
        const ours = yield* run("ours")
        assert.deepStrictEqual(negotiated(theirs.packets), [step, step])
        assert.deepStrictEqual(
          ours.packets.filter(({ _tag }) => _tag === "Negotiated"),
          theirs.packets.filter(({ _tag }) => _tag === "Negotiated")
        )
        // smfi_replacebody keeps to the small pieces whatever was agreed on.
        assert.deepStrictEqual(pieces(theirs.packets), cut(3_000_000, 65_535))
        assert.deepStrictEqual(pieces(ours.packets), cut(3_000_000, maxPayloadOf(step)))
        assert.strictEqual(ours.outcome._tag, "Accepted")
        assert.deepStrictEqual(ours.outcome.delivered, theirs.outcome.delivered)
      }))
  }
}

const title = "larger packets with Sendmail 8.18"
if (larger() === undefined) describe.skip(`${title} (npm run test:mtas -- sendmail-8.18-mds)`, suite)
else describeWith(Sendmail.missingPrerequisite() ?? Reference.missingPrerequisite(), title, suite)

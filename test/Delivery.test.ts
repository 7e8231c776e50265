/** The models against messages that a real Postfix and a real Sendmail delivered, in several releases. */
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as Fs from "node:fs"
import * as Delivery from "../src/Delivery.ts"
import type { ModificationPacket } from "../src/MilterClient.ts"
import { Step } from "../src/Negotiation.ts"
import type * as Packet from "../src/Packet.ts"
import * as Recording from "../src/Recording.ts"
import { ByteString } from "../src/Wire.ts"
import * as recordings from "./support/recordings.ts"
import { concat } from "./support/wire.ts"

const directory = new URL("./fixtures/deliveries/", import.meta.url)

const bytes = ByteString.fromText

const isModification = (packet: Packet.MtaPacket | Packet.FilterPacket): packet is ModificationPacket =>
  /^(Add|Insert|Change|Replace|Delete|Quarantine)/.test(packet._tag)

/** The one message of a recording, as the MTA showed it, and what the filter did to it. */
const messageOf = (connection: Recording.Connection) => {
  let sender = bytes("")
  const recipients: Array<Delivery.Recipient> = []
  const headers: Array<Delivery.HeaderField> = []
  const body: Array<Uint8Array> = []
  const modifications: Array<ModificationPacket> = []
  let leadingSpace = false
  const bare = (address: ByteString) => ByteString.make(address.replace(/^<|>$/g, ""))
  for (const line of connection.lines) {
    if (line._tag !== "Frame") continue
    const packet = Result.getOrThrow(Recording.packet(line))
    if (isModification(packet)) modifications.push(packet)
    // Most are recorded without this step.
    if (packet._tag === "Negotiated") leadingSpace = (packet.steps & Step.leadingSpace) !== 0
    if (line.from === "filter") continue
    if (packet._tag === "Mail") sender = bare(packet.sender)
    if (packet._tag === "Rcpt") recipients.push({ address: bare(packet.recipient), parameters: undefined })
    if (packet._tag === "Header") {
      const value = leadingSpace ? packet.value : ByteString.make(` ${packet.value}`)
      headers.push({ name: packet.name, value })
    }
    if (packet._tag === "Body") body.push(packet.bytes)
  }
  return { message: { sender, recipients, headers, body: concat(body) }, modifications, leadingSpace }
}

const latin1 = (file: string): string => Fs.readFileSync(new URL(file, directory), "latin1")

const models = { postfix: Delivery.postfix, sendmail: Delivery.sendmail }

/** For a name such as `postfix-chain`, or `sendmail-8.18/sendmail-header-bytes`. */
const modelOf = (name: string) =>
  name.startsWith("postfix-")
    ? models.postfix
    : name.startsWith("sendmail-8.18")
    ? Delivery.sendmail818
    : models.sendmail

const fixtures = ["", ...recordings.releases.map((release) => `${release}/`)].flatMap((folder) =>
  Fs.readdirSync(new URL(folder, directory)).filter((file) => file.endsWith(".eml")).map((file) => `${folder}${file}`)
)

/** As it lies in the queue: LF, without the MTA's own Received. */
const delivered = (name: string): string => latin1(`${name}.eml`).replace(/^Received: .*\n(?:\t.*\n)+/m, "")

const envelope = ({ recipients, sender }: Delivery.Message): string =>
  [
    `from <${sender}>`,
    ...recipients.map(({ address }) => `to <${address}>`).toSorted()
  ].join("\n")

describe("Delivery", () => {
  for (const file of fixtures) {
    const name = file.replace(".eml", "")
    it(`${name}: as it was delivered`, () => {
      const { leadingSpace, message, modifications } = messageOf(recordings.connections(name)[0]!)
      assert.isNotEmpty(modifications)
      const result = Result.getOrThrow(modelOf(name)(message, modifications, { leadingSpace }))
      const text = ByteString.fromBytes(Delivery.toBytes(result)).replace(/\r\n/g, "\n")
      assert.strictEqual(text, delivered(name))
      const [from, ...to] = latin1(`${name}.env`).trim().split("\n")
      assert.strictEqual(envelope(result), [from, ...to.toSorted()].join("\n"))
    })
  }

  for (const name of ["postfix-chain", "sendmail-chain"]) {
    it(`${name}: as the next filter was shown it`, () => {
      const first = messageOf(recordings.connections(`${name}.first`)[0]!)
      const second = messageOf(recordings.connections(name)[0]!)
      const { body, headers } = Result.getOrThrow(
        modelOf(name)(first.message, first.modifications, { leadingSpace: false })
      )
      assert.deepStrictEqual({ body, headers }, { body: second.message.body, headers: second.message.headers })
    })
  }

  it("a body in two runs is a broken configuration", () => {
    const { message, modifications } = messageOf(recordings.connections("postfix-mod-replbody-split")[0]!)
    const result = Delivery.postfix(message, modifications, { leadingSpace: false })
    assert.isTrue(Result.isFailure(result))
    if (Result.isFailure(result)) {
      assert.strictEqual(
        result.failure.message,
        "AddHeader between two pieces of the body; the MTA answers 451 4.3.5 Server configuration problem - try again later"
      )
    }
  })

  describe("recipients", () => {
    const to = (...addresses: ReadonlyArray<string>) => ({
      sender: bytes("alice@example.org"),
      recipients: addresses.map((address) => ({ address: bytes(address), parameters: undefined })),
      headers: [],
      body: new Uint8Array(0)
    })
    const add = (address: string): ModificationPacket => ({ _tag: "AddRecipient", recipient: bytes(address) })
    const addQuietly = (address: string): ModificationPacket => ({
      _tag: "AddRecipientWithParameters",
      recipient: bytes(address),
      parameters: bytes("NOTIFY=NEVER")
    })
    const remove = (address: string): ModificationPacket => ({ _tag: "DeleteRecipient", recipient: bytes(address) })
    const after = (message: Delivery.Message, ...modifications: ReadonlyArray<ModificationPacket>) =>
      [Delivery.postfix, Delivery.sendmail].map((model) =>
        Result.getOrThrow(model(message, modifications, { leadingSpace: true })).recipients
          .map(({ address }) => address).join(" ")
      )

    it("that the client names twice get one copy", () => {
      assert.deepStrictEqual(after(to("bob@x", "BOB@x", "carol@x", "bob@x")), ["bob@x carol@x", "bob@x carol@x"])
    })

    it("that filters add get one copy, and with Postfix one more if the client named them", () => {
      assert.deepStrictEqual(after(to("bob@x"), add("carol@x"), add("CAROL@x")), ["bob@x carol@x", "bob@x carol@x"])
      assert.deepStrictEqual(after(to("bob@x"), add("bob@x"), add("bob@x")), ["bob@x bob@x", "bob@x"])
      assert.deepStrictEqual(after(to("bob@x"), add("carol@x"), addQuietly("carol@x")), [
        "bob@x carol@x carol@x",
        "bob@x carol@x"
      ])
    })

    it("can be added again once they are deleted", () => {
      assert.deepStrictEqual(after(to("bob@x"), add("carol@x"), remove("carol@x"), add("carol@x")), [
        "bob@x carol@x",
        "bob@x carol@x"
      ])
      assert.deepStrictEqual(after(to("bob@x"), remove("bob@x"), add("bob@x"), add("bob@x")), ["bob@x", "bob@x"])
    })
  })

  it("with the leading-space step values bring their space", () => {
    const { message } = messageOf(recordings.connections("postfix-mod-addheader")[0]!)
    const result = Result.getOrThrow(Delivery.postfix(message, [
      { _tag: "AddHeader", name: bytes("X-Tight"), value: bytes("v") },
      { _tag: "AddHeader", name: bytes("X-Loose"), value: bytes(" v") },
      { _tag: "Quarantine", reason: bytes("q".repeat(120)) }
    ], { leadingSpace: true }))
    assert.deepStrictEqual(
      result.headers.slice(-2),
      [
        { name: "X-Tight", value: "v" },
        { name: "X-Loose", value: " v" }
      ].map(({ name, value }) => ({ name: bytes(name), value: bytes(value) }))
    )
    assert.strictEqual(result.quarantined, "q".repeat(100))
  })
})

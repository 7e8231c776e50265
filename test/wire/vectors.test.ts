/** Checked bytes of packets: `fixtures/vectors.json`. */
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as Crypto from "node:crypto"
import * as Fs from "node:fs"
import type * as Frame from "../../src/Frame.ts"
import * as Packet from "../../src/Packet.ts"
import * as Reply from "../../src/Reply.ts"
import { ByteString } from "../../src/Wire.ts"
import { concat, decode, fromHex } from "../support/wire.ts"

/** What a vector says a packet is; strings are Latin-1, as ours are. */
interface Decoded {
  readonly command?: string
  readonly reply?: string
  readonly sha256?: string
  readonly length?: number
  readonly [field: string]: unknown
}

interface Vector {
  readonly name: string
  readonly direction: "mta->filter" | "filter->mta"
  readonly hex: string
  readonly decoded: Decoded & {
    readonly valid?: false
    readonly expect?: string
    readonly stream?: true
    readonly packets?: ReadonlyArray<Decoded>
  }
}

const vectors: ReadonlyArray<Vector> = JSON.parse(
  Fs.readFileSync(new URL("../fixtures/vectors.json", import.meta.url), "utf8")
)

const families: { readonly [letter: string]: (decoded: Decoded) => unknown } = {
  U: () => ({ _tag: "Unknown" }),
  L: ({ address, port }) => ({ _tag: "Unix", port, path: address }),
  "4": ({ address, port }) => ({ _tag: "IPv4", port, address }),
  "6": ({ address, port }) => ({ _tag: "IPv6", port, address })
}

const bytesOf = ({ data }: Decoded) => ByteString.toBytes(ByteString.make(String(data)))
const parametersOf = ({ args }: Decoded) => (args === null ? {} : { parameters: args })
// The vectors call the steps by libmilter's name.
const optionsOf = ({ actions, protocol, version }: Decoded) => ({ version, actions, steps: protocol })

/** The packet that a vector means. */
const packets: { readonly [name: string]: (decoded: Decoded) => unknown } = {
  OPTNEG: (decoded) => ({ _tag: "Negotiate", ...optionsOf(decoded) }),
  MACRO: ({ macros, stage }) => ({
    _tag: "Macro",
    stage,
    macros: (macros as ReadonlyArray<readonly [string, string]>).map(([name, value]) => ({ name, value }))
  }),
  CONNECT: (decoded) => ({
    _tag: "Connect",
    hostname: decoded["hostname"],
    address: families[String(decoded["family"])]!(decoded)
  }),
  HELO: ({ name }) => ({ _tag: "Helo", name }),
  MAIL: ({ address, args }) => ({ _tag: "Mail", sender: address, parameters: args }),
  RCPT: ({ address, args }) => ({ _tag: "Rcpt", recipient: address, parameters: args }),
  DATA: () => ({ _tag: "Data" }),
  HEADER: ({ name, value }) => ({ _tag: "Header", name, value }),
  EOH: () => ({ _tag: "EndOfHeaders" }),
  BODY: (decoded) => ({ _tag: "Body", bytes: bytesOf(decoded) }),
  BODYEOB: (decoded) => ({ _tag: "EndOfMessage", bytes: bytesOf(decoded) }),
  UNKNOWN: ({ line }) => ({ _tag: "Unknown", line }),
  ABORT: () => ({ _tag: "Abort" }),
  QUIT: () => ({ _tag: "Quit" }),
  QUIT_NC: () => ({ _tag: "QuitNewConnection" }),
  CONTINUE: () => ({ _tag: "Continue" }),
  ACCEPT: () => ({ _tag: "Accept" }),
  REJECT: () => ({ _tag: "Reject" }),
  TEMPFAIL: () => ({ _tag: "TempFail" }),
  DISCARD: () => ({ _tag: "Discard" }),
  SKIP: () => ({ _tag: "Skip" }),
  PROGRESS: () => ({ _tag: "Progress" }),
  SHUTDOWN: () => ({ _tag: "Shutdown" }),
  CONN_FAIL: () => ({ _tag: "ConnectionFail" }),
  REPLYCODE: ({ text }) => ({ _tag: "ReplyCode", text }),
  ADDHEADER: ({ name, value }) => ({ _tag: "AddHeader", name, value }),
  INSHEADER: ({ index, name, value }) => ({ _tag: "InsertHeader", index, name, value }),
  CHGHEADER: ({ index, name, value }) => ({ _tag: "ChangeHeader", index, name, value }),
  REPLBODY: (decoded) => ({ _tag: "ReplaceBody", bytes: bytesOf(decoded) }),
  ADDRCPT: ({ address }) => ({ _tag: "AddRecipient", recipient: address }),
  ADDRCPT_PAR: (decoded) => ({
    _tag: "AddRecipientWithParameters",
    recipient: decoded["address"],
    ...parametersOf(decoded)
  }),
  DELRCPT: ({ address }) => ({ _tag: "DeleteRecipient", recipient: address }),
  CHGFROM: (decoded) => ({ _tag: "ChangeSender", sender: decoded["address"], ...parametersOf(decoded) }),
  QUARANTINE: ({ reason }) => ({ _tag: "Quarantine", reason })
}

const negotiated = (decoded: Decoded) => ({
  _tag: "Negotiated",
  ...optionsOf(decoded),
  macros: ((decoded["symlists"] ?? []) as ReadonlyArray<readonly [number, string]>).map(([stage, names]) => ({
    stage,
    names
  }))
})

const expected = (vector: Vector, decoded: Decoded): unknown => {
  const name = decoded.command ?? decoded.reply ?? ""
  return name === "OPTNEG" && vector.direction === "filter->mta" ? negotiated(decoded) : packets[name]!(decoded)
}

const decodePacket = (
  vector: Vector,
  frame: Frame.Frame,
  onWarning: (warning: Packet.PacketWarning) => void
): Result.Result<Packet.MtaPacket | Packet.FilterPacket, Packet.PacketError> =>
  vector.direction === "mta->filter" ? Packet.decodeMta(frame, onWarning) : Packet.decodeFilter(frame)

const sha256 = (bytes: Uint8Array): string => Crypto.createHash("sha256").update(bytes).digest("hex")

describe("test vectors, well-formed", () => {
  for (const vector of vectors.filter(({ decoded }) => decoded.valid !== false)) {
    it(vector.name, () => {
      const bytes = fromHex(vector.hex)
      const { error, frames, pending } = decode([bytes])
      assert.isUndefined(error)
      assert.strictEqual(pending, 0)
      const decoded = frames.map((frame) =>
        Result.getOrThrow(decodePacket(vector, frame, (warning) => assert.fail(warning.message)))
      )
      const wanted = vector.decoded.packets ?? [vector.decoded]
      assert.strictEqual(decoded.length, wanted.length)
      decoded.forEach((packet, index) => {
        const one = wanted[index]!
        if (one.sha256 !== undefined && packet._tag === "Body") {
          assert.strictEqual(packet.bytes.length, one.length)
          assert.strictEqual(sha256(packet.bytes), one.sha256)
        } else {
          assert.deepStrictEqual<unknown>(packet, expected(vector, one))
        }
      })
      assert.deepStrictEqual(concat(decoded.map((packet) => Packet.encode(packet).slice())), bytes)
    })
  }
})

describe("test vectors, malformed", () => {
  // What becomes of each; those of an intact frame for a command that expects an answer are the session's to answer.
  const outcomes: { readonly [name: string]: "frame" | "packet" | "warning" | "reply" | "negotiation" } = {
    "length-zero": "frame",
    "length-negative": "frame",
    "oversize-65537": "frame",
    "mail-trailing-junk": "warning",
    "macro-odd-strings": "warning",
    // Well-formed packets that the next layer refuses.
    "replycode-single-percent": "reply",
    "replycode-trailing-crlf": "reply",
    "optneg-v1": "negotiation",
    "optneg-filter-v7": "negotiation"
  }
  for (const vector of vectors.filter(({ decoded }) => decoded.valid === false)) {
    const outcome = outcomes[vector.name.replace("malformed/", "")] ?? "packet"
    it(`${vector.name}: ${outcome}`, () => {
      const bytes = fromHex(vector.hex)
      const { error, frames } = decode([bytes], { maxLength: 65536 })
      if (outcome === "frame") {
        assert.strictEqual(error?.rule, vector.name.endsWith("zero") ? "length" : "cap")
        return
      }
      assert.strictEqual(frames.length, 1)
      const warnings: Array<Packet.PacketWarning> = []
      const result = decodePacket(vector, frames[0]!, (warning) => warnings.push(warning))
      if (outcome === "packet") {
        assert.isTrue(Result.isFailure(result))
        return
      }
      const packet = Result.getOrThrow(result)
      assert.strictEqual(warnings.length, outcome === "warning" ? 1 : 0)
      if (outcome === "warning") return
      assert.deepStrictEqual(Packet.encode(packet).slice(), bytes)
      if (outcome === "reply") {
        assert.isTrue(packet._tag === "ReplyCode" && Result.isFailure(Reply.parse(packet.text)))
      }
    })
  }
})

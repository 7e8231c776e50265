/**
 * Recorded sessions of Postfix 3.7 and Sendmail 8.17 with a scripted filter: every frame, byte for byte.
 *
 * A line with `cmd` is a frame: `dir` M (from the MTA) or F (from the filter), `hex` its payload. `ev: "junk"` is what
 * the filter sent that is no frame.
 */
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as Fs from "node:fs"
import * as Frame from "../../src/Frame.ts"
import * as Packet from "../../src/Packet.ts"
import { concat, decode, fromHex, split, summary } from "../support/wire.ts"

interface Line {
  readonly dir: "M" | "F"
  readonly conn: number
  readonly cmd?: string
  readonly ev?: string
  readonly len: number
  readonly hex: string
}

const directory = new URL("../fixtures/recordings/", import.meta.url)

const recordings = Fs.readdirSync(directory).filter((file) => file.endsWith(".jsonl")).map((file) => ({
  name: file.replace(".jsonl", ""),
  lines: Fs.readFileSync(new URL(file, directory), "utf8").split("\n")
    .filter((line) => line !== "")
    .map((line): Line => JSON.parse(line))
    .filter((line) => line.hex !== undefined)
}))

const bytesOf = (line: Line): Uint8Array =>
  line.cmd === undefined ? fromHex(line.hex) : Frame.encode(line.cmd.charCodeAt(0), fromHex(line.hex))

const decodeLine = (line: Line): Result.Result<Packet.MtaPacket | Packet.FilterPacket, Packet.PacketError> => {
  const frame = decode([bytesOf(line)]).frames[0]!
  return line.dir === "M"
    ? Packet.decodeMta(frame, (warning) => assert.fail(warning.message))
    : Packet.decodeFilter(frame)
}

// What the scripted filter got wrong on purpose, and how often.
const broken: { readonly [name: string]: ReadonlyArray<string> } = {
  "postfix-mod-malformed": ["AddHeader: expected a string that ends with NUL at byte 5"],
  "postfix-reply-payload": ["Continue: expected the end of the packet at byte 5"],
  "postfix-replycode-nonul": Array.from(
    { length: 3 },
    () => "ReplyCode: expected a string that ends with NUL at byte 5"
  ),
  "sendmail-filter-optneg-short": ["Negotiated: expected four bytes at byte 13"]
}

const junk: { readonly [name: string]: "length" | "cap" | "incomplete" } = {
  "postfix-zero-frame": "length",
  "postfix-filter-optneg-junk": "cap",
  "sendmail-huge-frame": "cap",
  "sendmail-half-frame": "incomplete"
}

describe("recordings", () => {
  for (const { lines, name } of recordings) {
    it(`${name}: every frame decodes and encodes to the same bytes`, () => {
      const errors: Array<string> = []
      for (const line of lines) {
        if (line.cmd === undefined) continue
        const bytes = bytesOf(line)
        assert.strictEqual(bytes.length, line.len + 4)
        const result = decodeLine(line)
        if (Result.isFailure(result)) {
          errors.push(result.failure.message)
          continue
        }
        assert.deepStrictEqual(Packet.encode(result.success).slice(), bytes)
        assert.match(Packet.format(result.success), /^[ -~]+$/)
      }
      assert.deepStrictEqual(errors, broken[name] ?? [])
    })

    it(`${name}: the streams are cut into these frames, however they arrive`, () => {
      for (const dir of ["M", "F"] as const) {
        for (const conn of new Set(lines.map((line) => line.conn))) {
          const sent = lines.filter((line) => line.dir === dir && line.conn === conn)
          const stream = concat(sent.map(bytesOf))
          for (const sizes of [[], [1], [3, 1, 7], [64, 5]]) {
            const { error, frames, pending } = decode(split(stream, sizes))
            const garbage = sent.some((line) => line.ev === "junk") ? junk[name] : undefined
            assert.strictEqual(error?.rule, garbage === "incomplete" ? undefined : garbage)
            assert.strictEqual(pending > 0, garbage === "incomplete")
            assert.deepStrictEqual(
              summary(frames).map(({ code, payload }) => ({ code, payload })),
              sent.filter((line) => line.cmd !== undefined).map((line) => ({ code: line.cmd, payload: line.hex }))
            )
          }
        }
      }
    })
  }

  it("show all packets but those that real sessions do not have", () => {
    const seen = new Set(recordings.flatMap(({ lines }) =>
      lines.flatMap((line) => {
        const result = line.cmd === undefined ? undefined : decodeLine(line)
        return result !== undefined && Result.isSuccess(result) ? [result.success._tag] : []
      })
    ))
    const missing = [...Packet.mtaDefinitions, ...Packet.filterDefinitions].map(({ name }) => name)
      .filter((name) => !seen.has(name))
    assert.deepStrictEqual(missing, ["QuitNewConnection", "Quarantine"])
  })
})

/** Inputs for fuzzing: seeds made of recordings and messages, those kept in the repository, and mutations of both. */
import * as Recording from "effect-milter/Recording"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import type { Random } from "../support/random.ts"
import { concat } from "../support/wire.ts"

const recordings = new URL("../fixtures/recordings/", import.meta.url)

/** Where inputs that once found a fault, or that are hard to come by, are kept. */
export const corpus = new URL("./corpus/", import.meta.url)

/** No input is longer. */
export const longest = 65_536

const texts = (): ReadonlyArray<string> =>
  Fs.readdirSync(recordings).filter((file) => file.endsWith(".jsonl")).map((file) =>
    Fs.readFileSync(new URL(file, recordings), "utf8")
  )

/** What one side sent in the recordings, a stream of bytes for each connection. */
export const recorded = (from: "mta" | "filter"): ReadonlyArray<Uint8Array> =>
  texts().flatMap((text) =>
    Recording.connections(Result.getOrThrow(Recording.parse(text))).map(({ lines }) =>
      concat(
        lines.flatMap((line) =>
          line._tag === "Frame" && line.from === from && Recording.isComplete(line) ? [Recording.toBytes(line)] : []
        )
      )
    )
  ).filter((bytes) => bytes.length > 0 && bytes.length <= longest)

/** Recordings as text, the first lines of each. */
export const recordedTexts = (): ReadonlyArray<Uint8Array> =>
  texts().map((text) => Buffer.from(text.split("\n").slice(0, 30).join("\n")).subarray(0, longest))

/** Inputs that are kept for a target. */
export const kept = (target: string): ReadonlyArray<{ readonly name: string; readonly bytes: Uint8Array }> => {
  const directory = new URL(`${target}/`, corpus)
  return Fs.existsSync(directory)
    ? Fs.readdirSync(directory).toSorted().map((name) => ({ name, bytes: Fs.readFileSync(new URL(name, directory)) }))
    : []
}

const bytes = (text: string): Uint8Array => Buffer.from(text, "latin1")

/** What parsers stumble over. */
export const tokens: ReadonlyArray<Uint8Array> = [
  "\0",
  "\r\n",
  "\r",
  "\n",
  "\r\n\r\n",
  "\r\n ",
  "\xff\xff\xff\xff",
  "\0\0\0\0",
  "\0\0\0\x01",
  "\0\x10\0\0",
  "\x80",
  "\xc3\xb8",
  "<>",
  "\"",
  "\\",
  "=",
  "=?utf-8?Q?=C3=B8?=",
  "--b",
  "--b--",
  "Content-Type: multipart/mixed; boundary=b\r\n",
  "Content-Transfer-Encoding: base64\r\n",
  "; charset=\"",
  "{",
  "\"dir\": \"M\"",
  "\\u0000",
  "00"
].map(bytes)

const without = (input: Uint8Array, at: number, length: number): Uint8Array =>
  concat([input.subarray(0, at), input.subarray(Math.min(input.length, at + length))])

const insert = (input: Uint8Array, at: number, more: Uint8Array): Uint8Array =>
  concat([input.subarray(0, at), more, input.subarray(at)])

/** One change of an input; `others` lend pieces. */
const change = (input: Uint8Array, random: Random, others: ReadonlyArray<Uint8Array>): Uint8Array => {
  const at = random.between(0, Math.max(0, input.length - 1))
  switch (random.between(0, 7)) {
    case 0: {
      const copy = input.slice()
      copy[at] = random.between(0, 255)
      return copy
    }
    case 1:
      return without(input, at, random.pick([1, 2, 4, 8, 64]))
    case 2:
      return insert(input, at, Uint8Array.of(random.between(0, 255)))
    case 3:
      return insert(input, at, random.pick(tokens))
    case 4: {
      // A piece once more, or many times.
      const piece = input.subarray(at, at + random.between(1, 64))
      return insert(input, at, concat(Array.from({ length: random.pick([1, 1, 1, 20]) }, () => piece)))
    }
    case 5:
      return input.slice(0, at)
    case 6: {
      const other = random.pick(others)
      const from = random.between(0, Math.max(0, other.length - 1))
      return insert(input, at, other.subarray(from, from + random.between(1, 256)))
    }
    default: {
      // A number, which may be a length.
      const copy = input.slice()
      copy[at] = (copy[at]! + random.pick([1, 255, 128])) & 255
      return copy
    }
  }
}

/** A mutation of one of these, or noise. */
export const mutate = (pool: ReadonlyArray<Uint8Array>, random: Random): Uint8Array => {
  if (random.chance(0.03)) {
    return Uint8Array.from({ length: random.between(0, 300) }, () => random.between(0, 255))
  }
  let input = random.pick(pool)
  for (let times = random.pick([1, 1, 2, 3, 6]); times > 0; times--) input = change(input, random, pool)
  return input.length > longest ? input.slice(0, longest) : input
}

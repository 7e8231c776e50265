/**
 * Recorded conversations of MTAs and filters: JSON lines, one frame a line, readable and searchable with the usual tools.
 * Pure: reading and writing files is up to the caller.
 *
 * ```json
 * {"ev":"trace","desc":"what was recorded"}
 * {"conn":1,"t":13,"ev":"open"}
 * {"conn":1,"t":14,"dir":"M","cmd":"O","name":"Negotiate","len":13,"hex":"00000006000001ff001fffff"}
 * {"conn":1,"t":80,"ev":"eof","dir":"M"}
 * ```
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Frame from "./Frame.ts"
import { type Event, Line, type RecordedFrame } from "./internal/testing/recordingLines.ts"
import * as internal from "./internal/testing/redact.ts"
import type { Redaction } from "./internal/testing/redaction.ts"
import * as Packet from "./Packet.ts"

export { Description, Event, isComplete, Line, packet, RecordedFrame } from "./internal/testing/recordingLines.ts"
export type { Redaction } from "./internal/testing/redaction.ts"

/**
 * One connection of a recording: its events and frames in the order in which they were seen.
 *
 * @category models
 * @since 0.1.0
 */
export interface Connection {
  readonly connection: number
  readonly lines: ReadonlyArray<Event | RecordedFrame>
}

/**
 * A line that is not part of a recording: `line` counts from 1, `reason` says what was expected.
 *
 * @category errors
 * @since 0.1.0
 */
export class RecordingError extends Data.TaggedError("RecordingError")<{
  readonly line: number
  readonly reason: string
}> {
  override get message(): string {
    return `line ${this.line} of the recording: ${this.reason}`
  }
}

const LineFromString = Schema.fromJsonString(Line)

const decodeLine = Schema.decodeUnknownResult(LineFromString)
const encodeLine = Schema.encodeSync(LineFromString)

/**
 * Reads a recording. Empty lines are skipped.
 *
 * **Example** (What did the filter answer?)
 *
 * ```ts
 * import * as Packet from "effect-milter/Packet"
 * import * as Recording from "effect-milter/Recording"
 * import * as Result from "effect/Result"
 *
 * const text = `{"conn":1,"t":16,"dir":"F","cmd":"c","name":"Continue","len":1,"hex":""}\n`
 * for (const line of Result.getOrThrow(Recording.parse(text))) {
 *   if (line._tag === "Frame") console.log(Result.map(Recording.packet(line), Packet.format))
 * }
 * ```
 *
 * @category decoding
 * @since 0.1.0
 */
export const parse = (text: string): Result.Result<ReadonlyArray<Line>, RecordingError> => {
  const lines: Array<Line> = []
  for (const [index, json] of text.split("\n").entries()) {
    if (json.trim() === "") continue
    const line = decodeLine(json)
    if (Result.isFailure(line)) {
      return Result.fail(new RecordingError({ line: index + 1, reason: line.failure.message }))
    }
    lines.push(line.success)
  }
  return Result.succeed(lines)
}

/**
 * Writes one line of a recording, without its line end.
 *
 * @category encoding
 * @since 0.1.0
 */
export const formatLine = (line: Line): string => encodeLine(line)

/**
 * Writes a recording; {@link parse} gives the same lines again.
 *
 * @category encoding
 * @since 0.1.0
 */
export const format = (lines: ReadonlyArray<Line>): string => lines.map((line) => `${formatLine(line)}\n`).join("")

/**
 * Takes a recording apart by connection, in the order in which they were opened.
 *
 * @category decoding
 * @since 0.1.0
 */
export const connections = (lines: ReadonlyArray<Line>): ReadonlyArray<Connection> => {
  const found = new Map<number, Array<Event | RecordedFrame>>()
  for (const line of lines) {
    if (line._tag === "Description") continue
    const sofar = found.get(line.connection)
    if (sofar === undefined) found.set(line.connection, [line])
    else sofar.push(line)
  }
  return Array.from(found, ([connection, lines]) => ({ connection, lines }))
}

/**
 * Encodes a recorded frame as it went over the wire.
 *
 * **Gotchas**
 *
 * A frame that was cut in the recording has only the bytes that were recorded.
 *
 * @category encoding
 * @since 0.1.0
 */
export const toBytes = (frame: RecordedFrame): Uint8Array => Frame.encode(frame.code.charCodeAt(0), frame.bytes)

/**
 * Makes the line for a frame that was just seen. The payload is copied.
 *
 * @category constructors
 * @since 0.1.0
 */
export const frame = (
  from: "mta" | "filter",
  frame: Frame.Frame,
  at: { readonly connection: number; readonly time: number }
): RecordedFrame => {
  const definition = from === "mta" ? Packet.mtaByCode(frame.code) : Packet.filterByCode(frame.code)
  return {
    _tag: "Frame",
    connection: at.connection,
    time: at.time,
    from,
    code: String.fromCharCode(frame.code),
    name: definition?.name ?? "unknown",
    length: frame.limit - frame.offset + 1,
    bytes: frame.bytes.slice(frame.offset, frame.limit)
  }
}

/**
 * Hides what a recording tells about people, line by line: for a program that writes one while it goes on. Each redactor
 * has substitutes of its own, so one that sees all lines gives one address one substitute. See {@link redact}.
 *
 * @category redacting
 * @since 0.1.0
 */
export const redactor = (redaction: Redaction = {}): (line: Line) => Line => internal.redactor(redaction)

/**
 * Hides what a recording tells about people, so that it can be shown to others. Addresses and names get substitutes, and texts
 * become `x`. The conversation stays the same and can be replayed.
 *
 * **Details**
 *
 * Kept are the names of common header fields, sizes and line breaks, queue ids, times, the codes of replies, and macros and
 * parameters that have the form of the protocol. A frame that was cut or cannot be decoded becomes `x` as a whole. Checksums of
 * whole payloads are left out.
 *
 * **Gotchas**
 *
 * Filters that read the texts answer a redacted recording differently.
 *
 * **Example** (A recording for a bug report)
 *
 * ```ts
 * import * as Recording from "effect-milter/Recording"
 * import * as Result from "effect/Result"
 *
 * const forOthers = (text: string) =>
 *   Result.map(Recording.parse(text), (lines) => Recording.format(Recording.redact(lines)))
 * ```
 *
 * @category redacting
 * @since 0.1.0
 */
export const redact = (lines: ReadonlyArray<Line>, redaction: Redaction = {}): ReadonlyArray<Line> =>
  lines.map(internal.redactor(redaction))

/** The lines of a recording, and the packet in one. Re-exported by `Recording`. */
import type * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Frame from "../../Frame.ts"
import * as Packet from "../../Packet.ts"

const unsigned = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))

const side = Schema.Literals(["M", "F"]).transform(["mta", "filter"])

/**
 * The first line of a recording, or of a part that was appended: what it is about. `started`: the time of the clock at time 0
 * of the lines that follow, as ISO 8601 has it.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Description = Schema.Struct({
  _tag: Schema.tagDefaultOmit("Description"),
  event: Schema.Literal("trace"),
  description: Schema.String,
  started: Schema.optionalKey(Schema.String)
}).pipe(Schema.encodeKeys({ event: "ev", description: "desc" }))

/**
 * What happened to a connection. `open`: the MTA connected; `refused`: it could not connect; `eof` and `reset`: the side
 * `from` closed the connection, in order or not; `junk`: the side sent `bytes` that are not a frame.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Event = Schema.Struct({
  _tag: Schema.tagDefaultOmit("Event"),
  connection: unsigned,
  time: unsigned,
  event: Schema.Literals(["open", "refused", "eof", "reset", "junk"]),
  from: Schema.optionalKey(side),
  length: Schema.optionalKey(unsigned),
  bytes: Schema.optionalKey(Schema.Uint8ArrayFromHex),
  error: Schema.optionalKey(Schema.String)
}).pipe(
  Schema.encodeKeys({
    connection: "conn",
    time: "t",
    event: "ev",
    from: "dir",
    length: "len",
    bytes: "hex",
    error: "err"
  })
)

/**
 * One frame.
 *
 * - `connection`: the number of its connection in this recording
 * - `time`: milliseconds since the recording began, or since the {@link Description} before it in one that was appended to
 * - `from`: the side that sent the frame
 * - `code`: the code byte as a character, `name` for human readers
 * - `length`: the length field of the frame, which counts the code byte
 * - `bytes`: the payload; less than `length - 1` bytes if it was cut in the recording, and then `sha256` is the hash of the
 *   whole payload
 *
 * @category schemas
 * @since 0.1.0
 */
export const RecordedFrame = Schema.Struct({
  _tag: Schema.tagDefaultOmit("Frame"),
  connection: unsigned,
  time: unsigned,
  from: side,
  code: Schema.String.check(Schema.isPattern(/^[\u0000-\u00ff]$/)),
  name: Schema.String,
  length: Schema.Int.check(Schema.isGreaterThanOrEqualTo(1)),
  bytes: Schema.Uint8ArrayFromHex,
  sha256: Schema.optionalKey(Schema.String)
}).pipe(
  Schema.encodeKeys({ connection: "conn", time: "t", from: "dir", code: "cmd", length: "len", bytes: "hex" })
)

/**
 * Any line of a recording, between JSON and values.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Line = Schema.Union([Description, Event, RecordedFrame])

/**
 * What a {@link Description} says.
 *
 * @category models
 * @since 0.1.0
 */
export type Description = typeof Description.Type

/**
 * What an {@link Event} says.
 *
 * @category models
 * @since 0.1.0
 */
export type Event = typeof Event.Type

/**
 * What a {@link RecordedFrame} holds.
 *
 * @category models
 * @since 0.1.0
 */
export type RecordedFrame = typeof RecordedFrame.Type

/**
 * Any line of a recording.
 *
 * @category models
 * @since 0.1.0
 */
export type Line = typeof Line.Type

/**
 * Tests whether the whole payload was recorded.
 *
 * @category guards
 * @since 0.1.0
 */
export const isComplete = (frame: RecordedFrame): boolean => frame.bytes.length === frame.length - 1

const toFrame = (frame: RecordedFrame): Frame.Frame => ({
  code: frame.code.charCodeAt(0),
  bytes: frame.bytes,
  offset: 0,
  limit: frame.bytes.length,
  position: 0
})

/**
 * Decodes the packet in a frame. A frame that was cut may decode to less than was sent, or not at all; see {@link isComplete}.
 *
 * @category decoding
 * @since 0.1.0
 */
export const packet = (
  frame: RecordedFrame
): Result.Result<Packet.MtaPacket | Packet.FilterPacket, Packet.PacketError> =>
  frame.from === "mta" ? Packet.decodeMta(toFrame(frame)) : Packet.decodeFilter(toFrame(frame))

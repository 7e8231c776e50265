/** The packets of connections, on the screen and in a recording. `trace` and `decode` fill it. */
import * as Result from "effect/Result"
import * as Recording from "../../Recording.ts"
import type { Style } from "../terminal/style.ts"
import * as exit from "../trouble/exit.ts"
import { packetText, seconds } from "./packetLine.ts"
import type { Side } from "./relay.ts"

export const sideName = { mta: "the MTA", filter: "the filter" }

const twoDigits = (number: number): string => String(number).padStart(2, "0")

/** `23:59:01.123`, in the time zone of this host. */
const clockTime = (time: number): string => {
  const date = new Date(time)
  return `${twoDigits(date.getHours())}:${twoDigits(date.getMinutes())}:${twoDigits(date.getSeconds())}.${
    String(date.getMilliseconds()).padStart(3, "0")
  }`
}

export class PacketLog {
  private readonly colours: Style
  /** Hides what must not be shown. It must see all lines, since an address gets the same substitute each time. */
  private readonly redact: (line: Recording.Line) => Recording.Line
  private readonly write: ((line: string) => void) | undefined
  /** The time of the clock when the log began, in milliseconds; undefined if times are not known. */
  private readonly began: number | undefined
  /** Whether names and addresses are hidden. */
  readonly hides: boolean

  /** `write` gets the lines of the recording, if one is made. */
  constructor(
    colours: Style,
    hides: boolean,
    began: number | undefined,
    write: ((line: string) => void) | undefined
  ) {
    this.colours = colours
    this.hides = hides
    this.redact = hides ? Recording.redactor() : (line) => line
    this.began = began
    this.write = write
  }

  /** The first line of the recording. */
  describe(description: string): void {
    this.record({
      _tag: "Description",
      event: "trace",
      description,
      ...(this.began === undefined ? {} : { started: new Date(this.began).toISOString() })
    })
  }

  /** `time`: milliseconds since the log began. */
  note(connection: number, time: number, text: string): void {
    this.print(connection, time, this.colours.bold(text))
  }

  event(
    connection: number,
    time: number,
    event: Recording.Event["event"],
    more: Partial<Omit<Recording.Event, "_tag" | "connection" | "event" | "time">> = {}
  ): void {
    this.record({ _tag: "Event", connection, time: Math.round(time), event, ...more })
  }

  frame(line: Recording.RecordedFrame): void {
    const shown = this.record(line)
    if (shown._tag !== "Frame") return
    const packet = Recording.packet(shown)
    this.print(
      shown.connection,
      shown.time,
      Result.isSuccess(packet)
        ? packetText(shown.from, packet.success, this.colours)
        : this.colours.red(`${sideName[shown.from]} breaks the protocol: ${exit.lineOf(packet.failure)}`)
    )
  }

  junk(connection: number, time: number, from: Side, bytes: Uint8Array, what: string): void {
    this.event(connection, time, "junk", { from, length: bytes.length, bytes: bytes.slice() })
    this.note(connection, time, `${sideName[from]} sends ${bytes.length} bytes that are no frames${what}`)
  }

  closed(connection: number, time: number, by: Side, error: unknown): void {
    this.event(connection, time, error === undefined ? "eof" : "reset", { from: by })
    this.note(
      connection,
      time,
      error === undefined ? `${sideName[by]} has closed` : `lost ${sideName[by]}: ${exit.lineOf(error)}`
    )
  }

  private print(connection: number, time: number, text: string): void {
    const times = this.began === undefined ? "" : `${clockTime(this.began + time)} ${seconds(time)} `
    process.stdout.write(`${this.colours.cyan(String(connection).padStart(3))} ${this.colours.dim(times)}${text}\n`)
  }

  /** Records a line. Gives it as it was recorded. */
  private record(line: Recording.Line): Recording.Line {
    const shown = this.redact(line)
    this.write?.(Recording.formatLine(shown))
    return shown
  }
}

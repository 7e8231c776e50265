/** One SMTP session on a connection: what is known of it, and the services of its hooks. QUIT_NC begins another. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import * as ClientAddress from "../../ClientAddress.ts"
import type * as Frame from "../../Frame.ts"
import type * as Packet from "../../Packet.ts"
import type { Session } from "../../Stage.ts"
import { ByteString } from "../bytes/byteString.ts"
import { slice } from "../bytes/byteString.ts"
import { printable } from "../observe/messageLog.ts"
import type { SessionMonitor } from "../observe/monitor.ts"
import { CurrentQueueId } from "../observe/queueId.ts"
import { MacroStore } from "../protocol/macroStore.ts"
import type { StageRow } from "../protocol/stageTable.ts"
import type { Fork, Output } from "./machine.ts"
import type { Program, Unit } from "./serverRuntime.ts"

const maxWarnings = 10

/** A list of macros that comes again is recognised up to this length: in Postfix's, only the queue id stands. */
const recognisedLength = 64

export class SmtpSession implements Session {
  readonly id: string
  hostname = ""
  client: ClientAddress.ClientAddress = ClientAddress.unknown
  heloName: string | undefined
  origin: "smtp" | "local" = "smtp"
  readonly macros: MacroStore
  agreed: Session["agreed"]
  /** The program's services, for effects that belong to no filter. */
  readonly context: Context.Context<never>
  readonly fork: Fork
  readonly monitor: SessionMonitor
  private readonly program: Program
  private readonly output: Output
  private macrosCut = false
  /** The list of macros that came last, and its bytes unless it is too long. */
  private latestMacros = ByteString.fromText("")
  private readonly latestBytes = new Uint8Array(recognisedLength)
  private warnings = 0

  constructor(program: Program, agreed: Session["agreed"], output: Output) {
    this.program = program
    this.output = output
    this.id = program.nextId()
    this.agreed = agreed
    this.macros = new MacroStore({ macros: program.limits.macros, bytes: program.limits.macroBytes })
    const context = this.annotated(program.context)
    this.monitor = program.monitor.session(this, context)
    this.context = this.monitor.inside(context)
    this.fork = Effect.runForkWith(this.context)
  }

  /** When the answer to the present command is due; read by filters that ask others. */
  get answerBy(): number {
    return this.output.answerBy
  }

  /** The services of a filter, with the annotations and the span of this session. */
  servicesOf({ context }: Unit): Context.Context<never> {
    return context === this.program.context ? this.context : this.monitor.inside(this.annotated(context))
  }

  /** The queue id of the present message, as far as the MTA has told it. */
  readonly queueId = (): string | undefined => {
    const id = this.macros.get("i")
    return id === undefined ? undefined : printable(id)
  }

  private annotated(context: Context.Context<never>): Context.Context<never> {
    const annotations = Context.get(context, References.CurrentLogAnnotations)
    return Context.add(context, References.CurrentLogAnnotations, { ...annotations, session: this.id }).pipe(
      Context.add(CurrentQueueId, this.queueId)
    )
  }

  connect(packet: Packet.Connect, client: ClientAddress.ClientAddress): void {
    const { address } = packet
    this.client = client
    this.hostname = ByteString.toText(packet.hostname)
    // Postfix feeds mail that did not come by SMTP through a made-up session from port 0 of this host, Sendmail (-bs)
    // through one without an address.
    this.origin = this.hostname === "localhost" &&
        (address._tag === "Unknown" || (address._tag !== "Unix" && address.port === 0))
      ? "local"
      : "smtp"
  }

  /** Keeps a list of macros, whose stage byte has been checked to be there. */
  define(frame: Frame.Frame): void {
    // Postfix sends the queue id again with every header and each piece of the body.
    if (!this.isLatest(frame)) this.keepLatest(frame)
    const defined = this.macros.define(frame.bytes[frame.offset]!, this.latestMacros)
    if (defined === "complete" || (defined === "truncated" && this.macrosCut)) return
    this.macrosCut = defined === "truncated"
    this.warn(`Macro: the list is ${defined} (offset ${frame.position})`)
  }

  /** Whether this list of macros came last, too: bytes are compared, since that is quicker than with a string. */
  private isLatest({ bytes, limit, offset }: Frame.Frame): boolean {
    const { latestBytes, latestMacros: { length } } = this
    if (length !== limit - offset - 1 || length > recognisedLength) return false
    for (let index = 0; index < length; index++) {
      if (latestBytes[index] !== bytes[offset + 1 + index]) return false
    }
    return true
  }

  private keepLatest({ bytes, limit, offset }: Frame.Frame): void {
    const start = offset + 1
    this.latestMacros = slice(bytes, start, limit)
    const length = Math.min(limit - start, recognisedLength)
    for (let index = 0; index < length; index++) this.latestBytes[index] = bytes[start + index]!
  }

  /** Notes how long a hook took. */
  timed(filter: string, stage: StageRow, milliseconds: number): void {
    this.monitor.hook(filter, stage.name, milliseconds)
  }

  log(effect: Effect.Effect<void>): void {
    this.fork(effect)
  }

  /** Logs a warning, up to a number: a peer with many oddities must not fill the log. */
  warn(text: string): void {
    this.warnings++
    if (this.warnings < maxWarnings) this.log(Effect.logWarning(text))
    else if (this.warnings === maxWarnings) this.log(Effect.logWarning(`${text}; no more warnings of this session`))
  }

  /** Words a reply of the library's own, with the session's id, so that the session can be found in the log. */
  worded(text: string): string {
    return `${text} (session ${this.id})`
  }
}

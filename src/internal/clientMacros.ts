/** The macros that an MTA sends: its own selection, or what the filter asked for at a stage. */
import * as Macros from "../Macros.ts"
import type { MacroValues } from "../MilterClient.ts"
import type * as Packet from "../Packet.ts"
import { ByteString } from "../Wire.ts"
import { packetText } from "./payload.ts"
import type { AnsweredStage } from "./replies.ts"

const letters: { readonly [K in AnsweredStage]: string } = {
  connect: "C",
  helo: "H",
  mail: "M",
  rcpt: "R",
  data: "T",
  header: "L",
  endOfHeaders: "N",
  body: "B",
  endOfMessage: "E",
  unknown: "U"
}

/** Which list of the negotiation goes for a command: Postfix's reading. There is none for unknown commands. */
const listOf: { readonly [K in AnsweredStage]: Macros.MacroStage | undefined } = {
  connect: "connect",
  helo: "helo",
  mail: "mail",
  rcpt: "rcpt",
  data: "data",
  header: "endOfHeaders",
  endOfHeaders: "endOfHeaders",
  body: "endOfMessage",
  endOfMessage: "endOfMessage",
  unknown: undefined
}

export class ClientMacros {
  private requested = new Map<Macros.MacroStage, ReadonlyArray<string>>()
  private readonly known = new Map<string, string>()
  private pending: Array<Packet.Macro> = []

  /** What the filter asked for. An empty list is Postfix's "your defaults". */
  request(lists: Packet.Negotiated["macros"]): void {
    this.requested = new Map()
    for (const { names, stage } of lists) {
      const found = Macros.stages.find((name) => Macros.stageNumber[name] === stage)
      const list = ByteString.toText(names).split(/[ ,]+/).filter((name) => name !== "")
      if (found !== undefined && list.length > 0) this.requested.set(found, list)
    }
  }

  /** Whether the filter asked for macros of its own choice ahead of this command. */
  isRequested(stage: AnsweredStage): boolean {
    return this.requestedAt(stage) !== undefined
  }

  private requestedAt(stage: AnsweredStage): ReadonlyArray<string> | undefined {
    const list = listOf[stage]
    return list === undefined ? undefined : this.requested.get(list)
  }

  /** Prepares a packet for the next command. Throws `InvalidValue`. */
  define(stage: AnsweredStage, values: MacroValues, onRequest: MacroValues): void {
    for (const [name, value] of [...Object.entries(onRequest), ...Object.entries(values)]) {
      this.known.set(Macros.normalize(name), value)
    }
    // Names that were asked for go out as they came: that is what both MTAs do.
    const names = this.requestedAt(stage) ?? Object.keys(values).map(Macros.render)
    this.pending.push({
      _tag: "Macro",
      stage: ByteString.fromText(letters[stage]),
      macros: names.flatMap((name) => {
        const value = this.known.get(Macros.normalize(name))
        return value === undefined
          ? []
          : [{ name: packetText("macro name", name), value: packetText(`macro ${name}`, value) }]
      })
    })
  }

  /** The packets to send ahead of a command. */
  take(): ReadonlyArray<Packet.Macro> {
    const { pending } = this
    this.pending = []
    return pending
  }

  /** Another SMTP session begins. */
  reset(): void {
    this.known.clear()
    this.pending = []
  }
}

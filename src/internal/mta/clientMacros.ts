/** The macros that an MTA sends: its own selection, or what the filter asked for at a stage. */
import * as Macros from "../../Macros.ts"
import type * as Packet from "../../Packet.ts"
import { ByteString } from "../../Wire.ts"
import { type AnsweredStage, isOfMessage, letterOf, stageTable } from "../protocol/stageTable.ts"
import type { MacroValues } from "./clientValues.ts"
import type { KnownMacros, Manners } from "./manners/mtaManners.ts"
import { packetText } from "./packetValues.ts"

/** Which list of the negotiation goes for a command. Sendmail sends no macros with headers and body. */
const listOf = (stage: AnsweredStage, reading: "postfix" | "sendmail"): Macros.MacroStage | undefined => {
  const { macroStage } = stageTable[stage]
  return reading === "postfix" || macroStage === stage ? macroStage : undefined
}

const namesIn = (list: ByteString): ReadonlyArray<string> =>
  ByteString.toText(list).split(/[ ,]+/).filter((name) => name !== "")

type Requested = ReadonlyMap<Macros.MacroStage, ReadonlyArray<string>>

/** Unknown stages are passed over. An empty list is "your defaults". */
const asPostfixReads = (lists: Packet.Negotiated["macros"]): Requested => {
  const requested = new Map<Macros.MacroStage, ReadonlyArray<string>>()
  for (const { names, stage } of lists) {
    const found = Macros.stages.find((name) => Macros.stageNumber[name] === stage)
    const list = namesIn(names)
    if (found !== undefined && list.length > 0) requested.set(found, list)
  }
  return requested
}

/**
 * Unknown stages end the reading, an empty list is "nothing", names of several letters need their braces. And it looks up
 * whether the filter asked at end of headers when it sends the macros of end of message: so a list for the latter alone is
 * forgotten, and one for the former alone leaves nothing of the latter.
 */
const asSendmailReads = (lists: Packet.Negotiated["macros"]): Requested => {
  const requested = new Map<Macros.MacroStage, ReadonlyArray<string>>()
  for (const { names, stage } of lists) {
    const found = Macros.stages.find((name) => Macros.stageNumber[name] === stage)
    if (found === undefined) break
    requested.set(found, namesIn(names).filter((name) => name.length === 1 || /^\{.+\}$/.test(name)))
  }
  if (!requested.has("endOfHeaders")) requested.delete("endOfMessage")
  else if (!requested.has("endOfMessage")) requested.set("endOfMessage", [])
  return requested
}

export class ClientMacros {
  private reading: "postfix" | "sendmail" = "postfix"
  private requested: Requested = new Map()
  /** All values so far, those of the session and those of the message. */
  private readonly known = { session: new Map<string, string>(), message: new Map<string, string>() }
  /** What was defined for the next command of a stage. */
  private readonly defined = new Map<AnsweredStage, KnownMacros & { readonly sent: MacroValues }>()

  /** What the filter asked for. */
  request(lists: Packet.Negotiated["macros"], reading: "postfix" | "sendmail"): void {
    this.reading = reading
    this.requested = reading === "postfix" ? asPostfixReads(lists) : asSendmailReads(lists)
  }

  private requestedAt(stage: AnsweredStage): ReadonlyArray<string> | undefined {
    const list = listOf(stage, this.reading)
    return list === undefined ? undefined : this.requested.get(list)
  }

  /** Prepares macros for the next command of the stage, beside those that it has anyway. Throws `InvalidValue`. */
  define(stage: AnsweredStage, values: MacroValues, onRequest: MacroValues): void {
    for (const [name, value] of [...Object.entries(values), ...Object.entries(onRequest)]) {
      packetText("macro name", name)
      packetText(`macro ${name}`, value)
    }
    const before = this.defined.get(stage)
    this.defined.set(stage, {
      sent: { ...before?.sent, ...values },
      onRequest: { ...before?.onRequest, ...onRequest }
    })
  }

  /** What was defined for the next command of the stage under that name. */
  definedAt(stage: AnsweredStage, name: string): string | undefined {
    const sent = this.defined.get(stage)?.sent
    return sent?.[name] ?? sent?.[`{${name}}`]
  }

  /** The packet to send ahead of a command, if there is one. */
  take(
    stage: AnsweredStage,
    own: KnownMacros | undefined,
    forgets: Manners["forgets"]
  ): ReadonlyArray<Packet.Macro> {
    const defined = this.defined.get(stage)
    this.defined.delete(stage)
    if (own === undefined && defined === undefined) return []
    const values = merge(own?.sent, defined?.sent)
    const known = isOfMessage(stage) ? this.known.message : this.known.session
    for (const [name, value] of Object.entries({ ...own?.onRequest, ...defined?.onRequest, ...values })) {
      known.set(Macros.normalize(name), value)
    }
    const requested = this.requestedAt(stage)
    // Sendmail takes an empty list at its word; Postfix has none.
    if (requested === undefined ? own?.sent === undefined && defined === undefined : requested.length === 0) return []
    return [{
      _tag: "Macro",
      stage: ByteString.fromText(letterOf(stage)),
      // Names that were asked for go out as they came: that is what both MTAs do.
      macros: (requested ?? Object.keys(values).map(Macros.render)).flatMap((name) => {
        const value = values[Macros.render(name)] ?? this.valueOf(stage, Macros.normalize(name), forgets)
        return value === undefined
          ? []
          : [{ name: packetText("macro name", name), value: packetText(`macro ${name}`, value) }]
      })
    }]
  }

  private valueOf(stage: AnsweredStage, name: string, forgets: Manners["forgets"]): string | undefined {
    if (forgets(stage, name)) return undefined
    return this.known.message.get(name) ?? this.known.session.get(name)
  }

  /** Another message begins. */
  resetMessage(): void {
    this.known.message.clear()
  }

  /** Another SMTP session begins. */
  reset(): void {
    this.known.session.clear()
    this.resetMessage()
    this.defined.clear()
  }
}

/** Values by one spelling each: what was defined takes the place of what the MTA would send, where that stands. */
const merge = (own: MacroValues | undefined, defined: MacroValues | undefined): MacroValues => {
  const values: { [name: string]: string } = {}
  for (const [name, value] of [...Object.entries(own ?? {}), ...Object.entries(defined ?? {})]) {
    values[Macros.render(name)] = value
  }
  return values
}

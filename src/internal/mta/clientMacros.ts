/** The macros that an MTA sends: its own selection, or what the filter asked for at a stage. */
import * as Result from "effect/Result"
import type { InvalidValue } from "../../InvalidValue.ts"
import * as Macros from "../../Macros.ts"
import type * as Packet from "../../Packet.ts"
import { ByteString } from "../bytes/byteString.ts"
import { byteStringOf } from "../bytes/concat.ts"
import { type AnsweredStage, isOfMessage, letterOf, stageTable } from "../protocol/stageTable.ts"
import type { MacroValues, Text } from "./clientValues.ts"
import type { KnownMacros, Manners } from "./manners/mtaManners.ts"
import { packetText } from "./packetValues.ts"

/** The macro list of the negotiation that applies to a command. Sendmail sends no macros with headers and body. */
const listOf = (stage: AnsweredStage, reading: "postfix" | "sendmail"): Macros.MacroStage | undefined => {
  const { macroStage } = stageTable[stage]
  return reading === "postfix" || macroStage === stage ? macroStage : undefined
}

const namesIn = (list: ByteString): ReadonlyArray<string> =>
  ByteString.toText(list).split(/[ ,]+/).filter((name) => name !== "")

/** A macro that fits into a packet. */
const macroOf = (name: string, value: Text): Result.Result<Packet.Macro["macros"][number], InvalidValue> =>
  Result.all({ name: packetText("macro name", name), value: packetText(`macro ${name}`, value) })

type Requested = ReadonlyMap<Macros.MacroStage, ReadonlyArray<string>>

/** Reads the lists as Postfix does: unknown stages are skipped, and an empty list asks for the MTA's defaults. */
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
 * Reads the lists as Sendmail does: an unknown stage ends the reading, an empty list asks for no macros, and names of
 * several letters need braces. At end of message Sendmail checks whether the filter gave a list for end of headers. So a
 * list for end of message alone is forgotten, and a list for end of headers alone leaves end of message without macros.
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

const noPackets: Result.Result<ReadonlyArray<Packet.Macro>> = Result.succeed([])

export class ClientMacros {
  private reading: "postfix" | "sendmail" = "postfix"
  private requested: Requested = new Map()
  /** All values so far, those of the session and those of the message. */
  private readonly known = { session: new Map<string, Text>(), message: new Map<string, Text>() }
  /** What was defined for the next command of a stage. */
  private readonly defined = new Map<AnsweredStage, KnownMacros & { readonly sent: MacroValues }>()

  /** Takes the macro lists that the filter asked for. */
  request(lists: Packet.Negotiated["macros"], reading: "postfix" | "sendmail"): void {
    this.reading = reading
    this.requested = reading === "postfix" ? asPostfixReads(lists) : asSendmailReads(lists)
  }

  private requestedAt(stage: AnsweredStage): ReadonlyArray<string> | undefined {
    const list = listOf(stage, this.reading)
    return list === undefined ? undefined : this.requested.get(list)
  }

  /** Prepares macros for the next command of the stage, in addition to those it has anyway. */
  define(stage: AnsweredStage, values: MacroValues, onRequest: MacroValues): Result.Result<void, InvalidValue> {
    for (const [name, value] of [...Object.entries(values), ...Object.entries(onRequest)]) {
      const macro = macroOf(name, value)
      if (Result.isFailure(macro)) return Result.fail(macro.failure)
    }
    const before = this.defined.get(stage)
    this.defined.set(stage, {
      sent: { ...before?.sent, ...values },
      onRequest: { ...before?.onRequest, ...onRequest }
    })
    return Result.void
  }

  /** The value that was defined under that name for the next command of the stage. */
  definedAt(stage: AnsweredStage, name: string): string | undefined {
    const sent = this.defined.get(stage)?.sent
    const value = sent?.[name] ?? sent?.[`{${name}}`]
    return value === undefined ? undefined : ByteString.toText(byteStringOf(value))
  }

  /** The packet to send ahead of a command, if there is one. */
  take(
    stage: AnsweredStage,
    own: KnownMacros | undefined,
    forgets: Manners["forgets"]
  ): Result.Result<ReadonlyArray<Packet.Macro>, InvalidValue> {
    const defined = this.defined.get(stage)
    this.defined.delete(stage)
    if (own === undefined && defined === undefined) return noPackets
    const values = merge(own?.sent, defined?.sent)
    const known = isOfMessage(stage) ? this.known.message : this.known.session
    for (const [name, value] of Object.entries({ ...own?.onRequest, ...defined?.onRequest, ...values })) {
      known.set(Macros.normalize(name), value)
    }
    const requested = this.requestedAt(stage)
    // Only Sendmail's reading keeps empty lists: they ask for no macros.
    if (requested === undefined ? own?.sent === undefined && defined === undefined : requested.length === 0) {
      return noPackets
    }
    // Both MTAs send requested names in the spelling of the filter.
    const macros = (requested ?? Object.keys(values).map(Macros.render)).flatMap((name) => {
      const value = values[Macros.render(name)] ?? this.valueOf(stage, Macros.normalize(name), forgets)
      return value === undefined ? [] : [macroOf(name, value)]
    })
    return Result.map(Result.all(macros), (macros) => [{
      _tag: "Macro",
      stage: ByteString.fromText(letterOf(stage)),
      macros
    }])
  }

  private valueOf(stage: AnsweredStage, name: string, forgets: Manners["forgets"]): Text | undefined {
    if (forgets(stage, name)) return undefined
    return this.known.message.get(name) ?? this.known.session.get(name)
  }

  /** Forgets the macros of the message: another message begins. */
  resetMessage(): void {
    this.known.message.clear()
  }

  /** Forgets all macros: another SMTP session begins. */
  reset(): void {
    this.known.session.clear()
    this.resetMessage()
    this.defined.clear()
  }
}

/** Merges values, each name in one spelling. A defined value replaces the MTA's own and keeps its place in the order. */
const merge = (own: MacroValues | undefined, defined: MacroValues | undefined): MacroValues => {
  const values: { [name: string]: Text } = {}
  for (const [name, value] of [...Object.entries(own ?? {}), ...Object.entries(defined ?? {})]) {
    values[Macros.render(name)] = value
  }
  return values
}

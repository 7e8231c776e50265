/** The macros of one connection, as they came: the engine's side of {@link Macros}. */
import { cut, ofParts } from "../bytes/byteString.ts"
import { type ByteString, toText } from "../bytes/byteString.ts"
import { Macros, normalize } from "./macros.ts"
import { type AnsweredStage, answeredStages, macroStages, stageTable } from "./stageTable.ts"

/**
 * What was wrong with the list of a macro packet.
 *
 * - `"complete"`: nothing
 * - `"odd"`: a last name without a value, dropped
 * - `"unterminated"`: bytes after the last NUL, ignored as libmilter does
 * - `"truncated"`: more macros than the limits allow, the surplus dropped
 */
export type Defined = "complete" | "odd" | "unterminated" | "truncated"

/**
 * How much a {@link MacroStore} keeps, over all stages.
 */
export interface MacroLimits {
  /** Number of macros; 512 by default. Real MTAs send some thirty. */
  readonly macros?: number | undefined
  /** Bytes of names and values; 65536 by default. Sendmail cuts each value at 2048. */
  readonly bytes?: number | undefined
}

/** The names that a filter may see of each stage, in the order of `stages`; all if undefined. */
export type Visible = ReadonlyArray<ReadonlySet<string> | undefined>

// A slot for the macros of each stage that has a list, and one for those of unknown commands.
const mail = macroStages.indexOf("mail")
const unknown = macroStages.length
const slots = unknown + 1

// By command letter: the slot of its macros.
const slotOfCode = new Uint8Array(128).fill(slots)
for (const stage of answeredStages) {
  const { command, macroStage } = stageTable[stage]
  slotOfCode[command.code] = macroStage === undefined ? unknown : macroStages.indexOf(macroStage)
}

// Copied for each connection, since `Array.from` takes longer than all else that a store needs.
const noLists = Array.from<ByteString | undefined>({ length: slots })
const noCounts = Array.from({ length: slots }, () => 0)

/**
 * The macros of one connection. Packets that define macros are stored, and searched at a lookup: a filter that reads no macros
 * costs almost nothing.
 *
 * One list is kept per stage and a lookup goes from the latest stage back. Defining a stage drops it and the later
 * ones; a command that came without a definition of its own drops the later ones; the end of a message drops everything
 * from MAIL on. So values of an earlier recipient or message are never seen (in libmilter they are, wherever an MTA has
 * nothing to define or a command is suppressed), while Postfix's values of the SMTP stages outlive its switch to
 * another process after DATA, which knows less. The macros of an unknown command (U) are visible to its hook only and
 * replace nothing.
 *
 * Mutable, for the engine; hooks get it as {@link Macros}.
 */
export class MacroStore extends Macros {
  private readonly lists = noLists.slice()
  private readonly counts = noCounts.slice()
  private readonly maximumMacros: number
  private readonly maximumBytes: number
  /** One bit per slot that was defined since the last command. */
  private fresh = 0
  private atUnknown = false

  constructor(limits?: MacroLimits) {
    super()
    this.maximumMacros = limits?.macros ?? 512
    this.maximumBytes = limits?.bytes ?? 65536
  }

  /**
   * A macro packet arrived: `code` is its stage byte (the code of a command letter), `payload` the rest: name NUL value
   * NUL, and so on. The list replaces the one of that stage. Letters that are no stage (A, Q) are ignored.
   */
  define(code: number, payload: ByteString): Defined {
    const slot = code < 128 ? slotOfCode[code]! : slots
    if (slot === slots) return "complete"
    this.fresh |= 1 << slot
    // Postfix sends the same list with each header and each piece of the body.
    if (slot !== unknown && this.lists[slot] === payload) {
      this.drop(slot + 1)
      return "complete"
    }
    if (slot === unknown) this.forget(slot)
    else this.drop(slot)
    let strings = 0
    let pairs = 0
    for (let end = payload.indexOf("\0"); end !== -1; end = payload.indexOf("\0", end + 1)) {
      strings++
      if ((strings & 1) === 0) pairs = end + 1
    }
    let count = strings >> 1
    let result: Defined = (strings & 1) === 1
      ? "odd"
      : payload.length > pairs
      ? "unterminated"
      : "complete"
    let macros = this.maximumMacros
    let bytes = this.maximumBytes
    for (let index = 0; index < slots; index++) {
      macros -= this.counts[index]!
      bytes -= this.lists[index]?.length ?? 0
    }
    if (count > macros || pairs > bytes) {
      result = "truncated"
      count = 0
      pairs = 0
      while (count < macros) {
        const end = payload.indexOf("\0", payload.indexOf("\0", pairs) + 1) + 1
        if (end === 0 || end > bytes || end <= pairs) break
        pairs = end
        count++
      }
    }
    if (count > 0) {
      this.lists[slot] = pairs === payload.length ? payload : cut(payload, 0, pairs)
      this.counts[slot] = count
    }
    return result
  }

  /** A command arrived: `code` is the code of its letter. Call it before its hook runs, for each command but D. */
  command(code: number): void {
    const slot = code < 128 ? slotOfCode[code]! : slots
    const defined = (this.fresh & (1 << slot)) !== 0
    this.fresh = 0
    this.atUnknown = slot === unknown
    if (!this.atUnknown || !defined) this.forget(unknown)
    // Macros of a MAIL belong to a message that has ended when another MAIL comes, also without an abort: Sendmail sends no
    // abort for RSET to a filter that does not answer MAIL.
    if (!defined && slot < unknown) this.drop(slot === mail ? mail : slot + 1)
  }

  /**
   * A message is over: a final verdict on it, an abort, end of message answered, or the next MAIL or HELO. In the last
   * case call it before {@link command}: what has already been defined for the command that ends the message is kept.
   */
  endMessage(): void {
    for (let index = mail; index < unknown; index++) {
      if ((this.fresh & (1 << index)) === 0) this.forget(index)
    }
  }

  raw(name: string, visible?: Visible): ByteString | undefined {
    const bare = normalize(name)
    for (let slot = this.atUnknown ? unknown : unknown - 1; slot >= 0; slot--) {
      const list = this.lists[slot]
      if (list === undefined || visible?.[slot]?.has(bare) === false) continue
      const value = find(list, bare)
      if (value !== undefined) return value
    }
    return undefined
  }

  entries(visible?: Visible): ReadonlyArray<readonly [name: string, value: string]> {
    const found = new Map<string, string>()
    for (let slot = 0; slot < (this.atUnknown ? slots : unknown); slot++) {
      const list = this.lists[slot]
      if (list === undefined) continue
      const here = new Map<string, string>()
      for (let start = 0; start < list.length;) {
        const middle = list.indexOf("\0", start)
        const end = list.indexOf("\0", middle + 1)
        const written = cut(list, start, middle)
        const bare = normalize(written)
        // A name with two pairs of braces is found by that name only.
        const name = toText(normalize(bare) === bare ? ofParts(bare) : written)
        // In one list the first definition counts, as for `get`.
        if (!here.has(name) && visible?.[slot]?.has(bare) !== false) {
          here.set(name, toText(cut(list, middle + 1, end)))
        }
        start = end + 1
      }
      for (const [name, value] of here) found.set(name, value)
    }
    return Array.from(found)
  }

  /** The macros that came for one stage, names and values as they stand on the wire. */
  ofStage(stage: AnsweredStage, visible?: Visible): ReadonlyArray<readonly [name: ByteString, value: ByteString]> {
    const slot = slotOfCode[stageTable[stage].command.code]!
    const list = this.lists[slot]
    const found: Array<readonly [name: ByteString, value: ByteString]> = []
    if (list === undefined || (slot === unknown && !this.atUnknown)) return found
    for (let start = 0; start < list.length;) {
      const middle = list.indexOf("\0", start)
      const end = list.indexOf("\0", middle + 1)
      const name = cut(list, start, middle)
      if (visible?.[slot]?.has(normalize(name)) !== false) found.push([name, cut(list, middle + 1, end)])
      start = end + 1
    }
    return found
  }

  /** A copy of the present macros, for reading them later. */
  snapshot(): MacroStore {
    const copy = new MacroStore({ macros: this.maximumMacros, bytes: this.maximumBytes })
    for (let slot = 0; slot < slots; slot++) {
      copy.lists[slot] = this.lists[slot]
      copy.counts[slot] = this.counts[slot]!
    }
    copy.atUnknown = this.atUnknown
    return copy
  }

  /** Forgets the lists from `slot` on, except that of an unknown command. */
  private drop(slot: number): void {
    for (let index = slot; index < unknown; index++) this.forget(index)
  }

  private forget(slot: number): void {
    this.lists[slot] = undefined
    this.counts[slot] = 0
  }
}

const brace = 0x7b

/** Searches a list of complete pairs, names with or without braces, and copies nothing on the way. */
const find = (list: ByteString, bare: string): ByteString | undefined => {
  for (let start = 0; start < list.length;) {
    const middle = list.indexOf("\0", start)
    const end = list.indexOf("\0", middle + 1)
    const length = middle - start
    if (
      length === bare.length
        ? list.startsWith(bare, start)
        : length === bare.length + 2 && list.charCodeAt(start) === brace && list.charCodeAt(middle - 1) === brace + 2 &&
          list.startsWith(bare, start + 1)
    ) {
      return cut(list, middle + 1, end)
    }
    start = end + 1
  }
  return undefined
}

/**
 * Macros: named values that the MTA tells a filter ahead of a command (queue id, client, TLS, authenticated user).
 * Their names, the stages they come at, how they travel, and how long each stays valid.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import { InvalidValue } from "./InvalidValue.ts"
import { ByteString } from "./Wire.ts"

/**
 * The stages at which an MTA sends macros and for which a filter can ask for macros of its own choice.
 *
 * @category models
 * @since 0.1.0
 */
export type MacroStage = "connect" | "helo" | "mail" | "rcpt" | "data" | "endOfHeaders" | "endOfMessage"

/**
 * All stages in the order of an SMTP session.
 *
 * @category constants
 * @since 0.1.0
 */
export const stages: ReadonlyArray<MacroStage> = [
  "connect",
  "helo",
  "mail",
  "rcpt",
  "data",
  "endOfHeaders",
  "endOfMessage"
]

/**
 * The number of each stage in the macro lists of a negotiation answer. Not in the order of time: end of message is 5
 * and end of headers, which was added to the protocol later, 6.
 *
 * @category constants
 * @since 0.1.0
 */
export const stageNumber: { readonly [K in MacroStage]: number } = {
  connect: 0,
  helo: 1,
  mail: 2,
  rcpt: 3,
  data: 4,
  endOfMessage: 5,
  endOfHeaders: 6
}

/**
 * The letter of each stage in the first byte of a macro packet: the letter of the command that follows.
 *
 * @category constants
 * @since 0.1.0
 */
export const stageLetter: { readonly [K in MacroStage]: string } = {
  connect: "C",
  helo: "H",
  mail: "M",
  rcpt: "R",
  data: "T",
  endOfHeaders: "N",
  endOfMessage: "E"
}

/**
 * The macros that a hook can look up: those of the current stage and what is still valid of the earlier ones. Names are
 * case-sensitive and may be given with or without braces: `i` and `{i}`, `auth_type` and `{auth_type}` are the same.
 *
 * What macros say is as trustworthy as whoever connects to the filter. They change as the session goes on: take what
 * you need while the hook runs.
 *
 * @category models
 * @since 0.1.0
 */
export interface Macros {
  /**
   * The value as text (U+FFFD where it is not UTF-8); `undefined` if the MTA has not defined it, `""` if it is empty.
   */
  readonly get: (name: string) => string | undefined
  /** The value as bytes. */
  readonly raw: (name: string) => ByteString | undefined
  /** Everything visible, earliest stage first, names without braces. */
  readonly entries: () => ReadonlyArray<readonly [name: string, value: string]>
}

/**
 * No macros at all.
 *
 * @category constants
 * @since 0.1.0
 */
export const empty: Macros = { get: () => undefined, raw: () => undefined, entries: () => [] }

/**
 * The name without braces, as this package stores and compares names. Postfix 3.1 puts even single letters into braces.
 *
 * @category names
 * @since 0.1.0
 */
export const normalize = (name: string): string =>
  name.length > 2 && name[0] === "{" && name[name.length - 1] === "}" ? name.slice(1, -1) : name

/**
 * The name as it has to be spelled on the wire: in braces if it is longer than one character. Sendmail would read a
 * bare `client_addr` as the macro `c` followed by junk.
 *
 * @category names
 * @since 0.1.0
 */
export const render = (name: string): string => {
  const bare = normalize(name)
  return bare.length > 1 ? `{${bare}}` : bare
}

/**
 * A macro name that can go into a macro list, spelled for the wire. `InvalidValue` if it is empty or holds anything but
 * printable ASCII, or a space, a comma (both separate names) or a brace.
 *
 * @category names
 * @since 0.1.0
 */
export const checkName = (name: string): Result.Result<ByteString, InvalidValue> =>
  /^[!-+\--z|~]{1,255}$/.test(normalize(name))
    ? Result.succeed(ByteString.fromText(render(name)))
    : Result.fail(
      new InvalidValue({
        what: "macro name",
        value: name,
        reason: "expected one to 255 printable ASCII characters without space, comma and braces"
      })
    )

/**
 * The list of a macro packet, after the stage byte: name NUL value NUL, and so on. For the MTA side and tests; names
 * are spelled by {@link render}. Names and values must be free of NUL.
 *
 * @category encoding
 * @since 0.1.0
 */
export const list = (macros: { readonly [name: string]: string }): ByteString =>
  ByteString.fromText(Object.entries(macros).map(([name, value]) => `${render(name)}\0${value}\0`).join(""))

/**
 * What was wrong with the list of a macro packet.
 *
 * - `"complete"`: nothing
 * - `"odd"`: a last name without a value, dropped
 * - `"unterminated"`: bytes after the last NUL, ignored as libmilter does
 * - `"truncated"`: more macros than the limits allow, the surplus dropped
 *
 * @category models
 * @since 0.1.0
 */
export type Defined = "complete" | "odd" | "unterminated" | "truncated"

/**
 * How much a {@link MacroStore} keeps, over all stages.
 *
 * @category models
 * @since 0.1.0
 */
export interface MacroLimits {
  /** Number of macros; 512 by default. Real MTAs send some thirty. */
  readonly macros?: number | undefined
  /** Bytes of names and values; 65536 by default. Sendmail cuts each value at 2048. */
  readonly bytes?: number | undefined
}

const mail = 2
const unknown = 7
const slots = 8

// By command letter: the slot of its macros. Postfix sends macros with headers (L) and body chunks (B) as well, which
// are part of the stages that end with N and E.
const slotOfCode = new Uint8Array(128).fill(slots)
for (const [index, letters] of ["C", "H", "M", "R", "T", "LN", "BE", "U"].entries()) {
  for (const letter of letters) slotOfCode[letter.charCodeAt(0)] = index
}

/**
 * The macros of one connection. Packets that define macros are only stored; they are searched when somebody asks, so a
 * filter that never looks pays next to nothing.
 *
 * One list is kept per stage and a lookup goes from the latest stage back. Defining a stage drops it and the later
 * ones; a command that came without a definition of its own drops the later ones; the end of a message drops everything
 * from MAIL on. So values of an earlier recipient or message are never seen (in libmilter they are, wherever an MTA has
 * nothing to define or a command is suppressed), while Postfix's values of the SMTP stages outlive its switch to
 * another process after DATA, which knows less. The macros of an unknown command (U) are visible to its hook only and
 * replace nothing.
 *
 * Mutable, for the session engine; hooks get it as {@link Macros}.
 *
 * @category stores
 * @since 0.1.0
 */
export class MacroStore implements Macros {
  private readonly lists = Array.from<ByteString | undefined>({ length: slots })
  private readonly counts = Array.from({ length: slots }, () => 0)
  private readonly maximumMacros: number
  private readonly maximumBytes: number
  /** One bit per slot that was defined since the last command. */
  private fresh = 0
  private atUnknown = false
  /** True once a definition had to be cut because of the limits; {@link reset} clears it. */
  truncated = false

  constructor(limits?: MacroLimits) {
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
    if (slot === unknown) this.forget(slot)
    else this.drop(slot)
    this.fresh |= 1 << slot
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
      this.truncated = true
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
      // The part of a byte string is a byte string.
      this.lists[slot] = pairs === payload.length ? payload : payload.slice(0, pairs) as ByteString
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
    // What MAIL defined belongs to a message that is over when another MAIL comes, even if nobody said so (Sendmail
    // sends no abort for RSET to a filter that does not answer MAIL).
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

  /** Another SMTP session begins on this connection. */
  reset(): void {
    this.drop(0)
    this.forget(unknown)
    this.fresh = 0
    this.atUnknown = false
    this.truncated = false
  }

  get(name: string): string | undefined {
    const value = this.raw(name)
    return value === undefined ? undefined : ByteString.toText(value)
  }

  raw(name: string): ByteString | undefined {
    const bare = normalize(name)
    for (let slot = this.atUnknown ? unknown : unknown - 1; slot >= 0; slot--) {
      const list = this.lists[slot]
      if (list === undefined) continue
      const value = find(list, bare)
      if (value !== undefined) return value
    }
    return undefined
  }

  entries(): ReadonlyArray<readonly [name: string, value: string]> {
    const found = new Map<string, string>()
    for (let slot = 0; slot < (this.atUnknown ? slots : unknown); slot++) {
      const list = this.lists[slot]
      if (list === undefined) continue
      const here = new Map<string, string>()
      for (let start = 0; start < list.length;) {
        const middle = list.indexOf("\0", start)
        const end = list.indexOf("\0", middle + 1)
        const written = list.slice(start, middle)
        const bare = normalize(written)
        // With braces twice it is found under no other name than that.
        const name = ByteString.toText((normalize(bare) === bare ? bare : written) as ByteString)
        // In one list the first definition counts, as for `get`.
        if (!here.has(name)) here.set(name, ByteString.toText(list.slice(middle + 1, end) as ByteString))
        start = end + 1
      }
      for (const [name, value] of here) found.set(name, value)
    }
    return Array.from(found)
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
      return list.slice(middle + 1, end) as ByteString
    }
    start = end + 1
  }
  return undefined
}

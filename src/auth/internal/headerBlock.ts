/**
 * The part of a header that mailauth reads, within limits.
 *
 * mailauth has no limits of its own. Its time grows with the square of a run of white space in a signature, of the lines of a
 * field and of the letters of a domain, and with the product of fields and names in `h`. The sender chooses all of these, and
 * one message must not stop the process.
 */
import { randomBytes } from "node:crypto"
import type { Field } from "./content.ts"
import { coveredNames, type Tag, tagsOf, valueOf } from "./tagList.ts"

/**
 * - `headerBytes`, `headerLines`: of the whole header, and of the part that mailauth reads
 * - `from`: bytes of all From fields
 * - `domain`: bytes of a domain in From, which may be of any letters
 * - `contentType`: bytes of a Content-Type field
 * - `tagList`: bytes of a signature, a seal or sealed results
 * - `whiteSpace`: longest run in a tag list. The squares of all runs together stay below `whiteSpace ** 2`
 * - `results`: statements in one field of sealed results
 * - `fieldLines`: lines of one field
 * - `value`: bytes of a domain, a selector and an identity
 * - `signatures`: those that are looked at
 * - `bodies`: hashes of the body, which differ by canonicalization, algorithm and length
 * - `covered`, `coveredBytes`: names and bytes of the fields that all signatures cover together
 * - `sealedBytes`: bytes under all seals of a chain together, each of which covers those below it
 */
const limits = {
  headerBytes: 2 ** 18,
  headerLines: 5000,
  from: 2 ** 14,
  domain: 1024,
  contentType: 2 ** 13,
  tagList: 2 ** 14,
  whiteSpace: 1024,
  results: 500,
  fieldLines: 2000,
  value: 255,
  signatures: 20,
  bodies: 3,
  covered: 1500,
  coveredBytes: 2 ** 20,
  sealedBytes: 2 ** 20
}

const isArc = (name: string): boolean =>
  name === "arc-seal" || name === "arc-message-signature" || name === "arc-authentication-results"

/** What a field name is made of (RFC 5322 3.6.8), with white space in front of the colon. */
const fieldName = /^[!-9;-~]+[ \t]*$/

const count = (text: string, character: string): number => {
  let found = 0
  for (let at = text.indexOf(character); at !== -1; at = text.indexOf(character, at + 1)) found++
  return found
}

/** Whether runs of white space are short enough for expressions whose time is the square of each. */
const isSparse = (line: string, whiteSpace = /[ \t\r\n]+/g): boolean => {
  let squares = 0
  for (const [run] of line.matchAll(whiteSpace)) {
    squares += run.length ** 2
    if (squares > limits.whiteSpace ** 2) return false
  }
  return true
}

/** Whether every possible domain in From is short enough for A-labels, whose conversion takes the square of the length. */
const hasShortDomains = (line: string): boolean => {
  for (let at = line.indexOf("@"); at !== -1; at = line.indexOf("@", at + 1)) {
    const part = line.slice(at + 1, at + 2 + limits.domain)
    if (part.length > limits.domain && !/[ \t\r\n@<>(),;"]/.test(part)) return false
  }
  return true
}

/** Why a field is not read, if it is not. */
const trouble = ({ line, name }: Field): string | undefined => {
  // A run of line ends in the middle of the header takes the square of its length.
  if (count(line, "\n") > limits.fieldLines || !isSparse(line, /[\r\n]+/g)) return "field too large"
  if (name === "content-type" && line.length > limits.contentType) return "field too large"
  if (name !== "dkim-signature" && !isArc(name)) return undefined
  if (line.length > limits.tagList) return "field too large"
  if (!isSparse(line)) return "too much white space"
  return name === "arc-authentication-results" && count(line, ";") > limits.results ? "too many results" : undefined
}

/** What distinguishes one hash of the body from another. */
const bodyHashOf = (tags: ReadonlyArray<Tag>): string => {
  const [, body = "simple"] = (valueOf(tags, "c") ?? "").toLowerCase().split("/")
  return [body.trim(), (valueOf(tags, "a") ?? "").toLowerCase(), valueOf(tags, "l") ?? ""].join(":")
}

/** A signature that is not checked. */
export interface Refused {
  readonly reason: string
  readonly domain: string | undefined
  readonly selector: string | undefined
}

/** The part of the header for mailauth. */
export interface Selected {
  /** The header with the empty line after it. */
  readonly bytes: Uint8Array
  /** Signatures that are not checked, by the tag `b` of their placeholders. */
  readonly refused: ReadonlyMap<string, Refused>
  /** Why the chain of seals is not checked; undefined if it is. */
  readonly brokenChain: string | undefined
}

/** Random, so that no signature can cover a placeholder. */
const nonce = randomBytes(16).toString("hex")

/** A signature that mailauth refuses without a look at body and DNS, since it does not cover From. */
const placeholder = (id: string): string =>
  `DKIM-Signature: v=1; a=rsa-sha256; d=invalid; s=invalid; h=x; bh=AAAA; b=${id}\r\n`

const namesOf = (fields: ReadonlyArray<Field>): ReadonlyMap<string, ReadonlyArray<Field>> => {
  const found = new Map<string, Array<Field>>()
  for (const field of fields) {
    const others = found.get(field.name)
    if (others === undefined) found.set(field.name, [field])
    else others.push(field)
  }
  return found
}

/** Why the fields of ARC are not read, if they are not. */
const chainTrouble = (fields: ReadonlyArray<Field>): string | undefined => {
  const arc = fields.filter(({ name }) => isArc(name))
  const found = arc.map(trouble).find((reason) => reason !== undefined)
  if (found !== undefined) return found
  const bytes = arc.reduce((sum, { line }) => sum + line.length, 0)
  return bytes * arc.filter(({ name }) => name === "arc-seal").length / 2 > limits.sealedBytes
    ? "chain too large"
    : undefined
}

/** The signature of the newest set of ARC, which is the only one that is checked. */
const newestSignature = (fields: ReadonlyArray<Field>): ReadonlyArray<Tag> | undefined => {
  let newest = 0
  let found: ReadonlyArray<Tag> | undefined
  for (const { line, name } of fields) {
    if (name !== "arc-message-signature") continue
    const tags = tagsOf(line)
    const instance = Number(valueOf(tags, "i"))
    if (instance <= newest) continue
    newest = instance
    found = tags
  }
  return found
}

/** Counts what signatures cost, and refuses those that cost too much. */
class Costs {
  /** How often each name is covered at most. */
  readonly needed = new Map<string, number>()
  private readonly fields: ReadonlyMap<string, ReadonlyArray<Field>>
  private readonly leftOut: ReadonlySet<string>
  private readonly bodies = new Set<string>()
  private names = 0
  private bytes = 0

  /** `leftOut`: names of which not all fields are read. */
  constructor(fields: ReadonlyMap<string, ReadonlyArray<Field>>, leftOut: ReadonlySet<string>) {
    this.fields = fields
    this.leftOut = leftOut
  }

  /** Why a signature is not checked, if it is not. */
  admit(tags: ReadonlyArray<Tag>): string | undefined {
    if (tags.some(({ name, value }) => (name === "d" || name === "s" || name === "i") && value.length > limits.value)) {
      return "value too long"
    }
    const names = coveredNames(tags)
    if (this.names + names.length > limits.covered) return "too many fields covered"
    if (names.some((name) => this.leftOut.has(name))) return "covers a field that is too large"
    const counts = new Map<string, number>()
    for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1)
    let bytes = this.bytes
    for (const [name, times] of counts) {
      for (const { line } of this.fields.get(name)?.slice(-times) ?? []) bytes += line.length
    }
    if (bytes > limits.coveredBytes) return "too many bytes covered"
    const body = bodyHashOf(tags)
    if (!this.bodies.has(body) && this.bodies.size === limits.bodies) return "too many kinds of body hash"
    this.bodies.add(body)
    this.names += names.length
    this.bytes = bytes
    for (const [name, times] of counts) this.needed.set(name, Math.max(times, this.needed.get(name) ?? 0))
    return undefined
  }
}

const leftOutOf = (fields: ReadonlyArray<Field>, brokenChain: string | undefined): Set<string> => {
  const found = new Set<string>()
  let signatures = 0
  for (const field of fields) {
    const { name } = field
    const isOut = isArc(name)
      ? brokenChain !== undefined
      : name === "dkim-signature"
      ? ++signatures > limits.signatures
      : trouble(field) !== undefined
    if (isOut) found.add(name)
  }
  return found
}

/** The fields that a check needs: authors, signatures, the chain of seals, and what the signatures cover. */
const select = (fields: ReadonlyArray<Field>): Selected => {
  let brokenChain = chainTrouble(fields)
  const leftOut = leftOutOf(fields, brokenChain)
  const costs = new Costs(namesOf(fields), leftOut)
  const newest = brokenChain === undefined ? newestSignature(fields) : undefined
  if (newest !== undefined) {
    brokenChain = costs.admit(newest)
    if (brokenChain !== undefined) { for (const { name } of fields) if (isArc(name)) leftOut.add(name) }
  }
  const refused = new Map<string, Refused>()
  const signatures = new Map<Field, string>()
  for (const field of fields) {
    if (field.name !== "dkim-signature") continue
    if (signatures.size === limits.signatures) break
    const tooLarge = trouble(field)
    const tags = tooLarge === undefined ? tagsOf(field.line) : []
    const reason = tooLarge ?? costs.admit(tags)
    if (reason === undefined) signatures.set(field, field.line)
    else {
      const id = `${nonce}${refused.size}`
      refused.set(id, { reason, domain: valueOf(tags, "d"), selector: valueOf(tags, "s") })
      signatures.set(field, placeholder(id))
    }
  }
  const lines: Array<string> = []
  // Signatures count fields of one name from the bottom (RFC 6376 5.4.2).
  for (const field of fields.toReversed()) {
    const { line, name } = field
    const left = costs.needed.get(name) ?? 0
    const signature = signatures.get(field)
    if (signature !== undefined) lines.push(signature)
    else if (isArc(name)) {
      if (brokenChain === undefined) lines.push(line)
    } else if (name === "from" || (left > 0 && name !== "dkim-signature")) lines.push(line)
    if (left > 0) costs.needed.set(name, left - 1)
  }
  return { bytes: Buffer.from(`${lines.toReversed().join("")}\r\n`, "latin1"), refused, brokenChain }
}

/** The header of a message as it comes. */
export class HeaderBlock {
  /** Why the header as a whole cannot be read. */
  tooLarge: string | undefined
  private fields: Array<Field> = []
  private bytes = 0
  private lines = 0
  private authors = 0

  add(field: Field): void {
    if (this.tooLarge !== undefined) return
    const { line } = field
    this.bytes += line.length
    this.lines += count(line, "\n")
    if (this.bytes > limits.headerBytes || this.lines > limits.headerLines) return this.giveUp("header too large")
    // Readers differ in how they treat a line with an invalid name. To mailauth it belongs to the field above, whose
    // signatures do not hold then.
    const above = fieldName.test(line.slice(0, line.indexOf(":"))) ? undefined : this.fields.pop()
    const read = above === undefined ? field : { name: above.name, line: above.line + line }
    if (read.name === "from") {
      this.authors += line.length
      if (this.authors > limits.from || !isSparse(read.line) || !hasShortDomains(read.line)) {
        return this.giveUp("From too large")
      }
    }
    this.fields.push(read)
  }

  /** What mailauth needs for a check. */
  get selected(): Selected {
    return select(this.fields)
  }

  /** The whole header, for a seal; or the reason why it cannot be sealed. */
  get whole(): Uint8Array | string {
    const found = this.tooLarge ?? this.fields.map(trouble).find((reason) => reason !== undefined) ??
      chainTrouble(this.fields)
    return found ?? Buffer.from(`${this.fields.map(({ line }) => line).join("")}\r\n`, "latin1")
  }

  private giveUp(reason: string): void {
    this.tooLarge = reason
    this.fields = []
  }
}

/** The header of a part: its fields with their places, and the parameters of structured ones. */

/** A field in the bytes of a header, one character a byte. `start` and `end` hold its line end too. */
export interface PartField {
  readonly name: string
  /** Without folds and without white space around. */
  readonly value: string
  readonly start: number
  readonly end: number
}

/** The fields up to the empty line; what is not a field is skipped, as mail readers do. */
export const fieldsOf = (header: string): ReadonlyArray<PartField> => {
  const fields: Array<PartField> = []
  let at = 0
  while (at < header.length) {
    const start = at
    let end = lineEnd(header, start)
    if (header.slice(start, end).trim() === "") break
    while (header[end] === " " || header[end] === "\t") end = lineEnd(header, end)
    at = end
    const line = header.slice(start, end)
    const colon = line.indexOf(":")
    if (colon < 1) continue
    fields.push({
      name: line.slice(0, colon).trimEnd().toLowerCase(),
      value: line.slice(colon + 1).replace(/\r?\n(?=[ \t])/g, "").trim(),
      start,
      end
    })
  }
  return fields
}

const lineEnd = (text: string, from: number): number => {
  const found = text.indexOf("\n", from)
  return found === -1 ? text.length : found + 1
}

/** A parameter as it stands in a field. */
export interface Parameter {
  /** In lower case, without the star and number of RFC 2231. */
  readonly name: string
  /** The bytes, without quotes; still encoded if `encoded`. */
  readonly value: string
  /** The number of a continuation, or undefined. */
  readonly section: number | undefined
  readonly encoded: boolean
  /** From the semicolon before it to its end. */
  readonly start: number
  readonly end: number
}

export interface Structured {
  /** In lower case: `text/plain`, `attachment`; `""` if missing. */
  readonly value: string
  readonly parameters: ReadonlyArray<Parameter>
}

// Mail programs do not write more.
const mostParameters = 200

/** Reads `value; name=value; name="value"`, with comments anywhere. One pass. */
export const structured = (text: string): Structured => {
  const scan = new Scan(text)
  const value = scan.until(";", true).trim().toLowerCase()
  const parameters: Array<Parameter> = []
  while (scan.at < text.length && parameters.length < mostParameters) {
    const start = scan.at++
    const name = scan.until("=;", true).trim().toLowerCase()
    if (text[scan.at] !== "=") continue
    scan.at++
    const given = scan.until(";", false).trim()
    const [, base, section, star] = /^([^*]*)(?:\*(\d{1,4}))?(\*)?$/.exec(name) ?? []
    if (base === undefined || base === "") continue
    parameters.push({
      name: base,
      value: given,
      section: section === undefined ? undefined : Number(section),
      encoded: star !== undefined,
      start,
      end: scan.at
    })
  }
  return { value, parameters }
}

/** A place in the value of a field. */
class Scan {
  readonly text: string
  at = 0
  private hasOpenComment = false

  constructor(text: string) {
    this.text = text
  }

  /**
   * Reads up to one of these characters, without comments and quotes. In the value of a parameter a comment begins only after
   * white space: `name=invoice(1).pdf` has no comment.
   */
  until(ends: string, anywhere: boolean): string {
    const { text } = this
    const found: Array<string> = []
    let from = this.at
    const take = (): void => {
      if (from < this.at) found.push(text.slice(from, this.at))
    }
    while (this.at < text.length && !ends.includes(text[this.at]!)) {
      const character = text[this.at]!
      const before = text[this.at - 1]
      const mayBeComment = character === "(" && !this.hasOpenComment &&
        (anywhere || before === " " || before === "\t" || before === "\"")
      if (character !== "\"" && !mayBeComment) {
        this.at++
        continue
      }
      take()
      from = this.at
      if (character === "\"") found.push(this.quoted())
      else if (!this.comment()) continue
      from = this.at
    }
    take()
    return found.join("")
  }

  private quoted(): string {
    const { text } = this
    const found: Array<string> = []
    let from = ++this.at
    while (this.at < text.length && text[this.at] !== "\"") {
      if (text[this.at] === "\\" && this.at + 1 < text.length) {
        found.push(text.slice(from, this.at))
        from = ++this.at
      }
      this.at++
    }
    found.push(text.slice(from, this.at))
    this.at++
    return found.join("")
  }

  /** Skips a comment; false if it has no end, and so is not a comment. */
  private comment(): boolean {
    const { text } = this
    const start = this.at
    let depth = 0
    do {
      const character = text[this.at]
      if (character === "\\") this.at++
      else if (character === "(") depth++
      else if (character === ")") depth--
      this.at++
    } while (depth > 0 && this.at < text.length)
    if (depth === 0) return true
    this.at = start
    this.hasOpenComment = true
    return false
  }
}

/** The first parameter of a name that is neither continued nor encoded. */
export const plainParameter = ({ parameters }: Structured, name: string): string | undefined =>
  parameters.find((one) => one.name === name && one.section === undefined && !one.encoded)?.value

/** Sets a parameter in the value of a field; it replaces an old one. */
export const withParameter = (text: string, name: string, value: string): string => {
  const added = `; ${name}=${value}`
  const all = structured(text).parameters.filter((one) => one.name === name)
  const [first, ...others] = all
  if (first === undefined) {
    let end = text.length
    while (end > 0 && "; \t\r\n".includes(text[end - 1]!)) end--
    return text.slice(0, end) + added
  }
  let result = text
  for (const { end, start } of others.toReversed()) result = result.slice(0, start) + result.slice(end)
  return result.slice(0, first.start) + added + result.slice(first.end)
}

/** Most bytes in a field that is written on one line. */
const mostLine = 200

/** A long value with each parameter on a line of its own. */
export const folded = (value: string): string => {
  if (value.length <= mostLine) return value
  let result = value
  for (const { start } of structured(value).parameters.toReversed()) {
    result = `${result.slice(0, start + 1)}\n ${result.slice(start + 1).trimStart()}`
  }
  return result
}

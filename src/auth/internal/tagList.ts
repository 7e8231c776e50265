/** Reads tag lists of DKIM and ARC (RFC 6376 3.2) in linear time, in the same way as mailauth. */

export interface Tag {
  /** In lower case. */
  readonly name: string
  /** Without white space around it. */
  readonly value: string
}

/** The tags of a field of one character a byte, in their order. Parts without `=` are left out. */
export const tagsOf = (line: string): ReadonlyArray<Tag> =>
  Buffer.from(line.slice(line.indexOf(":") + 1), "latin1").toString().split(";").flatMap((part) => {
    const equals = part.indexOf("=")
    return equals === -1
      ? []
      : [{ name: part.slice(0, equals).trim().toLowerCase(), value: part.slice(equals + 1).trim() }]
  })

/** The value of a tag; of several the last, as in mailauth. */
export const valueOf = (tags: ReadonlyArray<Tag>, name: string): string | undefined =>
  tags.findLast((tag) => tag.name === name)?.value

/** The names of the fields that a signature covers, in lower case, with repetitions. */
export const coveredNames = (tags: ReadonlyArray<Tag>): ReadonlyArray<string> =>
  tags.filter(({ name }) => name === "h").flatMap(({ value }) => value.replace(/\s+/g, "").toLowerCase().split(":"))

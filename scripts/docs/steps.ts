/**
 * The steps of a page that readers follow: what they type, the files they write and what they see. A code block's info
 * string says which it is; GitHub shows its first word only.
 *
 * - `sh`: typed into a terminal. `sh background`: into another one, where it goes on. `sh exit=1`: ends with that code.
 *   `sh skip`: only for some readers.
 * - `text` after one of these: lines that it prints, in this order, among others. `…` stands for anything.
 * - `text background`: what the program in the other terminal has printed by then.
 * - `ts file=NAME`, and other languages alike: a file.
 */

/** Something that a reader does. */
export type Step =
  | { readonly _tag: "Write"; readonly line: number; readonly file: string; readonly text: string }
  | { readonly _tag: "Look"; readonly line: number; readonly shows: ReadonlyArray<string> }
  | {
    readonly _tag: "Run"
    readonly line: number
    readonly command: string
    readonly background: boolean
    readonly exit: number
    /** What is printed, by lines. */
    readonly shows: ReadonlyArray<string>
  }

interface Block {
  readonly line: number
  readonly language: string
  readonly flags: ReadonlyArray<string>
  readonly text: string
}

/** The fenced code blocks of a page. */
export const blocksOf = (page: string): ReadonlyArray<Block> => {
  const found: Array<Block> = []
  let open: { readonly line: number; readonly info: string; readonly lines: Array<string> } | undefined
  for (const [index, line] of page.split("\n").entries()) {
    const fence = /^```(.*)$/.exec(line)
    if (fence === null) {
      open?.lines.push(line)
    } else if (open === undefined) {
      open = { line: index + 1, info: fence[1]!, lines: [] }
    } else {
      const [language = "", ...flags] = open.info.trim().split(/\s+/)
      found.push({ line: open.line, language, flags, text: open.lines.map((text) => `${text}\n`).join("") })
      open = undefined
    }
  }
  return found
}

const valueOf = (block: Block, name: string): string | undefined =>
  block.flags.find((flag) => flag.startsWith(`${name}=`))?.slice(name.length + 1)

const linesOf = (text: string): ReadonlyArray<string> => text.split("\n").filter((line) => line.trim() !== "")

/** What a reader does on a page, in order. */
export const stepsOf = (page: string): ReadonlyArray<Step> =>
  blocksOf(page).flatMap((block, index, blocks): ReadonlyArray<Step> => {
    const { flags, language, line, text } = block
    const file = valueOf(block, "file")
    if (file !== undefined) return [{ _tag: "Write", line, file, text }]
    if (language === "text" && flags.includes("background")) return [{ _tag: "Look", line, shows: linesOf(text) }]
    if (language !== "sh" || flags.includes("skip")) return []
    const next = blocks[index + 1]
    const shows = next?.language === "text" && next.flags.length === 0 ? linesOf(next.text) : []
    const exit = Number(valueOf(block, "exit") ?? 0)
    return [{ _tag: "Run", line, command: text, background: flags.includes("background"), exit, shows }]
  })

/** The first of the lines that was not printed, in their order. */
export const missingFrom = (printed: string, shows: ReadonlyArray<string>): string | undefined => {
  const lines = printed.split("\n")
  let from = 0
  for (const shown of shows) {
    const pattern = new RegExp(
      shown.trim().split("…").map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")).join(".*")
    )
    const at = lines.findIndex((line, index) => index >= from && pattern.test(line))
    if (at === -1) return shown
    from = at + 1
  }
  return undefined
}

/**
 * Follows the relative links of Markdown pages, to the file and, within Markdown, to the heading. A link to a test is called
 * as the test is, or as its name begins.
 */
import * as path from "node:path"
import { exists, type Problem, read } from "../repository.ts"

/** The lines of a page, without its code. */
const prose = (page: string): ReadonlyArray<string> => {
  let inCode = false
  return read(page).split("\n").map((line) => {
    if (/^\s*`{3,}/.test(line)) {
      inCode = !inCode
      return ""
    }
    return inCode ? "" : line.replaceAll(/`[^`]*`/g, (code) => code.replaceAll(/[[\]()]/g, ""))
  })
}

/** The anchors that GitHub gives to the headings of a page. */
const anchors = (page: string): ReadonlySet<string> => {
  const found = new Set<string>()
  for (const line of prose(page)) {
    const title = /^#{1,6}\s+(.*?)\s*#*$/.exec(line)?.[1]
    if (title === undefined) continue
    const text = title.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase()
    const slug = text.replaceAll(/[^\p{L}\p{N}\s_-]/gu, "").replaceAll(/\s/g, "-")
    let anchor = slug
    for (let n = 1; found.has(anchor); n++) anchor = `${slug}-${n}`
    found.add(anchor)
  }
  return found
}

const problemWith = (page: string, text: string, target: string): string | undefined => {
  if (/^[a-z][a-z0-9+.-]*:/i.test(target)) return undefined
  const [file = "", anchor] = target.split("#", 2)
  if (file.startsWith("/")) return `${target} is an absolute path`
  const destination = file === "" ? page : path.posix.join(path.posix.dirname(page), decodeURI(file))
  if (!exists(destination)) return `${target} leads nowhere`
  if (/^test\/.*\.ts$/.test(destination) && text.includes(" ") && !read(destination).includes(text)) {
    return `${destination} has no test "${text}"`
  }
  if (anchor === undefined || !destination.endsWith(".md")) return undefined
  return anchors(destination).has(anchor) ? undefined : `${target}: no such heading in ${destination}`
}

/** The links and images of the pages that lead nowhere. */
export const checkLinks = (pages: ReadonlyArray<string>): ReadonlyArray<Problem> =>
  pages.flatMap((page) =>
    prose(page).flatMap((line, index) =>
      [...line.matchAll(/\[([^\]]*)\]\(\s*<?([^\s)>]+)>?[^)]*\)|^\s*\[[^\]]+\]:\s*(\S+)/g)].flatMap(
        ([, text, inline, reference]) => {
          const message = problemWith(page, text ?? "", inline ?? reference ?? "")
          return message === undefined ? [] : [{ file: page, line: index + 1, message }]
        }
      )
    )
  )

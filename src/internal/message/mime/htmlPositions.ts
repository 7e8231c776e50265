/** Finds the bytes of an HTML part where a banner goes, and those of marked banners. Never builds a tree. */
import * as Effect from "effect/Effect"
import type { SAXParser } from "parse5-sax-parser"
import { type Mark, parseMark, textMark } from "./marks.ts"

export interface HtmlPositions {
  /** After `<body>`, or where the content begins. */
  readonly first: number
  /** Before the last `</body>` or `</html>`, or the end; undefined if the end is in a comment, a script or the like. */
  readonly last: number | undefined
  readonly marks: ReadonlyArray<Mark>
  /** Identifiers that stand in the text, where a mail program has made HTML of a quoted text. */
  readonly named: ReadonlySet<string>
}

/** Most bytes without a tag, a comment or a text being finished, and most nested `svg` and `math`. */
const mostToken = 1_048_576
const mostForeign = 100
/** Bytes for the parser at a time, between which others run. */
const pieceSize = 16_384

/** Elements whose content is text up to their end tag. */
const rawText = new Set([
  "script",
  "style",
  "textarea",
  "title",
  "iframe",
  "xmp",
  "noembed",
  "noframes",
  "noscript",
  "plaintext"
])

const hidden = new Set(["template", "select"])

// They have no end tag.
const voids = new Set([
  "area",
  "base",
  "br",
  "col",
  "embed",
  "hr",
  "img",
  "input",
  "link",
  "meta",
  "param",
  "source",
  "track",
  "wbr"
])

/** Takes the decoded bytes in pieces, one character a byte. */
export class HtmlScan {
  private readonly parser: SAXParser
  private written = 0
  private tokenEnd = 0
  private foreign = 0
  private hasFailed = false
  private afterDoctype = 0
  private afterHtml: number | undefined
  private afterHead: number | undefined
  private afterBody: number | undefined
  private beforeBodyEnd: number | undefined
  private beforeHtmlEnd: number | undefined
  private inRawText: string | undefined
  private hiddenDepth = 0
  private endsInComment = false
  private lastBytes = ""
  private depth = 0
  private readonly marks: Array<Mark & { readonly depth: number }> = []
  private readonly named = new Set<string>()
  private tail = ""

  constructor(Parser: typeof SAXParser) {
    this.parser = new Parser({ sourceCodeLocationInfo: true })
    this.parser.on("error", () => {
      this.hasFailed = true
    })
    this.parser.on("doctype", ({ sourceCodeLocation }) => {
      this.afterDoctype = this.token(sourceCodeLocation)
    })
    this.parser.on("startTag", ({ selfClosing, sourceCodeLocation, tagName }) => {
      this.startTag(tagName, selfClosing, this.token(sourceCodeLocation))
    })
    this.parser.on("endTag", ({ sourceCodeLocation, tagName }) => {
      this.token(sourceCodeLocation)
      this.endTag(tagName, sourceCodeLocation?.startOffset ?? 0)
    })
    this.parser.on("comment", ({ sourceCodeLocation, text }) => {
      this.token(sourceCodeLocation)
      this.endsInComment = true
      const mark = parseMark(text.trim())
      if (mark === undefined || sourceCodeLocation === null || sourceCodeLocation === undefined) return
      const { endOffset, startOffset } = sourceCodeLocation
      this.marks.push({ ...mark, start: startOffset, end: endOffset, depth: this.depth })
    })
    this.parser.on("text", ({ sourceCodeLocation, text }) => {
      this.token(sourceCodeLocation)
      const seen = this.tail + text
      for (const [, id] of seen.matchAll(textMark)) this.named.add(id!)
      this.tail = seen.slice(-mostMark)
    })
  }

  private token(location: { readonly endOffset: number } | null | undefined): number {
    this.endsInComment = false
    this.tokenEnd = location?.endOffset ?? this.tokenEnd
    return this.tokenEnd
  }

  private startTag(name: string, selfClosing: boolean, end: number): void {
    if ((name === "svg" || name === "math") && ++this.foreign > mostForeign) this.stop()
    if (rawText.has(name)) this.inRawText = name
    if (hidden.has(name)) this.hiddenDepth++
    if (name === "body") this.afterBody ??= end
    else if (name === "html") this.afterHtml ??= end
    if (!selfClosing && !voids.has(name)) this.depth++
  }

  private endTag(name: string, start: number): void {
    if (this.inRawText === name) this.inRawText = undefined
    if (hidden.has(name) && this.hiddenDepth > 0) this.hiddenDepth--
    if (name === "body") this.beforeBodyEnd = start
    else if (name === "html") this.beforeHtmlEnd = start
    else if (name === "head" && this.afterBody === undefined) this.afterHead ??= this.tokenEnd
    this.depth--
  }

  private stop(): void {
    this.hasFailed = true
    this.parser.stop()
  }

  write(text: string): Effect.Effect<void> {
    return Effect.suspend(() => {
      let at = 0
      return Effect.whileLoop({
        while: () => at < text.length && !this.hasFailed,
        body: () => {
          const piece = text.slice(at, at + pieceSize)
          at += piece.length
          return Effect.andThen(this.piece(piece), Effect.yieldNow)
        },
        step: () => {
          if (this.written - this.tokenEnd > mostToken) this.stop()
        }
      })
    })
  }

  private piece(text: string): Effect.Effect<void> {
    return Effect.callback((resume) => {
      this.written += text.length
      this.lastBytes = (this.lastBytes + text.slice(-3)).slice(-3)
      this.parser.write(text, () => resume(Effect.void))
    })
  }

  /** The positions; undefined if the HTML is of a kind that costs too much to read. */
  end(length: number): Effect.Effect<HtmlPositions | undefined> {
    return Effect.suspend(() => {
      if (this.hasFailed) {
        this.parser.destroy()
        return Effect.undefined
      }
      return Effect.map(
        Effect.callback<void>((resume) => {
          this.parser.end(() => resume(Effect.void))
        }),
        () => this.hasFailed ? undefined : this.positions(length)
      )
    })
  }

  private positions(length: number): HtmlPositions {
    // The parser ends a comment or a tag with the text, whether it was closed or not.
    const isOpen = this.inRawText !== undefined || this.hiddenDepth > 0 || this.tokenEnd < length ||
      (this.endsInComment && this.lastBytes !== "-->")
    return {
      first: this.afterBody ?? this.afterHead ?? this.afterHtml ?? this.afterDoctype,
      last: this.beforeBodyEnd ?? this.beforeHtmlEnd ?? (isOpen ? undefined : length),
      marks: this.marks,
      named: this.named
    }
  }
}

/** Most characters of a mark in a text. */
const mostMark = 100

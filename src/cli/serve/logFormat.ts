/**
 * The log of `serve`, on standard error: for people, for programs, and for the journal. The lines of a turn of the event loop
 * are written together.
 */
import * as Cause from "effect/Cause"
import * as Logger from "effect/Logger"
import type { LogLevel } from "effect/LogLevel"
import * as References from "effect/References"
import * as Fs from "node:fs"
import { escapeInvisible, showInvisible } from "../../internal/bytes/invisible.ts"
import { CurrentQueueId } from "../../internal/observe/queueId.ts"

export type Format = "pretty" | "logfmt" | "json"

type Fields = ReadonlyArray<readonly [name: string, value: unknown]>

/** A line, before it is written down. */
interface Entry {
  readonly time: string
  readonly level: string
  readonly message: string
  readonly fields: Fields
  readonly cause: string | undefined
}

const textOf = (value: unknown): string =>
  typeof value === "string"
    ? value
    : typeof value === "number"
    ? String(value)
    : value instanceof Error
    ? value.message
    : JSON.stringify(value) ?? String(value)

/** Text that may come from a stranger, on one line and without what a terminal would obey. */
const bare = /^[^\s"=\\\p{Cc}\p{Cf}]+$/u

// Most text: a test that looks at no Unicode properties costs a tenth.
const bareAscii = /^[!#-<>-[\]-~]+$/

const quoted = (text: string): string =>
  bareAscii.test(text) || bare.test(text) ? text : showInvisible(JSON.stringify(text))

/** One line: what a stranger has written must not look like a line of its own. */
const oneLine = (text: string): string => showInvisible(text.replaceAll("\n", "\\n"))

const pair = (name: string, value: unknown): string =>
  `${name}=${quoted(Array.isArray(value) ? value.join(",") : textOf(value))}`

const pairs = (fields: Fields): string => {
  let text = ""
  for (const [name, value] of fields) text += text === "" ? pair(name, value) : ` ${pair(name, value)}`
  return text
}

const formats: { readonly [K in Format]: (entry: Entry) => string } = {
  pretty: ({ cause, fields, level, message, time }) =>
    [
      [time, level.padEnd(5), oneLine(message), ...fields.length === 0 ? [] : [pairs(fields)]].join(" "),
      ...cause === undefined ? [] : [showInvisible(cause)]
    ].join("\n"),
  logfmt: ({ cause, fields, level, message, time }) =>
    [
      `time=${time} level=${level} ${pair("message", message)}`,
      ...fields.length === 0 ? [] : [pairs(fields)],
      ...cause === undefined ? [] : [pair("cause", cause)]
    ].join(" "),
  json: ({ cause, fields, level, message, time }) =>
    escapeInvisible(
      JSON.stringify({ ...Object.fromEntries(fields), time, level, message, ...cause === undefined ? {} : { cause } })
    )
}

/** Priorities of syslog, which the journal takes from the beginning of a line. */
const priorityOf = (level: LogLevel): number => {
  switch (level) {
    case "Fatal":
      return 2
    case "Error":
      return 3
    case "Warn":
      return 4
    case "Info":
      return 6
    default:
      return 7
  }
}

/** Whether standard error is the journal: a child of a service may have it elsewhere. */
export const isJournal = (environment: NodeJS.ProcessEnv = process.env): boolean => {
  const [device, inode] = environment["JOURNAL_STREAM"]?.split(":") ?? []
  if (device === undefined) return false
  try {
    const { dev, ino } = Fs.fstatSync(2)
    return String(dev) === device && String(ino) === inode
  } catch {
    return false
  }
}

let writtenDate = 0
let writtenTime = new Date(writtenDate).toISOString()

/** The time of a line: many lines have the same. */
const timeOf = (date: Date): string => {
  const milliseconds = date.getTime()
  if (milliseconds !== writtenDate) {
    writtenDate = milliseconds
    writtenTime = date.toISOString()
  }
  return writtenTime
}

/** Makes the text of a line, which ends with a line break. */
export const format = (
  kind: Format,
  { cause, date, fiber, logLevel, message }: Logger.Options<unknown>,
  toJournal: boolean
): string => {
  const parts: ReadonlyArray<unknown> = Array.isArray(message) ? message : [message]
  const annotations = Object.entries(fiber.getRef(References.CurrentLogAnnotations))
  const queueId = fiber.getRef(CurrentQueueId)()
  const entry: Entry = {
    time: timeOf(date),
    level: logLevel.toUpperCase(),
    message: parts.map(textOf).join(" "),
    fields: queueId === undefined || annotations.some(([name]) => name === "queueId")
      ? annotations
      : [...annotations, ["queueId", queueId]],
    cause: cause.reasons.length === 0 ? undefined : Cause.pretty(cause)
  }
  const text = formats[kind](entry)
  return toJournal
    ? text.split("\n").map((line) => `<${priorityOf(logLevel)}>${line}\n`).join("")
    : `${text}\n`
}

let gathered = ""

/** Writes what has been logged in this turn. */
export const flush = (): void => {
  const text = gathered
  gathered = ""
  if (text !== "") process.stderr.write(text)
}

let flushes = false

/** Writes lines, those of a turn at once, and the last ones before the process ends. */
const write = (line: string): void => {
  if (!flushes) {
    flushes = true
    process.on("exit", flush)
  }
  if (gathered === "") setImmediate(flush)
  gathered += line
}

/** A logger of this format; by default pretty on a terminal. */
export const layer = (kind: Format | undefined) => {
  const chosen = kind ?? (process.stderr.isTTY ? "pretty" : "logfmt")
  const toJournal = isJournal()
  return Logger.layer([Logger.make((line) => write(format(chosen, line, toJournal)))])
}

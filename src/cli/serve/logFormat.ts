/**
 * The log of `serve`, on standard error: for people, for programs, and for the journal. The lines of a turn of the event loop
 * are written together.
 */
import * as Cause from "effect/Cause"
import * as Logger from "effect/Logger"
import type { LogLevel } from "effect/LogLevel"
import * as Predicate from "effect/Predicate"
import * as References from "effect/References"
import * as Fs from "node:fs"
import { escapeInvisible, showInvisible } from "../../internal/bytes/invisible.ts"
import { CurrentQueueId } from "../../internal/observe/queueId.ts"

export type Format = "pretty" | "logfmt" | "json"

type Fields = { readonly [name: string]: unknown }

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

const valueOf = (value: unknown): string =>
  typeof value === "number" ? String(value) : quoted(Array.isArray(value) ? value.join(",") : textOf(value))

/** The fields as ` name=value name=value`. */
const pairs = (fields: Fields): string => {
  let text = ""
  // Faster than a list of the names. Annotations are plain objects.
  for (const name in fields) text += ` ${name}=${valueOf(fields[name])}`
  return text
}

let lastQuoted = ""
let lastMessage = lastQuoted

/** The message of a line as a value: most lines have the same. */
const quotedMessage = (message: string): string => {
  if (message !== lastMessage) {
    lastMessage = message
    lastQuoted = valueOf(message)
  }
  return lastQuoted
}

const formats: { readonly [K in Format]: (entry: Entry) => string } = {
  pretty: ({ cause, fields, level, message, time }) => {
    const line = `${time} ${level.padEnd(5)} ${oneLine(message)}${pairs(fields)}`
    return cause === undefined ? line : `${line}\n${showInvisible(cause)}`
  },
  logfmt: ({ cause, fields, level, message, time }) => {
    const line = `time=${time} level=${level} message=${quotedMessage(message)}${pairs(fields)}`
    return cause === undefined ? line : `${line} cause=${valueOf(cause)}`
  },
  json: ({ cause, fields, level, message, time }) =>
    escapeInvisible(JSON.stringify({ ...fields, time, level, message, ...cause === undefined ? {} : { cause } }))
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

let writtenSecond = -1
let writtenTime = ""

/** The time of a line as `Date.toISOString` writes it; only what is after the second is new in most lines. */
const timeOf = (date: Date): string => {
  const time = date.getTime()
  const second = Math.floor(time / 1000)
  if (second !== writtenSecond) {
    writtenSecond = second
    writtenTime = date.toISOString().slice(0, -"000Z".length)
  }
  const milliseconds = time - second * 1000
  return `${writtenTime}${milliseconds < 10 ? "00" : milliseconds < 100 ? "0" : ""}${milliseconds}Z`
}

const messageOf = (message: unknown): string =>
  Array.isArray(message)
    ? message.length === 1 ? textOf(message[0]) : message.map(textOf).join(" ")
    : textOf(message)

/** Makes the text of a line, which ends with a line break. */
export const format = (
  kind: Format,
  { cause, date, fiber, logLevel, message }: Logger.Options<unknown>,
  toJournal: boolean
): string => {
  const annotations = fiber.getRef(References.CurrentLogAnnotations)
  const queueId = Object.hasOwn(annotations, "queueId") ? undefined : fiber.getRef(CurrentQueueId)()
  const entry: Entry = {
    time: timeOf(date),
    level: logLevel.toUpperCase(),
    message: messageOf(message),
    fields: queueId === undefined ? annotations : { ...annotations, queueId },
    cause: cause.reasons.length === 0 ? undefined : Cause.pretty(cause)
  }
  const text = formats[kind](entry)
  if (!toJournal) return `${text}\n`
  return text.includes("\n")
    ? text.split("\n").map((line) => `<${priorityOf(logLevel)}>${line}\n`).join("")
    : `<${priorityOf(logLevel)}>${text}\n`
}

let gathered = ""

/** What a pipe that is full has not taken yet. */
let rest: Uint8Array = new Uint8Array()

/** Writes what standard error takes, and returns the bytes that it took. A stream would cost twice the time of the system call. */
const written = (what: string | Uint8Array, isLast: boolean): number => {
  try {
    return typeof what === "string" ? Fs.writeSync(2, what) : Fs.writeSync(2, what)
  } catch (error) {
    // A full pipe.
    if (Predicate.hasProperty(error, "code") && error.code === "EAGAIN") return 0
    // The stream says what is wrong, and at exit nobody would hear it.
    if (!isLast) process.stderr.write(what)
    return Infinity
  }
}

/** Writes what is there, as much as standard error takes; returns whether that was all. */
const writeGathered = (isLast: boolean): boolean => {
  if (rest.length > 0) rest = rest.subarray(written(rest, isLast))
  if (rest.length > 0) return false
  const text = gathered
  gathered = ""
  if (text === "") return true
  const count = written(text, isLast)
  if (count >= Buffer.byteLength(text)) return true
  rest = Buffer.from(text).subarray(count)
  return false
}

/** How long a reader is waited for that takes none of the last lines, in milliseconds. */
const patience = 5000

/** Writes the last lines, and waits for a reader: after this nothing runs any more. */
const flushAtExit = (): void => {
  const waiting = new Int32Array(new SharedArrayBuffer(4))
  let latest = performance.now()
  while (true) {
    const before = rest
    if (writeGathered(true)) return
    if (rest.length !== before.length) latest = performance.now()
    if (performance.now() - latest > patience) return
    Atomics.wait(waiting, 0, 0, 5)
  }
}

let isWaiting = false

/** Writes what has been logged in this turn. */
const flush = (): void => {
  isWaiting = !writeGathered(false)
  if (isWaiting) setTimeout(flush, 10)
}

let flushes = false

/** Writes lines, those of a turn at once, and the last ones before the process ends. */
const write = (line: string): void => {
  if (!flushes) {
    flushes = true
    process.on("exit", flushAtExit)
  }
  if (gathered === "" && !isWaiting) setImmediate(flush)
  gathered += line
}

/** A logger of this format; by default pretty on a terminal. */
export const layer = (kind: Format | undefined) => {
  // Asking for the stream has an effect: a write to a pipe returns at once from then on, so that a stuck reader stops no mail.
  const { isTTY } = process.stderr
  const chosen = kind ?? (isTTY ? "pretty" : "logfmt")
  const toJournal = isJournal()
  return Logger.layer([Logger.make((line) => write(format(chosen, line, toJournal)))])
}

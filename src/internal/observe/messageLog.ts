/** The log line of a message, and of a session that was refused. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as LogLevel from "effect/LogLevel"
import * as References from "effect/References"
import { type Ending, endings } from "./metrics.ts"

/** The annotations of a line; undefined values are left out. */
export type LogFields = { readonly [name: string]: string | number | ReadonlyArray<string> | undefined }

/** The most characters of a text from outside: longer than any address that RFC 5321 allows. */
export const maxLength = 320

// Line breaks, other control characters, and characters that reverse or hide text. A lone surrogate is not text.
const unprintable = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u
const allUnprintable = new RegExp(unprintable, "gu")

// Most text: a test that looks at no Unicode properties costs a tenth.
const plain = /^[ -~]*$/

/** Makes text from outside fit for a log: one line, of limited length, without characters that a terminal obeys. */
export const printable = (text: string): string => {
  const cut = text.length > maxLength ? `${text.slice(0, maxLength)}…` : text
  if (plain.test(cut) || !unprintable.test(cut)) return cut
  return cut.replace(allUnprintable, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`)
}

const inspect = Symbol.for("nodejs.util.inspect.custom")

const bare = /^[^\s"=\\]+$/

const render = (value: unknown): string => {
  const text = Array.isArray(value) ? value.join(",") : typeof value === "string" ? value : JSON.stringify(value)
  return bare.test(text) ? text : JSON.stringify(text)
}

/**
 * Annotations of a log line. Effect's default logger hands them to the console, which would print an object of this size
 * over many lines; here it asks the object itself.
 */
class Annotations {
  [name: string]: unknown

  [inspect](): string {
    return Object.entries(this).map(([name, value]) => `${name}=${render(value)}`).join(" ")
  }
}

const linesOf = (subject: "message" | "session"): ReadonlyMap<Ending, Effect.Effect<void>> =>
  new Map(endings.map((ending) => [ending, Effect.logInfo(`${subject} ${ending}`)]))

const lines = { message: linesOf("message"), session: linesOf("session") }

/** Whether lines of level Info are logged. */
export const isLogged = (context: Context.Context<never>): boolean =>
  Context.get(context, References.CurrentLoggers).size > 0 &&
  !LogLevel.isGreaterThan(Context.get(context, References.MinimumLogLevel), "Info")

/** Writes the line of a message or a session with the annotations of the context and these. */
export const write = (
  context: Context.Context<never>,
  subject: "message" | "session",
  ending: Ending,
  facts: LogFields
): void => {
  Effect.runForkWith(annotated(context, facts))(lines[subject].get(ending)!)
}

/** A context that adds these annotations to log lines. */
export const annotated = (context: Context.Context<never>, facts: LogFields): Context.Context<never> => {
  const annotations = Object.assign(new Annotations(), Context.get(context, References.CurrentLogAnnotations))
  for (const name of Object.keys(facts)) {
    const value = facts[name]
    if (value !== undefined) annotations[name] = value
  }
  return Context.add(context, References.CurrentLogAnnotations, annotations)
}

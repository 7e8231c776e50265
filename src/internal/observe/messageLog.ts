/** The log line of a message, and of a session that was refused. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as LogLevel from "effect/LogLevel"
import * as References from "effect/References"
import { type Ending, endings } from "./metrics.ts"

/** The annotations of a line; undefined values are left out. */
export interface LogFields {
  readonly filter?: string
  readonly session?: string
  readonly client?: string
  readonly hostname?: string | undefined
  readonly heloName?: string | undefined
  readonly queueId?: string | undefined
  readonly sender?: string
  readonly recipients?: ReadonlyArray<string>
  readonly recipientCount?: number
  readonly refused?: ReadonlyArray<string> | undefined
  readonly size?: number | undefined
  readonly outcome?: string | undefined
  readonly verdict?: string | undefined
  readonly by?: string | undefined
  readonly stage?: string | undefined
  readonly reply?: string | undefined
  readonly modifications?: ReadonlyArray<string> | undefined
  readonly error?: string | undefined
  readonly milliseconds?: number
}

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
export const annotated = (context: Context.Context<never>, facts: LogFields): Context.Context<never> =>
  Context.add(
    context,
    References.CurrentLogAnnotations,
    merged(Context.get(context, References.CurrentLogAnnotations), facts)
  )

// Each field by its name: a loop over names would make a dictionary of the object, and loggers read it many times slower.
const merged = (annotations: { readonly [name: string]: unknown }, facts: LogFields): Annotations => {
  const all = new Annotations()
  for (const name of Object.keys(annotations)) all[name] = annotations[name]
  if (facts.filter !== undefined) all["filter"] = facts.filter
  if (facts.session !== undefined) all["session"] = facts.session
  if (facts.client !== undefined) all["client"] = facts.client
  if (facts.hostname !== undefined) all["hostname"] = facts.hostname
  if (facts.heloName !== undefined) all["heloName"] = facts.heloName
  if (facts.queueId !== undefined) all["queueId"] = facts.queueId
  if (facts.sender !== undefined) all["sender"] = facts.sender
  if (facts.recipients !== undefined) all["recipients"] = facts.recipients
  if (facts.recipientCount !== undefined) all["recipientCount"] = facts.recipientCount
  if (facts.refused !== undefined) all["refused"] = facts.refused
  if (facts.size !== undefined) all["size"] = facts.size
  if (facts.outcome !== undefined) all["outcome"] = facts.outcome
  if (facts.verdict !== undefined) all["verdict"] = facts.verdict
  if (facts.by !== undefined) all["by"] = facts.by
  if (facts.stage !== undefined) all["stage"] = facts.stage
  if (facts.reply !== undefined) all["reply"] = facts.reply
  if (facts.modifications !== undefined) all["modifications"] = facts.modifications
  if (facts.error !== undefined) all["error"] = facts.error
  if (facts.milliseconds !== undefined) all["milliseconds"] = facts.milliseconds
  return all
}

/** What the runners of public test suites share: rows, deviations, and files that are read whole. */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Fs from "node:fs"
import { parseAllDocuments } from "yaml"

/** One test of a suite: what the suite expects (any one of these), and what came. */
export interface Row {
  readonly name: string
  readonly expected: ReadonlyArray<string>
  readonly actual: string
}

/** Where this library differs from a suite by design: the result it gives, and why. */
export interface Deviation {
  readonly actual: string
  readonly reason: string
}

export interface Suite {
  readonly title: string
  readonly rows: ReadonlyArray<Row>
  readonly deviations: Readonly<Record<string, Deviation>>
}

/** A suite that cannot be read. The message is one line. */
export class SuiteError extends Data.TaggedError("SuiteError")<{ readonly file: string; readonly problem: string }> {
  override get message(): string {
    return `${this.file}: ${this.problem.trim().replace(/\s*\n\s*/g, "; ")}`
  }
}

const problemOf = (cause: unknown): string => cause instanceof Error ? cause.message : String(cause)

/** Node's own words name the file, too. */
const systemProblem = (cause: unknown): string => problemOf(cause).replace(/,? ?(open|scandir|read) ?('.*')?$/, "")

export const readFile = (file: string): Effect.Effect<Uint8Array, SuiteError> =>
  Effect.try({
    try: () => Fs.readFileSync(file),
    catch: (cause) => new SuiteError({ file, problem: systemProblem(cause) })
  })

/** The names of the messages in a directory, sorted; at least one. */
export const messagesIn = (directory: string): Effect.Effect<ReadonlyArray<string>, SuiteError> =>
  Effect.try({
    try: () => Fs.readdirSync(directory).filter((name) => name.endsWith(".eml")).toSorted(),
    catch: (cause) => new SuiteError({ file: directory, problem: systemProblem(cause) })
  }).pipe(Effect.filterOrFail(
    (names) => names.length > 0,
    () => new SuiteError({ file: directory, problem: "the directory has no .eml files" })
  ))

/** The documents of a YAML file. Every scalar is a string: an address such as 1.2 or a result such as None stays what it is. */
export const readYaml = <S extends Schema.ConstraintDecoder<unknown>>(
  file: string,
  document: S
): Effect.Effect<ReadonlyArray<S["Type"]>, SuiteError> =>
  Effect.gen(function*() {
    const text = new TextDecoder().decode(yield* readFile(file))
    const documents = parseAllDocuments(text, { schema: "failsafe", uniqueKeys: false })
    const fail = (problem: string) => new SuiteError({ file, problem })
    if (!Array.isArray(documents) || documents.length === 0) return yield* fail("the file is empty")
    const problem = documents.flatMap(({ errors }) => errors)[0]
    if (problem !== undefined) return yield* fail(problem.message.split("\n", 1)[0]!)
    return yield* Schema.decodeUnknownEffect(Schema.Array(document))(documents.map((one): unknown => one.toJS())).pipe(
      Effect.mapError((error) => fail(error.message))
    )
  })

/** One value, or several of which any will do. */
export const OneOrMore = Schema.Union([Schema.String, Schema.Array(Schema.String)])

export const listOf = (value: string | ReadonlyArray<string>): ReadonlyArray<string> =>
  typeof value === "string" ? [value] : value

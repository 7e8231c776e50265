/** Runs the suites that a command line names, and says what came of them. */
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import { parseArgs } from "node:util"
import { arcSuite } from "./arc.ts"
import { dkimSuite, messageSuite } from "./messages.ts"
import { spfSuite } from "./spf.ts"
import { type Suite, SuiteError } from "./suite.ts"

const usage = "give --spf FILE, --arc FILE, --dkim DIRECTORY or --messages DIRECTORY, each as often as you like"

const runners = { spf: spfSuite, arc: arcSuite, dkim: dkimSuite, messages: messageSuite }

type Kind = keyof typeof runners

export interface Report {
  readonly lines: ReadonlyArray<string>
  readonly failed: number
}

const reportOf = ({ deviations, rows, title }: Suite): Report => {
  const failures: Array<string> = []
  const known: Array<string> = []
  for (const { actual, expected, name } of rows) {
    if (expected.includes(actual)) continue
    const deviation = deviations[name]
    const line = `  ${name}: expected ${expected.join(" or ")}, got ${actual}`
    if (deviation?.actual === actual) known.push(`${line}, by design: ${deviation.reason}`)
    else failures.push(line)
  }
  const passed = rows.length - failures.length - known.length
  const counts = `${passed} passed, ${failures.length} failed, ${known.length} by design`
  return { lines: [`${title}: ${counts}`, ...failures, ...known], failed: failures.length }
}

/** The suites with their files, in the order of {@link runners}. */
const argumentsOf = (args: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<readonly [Kind, string]>, SuiteError> =>
  Effect.try({
    try: () => {
      const option = { type: "string", multiple: true } as const
      const { values } = parseArgs({
        args: [...args],
        options: { spf: option, arc: option, dkim: option, messages: option }
      })
      return (["spf", "arc", "dkim", "messages"] as const)
        .flatMap((kind) => (values[kind] ?? []).map((file) => [kind, file] as const))
    },
    catch: () => new SuiteError({ file: "test:suites", problem: usage })
  }).pipe(Effect.filterOrFail(
    (named) => named.length > 0,
    () => new SuiteError({ file: "test:suites", problem: usage })
  ))

export const runSuites = Effect.fnUntraced(
  function*(args: ReadonlyArray<string>) {
    const reports: Array<Report> = []
    for (const [kind, file] of yield* argumentsOf(args)) reports.push(reportOf(yield* runners[kind](file)))
    return {
      lines: reports.flatMap(({ lines }) => lines),
      failed: reports.reduce((sum, { failed }) => sum + failed, 0)
    } satisfies Report
  },
  // One line for each message is nothing to read here.
  Effect.provideService(References.MinimumLogLevel, "Error")
)

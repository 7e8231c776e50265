/** The levels of the log, as `--log-level` takes them. */
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import type { LogLevel } from "effect/LogLevel"
import * as Option from "effect/Option"
import * as References from "effect/References"

const levels = {
  all: "All",
  trace: "Trace",
  debug: "Debug",
  info: "Info",
  warn: "Warn",
  error: "Error",
  fatal: "Fatal",
  none: "None"
} as const satisfies { readonly [name: string]: LogLevel }

export type Name = keyof typeof levels

/** From the one that shows all to the one that shows nothing. */
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the keys of that record
export const names = Object.keys(levels) as ReadonlyArray<Name>

/** The flag of commands that show a filter's log beside what they do. */
export const flag = Flag.Literals("log-level", names).pipe(
  Flag.withMetavar("LEVEL"),
  Flag.withDescription("The least level of the filter's log; if not given: warn"),
  Flag.optional
)

/** Runs an effect with the log from this level on. */
export const withLevel =
  (name: Option.Option<Name>, standard: Name) => <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.provideService(effect, References.MinimumLogLevel, levels[Option.getOrElse(name, () => standard)])

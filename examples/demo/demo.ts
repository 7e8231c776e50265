/**
 * Three messages through a small filter. `npm run demo`: with a scripted MTA, so that nothing but Node is needed.
 * `npm run demo -- --postfix`: through a private Postfix, which must be installed and is started by root.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as References from "effect/References"

const main = Effect.gen(function*() {
  const unknown = process.argv.slice(2).find((arg) => arg !== "--postfix")
  if (unknown !== undefined) {
    return yield* Effect.fail({ message: `demo: there is no ${JSON.stringify(unknown)}, only --postfix` })
  }
  const { demo } = process.argv.includes("--postfix")
    ? yield* Effect.promise(() => import("./withPostfix.ts"))
    : yield* Effect.promise(() => import("./scripted.ts"))
  yield* demo
}).pipe(
  Effect.provideService(References.MinimumLogLevel, "Warn"),
  Effect.catch((error) =>
    Effect.andThen(
      Console.error(error.message),
      Effect.sync(() => {
        process.exitCode = 1
      })
    )
  )
)

NodeRuntime.runMain(main)

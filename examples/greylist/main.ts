/** The command: serves the filter with its times, on a database. */
import * as MilterServer from "effect-milter/MilterServer"
import * as Flag from "effect/cli/Flag"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as command from "../support/command.ts"
import * as flags from "../support/flags.ts"
import * as postgres from "../support/postgres.ts"
import { greylist } from "./filter.ts"
import { migrations, Triplets } from "./triplets.ts"

/** A flag for a time such as `5 minutes`. */
const time = (name: string, byDefault: string) =>
  Flag.String(name).pipe(
    Flag.withDefault(byDefault),
    Flag.filterMap(
      (text) =>
        // A cast: fromInput looks at the text itself.
        Option.filter(
          Duration.fromInput(text as Duration.Input),
          (time) => Duration.isGreaterThan(time, Duration.zero) && Duration.isLessThan(time, Duration.days(3650))
        ),
      () => "a time such as \"5 minutes\" or \"36 days\""
    ),
    Flag.withMetavar("TIME")
  )

command.run({
  name: "greylist",
  description: "Puts off the first mail from somebody new; what it knows is in a PostgreSQL",
  options: {
    database: Flag.Redacted("database").pipe(
      Flag.filter(postgres.isUrl, () => "an address such as postgres://user@host:5432/name"),
      Flag.withMetavar("URL"),
      Flag.withDescription("Where the database is; better in the environment, where ps does not show the password")
    ),
    delay: time("delay", "5 minutes").pipe(
      Flag.withDescription("How long somebody new has to wait (5 minutes)")
    ),
    retryWithin: time("retry-within", "2 days").pipe(
      Flag.withDescription("When to forget who has not tried again (2 days)")
    ),
    keepFor: time("keep-for", "36 days").pipe(
      Flag.withDescription("When to forget who has sent nothing more (36 days)")
    ),
    networks: flags.networks("networks").pipe(
      Flag.withDescription("Clients that need not wait, such as your own networks and your backup MX")
    ),
    whenDown: Flag.Literals("when-down", ["tempfail", "pass"]).pipe(
      Flag.withDefault("tempfail" as const),
      Flag.withDescription("What to do with mail while the database does not answer (tempfail)")
    )
  },
  serve: ({ database, delay, keepFor, networks, retryWithin, whenDown }) =>
    Duration.isLessThan(delay, retryWithin)
      ? MilterServer.layerConfig(greylist({ delay, known: networks, whenDown })).pipe(
        Layer.provide(Triplets.layer({ delay, retryWithin, keepFor })),
        Layer.provide(postgres.layer(database, { name: "greylist", migrations }))
      )
      : Layer.effectDiscard(
        Effect.fail(new command.Trouble({ message: "who has to wait for --delay must come back --retry-within more" }))
      )
})

/** The command: serves the filter with its tiers, or reports what was counted. */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as MilterServer from "effect-milter/MilterServer"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as command from "../support/command.ts"
import { rateLimit } from "./filter.ts"
import * as Tiers from "./tiers.ts"
import { Usage } from "./usage.ts"

const redis = Flag.String("redis").pipe(
  Flag.filter(
    (url) => /^rediss?:$/.test(URL.parse(url)?.protocol ?? ""),
    () => "an address such as redis://127.0.0.1:6379"
  ),
  Flag.withMetavar("URL")
)

const readTiers = Effect.fnUntraced(function*(file: string) {
  const fileSystem = yield* FileSystem.FileSystem
  const text = yield* Effect.mapError(
    fileSystem.readFileString(file),
    ({ reason }) => new command.Trouble({ message: `the tiers ${file} cannot be read: ${reason._tag}` })
  )
  return yield* Effect.mapError(
    Tiers.parse(text),
    ({ message }) => new command.Trouble({ message: `the tiers ${file} are not in order: ${message}` })
  )
}, (_) => Effect.provide(_, NodeFileSystem.layer))

const report = Command.make("report", {
  redis: redis.pipe(Flag.withDescription("Where the filters count")),
  month: Flag.String("month").pipe(
    Flag.filter((month) => /^\d{4}-\d\d$/.test(month), () => "a month such as 2026-11"),
    Flag.withMetavar("YYYY-MM"),
    Flag.withDescription("The month, UTC (the current one)"),
    Flag.optional
  )
}, (given) =>
  Effect.gen(function*() {
    const month = Option.getOrElse(given.month, () => DateTime.formatIso(DateTime.nowUnsafe()).slice(0, 7))
    const usage = yield* Usage
    for (const billed of yield* usage.billed(month)) yield* Console.log(JSON.stringify({ month, ...billed }))
  }).pipe(
    Effect.provide(Usage.layerRedis(given.redis)),
    Effect.mapError(({ message }) => new command.Trouble({ message }))
  )).pipe(Command.withDescription("Prints how many recipients each account has to pay for in a month, as JSON lines"))

if (process.argv[2] === "report") {
  process.argv.splice(2, 1)
  command.main(report, ["redis", "month"])
} else {
  command.run({
    name: "rate_limit",
    description: "Limits the recipients of each account by its tier, and counts those whose mail was accepted; " +
      "`rate_limit report` prints the counts",
    options: {
      tiers: Flag.String("tiers").pipe(
        Flag.withMetavar("FILE"),
        Flag.withDescription("Tiers, and which account has which: a JSON file")
      ),
      redis: redis.pipe(
        Flag.withDescription(
          "Where to count, together with other filters; without it in memory, until the process ends"
        ),
        Flag.optional
      ),
      whenDown: Flag.Literals("when-down", ["tempfail", "pass"]).pipe(
        Flag.withDefault("tempfail" as const),
        Flag.withDescription("What to do with mail while Redis does not answer (tempfail)")
      )
    },
    serve: ({ redis, tiers, whenDown }) =>
      Layer.unwrap(
        Effect.map(readTiers(tiers), (tiers) => MilterServer.layerConfig(rateLimit(tiers, { whenDown })))
      ).pipe(
        Layer.provide(Option.match(redis, { onNone: () => Usage.layerMemory, onSome: Usage.layerRedis }))
      )
  })
}

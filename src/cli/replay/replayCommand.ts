/** `effect-milter replay`: sends a filter the commands of a recording, and compares the answers. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { dial } from "../../internal/mta/dial.ts"
import { dialingKey } from "../../internal/net/dialer.ts"
import { replay as play } from "../../internal/testing/replay.ts"
import * as MilterClient from "../../MilterClient.ts"
import { layer as dialer } from "../../node/NodeMilterClient.ts"
import * as Recording from "../../Recording.ts"
import * as specs from "../flags/specs.ts"
import { style } from "../terminal/style.ts"
import { watching } from "../terminal/waiting.ts"
import * as clientTrouble from "../trouble/clientTrouble.ts"
import * as exit from "../trouble/exit.ts"
import * as comparison from "./comparison.ts"
import * as outcomeComparison from "./outcomeComparison.ts"
import { negotiatesDifferently, outcomesOf } from "./outcomes.ts"

const flags = {
  file: specs.pathArgument("FILE").pipe(Argument.withDescription("A recording that trace has made")),
  to: specs.filterAddress("to").pipe(Flag.withDescription("Where the filter listens")),
  timeout: specs.timeout,
  outcome: Flag.Boolean("outcome").pipe(
    Flag.withDefault(false),
    Flag.withDescription(
      "Compares what becomes of each message (verdict, refused recipients, the message as delivered) instead of each answer"
    )
  ),
  ignore: Flag.String("ignore").pipe(
    Flag.withMetavar("HEADER"),
    Flag.withDescription("A header field whose values may differ, such as DKIM-Signature; can be repeated"),
    Flag.atLeast(0)
  )
}

const read = (path: string) =>
  FileSystem.FileSystem.pipe(
    Effect.flatMap((files) => files.readFileString(path)),
    Effect.mapError(() => exit.trouble(`cannot read ${path}: give the file of a recording`)),
    Effect.flatMap((text) =>
      Effect.fromResult(
        Result.mapError(Recording.parse(text), (error) =>
          exit.trouble(
            `${path} is no recording, or is damaged: ${exit.lineOf(error)}; make one with effect-milter trace`
          ))
      )
    )
  )

export const replay = Command.make(
  "replay",
  flags,
  Effect.fnUntraced(function*({ file, ignore, outcome, timeout, to }) {
    const connections = Recording.connections(yield* read(file)).filter(comparison.hasCommands)
    if (connections.length === 0) {
      return yield* exit.trouble(`${file} has no session: record one with effect-milter trace`)
    }
    const colours = yield* style
    const milliseconds = Option.getOrUndefined(Option.map(timeout, Duration.toMillis))
    const limits = milliseconds === undefined ? {} : { timeouts: { connect: milliseconds } }
    const ignored = new Set(ignore.map((name) => name.toLowerCase()))
    let differences = 0
    let commands = 0
    let messages = 0
    let negotiations = 0
    for (const connection of connections) {
      const { [dialingKey]: dialing } = yield* MilterClient.Dialer
      const exchanges = yield* Effect.gen(function*() {
        const observe = yield* watching(to, undefined)
        const client = yield* dial(dialing, to, { observe, ...limits })
        return yield* play(client, connection, milliseconds)
      }).pipe(
        Effect.scoped,
        Effect.mapError((error) => clientTrouble.explain(error))
      )
      if (outcome) {
        const recorded = outcomesOf(exchanges, "recorded")
        const found = outcomeComparison.compare(recorded, outcomesOf(exchanges, "replayed"), ignored, colours)
        messages += recorded.length
        differences += found.length
        if (negotiatesDifferently(exchanges)) negotiations++
        process.stdout.write(outcomeComparison.show(connection.connection, recorded.length, found, colours))
        continue
      }
      const found = comparison.differences(exchanges, ignored)
      commands += exchanges.length
      differences += found.length
      process.stdout.write(comparison.show(connection.connection, exchanges.length, found, colours))
    }
    process.stdout.write(
      outcome
        ? outcomeComparison.summary(messages, differences, negotiations, colours)
        : comparison.summary(connections.length, commands, differences, colours)
    )
    if (differences > 0) return yield* new exit.Result({ code: exit.differs })
  }, Effect.provide(dialer))
).pipe(
  Command.withDescription(
    "Says to a filter what an MTA said in a recording, and compares the answers, or with --outcome what becomes of each message. " +
      "Exit code: 0 if they are the same, 2 if some differ, 1 if it could not be played"
  ),
  Command.withShortDescription("Says to a filter what an MTA said in a recording, and compares the answers"),
  Command.withExamples([
    { command: "effect-milter replay session.jsonl --to inet:9000@127.0.0.1 --ignore DKIM-Signature" },
    {
      command: "effect-milter replay old-filter.jsonl --to inet:9000@127.0.0.1 --outcome",
      description: "Does the new filter do to mail what the old one did?"
    }
  ])
)

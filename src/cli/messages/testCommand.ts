/** `effect-milter test`: sends messages through the filter of a module, in this process and without a socket. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as MilterServer from "../../MilterServer.ts"
import * as MilterTest from "../../MilterTest.ts"
import { flag as logLevel, withLevel } from "../flags/logLevel.ts"
import * as specs from "../flags/specs.ts"
import { loadFilter } from "../loadFilter.ts"
import * as clientTrouble from "../trouble/clientTrouble.ts"
import * as exit from "../trouble/exit.ts"
import { run } from "./converse.ts"
import * as messageFlags from "./messageFlags.ts"

const flags = {
  file: specs.pathArgument("FILE").pipe(
    Argument.withDescription("A module (.ts or .js) that exports by default a filter, or MilterServer.layer of one")
  ),
  messages: messageFlags.messages,
  ...messageFlags.flags,
  logLevel
}

const test_ = Effect.fnUntraced(function*({ file, ...given }: messageFlags.Given & { readonly file: string }) {
  const served = yield* loadFilter(file)
  const network = yield* Layer.build(MilterTest.layer)
  yield* Layer.build(
    Layer.provide(
      served._tag === "Server" ? served.layer : MilterServer.layerConfig(served.filter),
      Layer.succeedContext(network)
    )
  ).pipe(
    Effect.mapError((error) => exit.trouble(`${file} cannot be tested: ${exit.lineOf(error)}`)),
    Effect.catchDefect((defect) => exit.trouble(`${file} cannot be tested: ${exit.lineOf(defect)}`))
  )
  yield* Effect.provideContext(
    run({
      address: MilterTest.address,
      options: { as: messageFlags.mtas[given.as] },
      explain: (error) => clientTrouble.explainOwn(file, error)
    }, given),
    network
  )
})

/** The log of the filter goes to standard error; the lines of messages are left out unless the user wants them. */
export const test = Command.make("test", flags, ({ logLevel, ...given }) =>
  Effect.scoped(test_(given)).pipe(
    withLevel(logLevel, "warn"),
    Effect.provideService(References.LogToStderr, true)
  )).pipe(
    Command.withDescription(
      "Sends messages through the filter that a module exports, in one process and without a socket, and shows what send shows. " +
        "The log of the filter goes to standard error. Exit codes are those of send"
    ),
    Command.withShortDescription("Sends messages through the filter that a module exports, without a socket"),
    Command.withExamples([
      { command: "effect-milter test filter.ts hello.eml" },
      { command: "effect-milter test filter.ts ~/Maildir --json" },
      { command: "effect-milter test filter.ts spam.mbox --expect rejected" }
    ])
  )

/** The command line of `effect-milter`: its commands, and its error messages. */
import * as CliConfig from "effect/cli/CliConfig"
import type * as CliError from "effect/cli/CliError"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as TerminalCapabilities from "effect/cli/TerminalCapabilities"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { showInvisible } from "../internal/bytes/invisible.ts"
import { bench } from "./bench/benchCommand.ts"
import { decode } from "./decode/decodeCommand.ts"
import * as specs from "./flags/specs.ts"
import { send } from "./messages/sendCommand.ts"
import { test } from "./messages/testCommand.ts"
import { probe } from "./probe/probeCommand.ts"
import { replay } from "./replay/replayCommand.ts"
import { serve } from "./serve/serveCommand.ts"
import { status } from "./status/statusCommand.ts"
import { terminalWidth, wrap } from "./terminal/wrap.ts"
import { trace } from "./trace/traceCommand.ts"
import * as exit from "./trouble/exit.ts"
import { try_ } from "./try/tryCommand.ts"

const command = Command.make("effect-milter").pipe(
  Command.withDescription("Tools for mail filters (milters): try one, look at one, serve one, measure one"),
  Command.withSubcommands([send, test, try_, probe, trace, decode, replay, serve, bench, status])
)

const complain = (text: string): Effect.Effect<void> =>
  Effect.sync(() => void process.stderr.write(`effect-milter: ${showInvisible(text)}\n`))

const lineOf = (error: CliError.NonShowHelpErrors): string =>
  exit.lineOf(error).replace(/ Did you mean this\? /, "; did you mean ")

/** The help, with lines as long as the terminal is wide, and what its placeholders mean. */
const showHelp = Effect.fnUntraced(function*({ helpDoc }: CliOutput.Presenter.Help) {
  const { canColor } = yield* TerminalCapabilities.TerminalCapabilities
  const text = CliOutput.defaultFormatter({ colors: canColor }).formatHelpDoc(helpDoc)
  const whole = helpDoc.flags.some(({ type }) => type === "SPEC") ? `${text}\n\n${specs.specHelp}` : text
  process.stdout.write(`${wrap(whole, terminalWidth())}\n`)
})

/** Says in one line what is wrong and where the help is; Effect's own presenter would print the whole help. */
const presenter: CliOutput.Presenter = {
  present: (event) =>
    event._tag === "InvalidInvocation"
      ? complain(`${event.errors.map(lineOf).join("; ")} (see ${event.commandPath.join(" ")} --help)`)
      : event._tag === "Help"
      ? showHelp(event)
      : CliOutput.defaultPresenter.present(event)
}

const surroundings = Layer.mergeAll(
  CliOutput.layerPresenter(presenter),
  CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions] })
)

/** Runs the program with these arguments. Fails with the error that sets the exit code, after printing the reason. */
export const program = (args: ReadonlyArray<string>, version: string) =>
  Command.runWith(command, { version })(args).pipe(
    Effect.tapError((error) => error._tag === "Trouble" ? complain(error.message) : Effect.void),
    Effect.provide(surroundings)
  )

/**
 * The command line that all examples have in common: where to listen, how much to log, options of their own, and one clear
 * line on standard error when something is wrong with them.
 *
 * Each option is a flag and a variable of the environment: `--log-level` is `MILTER_LOG_LEVEL`, `--headername` is
 * `MILTER_HEADERNAME`. A flag that is given goes first.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import type * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterServer } from "effect-milter/node"
import * as CliConfig from "effect/cli/CliConfig"
import type * as CliError from "effect/cli/CliError"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as Config from "effect/Config"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import type { LogLevel } from "effect/LogLevel"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as Runtime from "effect/Runtime"
import * as Fs from "node:fs"

/** It cannot run, and a person can mend that: the message is all that is shown. Exit code 1. */
export class Trouble extends Data.TaggedError("Trouble")<{ readonly message: string }> {
  override readonly [Runtime.errorExitCode] = 1
  /** Printed already, not to be logged. */
  override readonly [Runtime.errorReported] = false
}

/** An example. The keys of `options` are the names of their flags (`headername`, or `logFile` for `--log-file`). */
export interface Example<Options extends { readonly [name: string]: Flag.Flag<unknown> }> {
  /** Of its directory, and in front of what it complains about. */
  readonly name: string
  readonly description: string
  readonly options: Options
  /**
   * The server made from its options: `MilterServer.layerConfig(filter)`, with layers for what the filter needs. Whatever it
   * fails with is shown by its message.
   */
  readonly serve: (
    options: Command.Command.Config.Infer<Options>
  ) => Layer.Layer<never, unknown, MilterServer.Listener>
}

const levels = new Map<string, LogLevel>([
  ["debug", "Debug"],
  ["info", "Info"],
  ["warning", "Warn"],
  ["error", "Error"]
])

const listenFlags = {
  listen: Flag.String("listen").pipe(
    Flag.withMetavar("SPEC"),
    Flag.withDescription(
      "Where the MTA connects to: inet:PORT@HOST, inet6:PORT@HOST, unix:/path, fd:NUMBER or systemd " +
        "(inet:9000@127.0.0.1 if neither this nor host and port are given)"
    ),
    Flag.optional
  ),
  host: Flag.String("host").pipe(
    // What the examples of purepythonmilter call it.
    Flag.withAlias("bind-host"),
    Flag.withMetavar("HOST"),
    Flag.withDescription("The address to listen on, in place of --listen (127.0.0.1)"),
    Flag.filter((host) => /^[^\s@]+$/.test(host), () => "an IP address or a name of this host"),
    Flag.optional
  ),
  port: Flag.Int("port").pipe(
    Flag.withAlias("bind-port"),
    Flag.withMetavar("PORT"),
    Flag.withDescription("The TCP port to listen on, in place of --listen; 0 takes a free one (9000)"),
    Flag.filter((port) => port >= 0 && port <= 65535, () => "a port from 0 to 65535"),
    Flag.optional
  ),
  mode: Flag.String("mode").pipe(
    Flag.withDefault("660"),
    Flag.filterMap(
      (text) => /^0?[0-7]{3}$/.test(text) ? Option.some(Number.parseInt(text, 8)) : Option.none(),
      () => "three octal digits, such as 660"
    ),
    Flag.withMetavar("MODE"),
    Flag.withDescription("The mode of a UNIX socket; the MTA must be able to write (660)")
  ),
  group: Flag.String("group").pipe(
    Flag.withMetavar("GROUP"),
    Flag.withDescription("The group of a UNIX socket, by name or number"),
    Flag.optional
  ),
  logLevel: Flag.String("log-level").pipe(
    Flag.withDefault("info"),
    Flag.filterMap(
      (text) => Option.fromUndefinedOr(levels.get(text.toLowerCase())),
      () => [...levels.keys()].join(", ")
    ),
    Flag.withMetavar("LEVEL"),
    Flag.withDescription("The least important lines to log, on standard error: debug, info, warning or error (info)")
  )
}

type Listening = Command.Command.Config.Infer<typeof listenFlags>

const specOf = Effect.fnUntraced(function*({ host, listen, port }: Listening) {
  if (Option.isNone(listen)) {
    const name = Option.getOrElse(host, () => "127.0.0.1")
    return `${name.includes(":") ? "inet6" : "inet"}:${Option.getOrElse(port, () => 9000)}@${name}`
  }
  if (Option.isSome(host) || Option.isSome(port)) {
    return yield* new Trouble({
      message: "give either --listen (MILTER_LISTEN) or --host and --port (MILTER_HOST, MILTER_PORT)"
    })
  }
  return listen.value
})

/** The command of an example, for {@link main}. */
export const make = <const Options extends { readonly [name: string]: Flag.Flag<unknown> }>(
  { description, name, options, serve }: Example<Options>
) =>
  Command.make(
    name,
    { options, listening: listenFlags },
    // A cast: for a type that is not known yet TypeScript does not see that this is what `options` gives.
    (given) => launch(serve(given.options as Command.Command.Config.Infer<Options>), given.listening)
  ).pipe(Command.withDescription(description))

const launch = Effect.fnUntraced(function*(
  server: Layer.Layer<never, unknown, MilterServer.Listener>,
  listening: Listening
) {
  const { group, logLevel, mode } = listening
  const listener = NodeMilterServer.layer({
    listen: yield* specOf(listening),
    mode,
    ...(Option.isSome(group) ? { group: group.value } : {})
  })
  return yield* untilStopped(Layer.provide(server, listener)).pipe(
    Effect.provideService(References.MinimumLogLevel, logLevel)
  )
})

const untilStopped = (layer: Layer.Layer<never, unknown>): Effect.Effect<never, Trouble> =>
  Effect.mapError(Layer.launch(layer), (error) => new Trouble({ message: lineOf(error) }))

/** The text of an error on one line; of the configuration's, without how Effect nests them. */
const lineOf = (error: unknown): string =>
  messageOf(error)
    .trim()
    .replace(/\s*\n\s*/g, " ")
    .replace(/^ConfigError\((?:\w+Error\()?(.*?)\)*$/, "$1")
    .replace(/(?:\["\w+"\])+/g, (path) => path.slice(2, -2).replaceAll("\"][\"", "_"))
    .replace(/^Expected string at (\w+)$/, "there is no $1")

/** Some errors have no message but that of their cause. */
const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message || messageOf(error.cause) : String(error)

const kebab = (key: string): string => key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)

const variableOf = (flag: string): string => flag.toUpperCase().replaceAll("-", "_")

/** The variables of the environment that stand in for flags which the arguments do not have, as such flags. */
const fromEnvironment = Effect.fnUntraced(function*(flags: ReadonlyArray<string>, args: ReadonlyArray<string>) {
  const given = (flag: string) =>
    args.some((arg) => arg.replace(/=[^]*$/, "").replace(/^--(?:no-|bind-)?/, "--") === `--${flag}`)
  // To say where is to say all of it: nothing of the environment is added.
  const places = ["listen", "host", "port"]
  const isPlaced = places.some(given)
  const found: Array<readonly [flag: string, value: string]> = []
  for (const flag of flags) {
    if (given(flag) || isPlaced && places.includes(flag)) continue
    const value = yield* Config.option(Config.String(variableOf(flag)).pipe(Config.nested("MILTER")))
    if (Option.isSome(value)) found.push([flag, value.value])
  }
  return found
})

const presenter = (name: string, found: ReadonlyArray<readonly [flag: string, value: string]>): CliOutput.Presenter => {
  const isFromEnvironment = (error: CliError.NonShowHelpErrors) =>
    error._tag === "InvalidValue" && found.some(([flag]) => flag === error.option)
  const textOf = (error: CliError.NonShowHelpErrors) => {
    const line = lineOf(error).replace(/ Did you mean this\? /, "; did you mean ")
    return error._tag === "InvalidValue" && isFromEnvironment(error)
      ? line.replace(`flag --${error.option}`, `MILTER_${variableOf(error.option)}`)
      : line
  }
  return {
    present: (event) =>
      event._tag === "InvalidInvocation"
        ? complain(name, `${event.errors.map(textOf).join("; ")} (see --help)`)
        : CliOutput.defaultPresenter.present(event)
  }
}

const complain = (name: string, text: string): Effect.Effect<void> =>
  Effect.sync(() => void process.stderr.write(`${name}: ${text}\n`))

// A cast, since npm wrote the file.
const { version } = JSON.parse(Fs.readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  readonly version: string
}

/**
 * Runs a command as a program; `flags` are the names of those that the environment may give. Ends with exit code 0 when it
 * has done its work or was told to stop, and otherwise says why in one line.
 */
export const main = <Name extends string, Input, Context, E>(
  command: Command.Command<Name, Input, Context, E, Command.Environment>,
  flags: ReadonlyArray<string>
): void => {
  const args = process.argv.slice(2)
  const program = Effect.gen(function*() {
    const found = yield* fromEnvironment(flags, args)
    const surroundings = Layer.mergeAll(
      CliOutput.layerPresenter(presenter(command.name, found)),
      CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version] })
    )
    const all = [...found.map(([flag, value]) => `--${flag}=${value}`), ...args]
    yield* Effect.provide(Command.runWith(command, { version })(all), surroundings)
  }).pipe(
    Effect.tapError((error) => error instanceof Trouble ? complain(command.name, error.message) : Effect.void),
    Effect.provideService(Logger.LogToStderr, true),
    Effect.provide(NodeServices.layer)
  )
  NodeRuntime.runMain(program, { teardown: NodeMilterServer.teardown })
}

/**
 * Serves an example until it is told to stop.
 *
 * ```ts
 * command.run({
 *   name: "append_header_ip",
 *   description: "Adds the address of the SMTP client as a header field",
 *   options: {
 *     headername: Flag.String("headername").pipe(Flag.withDefault("X-Client-Address"))
 *   },
 *   serve: ({ headername }) => MilterServer.layerConfig(appendHeaderIp(headername))
 * })
 * ```
 */
export const run = <const Options extends { readonly [name: string]: Flag.Flag<unknown> }>(
  example: Example<Options>
): void => main(make(example), [...Object.keys(listenFlags), ...Object.keys(example.options)].map(kebab))

/** Runs a program without options, which says in one line why it cannot run. */
export const runProgram = (name: string, program: Effect.Effect<unknown, unknown>): void =>
  NodeRuntime.runMain(
    program.pipe(
      Effect.mapError((error) => new Trouble({ message: lineOf(error) })),
      Effect.tapError(({ message }) => complain(name, message))
    ),
    { teardown: NodeMilterServer.teardown }
  )

/** A TCP port among the arguments of a program. */
export const portOf = (text: string): Effect.Effect<number, Trouble> =>
  /^\d{1,5}$/.test(text) && Number(text) <= 65535
    ? Effect.succeed(Number(text))
    : new Trouble({ message: `${JSON.stringify(text)} is not a port from 0 to 65535` })

/** Runs layers as a program that has no flags, and reads all that it needs from the configuration. */
export const runLayer = (
  { description, layer, name }: {
    readonly name: string
    readonly description: string
    readonly layer: Layer.Layer<never, unknown>
  }
): void => main(Command.make(name, {}, () => untilStopped(layer)).pipe(Command.withDescription(description)), [])

/** What `serve` was asked to do: flags go before variables, variables before the configuration file. */
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { closest } from "../../internal/bytes/knownKeys.ts"
import * as endpoint from "../../internal/net/endpoint.ts"
import * as MilterServer from "../../MilterServer.ts"
import * as logLevel from "../flags/logLevel.ts"
import * as specs from "../flags/specs.ts"
import * as exit from "../trouble/exit.ts"
import * as configFile from "./configFile.ts"
import { type GivenFlags, type Name, options, type ServeOption } from "./serveOptions.ts"

/** An option that was given, and where. */
interface Given {
  readonly values: ReadonlyArray<string>
  /** `--listen`, `MILTER_LISTEN` or `listen in filter.json`, for messages. */
  readonly source: string
}

export type OnTrouble = "tempfail" | "reject" | "pass"

export interface Settings {
  readonly listen: ReadonlyArray<string>
  readonly mode: number
  readonly owner: string | undefined
  readonly group: string | undefined
  readonly user: string | undefined
  readonly workers: number | "auto"
  readonly http: string | undefined
  readonly watch: boolean
  readonly logFormat: "pretty" | "logfmt" | "json" | undefined
  readonly logLevel: logLevel.Name | undefined
  readonly config: string | undefined
  readonly check: boolean
  readonly checkMessage: string | undefined
  readonly shadow: boolean
  readonly onFailure: OnTrouble | undefined
  readonly onDefect: OnTrouble | undefined
  readonly server: MilterServer.Options
  /** The options that a module with a layer of its own would ignore, as the user has given them. */
  readonly ignoredByLayers: ReadonlyArray<string>
  readonly warnings: ReadonlyArray<string>
}

const fromFlags = ({ name }: ServeOption, flags: GivenFlags): Given | undefined => {
  const given = flags[name]
  const values = Option.isOption(given) ? Option.toArray(given).map(String) : given
  return values.length === 0 ? undefined : { values, source: `--${name}` }
}

const fromEnvironment = ({ name, variable }: ServeOption, environment: NodeJS.ProcessEnv): Given | undefined => {
  const text = environment[variable]
  // An empty list of peers is a mistake and does not admit everybody; else an empty variable is like a missing one.
  if (text === undefined || (text === "" && name !== "peers")) return undefined
  return { values: name === "listen" ? text.split(/[\s,]+/).filter((spec) => spec !== "") : [text], source: variable }
}

/** Reads an option; the other track says what was expected. */
type Read<A> = (text: string) => Result.Result<A, string>

const text: Read<string> = Result.succeed

const oneOf = <const A extends string>(...choices: ReadonlyArray<A>): Read<A> => (given) => {
  const found = choices.find((choice) => choice === given)
  return found === undefined ? Result.fail(choices.join(", ").replace(/, (?=[^,]*$)/, " or ")) : Result.succeed(found)
}

const toggle: Read<boolean> = (given) =>
  /^(?:true|yes|on|1)$/i.test(given)
    ? Result.succeed(true)
    : /^(?:false|no|off|0)$/i.test(given)
    ? Result.succeed(false)
    : Result.fail("true or false")

const mode: Read<number> = (given) =>
  /^0?[0-7]{3}$/.test(given)
    ? Result.succeed(Number.parseInt(given, 8))
    : Result.fail("three octal digits, such as 660")

const workers: Read<number | "auto"> = (given) =>
  given === "auto"
    ? Result.succeed(given)
    : /^[1-9]\d{0,3}$/.test(given)
    ? Result.succeed(Number(given))
    : Result.fail("auto, or a number from 1 to 9999")

const mayBeNone: ReadonlyArray<Name> = ["stop-timeout", "drain-timeout"]

/** A time as `MilterServer.config` reads it. */
const time = (name: Name): Read<string> => (given) =>
  Option.match(specs.parseDuration(given.trim()), {
    onNone: () => Result.fail(specs.durations),
    onSome: (duration) =>
      Duration.toMillis(duration) > 0 || mayBeNone.includes(name)
        ? Result.succeed(`${Duration.toMillis(duration)} millis`)
        : Result.fail("a time longer than 0")
  })

const count: Read<string> = (given) =>
  /^[1-9]\d{0,14}$/.test(given) ? Result.succeed(given) : Result.fail("a whole number from 1 on")

/** What `MilterServer.config` takes of an option of the server. */
const serverText = ({ metavar, name }: ServeOption): Read<string> =>
  metavar === "TIME" ? time(name) : metavar === "N" || metavar === "BYTES" ? count : text

const addresses = "inet:PORT@HOST, inet6:PORT@HOST, inet:HOST:PORT"

const listenSpec: Read<string> = (given) =>
  Result.isSuccess(endpoint.parseListening(given))
    ? Result.succeed(given)
    : Result.fail(`${addresses}, unix:/path, fd:NUMBER, systemd or systemd:NAME`)

const pageSpec: Read<string> = (given) =>
  Result.isSuccess(endpoint.parse(given)) ? Result.succeed(given) : Result.fail(`${addresses} or unix:/path`)

const onTrouble = oneOf("tempfail", "reject", "pass")

/** `Expected …, got … at MILTER_MAX_CONNECTIONS`, as Effect nests it. */
const configLine = (error: unknown): string =>
  exit.lineOf(error)
    .replace(/^ConfigError\((?:\w+Error\()?(.*?)\)*$/, "$1")
    .replace(/(?:\["\w+"\])+/g, (path) => path.slice(2, -2).replaceAll("\"][\"", "_"))

const nearest = (word: string, known: ReadonlyArray<string>): string => {
  const found = closest(word, known)
  return found === undefined ? "" : `: did you mean ${found}?`
}

/** Warnings of variables that begin like those of options. */
const unknownVariables = (environment: NodeJS.ProcessEnv): ReadonlyArray<string> => {
  const known = options.map(({ variable }) => variable)
  return Object.keys(environment).filter((name) => name.startsWith("MILTER_") && !known.includes(name)).toSorted()
    .map((name) => `${name} is not a variable of serve${nearest(name, known)}`)
}

/** Settles what to do. */
export const resolve = Effect.fnUntraced(function*(
  flags: GivenFlags,
  environment: NodeJS.ProcessEnv
): Effect.fn.Return<Settings, exit.Trouble> {
  const configOption = options.find(({ name }) => name === "config")!
  const config = (fromFlags(configOption, flags) ?? fromEnvironment(configOption, environment))?.values[0]
  const file = config === undefined ? new Map<string, ReadonlyArray<string>>() : yield* configFile.read(config)
  const names: ReadonlyArray<string> = options.map(({ name }) => name).filter((name) => name !== "config")
  const stranger = [...file.keys()].find((key) => !names.includes(key))
  if (stranger !== undefined) {
    return yield* exit.trouble(
      `${stranger} in ${config} is not an option of serve${nearest(stranger, names)}`
    )
  }

  const given = new Map<Name, Given>()
  for (const option of options) {
    const values = file.get(option.name)
    const found = fromFlags(option, flags) ?? fromEnvironment(option, environment) ??
      (values && { values, source: `${option.name} in ${config}` })
    if (found !== undefined) given.set(option.name, found)
  }

  const wrong = ({ source }: Given, value: string, expected: string) =>
    exit.trouble(`${source}: ${JSON.stringify(value)}. Expected: ${expected}`)
  const all = <A>(name: Name, read: Read<A>): Effect.Effect<ReadonlyArray<A>, exit.Trouble> => {
    const found = given.get(name)
    return Effect.forEach(
      found?.values ?? [],
      (value) => Effect.mapError(Effect.fromResult(read(value)), (expected) => wrong(found!, value, expected))
    )
  }
  const one = <A>(name: Name, read: Read<A>): Effect.Effect<A | undefined, exit.Trouble> =>
    Effect.map(all(name, read), (values) => values.at(-1))

  const server = options.filter(({ concern }) => concern === "server")
  const record: { [variable: string]: string } = {}
  for (const option of server) {
    const values = yield* all(option.name, serverText(option))
    if (values.length > 0) record[option.variable] = values.join(",")
  }
  const provider = ConfigProvider.fromEnv({ env: record })
  const serverOptions = yield* Effect.mapError(MilterServer.config.parse(provider), (error) => {
    const line = configLine(error)
    const at = server.find(({ variable }) => new RegExp(`\\b${variable}\\b`).test(line))
    const source = at && given.get(at.name)?.source
    return exit.trouble(
      at === undefined || source === undefined
        ? `the options of the server are not in order: ${line}`
        : `${source}: ${line.replace(new RegExp(` at ${at.variable}$`), "").replaceAll(at.variable, source)}`
    )
  })

  return {
    listen: yield* all("listen", listenSpec),
    mode: (yield* one("socket-mode", mode)) ?? 0o660,
    owner: yield* one("socket-owner", text),
    group: yield* one("socket-group", text),
    user: yield* one("user", text),
    workers: (yield* one("workers", workers)) ?? 1,
    http: yield* one("http", pageSpec),
    watch: (yield* one("watch", toggle)) ?? false,
    logFormat: yield* one("log-format", oneOf("pretty", "logfmt", "json")),
    logLevel: yield* one("log-level", oneOf(...logLevel.names)),
    config,
    check: (yield* one("check", toggle)) ?? false,
    checkMessage: yield* one("check-message", text),
    shadow: (yield* one("shadow", toggle)) ?? false,
    onFailure: yield* one("on-failure", onTrouble),
    onDefect: yield* one("on-defect", onTrouble),
    server: serverOptions,
    ignoredByLayers: options.flatMap(({ concern, name }) => {
      const found = given.get(name)
      return concern === "process" || found === undefined ? [] : [found.source]
    }),
    warnings: unknownVariables(environment)
  }
})

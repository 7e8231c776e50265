/** The options of a server with their defaults, and their names in the configuration. */
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as ClientAddress from "../../ClientAddress.ts"
import * as Frame from "../../Frame.ts"
import type { InvalidValue } from "../../InvalidValue.ts"
import { checkKeys } from "../bytes/knownKeys.ts"
import type { Limits, Program, ServerTimeouts } from "../engine/serverRuntime.ts"
import type { Options } from "./serverTypes.ts"

export interface Settings {
  readonly timeouts: ServerTimeouts
  readonly limits: Limits
  readonly peers: Program["peers"]
  /** Milliseconds that messages in progress get to end. */
  readonly drain: number
}

const minutes = (n: number): number => n * 60_000

// SMTP clients wait ten minutes for the answer to the end of a message (RFC 5321 4.5.3.2.6). A later 250 finds them gone,
// and they send the message again.
const longestEndOfMessage = minutes(9)

// A piece of the body with its code.
const leastFrame = 65_536

const milliseconds = (input: Duration.Input | undefined, standard: number): number =>
  input === undefined ? standard : Duration.toMillis(input)

/** The settings that the options and the defaults make; fails for an invalid network. */
export const settingsOf = (options: Options): Result.Result<Settings, InvalidValue> =>
  Result.map(
    options.peers === undefined ? Result.succeed(undefined) : ClientAddress.network(options.peers),
    (peers) => ({
      timeouts: {
        // Sendmail gives a filter 10 s, Postfix 30 s.
        command: milliseconds(options.commandTimeout, 8000),
        endOfMessage: Math.min(milliseconds(options.endOfMessageTimeout, minutes(4)), longestEndOfMessage),
        progress: milliseconds(options.progressInterval, 5000),
        negotiation: milliseconds(options.negotiationTimeout, 10_000),
        idle: milliseconds(options.idleTimeout, minutes(120)),
        frame: milliseconds(options.frameTimeout, minutes(1)),
        write: milliseconds(options.writeTimeout, 30_000),
        stop: milliseconds(options.stopTimeout, 10_000)
      },
      limits: {
        connections: options.maxConnections ?? 1000,
        silentConnections: options.maxSilentConnections ?? 1000,
        frameLength: options.maxFrameLength ?? Frame.defaultMaxLength,
        headers: options.maxHeaders ?? Infinity,
        headerBytes: options.maxHeaderBytes ?? Infinity,
        recipients: options.maxRecipients ?? Infinity,
        bodyBytes: options.maxBodyBytes ?? Infinity,
        modifications: options.maxModifications ?? 500,
        macros: options.maxMacros ?? 512,
        macroBytes: options.maxMacroBytes ?? 65_536,
        queuedPackets: options.maxQueuedPackets ?? 64,
        tooLarge: options.tooLarge ?? "reject"
      },
      peers,
      drain: milliseconds(options.drainTimeout, minutes(1))
    })
  )

const count = (name: string, least = 1) =>
  Config.option(Config.schema(Schema.Int.check(Schema.isGreaterThanOrEqualTo(least)), name))

const cidrs = (list: string): ReadonlyArray<string> => list.split(/[\s,]+/).filter((cidr) => cidr !== "")

const noNetworks = "expected at least one network; without the variable everybody may connect"

const networks = Schema.String.check(Schema.makeFilter((list) => {
  const parsed = ClientAddress.network(cidrs(list))
  if (cidrs(list).length === 0) return noNetworks
  return Result.isSuccess(parsed) ? undefined : parsed.failure.message
}))

type Peers = Option.Option<ReadonlyArray<string>>

/** What is inside a `Config`, of which its type does not tell: it reads at a path that others may have put in front. */
interface Evaluating<A> {
  readonly evaluator: (
    provider: ConfigProvider.ConfigProvider,
    path: ConfigProvider.Path
  ) => Effect.Effect<Result.Result<A, Config.ConfigError>, Config.ConfigError>
}

/**
 * Fails if the variable is set and empty. Effect takes empty variables for missing ones, and a list that was lost, for
 * example by a mistake in a template, must not admit everybody.
 */
const refuseEmptyPeers = Effect.fnUntraced(
  function*(provider: ConfigProvider.ConfigProvider, path: ConfigProvider.Path) {
    const node = yield* Effect.mapError(provider.load(path), (error) => new Config.ConfigError(error))
    if (node?._tag === "Record" && node.keys.has("PEERS")) {
      const message = `${noNetworks}, and ${[...path, "PEERS"].join("_")} is empty`
      return yield* Effect.fail(new Config.ConfigError(new ConfigProvider.SourceError({ message })))
    }
  }
)

const givenPeers: Config.Config<Peers> = Config.option(Config.map(Config.schema(networks, "PEERS"), cidrs))

// Not by Config.mapEffect, which learns neither the provider nor the path, and asked the wrong one about the other.
const peers: Config.Config<Peers> = Object.create(givenPeers, {
  evaluator: {
    value: (provider: ConfigProvider.ConfigProvider, path: ConfigProvider.Path) =>
      Effect.tap(
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the type of configs leaves it out
        (givenPeers as Config.Config<Peers> & Evaluating<Peers>).evaluator(provider, path),
        (found) =>
          Result.isSuccess(found) && Option.isNone(found.success) ? refuseEmptyPeers(provider, path) : Effect.void
      )
  }
})

const time = (name: string) => Config.option(Config.Duration(name))

const variables = {
  maxConnections: count("MAX_CONNECTIONS"),
  maxSilentConnections: count("MAX_SILENT_CONNECTIONS"),
  maxFrameLength: count("MAX_FRAME_LENGTH", leastFrame),
  maxHeaders: count("MAX_HEADERS"),
  maxHeaderBytes: count("MAX_HEADER_BYTES"),
  maxRecipients: count("MAX_RECIPIENTS"),
  maxBodyBytes: count("MAX_BODY_BYTES"),
  maxModifications: count("MAX_MODIFICATIONS"),
  maxMacros: count("MAX_MACROS"),
  maxMacroBytes: count("MAX_MACRO_BYTES"),
  maxQueuedPackets: count("MAX_QUEUED_PACKETS"),
  tooLarge: Config.option(Config.Literals(["reject", "pass"], "TOO_LARGE")),
  peers,
  commandTimeout: time("COMMAND_TIMEOUT"),
  endOfMessageTimeout: time("END_OF_MESSAGE_TIMEOUT"),
  progressInterval: time("PROGRESS_INTERVAL"),
  negotiationTimeout: time("NEGOTIATION_TIMEOUT"),
  idleTimeout: time("IDLE_TIMEOUT"),
  frameTimeout: time("FRAME_TIMEOUT"),
  writeTimeout: time("WRITE_TIMEOUT"),
  stopTimeout: time("STOP_TIMEOUT"),
  drainTimeout: time("DRAIN_TIMEOUT")
} satisfies { readonly [K in keyof Required<Options>]: unknown }

export const config: Config.Config<Options> = Config.all(variables).pipe(
  Config.map((options) =>
    Object.fromEntries(
      Object.entries(options).flatMap(([name, value]) => Option.isSome<unknown>(value) ? [[name, value.value]] : [])
    )
  ),
  Config.nested("MILTER")
)

/** Throws an `InvalidValue` for an option that would be ignored. */
export const checkOptions = (options: Options): void => checkKeys("option of a server", options, Object.keys(variables))

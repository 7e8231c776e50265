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
import type { Limits, Program, ServerTimeouts } from "../engine/serverRuntime.ts"

/**
 * Options of {@link layer}. All have defaults. Durations are Effect's (`"8 seconds"`, or milliseconds).
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Connections at a time; 1000 by default. Any more get 421 at connect, so that the client comes back. */
  readonly maxConnections?: number
  /**
   * The longest frame taken from an MTA, in bytes without its length field; 1 MiB by default. Real MTAs stay below 64 KiB,
   * except for headers that another filter added. A longer one ends the connection.
   */
  readonly maxFrameLength?: number
  /** Header fields of a message, as far as the filter takes headers; unlimited by default. See {@link Options.tooLarge}. */
  readonly maxHeaders?: number
  /** Bytes of all names and values of a message's header fields; unlimited by default. */
  readonly maxHeaderBytes?: number
  /** Bytes of a message's body, as far as the filter takes the body; unlimited by default. */
  readonly maxBodyBytes?: number
  /** What happens to a message over one of these limits: `reject` (552 5.3.4, the default), or `pass` without this filter. */
  readonly tooLarge?: "reject" | "pass"
  /** Recipients of a message; unlimited by default. Any more get 452 4.5.3: the sender sends them another message. */
  readonly maxRecipients?: number
  /**
   * Modifications of a message by all filters together, 500 by default; a replaced body does not count. A message that
   * would get more is refused (550 5.7.1) with a warning in the log: it does not pass with a part of them. Postfix's
   * `cleanup` crashes from some 10,000 on, and the author of a mail may choose how many a filter makes, for example by
   * header fields that the filter deletes.
   */
  readonly maxModifications?: number
  /** Macros kept of a session; 512 by default. The surplus is dropped with a warning. */
  readonly maxMacros?: number
  /** Bytes of macros kept of a session; 64 KiB by default. */
  readonly maxMacroBytes?: number
  /** Commands that may wait for a running hook before reading pauses; 64 by default. It pauses at 256 KiB of them, too. */
  readonly maxQueuedPackets?: number
  /**
   * Networks that may connect, such as `["192.0.2.0/24", "::1"]`; everybody by default. Others are closed before the
   * negotiation. UNIX sockets have permissions instead.
   */
  readonly peers?: ReadonlyArray<string>
  /**
   * From the arrival of a command to its answer, before end of message; 8 seconds by default (Sendmail waits 10, Postfix 30).
   * A hook that takes longer is interrupted and answered by `onDefect`.
   */
  readonly commandTimeout?: Duration.Input
  /** The same for end of message; 4 minutes by default, 9 at most: SMTP clients give up after 10 and send it again. */
  readonly endOfMessageTimeout?: Duration.Input
  /** How often the MTA gets a sign of life while end of message takes its time; 5 seconds by default. */
  readonly progressInterval?: Duration.Input
  /** Between two commands; 2 hours by default, since SMTP clients may idle. */
  readonly idleTimeout?: Duration.Input
  /** From the first byte of a frame to its last; 1 minute by default. */
  readonly frameTimeout?: Duration.Input
  /** How long an MTA may take to read an answer; 30 seconds by default. */
  readonly writeTimeout?: Duration.Input
  /** How long a hook may take to stop after its interruption; 10 seconds by default, then its connection is closed. */
  readonly stopTimeout?: Duration.Input
  /** How long messages in progress may take to end when the server stops; 1 minute by default. */
  readonly drainTimeout?: Duration.Input
}

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
        idle: milliseconds(options.idleTimeout, minutes(120)),
        frame: milliseconds(options.frameTimeout, minutes(1)),
        write: milliseconds(options.writeTimeout, 30_000),
        stop: milliseconds(options.stopTimeout, 10_000)
      },
      limits: {
        connections: options.maxConnections ?? 1000,
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

export const config: Config.Config<Options> = Config.all({
  maxConnections: count("MAX_CONNECTIONS"),
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
  idleTimeout: time("IDLE_TIMEOUT"),
  frameTimeout: time("FRAME_TIMEOUT"),
  writeTimeout: time("WRITE_TIMEOUT"),
  stopTimeout: time("STOP_TIMEOUT"),
  drainTimeout: time("DRAIN_TIMEOUT")
}).pipe(
  Config.map((options) =>
    Object.fromEntries(
      Object.entries(options).flatMap(([name, value]) => Option.isSome<unknown>(value) ? [[name, value.value]] : [])
    )
  ),
  Config.nested("MILTER")
)

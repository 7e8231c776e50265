/** The options of a server with their defaults, and their names in the configuration. */
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as ClientAddress from "../../ClientAddress.ts"
import * as Frame from "../../Frame.ts"
import type { Options } from "../../MilterServer.ts"
import type { Limits, Program, Timeouts } from "../engine/serverRuntime.ts"

export interface Settings {
  readonly timeouts: Timeouts
  readonly limits: Limits
  readonly peers: Program["peers"]
  /** Milliseconds that messages in progress get to end. */
  readonly drain: number
}

const minutes = (n: number): number => n * 60_000

// SMTP clients wait ten minutes for the answer to the end of a message (RFC 5321 4.5.3.2.6). Those who hear "250" later have
// gone and send it again.
const longestEndOfMessage = minutes(9)

// A piece of the body with its code.
const leastFrame = 65_536

const milliseconds = (input: Duration.Input | undefined, standard: number): number =>
  input === undefined ? standard : Duration.toMillis(input)

/** Throws `InvalidValue` for a network that is none. */
export const settingsOf = (options: Options): Settings => ({
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
    macros: options.maxMacros ?? 512,
    macroBytes: options.maxMacroBytes ?? 65_536,
    queuedPackets: options.maxQueuedPackets ?? 64,
    tooLarge: options.tooLarge ?? "reject"
  },
  peers: options.peers === undefined ? undefined : Result.getOrThrow(ClientAddress.network(options.peers)),
  drain: milliseconds(options.drainTimeout, minutes(1))
})

const count = (name: string, least = 1) =>
  Config.option(Config.schema(Schema.Int.check(Schema.isGreaterThanOrEqualTo(least)), name))

const cidrs = (list: string): ReadonlyArray<string> => list.split(/[\s,]+/).filter((cidr) => cidr !== "")

const networks = Schema.String.check(Schema.makeFilter((list) => {
  const parsed = ClientAddress.network(cidrs(list))
  return Result.isSuccess(parsed) ? undefined : parsed.failure.message
}))

const time = (name: string) => Config.option(Config.Duration(name))

export const config: Config.Config<Options> = Config.all({
  maxConnections: count("MAX_CONNECTIONS"),
  maxFrameLength: count("MAX_FRAME_LENGTH", leastFrame),
  maxHeaders: count("MAX_HEADERS"),
  maxHeaderBytes: count("MAX_HEADER_BYTES"),
  maxRecipients: count("MAX_RECIPIENTS"),
  maxBodyBytes: count("MAX_BODY_BYTES"),
  maxMacros: count("MAX_MACROS"),
  maxMacroBytes: count("MAX_MACRO_BYTES"),
  maxQueuedPackets: count("MAX_QUEUED_PACKETS"),
  tooLarge: Config.option(Config.Literals(["reject", "pass"], "TOO_LARGE")),
  peers: Config.option(Config.map(Config.schema(networks, "PEERS"), cidrs)),
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

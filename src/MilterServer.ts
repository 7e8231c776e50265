/**
 * Servers of filters. The server is one layer and the listener another, so that the same server runs on TCP, on a UNIX
 * socket (`effect-milter/node`) and in memory (`MilterTest`).
 *
 * @since 0.1.0
 */
import type * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Listener } from "./internal/server/listenerService.ts"
import * as registry from "./internal/server/registry.ts"
import { serve } from "./internal/server/serve.ts"
import type { Options, Status } from "./internal/server/serverTypes.ts"
import * as settings from "./internal/server/settings.ts"
import type { Filter, NoFailure } from "./Milter.ts"

export type { Failure } from "./internal/observe/failures.ts"
export { Listener, ListenError } from "./internal/server/listenerService.ts"
export type { Options, Status } from "./internal/server/serverTypes.ts"

/**
 * Serves a filter to every connection of the {@link Listener}.
 *
 * **Details**
 *
 * Each connection has a fiber of its own. The fiber ends, and releases what the hooks have acquired, when the connection or
 * the layer's scope closes. A filter that can still fail does not compile here; see `Milter.onFailure`.
 *
 * **Gotchas**
 *
 * - The milter protocol has neither encryption nor authentication, and by default everybody may connect: listen on a UNIX
 *   socket or on loopback, or set the option `peers`.
 * - What happens to mail while the server is down is a setting of the MTA: `milter_default_action` of Postfix, the flag `F=` of
 *   Sendmail. Without the flag Sendmail passes mail unfiltered.
 * - `commandTimeout` must be shorter than the MTA's own timeout, which is 10 seconds for Sendmail and 30 for Postfix: otherwise
 *   the MTA gives the filter up before the filter's answer comes.
 * - `endOfMessageTimeout` is 9 minutes at most: an SMTP client that waits longer than 10 minutes leaves, and sends the message
 *   again although it was accepted. Sendmail gives a filter 5 minutes in all for end of message.
 * - The limits of a message (`maxBodyBytes` and the like) refuse a larger message for good, unless `tooLarge` is `"pass"`.
 * - A stop of the layer waits for open messages up to `drainTimeout`: give the process manager at least that long.
 *
 * @see {@link layerConfig} for options from the environment
 *
 * **Example** (A filter on a TCP port)
 *
 * ```ts
 * import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
 * import * as Effect from "effect/Effect"
 * import * as Layer from "effect/Layer"
 * import * as Milter from "effect-milter/Milter"
 * import * as MilterServer from "effect-milter/MilterServer"
 * import { NodeMilterServer } from "effect-milter/node"
 * import * as Verdict from "effect-milter/Verdict"
 *
 * const Nothing = Milter.make("nothing").on({ mail: () => Effect.succeed(Verdict.continue) })
 *
 * const main = MilterServer.layer(Nothing).pipe(
 *   Layer.provide(NodeMilterServer.layer({ listen: "inet:9000@127.0.0.1" })),
 *   Layer.launch
 * )
 *
 * if (process.argv.includes("--serve")) NodeRuntime.runMain(main, { teardown: NodeMilterServer.teardown })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <R>(
  filter: Filter<NoFailure, R>,
  options: Options = {}
): Layer.Layer<never, never, R | Listener> => Layer.effectDiscard(serve(filter, options))

/**
 * Serves a filter as {@link layer} does, with options from the configuration, by default {@link config}.
 *
 * @see {@link layer}
 *
 * **Example** (Options from the environment)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Milter from "effect-milter/Milter"
 * import * as MilterServer from "effect-milter/MilterServer"
 * import * as Verdict from "effect-milter/Verdict"
 *
 * const Nothing = Milter.make("nothing").on({ mail: () => Effect.succeed(Verdict.continue) })
 *
 * // Reads MILTER_MAX_CONNECTIONS, MILTER_COMMAND_TIMEOUT and so on.
 * const server = MilterServer.layerConfig(Nothing)
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = <R>(
  filter: Filter<NoFailure, R>,
  options: Config.Config<Options> = config
): Layer.Layer<never, Config.ConfigError, R | Listener> =>
  Layer.effectDiscard(Effect.flatMap(options, (options) => serve(filter, options)))

/**
 * The configuration of all {@link Options}. The name of an option is `MILTER_` and its name in capitals, such as
 * `MILTER_MAX_CONNECTIONS` and `MILTER_COMMAND_TIMEOUT` (`8 seconds`). `MILTER_PEERS` is a list with commas or spaces.
 *
 * **Gotchas**
 *
 * An empty `MILTER_PEERS` is an error: a list that a template lost must not admit everybody.
 *
 * @category config
 * @since 0.1.0
 */
export const config: Config.Config<Options> = settings.config

/**
 * The servers of this process, each from the building of its layer until the layer is closed. For a page of an
 * administrator, or a test that waits for sessions to end.
 *
 * @category status
 * @since 0.1.0
 */
export const status: Effect.Effect<ReadonlyArray<Status>> = registry.all

/**
 * Whether this process takes connections: it has servers, and all of them listen. False once one of them drains.
 *
 * **Gotchas**
 *
 * This is a readiness probe. Do not use it as a liveness probe, which would end a process that drains; a process that answers
 * at all is alive.
 *
 * **Example** (A readiness probe)
 *
 * ```ts
 * import * as HttpRouter from "effect/http/HttpRouter"
 * import * as HttpServerResponse from "effect/http/HttpServerResponse"
 * import * as Effect from "effect/Effect"
 * import * as MilterServer from "effect-milter/MilterServer"
 *
 * const readyz = HttpRouter.add(
 *   "GET",
 *   "/readyz",
 *   Effect.map(MilterServer.isReady, (ready) => HttpServerResponse.empty({ status: ready ? 200 : 503 }))
 * )
 * ```
 *
 * @category status
 * @since 0.1.0
 */
export const isReady: Effect.Effect<boolean> = Effect.map(
  registry.all,
  (servers) => servers.length > 0 && servers.every(({ state }) => state === "listening")
)

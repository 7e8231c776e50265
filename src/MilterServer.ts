/**
 * Serves a filter. The server is one layer and listening is another, so that the same server runs on TCP, on a UNIX
 * socket (`effect-milter/node`) and in memory (`MilterTest`).
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import * as Frame from "./Frame.ts"
import * as connection from "./internal/connection.ts"
import type { Program } from "./internal/conversation.ts"
import { type Definition, resolve } from "./internal/definition.ts"
import type { Accepting } from "./internal/listener.ts"
import { wantedOf } from "./internal/wanted.ts"
import type { Filter } from "./Milter.ts"

/**
 * Where connections of MTAs come from. Provided by a listening layer: `NodeMilterServer.layer`, `EffectSocket.layer` or,
 * in tests, `MilterTest`.
 *
 * @category services
 * @since 0.1.0
 */
export class Listener extends Context.Service<Listener, {
  /** Where it listens, as `inet:9000@127.0.0.1` or `unix:/run/filter.sock`; with the real port where 0 was asked for. */
  readonly addresses: ReadonlyArray<string>
}>()("effect-milter/MilterServer/Listener") {}

/**
 * It is not possible to listen there.
 *
 * @category errors
 * @since 0.1.0
 */
export class ListenError extends Data.TaggedError("ListenError")<{
  readonly address: string
  readonly reason: "AddressInUse" | "AddressNotAvailable" | "PermissionDenied" | "InvalidAddress" | "Other"
  readonly cause: unknown
}> {
  override get message(): string {
    return `cannot listen on ${this.address}: ${explanations[this.reason]}`
  }
}

const explanations: { readonly [K in ListenError["reason"]]: string } = {
  AddressInUse: "somebody listens there already",
  AddressNotAvailable: "this host has no such address",
  PermissionDenied: "permission denied",
  InvalidAddress: "not an address to listen on",
  Other: "the system refused it"
}

/**
 * Options of {@link layer}.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * The longest frame taken from an MTA, in bytes without its length field; 1 MiB by default. Real MTAs stay below 64 KiB,
   * except for headers that another filter added. A longer one ends the connection.
   */
  readonly maxFrameLength?: number
}

/**
 * Serves a filter to every connection of the {@link Listener}: one fiber each, which ends, with all that hooks have
 * acquired, when the connection or the layer's scope closes. A filter that can still fail does not compile here; see
 * `Milter.onFailure`.
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
export const layer = <R>(filter: Filter<never, R>, options: Options = {}): Layer.Layer<never, never, R | Listener> =>
  Layer.effectDiscard(Effect.gen(function*() {
    // A filter resolves to its definition with the services in its type, which are all in this layer's type.
    const definition = yield* resolve(filter) as Effect.Effect<Definition, never, R>
    const { accept, addresses } = (yield* Listener) as Accepting // every listening layer builds one
    const program = yield* makeProgram<R>(definition, options)
    const fibers = yield* FiberSet.make<void>()
    const fork = yield* FiberSet.runtime(fibers)()
    yield* accept((transport) => {
      fork(connection.run(program, transport))
    })
    yield* Effect.logInfo(`${definition.name} listens on ${addresses.join(", ")}`)
  }))

const makeProgram = Effect.fnUntraced(function*<R>(definition: Definition, options: Options) {
  const context = yield* Effect.context<R>()
  // Scope and span of the layer are not those of a session.
  const own = Context.omit(Scope.Scope, Tracer.ParentSpan)(context as Context.Context<Scope.Scope>)
  const started = (yield* Clock.currentTimeMillis).toString(36)
  let sessions = 0
  const program: Program = {
    definition,
    wanted: wantedOf(definition),
    context: definition.services === undefined ? own : Context.merge(own, definition.services),
    maxFrameLength: options.maxFrameLength ?? Frame.defaultMaxLength,
    nextId: () => `${started}-${(++sessions).toString(36)}`
  }
  return program
})

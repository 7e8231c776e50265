/** Pages of operators that are provided to a server, as docs/operate/observability.md has it, outlive its drain. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { assert, describe, it } from "@effect/vitest"
import * as MilterClient from "effect-milter/MilterClient"
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterClient, NodeMilterServer } from "effect-milter/node"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { introducing, quiet } from "../support/listeners.ts"

const ready = HttpRouter.add(
  "GET",
  "/readyz",
  Effect.map(MilterServer.isReady, (isReady) => HttpServerResponse.empty({ status: isReady ? 200 : 503 }))
)

/** Builds a server with pages, begins a session, and closes all; gives what the pages answer in the meantime. */
const whileDraining = (
  combine: (
    server: Layer.Layer<MilterServer.Listener, MilterServer.ListenError>,
    probes: Layer.Layer<never>
  ) => Layer.Layer<MilterServer.Listener, unknown>
) =>
  Effect.gen(function*() {
    const http = createServer()
    const probes = HttpRouter.serve(Layer.mergeAll(PrometheusMetrics.layerHttp(), ready), { disableLogger: true }).pipe(
      Layer.provide(NodeHttpServer.layer(() => http, { port: 0, host: "127.0.0.1" })),
      Layer.orDie
    )
    const server = MilterServer.layer(introducing("filter")).pipe(
      Layer.provideMerge(NodeMilterServer.layer({ listen: "inet:0" }))
    )
    const scope = yield* Scope.make()
    const built = yield* Layer.buildWithScope(combine(server, probes), scope)
    const address = Context.get(built, MilterServer.Listener).addresses[0]!
    const { port } = http.address() as AddressInfo
    const status = (path: string) =>
      Effect.promise(() =>
        fetch(`http://127.0.0.1:${port}${path}`).then(
          (response) => response.status,
          () => "closed" as const
        )
      )
    const session = yield* Scope.make()
    const filter = yield* MilterClient.dial(address).pipe(
      Effect.provide(NodeMilterClient.layer),
      Scope.provide(session)
    )
    yield* filter.negotiate()
    assert.strictEqual(yield* status("/readyz"), 200)
    const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
    const draining = yield* Effect.retry(
      Effect.flatMap(status("/readyz"), (found) => found === 200 ? Effect.fail(found) : Effect.succeed(found)),
      Schedule.spaced("10 millis")
    )
    const metrics = yield* status("/metrics")
    yield* Scope.close(session, Exit.void)
    yield* Fiber.join(closing)
    return [draining, metrics, yield* status("/readyz")]
  }).pipe(Effect.provide(quiet), Effect.scoped)

describe("pages", () => {
  it.live("provided to a server stay until it has drained", () =>
    Effect.gen(function*() {
      const found = yield* whileDraining((server, probes) => Layer.provide(server, probes))
      assert.deepStrictEqual(found, [503, 200, "closed"])
    }))

  it.live("beside a server close before it drains", () =>
    Effect.gen(function*() {
      const [draining] = yield* whileDraining((server, probes) => Layer.mergeAll(server, probes))
      assert.strictEqual(draining, "closed")
    }))
})

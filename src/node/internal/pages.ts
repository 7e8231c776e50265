/** Pages for operators over HTTP: metrics for Prometheus, probes, and the state of the servers. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type * as Http from "node:http"
import * as endpoint from "../../internal/net/endpoint.ts"
import { registryOf, type Snapshot } from "../../internal/observe/mergeMetrics.ts"
import { ListenError } from "../../MilterServer.ts"
import { fromSystem } from "./listenError.ts"
import type { Supervisor } from "./supervisor.ts"
import * as unixSocket from "./unixSocket.ts"

/** What the pages show. */
export interface Source {
  readonly metrics: Effect.Effect<ReadonlyArray<Snapshot>>
  /** Whether connections are taken. */
  readonly isReady: Effect.Effect<boolean>
  readonly status: Effect.Effect<unknown>
}

export const ofWorkers = (supervisor: Supervisor): Source => ({
  metrics: supervisor.metrics,
  isReady: Effect.sync(() => supervisor.isReady),
  status: supervisor.status
})

interface Page {
  readonly status: number
  readonly type?: string
  readonly body?: string
}

const prometheus = "text/plain; version=0.0.4; charset=utf-8"

const pageOf = (path: string, { isReady, metrics, status }: Source): Effect.Effect<Page> => {
  switch (path) {
    case "/metrics":
      return Effect.gen(function*() {
        // Only where it is wanted: it brings Effect's HTTP server with it.
        const { formatUnsafe } = yield* Effect.promise(() => import("effect/observability/PrometheusMetrics"))
        const registry = registryOf(yield* metrics)
        return { status: 200, type: prometheus, body: formatUnsafe(Context.make(Metric.MetricRegistry, registry)) }
      })
    case "/live":
      return Effect.succeed({ status: 200 })
    case "/ready":
      return Effect.map(isReady, (ready) => ({ status: ready ? 200 : 503 }))
    case "/status":
      return Effect.map(status, (body) => ({
        status: 200,
        type: "application/json",
        body: `${JSON.stringify(body)}\n`
      }))
    default:
      return Effect.succeed({ status: 404 })
  }
}

const answer = (response: Http.ServerResponse, { body = "", status, type }: Page): void => {
  response.writeHead(status, { "Content-Length": Buffer.byteLength(body), ...(type && { "Content-Type": type }) })
  response.end(body)
}

/** Shows the pages until the scope closes. */
export const open = Effect.fnUntraced(function*(
  spec: string,
  access: unixSocket.Access,
  source: Source
): Effect.fn.Return<void, ListenError, Scope.Scope> {
  const parsed = endpoint.parse(spec)
  if (Result.isFailure(parsed)) {
    return yield* new ListenError({ address: spec, reason: "InvalidAddress", cause: parsed.failure })
  }
  const where = parsed.success
  const fork = Effect.runForkWith(yield* Effect.context())
  // It takes 13 MB and a sixth of the time of a start, and most servers have no pages.
  const { createServer } = yield* Effect.promise(() => import("node:http"))
  const server = createServer((request, response) => {
    const [path] = (request.url ?? "").split("?")
    if (request.method !== "GET" && request.method !== "HEAD") return answer(response, { status: 405 })
    fork(
      pageOf(path!, source).pipe(
        Effect.catchCause((cause) =>
          Effect.as(Effect.logError("a page could not be made", cause), { status: 500 } satisfies Page)
        ),
        Effect.map((page) => answer(response, page))
      )
    )
  })
  // Before the server, so that it goes after it.
  const directory = where._tag === "Unix" ? yield* unixSocket.privateDirectory(spec, where.path) : undefined
  const close = Effect.callback<void>((resume) => {
    server.close(() => resume(Effect.void))
    server.closeAllConnections()
  })
  const listen = (options: Http.ServerOptions & { path?: string; host?: string; port?: number }) =>
    Effect.callback<void, ListenError>((resume) => {
      const failed = (cause: Error): void => resume(Effect.fail(fromSystem(spec, cause)))
      server.once("error", failed)
      server.listen(options, () => {
        server.off("error", failed)
        server.on("error", () => undefined)
        resume(Effect.void)
      })
    })
  const removeFile = yield* Effect.acquireRelease(
    where._tag === "Unix"
      ? unixSocket.listen(spec, where.path, access, directory!, (path) => listen({ path }))
      : Effect.as(listen({ host: where.host, port: where.port }), () => undefined),
    (remove) => Effect.andThen(Effect.sync(remove), close)
  )
  void removeFile
})

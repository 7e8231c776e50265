/** A filter with all that operators ask for: the log as JSON, metrics and probes over HTTP and, if wanted, OpenTelemetry. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterServer } from "effect-milter/node"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Otlp from "effect/observability/Otlp"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"
import * as Option from "effect/Option"
import { createServer } from "node:http"
import { NotFromUs } from "../demo/filter.ts"
import * as command from "../support/command.ts"

const listener = Layer.unwrap(
  Effect.map(
    Config.withDefault(Config.String("MILTER_LISTEN"), "inet:9000@127.0.0.1"),
    (listen) => NodeMilterServer.layer({ listen })
  )
)

const server = MilterServer.layerConfig(NotFromUs).pipe(Layer.provide(listener))

const pages = Layer.mergeAll(
  PrometheusMetrics.layerHttp(),
  HttpRouter.add("GET", "/livez", Effect.succeed(HttpServerResponse.empty({ status: 200 }))),
  HttpRouter.add(
    "GET",
    "/readyz",
    Effect.map(MilterServer.isReady, (ready) => HttpServerResponse.empty({ status: ready ? 200 : 503 }))
  ),
  HttpRouter.add("GET", "/status", Effect.map(MilterServer.status, HttpServerResponse.jsonUnsafe))
)

const probes = HttpRouter.serve(pages, { disableLogger: true }).pipe(
  Layer.provide(NodeHttpServer.layerConfig(createServer, {
    host: Config.succeed("127.0.0.1"),
    port: Config.withDefault(Config.Port("HTTP_PORT"), 9464)
  }))
)

const telemetry = Layer.unwrap(Effect.map(Config.option(Config.String("OTLP")), (collector) =>
  Option.isNone(collector)
    ? Layer.empty
    : Otlp.layerJson({ baseUrl: collector.value, resource: { serviceName: "not-from-us" } }).pipe(
      Layer.provide(FetchHttpClient.layer)
    )))

command.runLayer({
  name: "observability",
  description: "A filter with its log as JSON, metrics, probes and OpenTelemetry",
  layer: server.pipe(
    // Before the server, so that the pages outlive its drain.
    Layer.provide(probes),
    Layer.provide(telemetry),
    Layer.provide(Logger.layer([Logger.consoleJson]))
  )
})

/**
 * A filter with everything that operators ask for: the log as JSON, metrics, probes and, with OTLP=http://…, a collector.
 *
 * npx node -C effect-milter-source examples/observability/observability.ts [inet:9000@127.0.0.1 [9464]]
 * curl http://127.0.0.1:9464/metrics; curl -i http://127.0.0.1:9464/readyz
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterServer } from "effect-milter/node"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Otlp from "effect/observability/Otlp"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"
import { createServer } from "node:http"
import { NotFromUs } from "../demo/filter.ts"
import * as command from "../support/command.ts"

const [, , listen = "inet:9000@127.0.0.1", port = "9464"] = process.argv

const server = MilterServer.layer(NotFromUs).pipe(Layer.provide(NodeMilterServer.layer({ listen })))

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
  Layer.provide(
    Layer.unwrap(
      Effect.map(command.portOf(port), (port) => NodeHttpServer.layer(createServer, { port, host: "127.0.0.1" }))
    )
  )
)

const collector = process.env["OTLP"]

const telemetry = collector === undefined
  ? Layer.empty
  : Otlp.layerJson({ baseUrl: collector, resource: { serviceName: "not-from-us" } }).pipe(
    Layer.provide(FetchHttpClient.layer)
  )

const main = Layer.mergeAll(server, probes).pipe(
  Layer.provide(telemetry),
  Layer.provide(Logger.layer([Logger.consoleJson]))
)

command.runProgram("observability", Layer.launch(main))

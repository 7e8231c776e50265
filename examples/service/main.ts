/** The service with a milter: what is new beside before.ts is all here, and filter.ts. */
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterServer } from "effect-milter/node"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as command from "../support/command.ts"
import { refuseBlocked } from "./filter.ts"
import * as service from "./service.ts"

const listener = Layer.unwrap(
  Effect.map(
    Config.withDefault(Config.String("MILTER_LISTEN"), "inet:9000@127.0.0.1"),
    (listen) => NodeMilterServer.layer({ listen })
  )
)

const milter = MilterServer.layerConfig(refuseBlocked).pipe(Layer.provide(listener))

const readyz = HttpRouter.add(
  "GET",
  "/readyz",
  Effect.map(MilterServer.isReady, (ready) => HttpServerResponse.empty({ status: ready ? 200 : 503 }))
)

const http = service.serve(Layer.merge(service.routes, readyz))

command.runLayer({
  name: "service",
  description: "Who does not want mail from whom: an HTTP API, and a milter that keeps to it",
  layer: Layer.mergeAll(http, milter).pipe(Layer.provide(service.services))
})

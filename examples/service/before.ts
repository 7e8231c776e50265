/** The service without a milter. */
import * as Layer from "effect/Layer"
import * as command from "../support/command.ts"
import * as service from "./service.ts"

command.runLayer({
  name: "service",
  description: "Who does not want mail from whom: an HTTP API",
  layer: service.serve(service.routes).pipe(Layer.provide(service.services))
})

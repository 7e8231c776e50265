/** The service as it was before it met a milter: an HTTP API, a database, configuration, a log and metrics. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import type * as SqlError from "effect/sql/SqlError"
import { createServer } from "node:http"
import * as postgres from "../support/postgres.ts"
import { BlockedSenders, migrations } from "./blockedSenders.ts"

// --- the API

const Account = Schema.String.check(Schema.isPattern(/^[^\s\p{Cc}@]+@[^\s\p{Cc}@]+$/u))
const AccountAndSender = Schema.Struct({
  account: Account,
  sender: Schema.String.check(Schema.isPattern(/^([^\s\p{Cc}@]+@)?[^\s\p{Cc}@]+$/u))
})

const answered = <R>(
  effect: Effect.Effect<HttpServerResponse.HttpServerResponse, Schema.SchemaError | SqlError.SqlError, R>
) =>
  Effect.catchTags(effect, {
    SchemaError: () => Effect.succeed(HttpServerResponse.text("not an address", { status: 400 })),
    SqlError: (error) =>
      Effect.as(
        Effect.logError(`no answer from the database: ${postgres.explain(error)}`),
        HttpServerResponse.text("try again later", { status: 503 })
      )
  })

const empty = HttpServerResponse.empty({ status: 204 })

export const routes = Layer.mergeAll(
  HttpRouter.add(
    "GET",
    "/accounts/:account/blocked",
    answered(Effect.gen(function*() {
      const { account } = yield* HttpRouter.schemaPathParams(Schema.Struct({ account: Account }))
      const blocked = yield* BlockedSenders
      return HttpServerResponse.jsonUnsafe(yield* blocked.list(account))
    }))
  ),
  HttpRouter.add(
    "PUT",
    "/accounts/:account/blocked/:sender",
    answered(Effect.gen(function*() {
      const { account, sender } = yield* HttpRouter.schemaPathParams(AccountAndSender)
      const blocked = yield* BlockedSenders
      yield* blocked.add(account, sender)
      return empty
    }))
  ),
  HttpRouter.add(
    "DELETE",
    "/accounts/:account/blocked/:sender",
    answered(Effect.gen(function*() {
      const { account, sender } = yield* HttpRouter.schemaPathParams(AccountAndSender)
      const blocked = yield* BlockedSenders
      yield* blocked.remove(account, sender)
      return empty
    }))
  ),
  PrometheusMetrics.layerHttp()
)

/** Answers to HTTP, on `HTTP_PORT`. */
export const serve = <E, R>(routes: Layer.Layer<never, E, R>) =>
  HttpRouter.serve(routes, { routerConfig: { maxParamLength: 320 } }).pipe(
    Layer.provide(NodeHttpServer.layerConfig(createServer, {
      host: Config.succeed("127.0.0.1"),
      port: Config.withDefault(Config.Port("HTTP_PORT"), 8025)
    }))
  )

// --- what it stands on

const database = Layer.unwrap(Effect.gen(function*() {
  const url = yield* Config.Redacted("DATABASE_URL")
  if (!postgres.isUrl(url)) {
    return yield* new postgres.NoDatabase({
      message: "DATABASE_URL is no address such as postgres://user@host:5432/name"
    })
  }
  return postgres.layer(url, { name: "blocked_senders", migrations })
}))

const telemetry = Layer.merge(
  Logger.layer([Logger.consoleJson]),
  Layer.effect(References.MinimumLogLevel, Config.withDefault(Config.LogLevel("LOG_LEVEL"), "Info"))
)

/** All that HTTP needs, and whoever else wants to use it. */
export const services = BlockedSenders.layer.pipe(Layer.provide(database), Layer.provideMerge(telemetry))

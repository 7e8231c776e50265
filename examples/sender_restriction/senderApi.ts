/** Asks an HTTP API who may send what. */
import * as Cache from "effect/Cache"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as CircuitBreaker from "effect/persistence/CircuitBreaker"
import type * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"

/** What is sent, as JSON, by POST. */
export const Question = Schema.Struct({
  login: Schema.String,
  /** The envelope sender; empty for the null sender. */
  sender: Schema.String,
  client: Schema.String,
  /** Only where the message has the header for it. */
  campaign: Schema.optionalKey(Schema.String)
})
export type Question = typeof Question.Type

/** What comes back, with status 200. The text is for the person who sends. */
export const Answer = Schema.Struct({ allow: Schema.Boolean, text: Schema.optionalKey(Schema.String) })
export type Answer = typeof Answer.Type

/** There is no answer. */
export class NoAnswer extends Data.TaggedError("NoAnswer")<{ readonly message: string }> {}

export interface Options {
  readonly url: string
  readonly token?: Redacted.Redacted
  /** For all attempts together. */
  readonly timeout: Duration.Duration
  /** How long an answer counts. */
  readonly timeToLive: Duration.Duration
  /** How many answers are kept. */
  readonly capacity: number
}

export class SenderApi extends Context.Service<SenderApi, {
  readonly ask: (question: Question) => Effect.Effect<Answer, NoAnswer>
}>()("examples/sender_restriction/SenderApi") {
  static readonly layer = (options: Options): Layer.Layer<SenderApi, never, HttpClient.HttpClient> =>
    Layer.effect(SenderApi, make(options)).pipe(Layer.provide(CircuitBreaker.layerStoreMemory()))
}

const make = Effect.fnUntraced(function*({ capacity, timeout, timeToLive, token, url }: Options) {
  const client = (yield* HttpClient.HttpClient).pipe(
    HttpClient.mapRequest(HttpClientRequest.acceptJson),
    HttpClient.mapRequest((request) => token === undefined ? request : HttpClientRequest.bearerToken(request, token)),
    HttpClient.filterStatusOk,
    // Once: the network may hiccup, and meanwhile somebody waits.
    HttpClient.retryTransient({ times: 1, schedule: Schedule.exponential("100 millis") })
  )
  // An API that is down is left alone: each message would wait for nothing but the timeout.
  const breaker = yield* CircuitBreaker.make({ tripPolicy: CircuitBreaker.consecutive(5), openDuration: "10 seconds" })

  const request = (question: Question) =>
    client.execute(HttpClientRequest.bodyJsonUnsafe(HttpClientRequest.post(url), question)).pipe(
      Effect.flatMap(HttpClientResponse.schemaBodyJson(Answer)),
      Effect.timeout(timeout),
      breaker.execute({ key: url }),
      Effect.mapError((error) => new NoAnswer({ message: explain(error, timeout) }))
    )

  // In front of all that, so that what is known is known while the API is down. That there was no answer is not kept.
  const cache = yield* Cache.makeWith(request, {
    capacity,
    timeToLive: (exit) => Exit.isSuccess(exit) ? timeToLive : Duration.zero
  })

  return SenderApi.of({ ask: (question) => Cache.get(cache, question) })
})

const explain = (error: { readonly _tag: string; readonly message: string }, timeout: Duration.Duration): string => {
  switch (error._tag) {
    case "TimeoutError":
      return `no answer within ${Duration.format(timeout)}`
    case "CircuitBreakerError":
      return "not asked, it has not answered several times in a row"
    case "SchemaError":
      return "it does not say {\"allow\": true} or {\"allow\": false, \"text\": …}"
    default:
      return error.message
  }
}

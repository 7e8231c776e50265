/** `effect-milter status`: shows the state of a running `serve`, from its pages. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Http from "node:http"
import * as endpoint from "../../internal/net/endpoint.ts"
import { style } from "../terminal/style.ts"
import * as exit from "../trouble/exit.ts"
import { report, samplesOf, Status } from "./statusReport.ts"

interface Page {
  readonly code: number
  readonly body: string
}

// Far above any page of a server; what answers may be anything.
const mostBytes = 16 * 1024 * 1024

const patience = 10_000

const codeOf = (error: unknown): unknown =>
  typeof error === "object" && error !== null && "code" in error ? error.code : undefined

const noPage = (spec: string): string =>
  `what listens on ${spec} has no page /status: give the address of serve --http, not of the filter`

const get = (spec: string, where: endpoint.Endpoint, path: string): Effect.Effect<Page, exit.Trouble> =>
  Effect.callback((resume) => {
    const failed = (error: unknown): void =>
      resume(
        exit.trouble(
          codeOf(error) === "ECONNREFUSED" || codeOf(error) === "ENOENT"
            ? `there are no pages at ${spec}: start serve with --http ${spec}, or correct SPEC`
            : codeOf(error) === "ECONNRESET" || String(codeOf(error)).startsWith("HPE_")
            ? noPage(spec)
            : `cannot read ${path} at ${spec}: ${exit.lineOf(error)}`
        )
      )
    const address = where._tag === "Unix" ? { socketPath: where.path } : { host: where.host, port: where.port }
    const request = Http.get({ ...address, path, timeout: patience, agent: false }, (response) => {
      let body = ""
      response.setEncoding("utf8").on("data", (text: string) => {
        body += text
        if (body.length > mostBytes) request.destroy(new Error("the page is too long"))
      })
      response.on("error", failed)
      response.on("end", () => resume(Effect.succeed({ code: response.statusCode ?? 0, body })))
    })
    request.on("timeout", () => request.destroy(new Error(`no answer within ${patience / 1000} s`)))
    request.on("error", failed)
    return Effect.sync(() => void request.destroy())
  })

const decode = Schema.decodeUnknownResult(Schema.fromJsonString(Status))

const run = Effect.fnUntraced(function*({ spec }: { readonly spec: string }) {
  const where = yield* Effect.fromResult(
    Result.mapError(endpoint.parse(spec), () => exit.trouble(`${spec} is not an address: give that of serve --http`))
  )
  const status = decode((yield* get(spec, where, "/status")).body)
  if (Result.isFailure(status)) {
    return yield* exit.trouble(noPage(spec))
  }
  const ready = yield* get(spec, where, "/ready")
  const { body } = yield* get(spec, where, "/metrics")
  process.stdout.write(report(status.success, ready.code === 200, samplesOf(body), yield* style))
})

export const status = Command.make(
  "status",
  {
    spec: Argument.String("SPEC").pipe(Argument.withDescription("The address that serve has in --http"))
  },
  run
).pipe(
  Command.withDescription(
    "Shows the state of a running serve: its workers and their sessions, what became of messages, verdicts, slow hooks, errors, the last failures"
  ),
  Command.withShortDescription("Shows the state of a running serve"),
  Command.withExamples([{ command: "effect-milter status inet:9464" }])
)

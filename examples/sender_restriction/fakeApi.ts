/**
 * An API to try the filter with: alice may send as herself and for example.net, and the campaign `spring` is approved.
 *
 * npx node -C effect-milter-source examples/sender_restriction/fakeApi.ts [PORT]
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import { createServer } from "node:http"
import { fileURLToPath } from "node:url"
import * as command from "../support/command.ts"
import { type Answer, Question } from "./senderApi.ts"

const answer = ({ campaign, login, sender }: Question): Answer => {
  if (login !== "alice") return { allow: false, text: `${login} may not send mail` }
  if (sender !== "alice@example.org" && !sender.endsWith("@example.net")) {
    return { allow: false, text: `alice may not send as <${sender}>` }
  }
  return campaign === undefined || campaign === "spring"
    ? { allow: true }
    : { allow: false, text: `The campaign ${campaign} is not approved` }
}

/** POST /check. */
export const layer = HttpRouter.serve(
  HttpRouter.add(
    "POST",
    "/check",
    Effect.gen(function*() {
      const question = yield* HttpServerRequest.schemaBodyJson(Question)
      return HttpServerResponse.jsonUnsafe(answer(question))
    })
  )
)

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , port = "8025"] = process.argv
  const server = Layer.unwrap(
    Effect.map(command.portOf(port), (port) => NodeHttpServer.layer(createServer, { port, host: "127.0.0.1" }))
  )
  command.runProgram("fakeApi", Layer.launch(Layer.provide(layer, server)))
}

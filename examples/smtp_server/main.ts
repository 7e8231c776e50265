/** Runs the server; a message that passes is printed, where a real server would deliver it. */
import { NodeMilterClient, NodeSmtpServer } from "effect-milter/node"
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as command from "../support/command.ts"
import { listen } from "./server.ts"

const server = Effect.gen(function*() {
  const filters = (yield* Config.withDefault(Config.String("MILTERS"), "")).split(/[\s,]+/).filter((text) =>
    text !== ""
  )
  const port = yield* listen(
    yield* Config.withDefault(Config.Port("SMTP_PORT"), 2525),
    filters,
    (mail) =>
      Effect.flatMap(
        NodeSmtpServer.toBytes(mail),
        (message) =>
          Console.log(`from <${mail.sender}> to ${mail.recipients.join(", ")}\n\n${new TextDecoder().decode(message)}`)
      )
  )
  yield* Effect.logInfo(`smtp_server listens on port ${port} and asks ${filters.join(" and ") || "no filter"}`)
})

command.runLayer({
  name: "smtp_server",
  description: "An SMTP server that asks the milters in MILTERS and prints the messages that they let pass",
  layer: Layer.effectDiscard(server).pipe(Layer.provide(NodeMilterClient.layer))
})

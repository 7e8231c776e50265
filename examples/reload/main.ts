/** Serves the filter, and reads its list again at SIGHUP. */
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterServer } from "effect-milter/node"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as command from "../support/command.ts"
import { Blocked, Blocklist } from "./filter.ts"

const listener = Layer.unwrap(Effect.gen(function*() {
  const listen = yield* Config.withDefault(Config.String("MILTER_LISTEN"), "inet:9000@127.0.0.1")
  const { reload } = yield* Blocked
  return NodeMilterServer.layer({ listen, onReload: reload })
}))

const blocked = Layer.unwrap(
  Effect.map(Config.withDefault(Config.String("MILTER_BLOCKED"), "blocked.txt"), Blocked.layer)
)

command.runLayer({
  name: "reload",
  description: "Refuses mail from and to the domains of a file, which SIGHUP reads again",
  // One service, for the filter and for the listener, which reloads it.
  layer: MilterServer.layerConfig(Blocklist).pipe(
    Layer.provide(listener),
    Layer.provide(blocked),
    Layer.provide(NodeServices.layer)
  )
})

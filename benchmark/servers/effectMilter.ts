/** The server under test: every stage has a hook, end of message adds a header. With `quiet` it does not log. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterServer } from "effect-milter/node"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import { blocked, Filter } from "./filters.ts"

MilterServer.layer(Filter).pipe(
  Layer.provide(blocked),
  Layer.provide(NodeMilterServer.layer({ listen: `unix:${process.argv[2]}` })),
  Layer.tap(() => Effect.sync(() => process.send?.("listening"))),
  Layer.launch,
  Effect.provideService(References.MinimumLogLevel, process.argv[3] === "quiet" ? "Warn" : "Info"),
  NodeRuntime.runMain({ teardown: NodeMilterServer.teardown })
)

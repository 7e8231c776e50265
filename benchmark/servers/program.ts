/** The program of both servers of ours: one filter, or five, on the address of the command line. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterServer } from "effect-milter/node"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import { blocked, Filter, Five } from "./filters.ts"

const [, , listen, ...options] = process.argv

// The comparison asks for what is left after a garbage collection.
process.on("message", () => {
  ;(globalThis.gc as () => void)()
  process.send!(process.memoryUsage())
})

// A cell of the comparison has 10,000; the server accepts no more than this, and the others would wait.
const limits = { maxConnections: 20_000 }

/** Serves until the process is ended; `log` is the layer of the logger. */
export const serve = (log: Layer.Layer<never>): void =>
  MilterServer.layer(options.includes("five") ? Five : Filter, limits).pipe(
    Layer.provide(blocked),
    Layer.provide(NodeMilterServer.layer({ listen: listen! })),
    Layer.provide(log),
    Layer.launch,
    Effect.provideService(References.MinimumLogLevel, options.includes("quiet") ? "Warn" : "Info"),
    NodeRuntime.runMain({ teardown: NodeMilterServer.teardown })
  )

/** A server of several processes whose hook at end of message keeps a core busy for 5 ms. Arguments: the path, the workers. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Milter from "effect-milter/Milter"
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterServer } from "effect-milter/node"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import { blocked, Filter } from "./filters.ts"

const busy = 5000

/** Waits for CPU time and not for the clock: the machine may be doing other things. */
const burn = (): Verdict.Continue => {
  const started = process.threadCpuUsage()
  for (;;) {
    const { system, user } = process.threadCpuUsage(started)
    if (system + user >= busy) return Verdict.continue
  }
}

const Busy = Milter.make("busy").on({ endOfMessage: () => Effect.sync(burn) })

// The load waits for an answer at every stage.
const server = MilterServer.layer(Milter.sequence([Filter, Busy])).pipe(Layer.provide(blocked))

NodeMilterServer.workers(server, {
  listen: `unix:${process.argv[2]}`,
  workers: Number(process.argv[3])
}).pipe(
  Effect.provideService(References.MinimumLogLevel, "Warn"),
  NodeRuntime.runMain({ teardown: NodeMilterServer.teardown })
)

/** A program in several processes; see `Program` in ../workersProcess.ts. Its filter refuses all senders with what a file says. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterServer } from "effect-milter/node"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Fs from "node:fs"
import { introducing } from "../listeners.ts"
import type { Program } from "../workersProcess.ts"

const { drainTimeout, file, maxConnections, maxSilentConnections, ...options }: Program = JSON.parse(
  process.argv[2] ?? ""
)

const server = Layer.unwrap(Effect.gen(function*() {
  const name = Fs.readFileSync(file, "utf8")
  // As one that waits for its database.
  if (name === "late") yield* Effect.sleep("1 second")
  if (name === "broken" || name === "late") return yield* Effect.die(new Error("the program is broken"))
  const served = MilterServer.layer(introducing(name), {
    ...(maxConnections === undefined ? {} : { maxConnections }),
    ...(maxSilentConnections === undefined ? {} : { maxSilentConnections }),
    ...(drainTimeout === undefined ? {} : { drainTimeout })
  })
  return name === "slow" ? Layer.tap(served, () => Effect.never) : served
}))

NodeRuntime.runMain(
  NodeMilterServer.workers(server, { ...options, onReload: Effect.log("reloads") }),
  { teardown: NodeMilterServer.teardown }
)

/** A program as users write it, told by its argument what to serve; see `Program` in ../serverProcess.ts. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterServer } from "effect-milter/node"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { markOverrun } from "../../../src/internal/server/drainState.ts"
import { introducing } from "../listeners.ts"
import type { Program } from "../serverProcess.ts"

const program: Program = JSON.parse(process.argv[2] ?? "")

const reload = program.reload === "fails" ? Effect.fail("no such file") : Effect.log("reloaded")

const servers = Object.entries(program.servers).map(([name, options]) =>
  MilterServer.layer(introducing(name)).pipe(
    Layer.provide(
      NodeMilterServer.layer({ ...options, ...(program.reload === undefined ? {} : { onReload: reload }) })
    )
  )
)

/** What else such a program has to release: before the servers, or after them. */
const resource = (name: string, release: Effect.Effect<void>) =>
  Layer.effectDiscard(Effect.addFinalizer(() => Effect.andThen(Effect.log(`releases ${name}`), release)))

/** What such a program may wait for before it listens. */
const earlier = program.waits === true
  ? Layer.effectDiscard(Effect.andThen(Effect.log("waits"), Effect.never))
  : Layer.empty

const main = Layer.mergeAll(Layer.empty, ...servers).pipe(
  Layer.provide(earlier),
  Layer.provide(resource("last", program.hangs === "last" ? Effect.never : Effect.void)),
  (all) =>
    resource("first", program.hangs === "first" ? Effect.never : Effect.sync(() => program.overrun && markOverrun()))
      .pipe(Layer.provide(all)),
  Layer.launch,
  (launched) => Effect.andThen(Effect.log(`process ${process.pid}`), launched),
  Effect.tapCause((cause) => Effect.logError("ends", cause))
)

if (program.floats === true) process.once("SIGUSR2", () => void Promise.reject(new Error("nobody waits for this")))

if (program.runMain === false) Effect.runFork(main)
else NodeRuntime.runMain(main, { teardown: NodeMilterServer.teardown, disableErrorReporting: true })

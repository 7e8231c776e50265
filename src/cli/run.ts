/** Runs the program `effect-milter` with the arguments of this process. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import { teardown } from "../node/NodeMilterServer.ts"
import { isEndless } from "./endless.ts"
import { program } from "./program.ts"
import { version } from "./version.ts"

program(process.argv.slice(2), version).pipe(
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain({
    teardown: (exit, onExit) => isEndless() ? teardown(exit, onExit) : Runtime.defaultTeardown(exit, onExit)
  })
)

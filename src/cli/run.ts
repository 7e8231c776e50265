/** Runs the program `effect-milter` with the arguments of this process. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import * as Fs from "node:fs"
import { teardown } from "../node/NodeMilterServer.ts"
import { isEndless } from "./endless.ts"
import { program } from "./program.ts"

// The same relative path from src/cli and from dist/cli.
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- our own package.json
const { version } = JSON.parse(Fs.readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  readonly version: string
}

program(process.argv.slice(2), version).pipe(
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain({
    teardown: (exit, onExit) => isEndless() ? teardown(exit, onExit) : Runtime.defaultTeardown(exit, onExit)
  })
)

/** The one-file bundle of docs/choose/speed.md: it serves where nothing else is installed. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as MilterClient from "effect-milter/MilterClient"
import { NodeMilterClient } from "effect-milter/node"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { blocksOf } from "../../scripts/docs/steps.ts"
import { root } from "../../scripts/repository.ts"
import { spawn } from "../../testbed/childProcess.ts"
import * as Listeners from "../support/listeners.ts"

const program = `
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Milter from "effect-milter/Milter"
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterServer } from "effect-milter/node"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

const Filter = Milter.make("bundled", { modify: ["addHeader"] }).on({
  endOfMessage: (_, { edit }) => Effect.as(edit.addHeader("X-Bundled", "yes"), Verdict.continue)
})

MilterServer.layer(Filter).pipe(
  Layer.provide(NodeMilterServer.layer({ listen: process.argv[2]! })),
  Layer.launch,
  NodeRuntime.runMain({ teardown: NodeMilterServer.teardown })
)
`

/** The commands of the page, as lists of words. */
const commands = (): ReadonlyArray<ReadonlyArray<string>> =>
  blocksOf(Fs.readFileSync(Path.join(root, "docs/choose/speed.md"), "utf8"))
    .filter(({ language }) => language === "sh")
    .flatMap(({ text }) => text.trim().split("\n").map((line) => line.split(" ")))

describe("docs/choose/speed.md", () => {
  it.live("a bundle is one file that serves", () =>
    Effect.gen(function*() {
      const [build, start] = commands()
      assert.deepStrictEqual(build!.slice(0, 3), ["npx", "esbuild", "filter.ts"])
      assert.deepStrictEqual(start, ["node", "filter.mjs"])
      // Below the repository, so that names of packages lead somewhere; the bundle then moves to where they do not.
      Fs.mkdirSync(Path.join(root, "test-results"), { recursive: true })
      const source = yield* Effect.acquireRelease(
        Effect.sync(() => Fs.mkdtempSync(Path.join(root, "test-results/bundle-"))),
        (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true }))
      )
      Fs.writeFileSync(Path.join(source, "filter.ts"), program)
      ChildProcess.execFileSync(
        "npx",
        [...build!.slice(1), "--conditions=effect-milter-source", "--log-level=warning"],
        {
          cwd: source,
          stdio: "inherit"
        }
      )
      const directory = yield* Listeners.directory
      const file = Path.join(directory, "filter.mjs")
      Fs.copyFileSync(Path.join(source, "filter.mjs"), file)
      const socket = `unix:${directory}/filter.sock`
      const server = yield* spawn(process.execPath, [file, socket])
      yield* server.shows(/bundled listens on /)
      const outcome = yield* MilterClient.dial(socket, { as: MilterClient.postfix }).pipe(
        Effect.flatMap((filter) => filter.sendMessage({ from: "alice@example.net", to: "bob@example.org" })),
        Effect.provide(NodeMilterClient.layer),
        Effect.scoped
      )
      assert.deepStrictEqual(outcome.modifications.map(({ _tag }) => _tag), ["AddHeader"])
      yield* server.signal("SIGTERM")
      assert.strictEqual(yield* server.exit, 0)
    }))
})

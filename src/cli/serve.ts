/** `effect-milter serve`: serves the filter of a module, and prints the lines for the MTA's configuration. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as MilterServer from "../MilterServer.ts"
import { layer as listenerLayer } from "../node/NodeMilterServer.ts"
import * as endless from "./endless.ts"
import * as exit from "./exit.ts"
import { listenTrouble } from "./listenTrouble.ts"
import { loadFilter, type Served } from "./loadFilter.ts"
import { mtaLines } from "./mtaLines.ts"
import * as specs from "./specs.ts"

const flags = {
  file: specs.pathArgument("FILE").pipe(
    Argument.withDescription("A module (.ts or .js) that exports by default a filter, or MilterServer.layer of one")
  ),
  listen: specs.listenAddress("listen").pipe(
    Flag.withDescription("Where the MTA connects to; can be repeated"),
    Flag.atLeast(1)
  ),
  mode: specs.mode
}

/** `… at MILTER_MAX_CONNECTIONS`, where Effect shows how it nests. */
const configLine = (error: unknown): string =>
  exit.lineOf(error)
    .replace(/^ConfigError\((?:\w+Error\()?(.*?)\)*$/, "$1")
    .replace(/(?:\["\w+"\])+/g, (path) => path.slice(2, -2).replaceAll("\"][\"", "_"))

/** A filter is served with the options of the environment; a layer brings its own. */
const serverOf = Effect.fnUntraced(function*(served: Served) {
  if (served._tag === "Server") return { options: {}, server: served.layer }
  const options = yield* Effect.mapError(
    Effect.gen(function*() {
      return yield* MilterServer.config
    }),
    (error) => exit.trouble(`the environment is not in order: ${configLine(error)}`)
  )
  return { options, server: MilterServer.layer(served.filter, options) }
})

const serve_ = Effect.fnUntraced(function*(given: {
  readonly file: string
  readonly listen: ReadonlyArray<string>
  readonly mode: number
}) {
  const { options, server } = yield* serverOf(yield* loadFilter(given.file))
  yield* endless.markEndless
  yield* Layer.build(Layer.provide(server, listenerLayer({ listen: given.listen, mode: given.mode }))).pipe(
    Effect.mapError((error) =>
      error instanceof MilterServer.ListenError
        ? listenTrouble(error)
        : exit.trouble(`${given.file} cannot be served: ${exit.lineOf(error)}`)
    ),
    Effect.catchDefect((defect) => exit.trouble(`${given.file} cannot be served: ${exit.lineOf(defect)}`))
  )
  if (process.geteuid?.() === 0) {
    process.stderr.write(
      "effect-milter: this filter runs as root, which no milter needs: start it as a user of its own\n"
    )
  }
  for (const { addresses, filter } of yield* MilterServer.status) {
    process.stdout.write(mtaLines(filter, addresses, options))
  }
  return yield* Effect.never
})

export const serve = Command.make("serve", flags, (given) => Effect.scoped(serve_(given))).pipe(
  Command.withDescription(
    "Serves the filter that a module exports, and prints the lines for Postfix and Sendmail. Options of the server come " +
      "from the environment (MILTER_MAX_CONNECTIONS and so on). Ends at SIGTERM or Ctrl-C, with exit code 0"
  ),
  Command.withShortDescription("Serves the filter that a module exports"),
  Command.withExamples([{ command: "effect-milter serve filter.ts --listen inet:9000@127.0.0.1" }])
)

/** Both filters of every variant, serving on UNIX sockets of one temporary directory. */
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterServer } from "effect-milter/node"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import type * as Scope from "effect/Scope"
import * as Path from "node:path"
import { type VariantName, variants } from "./filter.ts"
import { Peer } from "./peer.ts"
import * as Reference from "./reference.ts"

export class Servers extends Context.Service<Servers, {
  /** Opens a connection to both filters of a variant; `patience` is how long an answer is waited for, in milliseconds. */
  readonly open: (
    variant: VariantName,
    patience?: number
  ) => Effect.Effect<{ readonly theirs: Peer; readonly ours: Peer }, never, Scope.Scope>
  /** What this library has logged as errors since the last call: hooks that died, finalizers that failed. */
  readonly takeErrors: () => ReadonlyArray<string>
}>()("effect-milter/test/Servers") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function*() {
      const errors: Array<string> = []
      const logger = Logger.make<unknown, void>(({ logLevel, message }) => {
        if (logLevel === "Error" || logLevel === "Fatal") errors.push(String(message))
      })
      const directory = yield* Reference.temporaryDirectory
      const program = yield* Reference.compile(directory)
      const path = (name: string) => Path.join(directory, name)
      for (const [name, variant] of Object.entries(variants)) {
        // libmilter's order of commands is one for all connections of its process, so each variant has its own.
        yield* Reference.start(program, path(`${name}.libmilter`), variant)
        yield* Layer.build(
          MilterServer.layer(variant.filter).pipe(
            Layer.provide(NodeMilterServer.layer({ listen: `unix:${path(name)}` })),
            Layer.provide(Logger.layer([logger]))
          )
        )
      }
      return {
        takeErrors: () => errors.splice(0),
        open: (variant, patience) =>
          Effect.all({
            theirs: Peer.connect(path(`${variant}.libmilter`), patience),
            ours: Peer.connect(path(variant), patience)
          })
      }
    })
  )
}

/** Loads the module that `serve` serves. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { pathToFileURL } from "node:url"
import { type Filter, isFilter } from "../Milter.ts"
import type { Listener } from "../MilterServer.ts"
import * as exit from "./exit.ts"
import { oldestText } from "./nodeVersion.ts"

export type Served =
  | { readonly _tag: "Filter"; readonly filter: Filter<never, never> }
  | { readonly _tag: "Server"; readonly layer: Layer.Layer<never, unknown, Listener> }

const howTo = "write `export default Milter.make(…).on({ … })`"

const failed = (file: string, error: unknown): exit.Trouble => {
  const line = exit.lineOf(error)
  const code = typeof error === "object" && error !== null && "code" in error ? error.code : undefined
  return exit.trouble(
    code === "ERR_UNKNOWN_FILE_EXTENSION" || code === "ERR_UNSUPPORTED_NODE_MODULES_TYPE_STRIPPING"
      ? `${file} cannot be loaded by this Node: build it and serve the .js file, or use Node ${oldestText} or later (${line})`
      : `${file} cannot be loaded: ${line}`
  )
}

/** Loads a module and checks its default export: a filter, or a layer that serves one and needs only a Listener. */
export const loadFilter = Effect.fnUntraced(function*(file: string): Effect.fn.Return<Served, exit.Trouble> {
  const path = Path.resolve(file)
  if (!Fs.existsSync(path)) return yield* exit.trouble(`there is no ${file}: give the module of a filter`)
  const module = yield* Effect.tryPromise({
    try: (): Promise<{ readonly [name: string]: unknown }> => import(pathToFileURL(path).href),
    catch: (error) => failed(file, error)
  })
  const { default: value } = module
  // Types are gone: whether it still needs services or can fail shows when it runs, and is logged then.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- see above
  if (isFilter(value)) return { _tag: "Filter", filter: value as Filter<never, never> }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- see above
  if (Layer.isLayer(value)) return { _tag: "Server", layer: value as unknown as Layer.Layer<never, unknown, Listener> }
  const name = Object.keys(module).find((name) => isFilter(module[name]))
  return yield* exit.trouble(
    value !== undefined
      ? `the default export of ${file} is not a filter: ${howTo}`
      : name === undefined
      ? `${file} exports no filter by default: ${howTo}`
      : `${file} exports no filter by default: add \`export default ${name}\``
  )
})

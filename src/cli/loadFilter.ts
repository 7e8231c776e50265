/** Loads the module that `serve` serves. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { type Filter, isFilter, sequence } from "../Milter.ts"
import type { Listener } from "../MilterServer.ts"
import { oldestText } from "./nodeVersion.ts"
import * as exit from "./trouble/exit.ts"

export type Served =
  | { readonly _tag: "Filter"; readonly filter: Filter<never, never> }
  | { readonly _tag: "Server"; readonly layer: Layer.Layer<never, unknown, Listener> }

const howTo = "write `export default Milter.make(…).on({ … })`"

/** `filter.ts:3:12: Unexpected token`, from what Node prints of a module that it cannot parse. */
const placeIn = (printed: string): string | undefined => {
  const [, location, line, source] = /^((?:file:\/\/)?\/\S+?):(\d+)\n([^]*?)\n(?=\w*Error)/m.exec(printed) ?? []
  if (location === undefined || line === undefined) return undefined
  const path = location.startsWith("file:") ? fileURLToPath(location) : location
  const marked = /^( *)\^/m.exec(source ?? "")?.[1]?.length
  const column = marked ?? (source ?? "").trimEnd().split("\n").at(-1)!.length
  const relative = Path.relative("", path)
  return `${relative.startsWith("..") ? path : relative}:${line}:${column + 1}`
}

/** Where a module does not parse, or one that it imports. Node shows the place of an error in JavaScript only when it ends a process. */
const syntaxError = (path: string, error: Error): string => {
  const again = (): string =>
    ChildProcess.spawnSync(
      process.execPath,
      [...process.execArgv, "--input-type=module", "--eval", `import ${JSON.stringify(pathToFileURL(path).href)}`],
      { encoding: "utf8", timeout: 10_000 }
    ).stderr
  const place = placeIn(error.stack ?? "") ?? placeIn(again())
  return place === undefined ? exit.lineOf(error) : `${place}: ${exit.lineOf(error)}`
}

const failed = (file: string, error: unknown): exit.Trouble => {
  const line = exit.lineOf(error)
  const code = typeof error === "object" && error !== null && "code" in error ? error.code : undefined
  if (code === "ERR_UNKNOWN_FILE_EXTENSION" || code === "ERR_UNSUPPORTED_NODE_MODULES_TYPE_STRIPPING") {
    return exit.trouble(
      `${file} cannot be loaded by this Node: build it and serve the .js file, or use Node ${oldestText} or later (${line})`
    )
  }
  return exit.trouble(
    error instanceof SyntaxError
      ? `${file} cannot be loaded: ${syntaxError(Path.resolve(file), error)}`
      : `${file} cannot be loaded: ${line}`
  )
}

/** A filter, or several that are asked one after the other. */
const filterOf = (value: unknown): Filter<never, never> | undefined => {
  // Types are gone: whether it still needs services or can fail shows when it runs, and is logged then.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- see above
  if (isFilter(value)) return value as Filter<never, never>
  if (!Array.isArray(value) || value.length === 0) return undefined
  const all: ReadonlyArray<unknown> = value
  const filters = all.flatMap((item) => filterOf(item) ?? [])
  return filters.length === all.length ? sequence(filters) : undefined
}

/** Loads a module and checks its default export: a filter, an array of filters, or a layer that needs only a Listener. */
export const loadFilter = Effect.fnUntraced(function*(file: string): Effect.fn.Return<Served, exit.Trouble> {
  const path = Path.resolve(file)
  if (!Fs.existsSync(path)) return yield* exit.trouble(`there is no ${file}: give the module of a filter`)
  const module = yield* Effect.tryPromise({
    try: (): Promise<{ readonly [name: string]: unknown }> => import(pathToFileURL(path).href),
    catch: (error) => failed(file, error)
  })
  const { default: value } = module
  const filter = filterOf(value)
  if (filter !== undefined) return { _tag: "Filter", filter }
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

/** Loads several modules, whose filters are asked in this order. A layer has to be alone. */
export const loadFilters = Effect.fnUntraced(function*(
  files: ReadonlyArray<string>
): Effect.fn.Return<Served, exit.Trouble> {
  const served = yield* Effect.forEach(files, loadFilter)
  const [first] = served
  if (served.length === 1) return first!
  const server = served.findIndex(({ _tag }) => _tag === "Server")
  if (server !== -1) {
    return yield* exit.trouble(`${files[server]} exports a layer, which is served alone: export its filter instead`)
  }
  return { _tag: "Filter", filter: sequence(served.flatMap((one) => one._tag === "Filter" ? [one.filter] : [])) }
})

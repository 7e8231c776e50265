/** Reads a file of options: JSON, or TOML with the optional package smol-toml. */
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as exit from "../trouble/exit.ts"

/** The values of a file, by key, as texts. */
export type Values = ReadonlyMap<string, ReadonlyArray<string>>

const parseToml = (file: string, text: string): Effect.Effect<unknown, exit.Trouble> =>
  Effect.tryPromise({
    try: () => import("smol-toml"),
    catch: () => exit.trouble(`${file} is TOML, which needs a package: npm install smol-toml, or write JSON`)
  }).pipe(
    Effect.flatMap(({ parse }) =>
      Effect.try({
        try: (): unknown => parse(text),
        // The message goes on with the lines around.
        catch: (error) => exit.trouble(`${file} is not TOML: ${exit.lineOf(error).replace(/ \d+: .*$/, "")}`)
      })
    )
  )

const parseJson = (file: string, text: string): Effect.Effect<unknown, exit.Trouble> =>
  Effect.try({
    try: (): unknown => JSON.parse(text),
    catch: (error) => exit.trouble(`${file} is not JSON: ${exit.lineOf(error)}`)
  })

const isPlain = (value: unknown): value is string | number | boolean =>
  typeof value === "string" || typeof value === "number" || typeof value === "boolean"

/** Reads the file. */
export const read = Effect.fnUntraced(function*(file: string): Effect.fn.Return<Values, exit.Trouble> {
  const text = yield* Effect.try({
    try: () => Fs.readFileSync(file, "utf8"),
    catch: (error) => exit.trouble(`${file} cannot be read: ${exit.lineOf(error)}`)
  })
  const content = yield* file.endsWith(".toml") ? parseToml(file, text) : parseJson(file, text)
  if (typeof content !== "object" || content === null || Array.isArray(content)) {
    return yield* exit.trouble(`${file} is not a list of options: write { "listen": "inet:9000", … }`)
  }
  const values = new Map<string, ReadonlyArray<string>>()
  for (const [key, value] of Object.entries<unknown>({ ...content })) {
    const all: ReadonlyArray<unknown> = Array.isArray(value) ? value : [value]
    if (!all.every(isPlain)) {
      return yield* exit.trouble(`${key} in ${file}: expected a text, a number, true, false, or a list of texts`)
    }
    values.set(key, all.map(String))
  }
  return values
})

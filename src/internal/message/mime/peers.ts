/** The packages that MIME editing rests on, loaded when a message first needs them. They are optional peers of this one. */
import type { Splitter } from "@zone-eu/mailsplit"
import * as Effect from "effect/Effect"
import type { SAXParser } from "parse5-sax-parser"

export interface IconvLite {
  encode(text: string, label: string): Uint8Array
  encodingExists(label: string): boolean
}

/** A package is not installed. */
class MissingPackage extends Error {
  override readonly name = "MissingPackage"
  constructor(name: string, cause: unknown) {
    super(`MIME parts are read and edited with the package ${name}: install it (npm install ${name})`, { cause })
  }
}

/** Loads a package, and says how to install one that is missing. */
export const load = <A extends object, B>(
  name: string,
  load: () => Promise<A>,
  take: (module: A) => B
): Effect.Effect<B> =>
  Effect.orDie(Effect.map(
    Effect.tryPromise({ try: load, catch: (cause) => new MissingPackage(name, cause) }),
    take
  ))

/** A CommonJS package is under `default`; names that Node finds in the package are exported too. */
const named = <A extends object>(module: A): A => {
  const { default: inner } = module as { readonly default?: A }
  return inner ?? module
}

export const loadSplitter: Effect.Effect<typeof Splitter> = load(
  "@zone-eu/mailsplit",
  () => import("@zone-eu/mailsplit"),
  (module) => named(module).Splitter
)

export const loadSaxParser: Effect.Effect<typeof SAXParser> = load(
  "parse5-sax-parser",
  () => import("parse5-sax-parser"),
  (module) => module.SAXParser
)

export const loadIconv: Effect.Effect<IconvLite> = load(
  "iconv-lite",
  () => import("iconv-lite"),
  (module) => named(module) as IconvLite
)

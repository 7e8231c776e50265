/**
 * Keys to sign with: reading them, and the service that finds the keys of a domain.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import type { PlatformError } from "effect/PlatformError"
import * as Redacted from "effect/Redacted"
import * as Ref from "effect/Ref"
import * as Result from "effect/Result"
import { exposure } from "./internal/keyFile.ts"
import type { KeyInput, SigningKey } from "./internal/keyTypes.ts"
import { readKey } from "./internal/privateKey.ts"

export type { KeyInput, SigningKey } from "./internal/keyTypes.ts"

/**
 * A key is invalid or cannot be read. The message contains nothing of the key itself.
 *
 * @category errors
 * @since 0.1.0
 */
export class KeyError extends Data.TaggedError("KeyError")<{
  readonly domain: string
  readonly selector: string | undefined
  readonly reason: string
  readonly cause?: unknown
}> {
  override get message(): string {
    return `Key of ${this.domain}${this.selector === undefined ? "" : ` (${this.selector})`}: ${this.reason}`
  }
}

/**
 * Reads and checks a key. `KeyError` for a domain or selector that is not a valid name in DNS, and for a key that is not PEM,
 * is of another kind or is too short.
 *
 * **Example** (What to publish)
 *
 * ```ts
 * import * as Auth from "effect-milter/auth"
 * import * as Redacted from "effect/Redacted"
 * import * as Result from "effect/Result"
 *
 * const publish = (pem: string) =>
 *   Result.map(
 *     Auth.makeKey({ domain: "example.org", selector: "2026a", privateKey: Redacted.make(pem) }),
 *     ({ name, record }) => `${name}. TXT "${record}"`
 *   )
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeKey = (input: KeyInput): Result.Result<SigningKey, KeyError> =>
  Result.mapError(
    readKey(input),
    (reason) => new KeyError({ domain: input.domain, selector: input.selector, reason })
  )

/**
 * A key in a file.
 *
 * @category models
 * @since 0.1.0
 */
export interface KeyFile extends Omit<KeyInput, "privateKey"> {
  /** Path of a PEM file. */
  readonly file: string
}

/**
 * A key from configuration: `DOMAIN`, `SELECTOR` and `PRIVATE_KEY`, in whose PEM `\n` may stand for line breaks.
 *
 * **Example** (One key from the environment)
 *
 * ```ts
 * import * as Auth from "effect-milter/auth"
 * import * as Config from "effect/Config"
 *
 * // DKIM_DOMAIN, DKIM_SELECTOR, DKIM_PRIVATE_KEY
 * const keys = Auth.Keys.layerConfig(Config.all([Config.nested(Auth.keyConfig, "DKIM")]))
 * ```
 *
 * @category configuration
 * @since 0.1.0
 */
export const keyConfig: Config.Config<KeyInput> = Config.all({
  domain: Config.String("DOMAIN"),
  selector: Config.String("SELECTOR"),
  privateKey: Config.map(
    Config.Redacted("PRIVATE_KEY"),
    (pem) => Redacted.make(Redacted.value(pem).replace(/\\n/g, "\n"))
  )
})

const makeKeys = (inputs: ReadonlyArray<KeyInput>): Effect.Effect<ReadonlyArray<SigningKey>, KeyError> =>
  Effect.forEach(inputs, (input) => Effect.fromResult(makeKey(input)))

/** The keys of the domain, or else those of the nearest domain above it that signs for subdomains. */
const among = (keys: ReadonlyArray<SigningKey>, domain: string): ReadonlyArray<SigningKey> => {
  const own = keys.filter((key) => key.domain === domain)
  if (own.length > 0) return own
  for (let at = domain.indexOf("."); at !== -1; at = domain.indexOf(".", at + 1)) {
    const above = keys.filter((key) => key.subdomains && key.domain === domain.slice(at + 1))
    if (above.length > 0) return above
  }
  return []
}

/**
 * Finds the keys of a domain, which is given in lower case and A-labels; an empty list if the domain is not ours. With
 * several keys each makes a signature: an RSA key, and an Ed25519 key, which not every verifier knows.
 *
 * Called for each message: for keys in a database, or in a Ref that is updated, only implement `find`.
 *
 * **Example** (Keys in files, read again every hour)
 *
 * ```ts
 * import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
 * import * as Auth from "effect-milter/auth"
 * import * as Layer from "effect/Layer"
 *
 * const keys = Auth.Keys.layerFiles(
 *   [{ domain: "example.org", selector: "2026a", file: "/etc/dkim/example.org.pem" }],
 *   { refresh: "1 hour" }
 * ).pipe(Layer.provide(NodeFileSystem.layer))
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export class Keys extends Context.Service<Keys, {
  readonly find: (domain: string) => Effect.Effect<ReadonlyArray<SigningKey>, KeyError>
}>()("effect-milter/auth/Keys") {
  /** Provides these keys. */
  static readonly layer = (inputs: ReadonlyArray<KeyInput>): Layer.Layer<Keys, KeyError> =>
    Layer.effect(
      this,
      Effect.map(makeKeys(inputs), (keys) => ({ find: (domain: string) => Effect.sync(() => among(keys, domain)) }))
    )

  /** Keys from configuration, such as {@link keyConfig}. */
  static readonly layerConfig = (
    config: Config.Config<ReadonlyArray<KeyInput>>
  ): Layer.Layer<Keys, KeyError | Config.ConfigError> => Layer.unwrap(Effect.map(config, Keys.layer))

  /**
   * Keys in PEM files. With `refresh` they are read again at this interval; if that fails, the old keys stay and a warning
   * is logged.
   *
   * A file that other users of the system can read is refused with `KeyError`; a group of the process may read it. With
   * `unsafeKeys: "warn"` there is only a warning. Nothing is checked on Windows, and on file systems without modes.
   */
  static readonly layerFiles = (
    files: ReadonlyArray<KeyFile>,
    options: { readonly refresh?: Duration.Input; readonly unsafeKeys?: "refuse" | "warn" } = {}
  ): Layer.Layer<Keys, KeyError | PlatformError, FileSystem.FileSystem> =>
    Layer.effect(
      this,
      Effect.gen(function*() {
        const { readFileString, stat } = yield* FileSystem.FileSystem
        const check = Effect.fnUntraced(function*({ domain, file, selector }: KeyFile) {
          // A missing file is reported when it is read.
          const reason = yield* Effect.match(stat(file), { onFailure: () => undefined, onSuccess: exposure })
          if (reason === undefined) return
          const error = new KeyError({ domain, selector, reason: `${file} ${reason}` })
          if (options.unsafeKeys !== "warn") return yield* error
          yield* Effect.logWarning(error.message)
        })
        const read = Effect.forEach(files, (key) => {
          const { file, ...rest } = key
          return Effect.andThen(check(key), readFileString(file)).pipe(
            Effect.map((pem): KeyInput => ({ ...rest, privateKey: Redacted.make(pem) }))
          )
        }).pipe(Effect.flatMap(makeKeys))
        const keys = yield* Ref.make(yield* read)
        if (options.refresh !== undefined) {
          yield* Effect.sleep(options.refresh).pipe(
            Effect.andThen(read),
            Effect.flatMap((found) => Ref.set(keys, found)),
            Effect.catch((error) => Effect.logWarning("Keys cannot be read again", error)),
            Effect.forever,
            Effect.forkScoped
          )
        }
        return { find: (domain: string) => Effect.map(Ref.get(keys), (found) => among(found, domain)) }
      })
    )
}

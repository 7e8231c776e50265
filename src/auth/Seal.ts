/**
 * The filter that seals mail with ARC before it is handed on.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { checkKeys, keysOf } from "../internal/bytes/knownKeys.ts"
import { signing as marked } from "../internal/filter/signing.ts"
import * as Milter from "../Milter.ts"
import * as Verdict from "../Verdict.ts"
import { checkId, idOf, normalId } from "./internal/authserv.ts"
import { Feed, fieldOf } from "./internal/content.ts"
import { HeaderBlock } from "./internal/headerBlock.ts"
import type { SigningKey } from "./internal/keyTypes.ts"
import { makeSeal, type SealField } from "./internal/mailauth.ts"
import { combined, resultsOf } from "./internal/ownResults.ts"
import { unusableKey } from "./internal/unusableKey.ts"
import { KeyError, Keys } from "./Keys.ts"
import type { Selection } from "./Submission.ts"

/**
 * A seal cannot be made: the message is too large to read, or its chain of seals leaves no place for another set.
 *
 * @category errors
 * @since 0.1.0
 */
export class SealError extends Data.TaggedError("SealError")<{
  readonly domain: string
  readonly reason: string
  readonly cause?: unknown
}> {
  override get message(): string {
    return `Seal of ${this.domain}: ${this.reason}`
  }
}

/**
 * Options of {@link seal}.
 *
 * - `authservId`: the one of {@link verify}, whose results are sealed
 * - `domain`: the domain that seals. Its key comes from {@link Keys}; an RSA key if there is one, since few verifiers of ARC
 *   know Ed25519
 * - `when`: which mail is sealed; by default all mail with results
 * - `onUnsealed`: what becomes of a message that cannot be sealed. By default it passes without a seal
 *
 * @category models
 * @since 0.1.0
 */
export interface SealOptions<E = never, R = never, R2 = never> {
  readonly authservId: string
  readonly domain: string
  readonly when?: Selection<R2>
  readonly onUnsealed?: (error: KeyError | SealError) => Effect.Effect<Verdict.OfMessage, E, R>
}

const optionNames = keysOf<SealOptions>({ authservId: true, domain: true, when: true, onUnsealed: true })

interface State {
  readonly block: HeaderBlock
  /** Our own results, as they stand in the message from the top on. */
  readonly results: Array<string>
  running: { readonly feed: Feed; readonly fiber: Fiber.Fiber<ReadonlyArray<SealField>, SealError> } | undefined
}

const passUnsealed = (error: KeyError | SealError): Effect.Effect<Verdict.OfMessage> =>
  Effect.as(Effect.logWarning("Mail cannot be sealed", error), Verdict.acceptMessage)

/** The state of the chain when the message came, as {@link verify} has noted it. */
const chainOf = (results: string): "none" | "pass" | "fail" => {
  const found = resultsOf(results, "arc")
  return found.includes("fail") ? "fail" : found.includes("pass") ? "pass" : "none"
}

/**
 * Makes a filter that adds an ARC set (RFC 8617) to mail that is forwarded to others. It seals the results of {@link verify},
 * so that the next host can use them even if the message is changed on the way, as mailing lists do. The set goes directly
 * below the MTA's Received.
 *
 * It combines all Authentication-Results fields with our `authservId`, so {@link verify} must run before it: earlier in the
 * same sequence, or in an earlier milter. Other filters may write results under this name too. A message without such a
 * field is left alone, and so is a message whose chain has ended (the last seal says `cv=fail`). The filter comes last in a
 * sequence, after {@link sign}.
 *
 * Throws `InvalidValue` for an invalid `authservId`.
 *
 * **Example** (A host that forwards)
 *
 * ```ts
 * import * as Auth from "effect-milter/auth"
 * import * as Milter from "effect-milter/Milter"
 *
 * const authservId = "mx.example.org"
 *
 * const Forwarder = Milter.sequence([
 *   Auth.verify({ authservId }),
 *   Auth.seal({ authservId, domain: "example.org" })
 * ])
 * ```
 *
 * @category filters
 * @since 0.1.0
 */
export const seal = <E = never, R = never, R2 = never>(
  options: SealOptions<E, R, R2>
  // Not inferred: in a list of filters their type would be taken for this one's.
): Milter.Made<NoInfer<E>, NoInfer<R | R2> | Keys> => {
  checkKeys("option of Auth.seal", options, optionNames)
  const { domain, onUnsealed = passUnsealed, when } = options
  const authservId = normalId(Result.getOrThrow(checkId(options.authservId)))
  const findKey = Effect.gen(function*() {
    const keys = yield* (yield* Keys).find(domain.toLowerCase())
    const key = keys.find(({ algorithm }) => algorithm === "rsa-sha256") ?? keys[0]
    if (key === undefined) return yield* new KeyError({ domain, selector: undefined, reason: "there is none" })
    const unusable = unusableKey(key)
    return unusable === undefined ? key : yield* unusable
  })
  const start = Effect.fnUntraced(function*(key: SigningKey, header: Uint8Array, results: string) {
    const feed = new Feed(header)
    const { domain, selector } = key
    const fiber = yield* makeSeal(feed, {
      key: { domain, selector, pem: Redacted.value(key.privateKey) },
      chain: chainOf(results),
      results,
      time: yield* DateTime.nowAsDate
    }).pipe(
      Effect.mapError((cause) => new SealError({ domain, reason: cause.message, cause })),
      // Nothing reads any more, so a writer must not wait.
      Effect.ensuring(Effect.sync(() => feed.close())),
      Effect.forkScoped({ startImmediately: true })
    )
    return { feed, fiber }
  })
  return marked(
    "arc",
    Milter.make("auth-seal", {
      modify: ["insertHeader"],
      message: (): Effect.Effect<State> =>
        Effect.sync(() => ({ block: new HeaderBlock(), results: [], running: undefined }))
    }).on({
      mail: Effect.fnUntraced(function*(_, { envelope, session }) {
        const selected = when === undefined || when({ session, envelope })
        return (typeof selected === "boolean" ? selected : yield* selected) ? Verdict.continue : Verdict.acceptMessage
      }),
      endOfHeaders: Effect.fnUntraced(function*(_, { message }) {
        if (message.results.length === 0) return Verdict.acceptMessage
        const key = yield* Effect.result(findKey)
        if (Result.isFailure(key)) return yield* onUnsealed(key.failure)
        const { whole } = message.block
        if (typeof whole === "string") return yield* onUnsealed(new SealError({ domain, reason: whole }))
        message.running = yield* start(key.success, whole, combined(message.results))
        return Verdict.continue
      }),
      endOfMessage: Effect.fnUntraced(function*(_, { edit, message }) {
        if (message.running === undefined) return Verdict.continue
        const { feed, fiber } = message.running
        feed.end()
        if (feed.tooLarge !== undefined) {
          yield* Fiber.interrupt(fiber)
          return yield* onUnsealed(new SealError({ domain, reason: feed.tooLarge }))
        }
        const made = yield* Effect.result(Fiber.join(fiber))
        if (Result.isFailure(made)) return yield* onUnsealed(made.failure)
        // The last one inserted is the topmost.
        for (const { name, value } of made.success.toReversed()) yield* edit.insertHeader(1, name, value)
        return Verdict.continue
      })
    }, {
      header: (field, { message, session }) =>
        Effect.sync(() => {
          const added = fieldOf(field, session)
          message.block.add(added)
          if (added.name === "authentication-results" && idOf(field.value) === authservId) {
            message.results.push(field.value)
          }
        }),
      body: ({ bytes }, { message }) => message.running === undefined ? Effect.void : message.running.feed.body(bytes)
    })
  )
}

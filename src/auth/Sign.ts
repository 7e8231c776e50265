/**
 * The filter that signs your own mail with DKIM.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Header from "../Header.ts"
import { checkKeys, keysOf } from "../internal/bytes/knownKeys.ts"
import { signing as marked } from "../internal/filter/signing.ts"
import * as Milter from "../Milter.ts"
import * as Verdict from "../Verdict.ts"
import { authorDomain } from "./internal/author.ts"
import { BodyHash } from "./internal/canonical.ts"
import { type Field, fieldOf } from "./internal/content.ts"
import type { SigningKey } from "./internal/keyTypes.ts"
import { covered, signature, type Signing } from "./internal/signature.ts"
import { unusableKey } from "./internal/unusableKey.ts"
import { KeyError, Keys } from "./Keys.ts"
import { type Selection, type Submission, submitted } from "./Submission.ts"

/**
 * Why a message gets no signature.
 *
 * - `NoAuthor`: From is missing, is there more than once, or does not name exactly one domain
 * - `NoKey`: there is no key for the author's domain: the domain is not ours, or the key was forgotten
 * - `KeyError`: the keys cannot be read
 *
 * @category models
 * @since 0.1.0
 */
export type Unsigned =
  | { readonly _tag: "NoAuthor" }
  | { readonly _tag: "NoKey"; readonly domain: string }
  | { readonly _tag: "KeyError"; readonly error: KeyError }

/**
 * Options of {@link sign}.
 *
 * - `when`: which mail is signed; that of your own users by default, see {@link submitted}
 * - `domain`: the domain to sign for; by default that of the From field, as DMARC requires. Gets the author's domain and the
 *   submission. With `undefined` the message is not signed
 * - `onUnsigned`: what becomes of mail that cannot be signed. By default it passes unsigned, and gets a temporary error if
 *   the keys cannot be read
 * - `canonicalization`: of header and body, `relaxed/relaxed` by default
 * - `fields`: the fields that are covered if present, {@link defaultFields} by default. From is always covered
 * - `oversigned`: the fields whose absence is covered, too; by default those of {@link defaultOversigned} among `fields`
 * - `expires`: how long signatures are valid; without end by default
 *
 * @category models
 * @since 0.1.0
 */
export interface SignOptions<E = never, R = never, R2 = never> {
  readonly when?: Selection<R2>
  readonly domain?: (author: string, submission: Submission) => string | undefined
  readonly onUnsigned?: (reason: Unsigned, submission: Submission) => Effect.Effect<Verdict.OfMessage, E, R>
  readonly canonicalization?: "relaxed/relaxed" | "relaxed/simple" | "simple/relaxed" | "simple/simple"
  readonly fields?: ReadonlyArray<string>
  readonly oversigned?: ReadonlyArray<string>
  readonly expires?: Duration.Input
}

const optionNames = keysOf<SignOptions>({
  when: true,
  domain: true,
  onUnsigned: true,
  canonicalization: true,
  fields: true,
  oversigned: true,
  expires: true
})

/**
 * The fields that are covered by default: those that readers see, and those that affect how mail is handled (RFC 6376 5.4.1).
 * Not Received and Return-Path, which every MTA on the way writes, nor results and signatures of others.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultFields: ReadonlyArray<string> = [
  "From",
  "Sender",
  "Reply-To",
  "Subject",
  "Date",
  "Message-ID",
  "To",
  "Cc",
  "MIME-Version",
  "Content-Type",
  "Content-Transfer-Encoding",
  "Content-ID",
  "Content-Description",
  "In-Reply-To",
  "References",
  "Resent-Date",
  "Resent-From",
  "Resent-Sender",
  "Resent-To",
  "Resent-Cc",
  "Resent-Message-ID",
  "List-Id",
  "List-Help",
  "List-Unsubscribe",
  "List-Unsubscribe-Post",
  "List-Subscribe",
  "List-Post",
  "List-Owner",
  "List-Archive"
]

/**
 * The fields whose absence is covered by default, so that nobody can add one to a signed message: From, Subject, Reply-To and
 * Cc always; other fields only if the message has one already. To a message without them, Sendmail adds Date and Message-Id
 * after the filter (and perhaps To, and the MIME fields when it converts a body): a signature that covers their absence
 * would break.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultOversigned: ReadonlyArray<string> = ["From", "Subject", "Reply-To", "Cc"]

/** Fields that a message may have only once (RFC 5322 3.6). */
const single = new Set([
  "from",
  "sender",
  "reply-to",
  "subject",
  "date",
  "message-id",
  "to",
  "cc",
  "mime-version",
  "content-type",
  "content-transfer-encoding",
  "in-reply-to",
  "references"
])

const namesOf = (names: ReadonlyArray<string>): ReadonlyArray<string> =>
  names.map((name) => Result.getOrThrow(Header.checkName(name)).toLowerCase())

const signingOf = (
  { canonicalization = "relaxed/relaxed", fields, oversigned }: SignOptions
): Signing => {
  const covered = ["from", ...namesOf(fields ?? defaultFields)]
  const always = oversigned === undefined
    ? namesOf(defaultOversigned).filter((name) => covered.includes(name))
    : namesOf(oversigned)
  const [header, body] = canonicalization.split("/")
  return {
    header: header === "simple" ? "simple" : "relaxed",
    body: body === "simple" ? "simple" : "relaxed",
    fields: Array.from(new Set([...covered, ...always])),
    oversigned: new Set(always),
    oversignedIfPresent: oversigned === undefined ? single : new Set()
  }
}

/** What is kept of a message that is signed. */
interface State {
  readonly fields: Array<Field>
  readonly body: BodyHash
  from: number
  author: string
  keys: ReadonlyArray<SigningKey>
}

const passUnsigned = (reason: Unsigned): Effect.Effect<Verdict.OfMessage> =>
  reason._tag === "KeyError"
    ? Effect.as(
      Effect.logError("Mail cannot be signed", reason.error),
      Verdict.tempFail({ code: "451", enhanced: "4.3.5", text: "cannot sign this message now, please try again later" })
    )
    : Effect.as(Effect.logDebug("Mail is not signed", reason), Verdict.acceptMessage)

/**
 * Makes a filter that signs mail with DKIM (RFC 6376): one signature for each key of the domain, RSA and Ed25519 (RFC 8463),
 * directly below the MTA's Received. The keys come from the service {@link Keys}.
 *
 * The body is hashed as it passes; none of it is kept, so there is no limit to its size.
 *
 * The filter comes last in a sequence; only {@link seal} may follow. A filter that edits after it is refused when the server
 * starts. Changes that the MTA makes after its filters break signatures as well, above all the conversion of 8-bit bodies.
 *
 * The filter does not check whether a user may write in the name of the author: the MTA must do that
 * (`reject_sender_login_mismatch`, and a check of From). Throws `InvalidValue` for an invalid name of a field.
 *
 * **Example** (Sign what users send)
 *
 * ```ts
 * import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
 * import * as Auth from "effect-milter/auth"
 * import * as MilterServer from "effect-milter/MilterServer"
 * import * as Layer from "effect/Layer"
 *
 * const keys = Auth.Keys.layerFiles([
 *   { domain: "example.org", selector: "2026a", file: "/etc/dkim/example.org.rsa.pem" },
 *   { domain: "example.org", selector: "2026b", file: "/etc/dkim/example.org.ed25519.pem" }
 * ])
 *
 * const Live = MilterServer.layer(Auth.sign()).pipe(
 *   Layer.provide(keys),
 *   Layer.provide(NodeFileSystem.layer)
 * )
 * ```
 *
 * @category filters
 * @since 0.1.0
 */
export const sign = <E = never, R = never, R2 = never>(
  options: SignOptions<E, R, R2> = {}
  // Not inferred: in a list of filters their type would be taken for this one's.
): Milter.Made<NoInfer<E>, NoInfer<R | R2> | Keys> => {
  checkKeys("option of Auth.sign", options, optionNames)
  const { domain = (author: string) => author, onUnsigned = passUnsigned, when = submitted() } = options
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what its functions need is in the type of the filter
  const signing = signingOf(options as SignOptions)
  const wantedFields = new Set(signing.fields)
  const expires = options.expires === undefined ? undefined : Math.round(Duration.toSeconds(options.expires))
  return marked(
    "dkim",
    Milter.make("auth-sign", {
      modify: ["insertHeader"],
      message: (): Effect.Effect<State> =>
        Effect.sync(() => ({ fields: [], body: new BodyHash(signing.body), from: 0, author: "", keys: [] }))
    }).on({
      mail: Effect.fnUntraced(function*(_, { envelope, session }) {
        const selected = when({ session, envelope })
        return (typeof selected === "boolean" ? selected : yield* selected) ? Verdict.continue : Verdict.acceptMessage
      }),
      endOfHeaders: Effect.fnUntraced(function*(_, { envelope, message, session }) {
        const submission: Submission = { session, envelope }
        const author = message.from === 1 ? authorDomain(message.author) : undefined
        if (author === undefined) return yield* onUnsigned({ _tag: "NoAuthor" }, submission)
        const wanted = domain(author, submission)
        if (wanted === undefined) return Verdict.acceptMessage
        const keys = yield* Effect.result(Effect.flatMap(Keys, ({ find }) => find(wanted.toLowerCase())))
        if (Result.isFailure(keys)) return yield* onUnsigned({ _tag: "KeyError", error: keys.failure }, submission)
        if (keys.success.length === 0) return yield* onUnsigned({ _tag: "NoKey", domain: wanted }, submission)
        const unusable = keys.success.map(unusableKey).find((error) => error !== undefined)
        if (unusable !== undefined) return yield* onUnsigned({ _tag: "KeyError", error: unusable }, submission)
        message.keys = keys.success
        return Verdict.continue
      }),
      endOfMessage: Effect.fnUntraced(function*(_, { edit, envelope, message, session }) {
        // `onUnsigned` has let the message pass with continue, which is not final.
        if (message.keys.length === 0) return Verdict.continue
        const bodyHash = message.body.digest()
        const time = Math.floor((yield* Clock.currentTimeMillis) / 1000)
        const parts = covered(message.fields, signing)
        // The last one inserted is the topmost.
        for (const key of message.keys.toReversed()) {
          const made = yield* Effect.result(signature(key, parts, signing, {
            bodyHash,
            time,
            expires: expires === undefined ? undefined : time + expires
          }))
          if (Result.isFailure(made)) {
            const { domain, selector } = key
            const error = new KeyError({ domain, selector, reason: "cannot sign", cause: made.failure })
            return yield* onUnsigned({ _tag: "KeyError", error }, { session, envelope })
          }
          yield* edit.insertHeader(1, "DKIM-Signature", made.success)
        }
        return Verdict.continue
      })
    }, {
      header: (field, { message, session }) =>
        Effect.sync(() => {
          const name = field.name.trimEnd().toLowerCase()
          if (wantedFields.has(name)) message.fields.push(fieldOf(field, session))
          if (name !== "from") return
          message.from++
          message.author = field.value
        }),
      body: ({ bytes }, { message }) =>
        Effect.sync(() => {
          if (message.keys.length > 0) message.body.update(bytes)
        })
    })
  )
}

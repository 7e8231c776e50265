/**
 * The filter that checks mail from outside and adds the results to the header.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as ClientAddress from "../ClientAddress.ts"
import { sanitizeReason } from "../Envelope.ts"
import { checkKeys, keysOf } from "../internal/bytes/knownKeys.ts"
import { verifying } from "../internal/filter/signing.ts"
import * as Milter from "../Milter.ts"
import * as Verdict from "../Verdict.ts"
import type { Dns } from "./Dns.ts"
import { checkId, normalId } from "./internal/authserv.ts"
import { makeVerification, type Settings, type Verification } from "./internal/verification.ts"
import type { Results } from "./Results.ts"
import { type Selection, type Submission, submitted } from "./Submission.ts"

/**
 * A decision to put the message on hold. Made by {@link quarantine}.
 *
 * @category models
 * @since 0.1.0
 */
export interface Quarantine {
  readonly _tag: "Quarantine"
  readonly reason: string
}

/**
 * The decision of `onResult` about a message: a verdict, or quarantine.
 *
 * @category models
 * @since 0.1.0
 */
export type Disposition = Verdict.OfMessage | Quarantine

/**
 * Puts the message on hold (Postfix) or into quarantine (Sendmail). An MTA that does not offer that lets it pass. The reason
 * may be text from outside; 100 bytes of it are kept.
 *
 * @category deciding
 * @since 0.1.0
 */
export const quarantine = (reason: string): Quarantine => ({ _tag: "Quarantine", reason: sanitizeReason(reason) })

/**
 * Options of {@link verify}.
 *
 * - `authservId`: the name under which results are written, mostly the host name of the MTA. Readers of the mail trust
 *   fields with this name, so such fields from outside are removed
 * - `otherIds`: further names of yours whose fields are removed, such as the names of other MTAs in the same network
 * - `trustedNetworks`: your own hosts that check their mail themselves, in CIDR notation: their mail is left alone, with its
 *   fields. Empty by default
 * - `skip`: mail that is not checked; forged fields are removed all the same. By default the mail of your own users (see
 *   {@link submitted}): they send from anywhere, so their SPF fails
 * - `onResult`: decides about the message. Without it every message passes
 * - `timeout`: for all queries of a message together, 20 seconds by default (the minimum of RFC 7208 4.6.4); checks that are
 *   not complete by then give `temperror`. Keys of signatures have half of the time and SPF three quarters, the rest is for
 *   DMARC, whatever names are asked for
 * - `strict`: check as the RFCs require, which is the default; `false` accepts what is harmless and common, such as
 *   signatures with rsa-sha1
 * - `leastRsaBits`: weaker keys give `policy`; 1024 by default
 *
 * @category models
 * @since 0.1.0
 */
export interface VerifyOptions<E = never, R = never, R2 = never> {
  readonly authservId: string
  readonly otherIds?: ReadonlyArray<string>
  readonly trustedNetworks?: ReadonlyArray<string>
  readonly skip?: Selection<R2>
  readonly onResult?: (results: Results, submission: Submission) => Effect.Effect<Disposition, E, R>
  readonly timeout?: Duration.Input
  readonly strict?: boolean
  readonly leastRsaBits?: number
}

const optionNames = keysOf<VerifyOptions>({
  authservId: true,
  otherIds: true,
  trustedNetworks: true,
  skip: true,
  onResult: true,
  timeout: true,
  strict: true,
  leastRsaBits: true
})

/**
 * Options of {@link enforceDmarc}.
 *
 * - `permerror`: what becomes of a message whose author cannot be checked; refused by default
 * - `unsigned`: whether a signature counts that leaves out the end of the body (`l`), where anybody may have added text. By
 *   default it does (`pass`), as DMARC says. With `fail` it does not, and the author's policy decides unless another
 *   signature, or SPF for the author's domain itself, passes
 *
 * @category models
 * @since 0.1.0
 */
export interface EnforceOptions {
  readonly permerror?: "refuse" | "pass"
  readonly unsigned?: "pass" | "fail"
}

/**
 * Applies the policy of the author's domain where DMARC fails: refuses the message (550 5.7.1) or puts it on hold. For
 * `onResult`.
 *
 * If the policy cannot be looked up now (`temperror`), the message gets a temporary error (451 4.7.5), since the sender may
 * have caused that. `permerror` is refused, too (550 5.7.1): anybody can cause it, by several From fields, a From field that
 * readers interpret differently, or a header too large to check. So it must not be a way around a policy. The option
 * `permerror: "pass"` lets it pass. Mail through a mailing list or a forwarder may fail without anybody's fault; consider
 * {@link Results.arc} first for hosts you trust.
 *
 * **Example** (Exempt the mail of a list server)
 *
 * ```ts
 * import * as Auth from "effect-milter/auth"
 * import * as Verdict from "effect-milter/Verdict"
 * import * as Effect from "effect/Effect"
 *
 * const Checked = Auth.verify({
 *   authservId: "mx.example.org",
 *   onResult: (results, { session }) =>
 *     results.arc.result === "pass" && session.client.isWithin("198.51.100.0/24")
 *       ? Effect.succeed(Verdict.continue)
 *       : Auth.enforceDmarc(results)
 * })
 * ```
 *
 * @category deciding
 * @since 0.1.0
 */
export function enforceDmarc(options: EnforceOptions): (results: Results) => Effect.Effect<Disposition>
// Also the shape of `onResult`, which gets the submission.
export function enforceDmarc(results: Results, options?: EnforceOptions | Submission): Effect.Effect<Disposition>
export function enforceDmarc(
  first: EnforceOptions | Results,
  second: EnforceOptions | Submission = {}
): Effect.Effect<Disposition> | ((results: Results) => Effect.Effect<Disposition>) {
  const options = "dmarc" in first ? "session" in second ? {} : second : first
  checkKeys("option of Auth.enforceDmarc", options, enforceNames)
  return "dmarc" in first ? enforce(first, options) : (results) => enforce(results, options)
}

const enforceNames = keysOf<EnforceOptions>({ permerror: true, unsigned: true })

/** Whether a message passes only by signatures that do not cover all of its body. */
const restsOnUnsigned = ({ dkim, dmarc, spf }: Results): boolean => {
  const aligned = dkim.filter(({ aligned, result }) => aligned && result === "pass")
  return dmarc.result === "pass" && aligned.length > 0 && aligned.every(({ unsigned }) => unsigned > 0) &&
    !(spf?.result === "pass" && spf.domain.toLowerCase() === dmarc.domain?.toLowerCase())
}

const enforce = (results: Results, options: EnforceOptions): Effect.Effect<Disposition> =>
  Effect.sync(() => {
    const { dmarc } = results
    if (dmarc.result === "temperror") {
      return Verdict.tempFail({
        code: "451",
        enhanced: "4.7.5",
        text: "cannot check the DMARC policy now, please try again later"
      })
    }
    if (dmarc.result === "permerror" && options.permerror !== "pass") {
      const why = dmarc.comment === undefined ? "" : `: ${dmarc.comment}`
      return Verdict.reject({ code: "550", enhanced: "5.7.1", text: `cannot check the author of this message${why}` })
    }
    if (dmarc.result !== "fail" && !(options.unsigned === "fail" && restsOnUnsigned(results))) return Verdict.continue
    // The domain is valid and in A-labels, so it is safe in a reply.
    const text = `DMARC policy of ${dmarc.policyDomain ?? dmarc.domain ?? "its author"}`
    switch (dmarc.policy) {
      case "reject":
        return Verdict.reject({ code: "550", enhanced: "5.7.1", text: `refused by the ${text}` })
      case "quarantine":
        return quarantine(text)
      default:
        return Verdict.continue
    }
  })

/** Honest mail has fewer. Each removal is a modification, and MTAs do not take any number of them. */
const mostForged = 100

/** A permanent refusal: after a temporary one, a forger's mail would come again and again. */
const tooManyForged = Verdict.reject({ code: "550", enhanced: "5.7.1", text: "too many forged Authentication-Results" })

const settings = <E, R, R2>(options: VerifyOptions<E, R, R2>): Settings => ({
  authservId: Result.getOrThrow(checkId(options.authservId)),
  ownIds: new Set([options.authservId, ...options.otherIds ?? []].map(normalId)),
  timeout: Duration.toMillis(options.timeout ?? "20 seconds"),
  strict: options.strict ?? true,
  leastRsaBits: options.leastRsaBits ?? 1024
})

/**
 * Makes a filter that checks SPF, DKIM, DMARC and ARC, and writes one Authentication-Results field (RFC 8601) directly below
 * the MTA's Received. It removes fields that claim to be its own or from `otherIds`, in any spelling. ARC's copies of such
 * fields stay, since a seal covers them.
 *
 * The message is checked as it passes; no more than a line of its body is kept in memory. The filter comes first in a
 * sequence, since edits of other filters break signatures.
 *
 * **Details**
 *
 * One message must not keep the others waiting: parts of a message that would cost too much are not checked, and the rest is
 * judged.
 *
 * - A signature is `permerror` if its field has more than 16 KiB or white space in long runs (1,024 in one of them), if it
 *   covers more than 1,500 names or 1 MiB together with those above it, or a field of more than 2,000 lines, and after
 *   three kinds of body hash (they differ by canonicalization, algorithm and length `l`). Of more than 20 signatures the
 *   first 20 count. A signature that does not hold is `permerror`, too, where a line of the body has more than 256 KiB.
 * - A chain of ARC fails if one of its fields exceeds these limits.
 * - DMARC is `permerror`, and so is DKIM, for a header of more than 256 KiB or 5,000 lines, and for From fields of more
 *   than 16 KiB.
 *
 * Throws `InvalidValue` for an invalid `authservId` or network.
 *
 * **Example** (Add results, and follow DMARC policies)
 *
 * ```ts
 * import * as Auth from "effect-milter/auth"
 * import * as MilterServer from "effect-milter/MilterServer"
 * import * as Layer from "effect/Layer"
 *
 * const Checked = Auth.verify({ authservId: "mx.example.org", onResult: Auth.enforceDmarc })
 *
 * const Live = MilterServer.layer(Checked).pipe(Layer.provide(Auth.Dns.layer))
 * ```
 *
 * @category filters
 * @since 0.1.0
 */
export const verify = <E = never, R = never, R2 = never>(
  options: VerifyOptions<E, R, R2>
  // Not inferred: in a list of filters their type would be taken for this one's.
): Milter.Made<NoInfer<E>, NoInfer<R | R2> | Dns> => {
  checkKeys("option of Auth.verify", options, optionNames)
  const { onResult, skip = submitted() } = options
  const configured = settings(options)
  const trusted = Result.getOrThrow(ClientAddress.network(options.trustedNetworks ?? []))
  const filter = Milter.make("auth-verify", {
    modify: ["deleteHeader", "insertHeader"],
    modifyIfOffered: ["quarantine"],
    message: (): Effect.Effect<Verification> => Effect.sync(() => makeVerification(configured))
  }).on({
    mail: Effect.fnUntraced(function*(_, { envelope, message, session }) {
      if (trusted.contains(session.client)) return Verdict.acceptMessage
      const skipped = skip({ session, envelope })
      message.wanted = !(typeof skipped === "boolean" ? skipped : yield* skipped)
      return Verdict.continue
    }),
    endOfHeaders: Effect.fnUntraced(function*(_, { envelope, message, session }) {
      if (message.forged.length > mostForged) {
        yield* Effect.logWarning(
          `the message is refused: it has ${message.forged.length} results that claim to be ours`
        )
        return tooManyForged
      }
      if (message.wanted) yield* message.start(session, envelope)
      else if (message.forged.length === 0) return Verdict.acceptMessage
      return Verdict.continue
    }),
    endOfMessage: Effect.fnUntraced(function*(_, { edit, envelope, message, session }) {
      const results = yield* message.results(session, envelope)
      for (const occurrence of message.forged.toReversed()) {
        yield* edit.deleteHeader("Authentication-Results", occurrence)
      }
      if (results === undefined) return Verdict.continue
      yield* edit.insertHeader(1, "Authentication-Results", results.text)
      const decision = onResult === undefined ? Verdict.continue : yield* onResult(results, { session, envelope })
      if (decision._tag !== "Quarantine") return decision
      if (Option.isSome(edit.quarantine)) yield* edit.quarantine.value(decision.reason)
      return Verdict.continue
    })
  }, {
    header: (field, { message, session }) => Effect.sync(() => message.header(field, session)),
    body: ({ bytes }, { message }) => message.body(bytes)
  })
  return verifying(filter)
}

/** Recognizes mail that no person has written. Re-exported by `Message`. */
import type { Head } from "./documentTypes.ts"

/**
 * Tells mail that a program has written: bounces, auto-replies, newsletters. A banner or a disclaimer is mostly not for these.
 *
 * **Details**
 *
 * True for the null sender, for Auto-Submitted other than `no` (RFC 3834), for Precedence `bulk`, `junk` or `auto_reply`, for
 * delivery reports, and for the fields by which autoresponders and Exchange say the same: X-Autoreply, X-Autorespond,
 * X-Auto-Response-Suppress with `All`, X-Failed-Recipients. Mail from a list is not automatic: a person has written it.
 *
 * **Gotchas**
 *
 * All of these signs are under the sender's control. Do not leave out a warning about mail from outside because of them.
 *
 * **Example** (Leave bounces alone)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Message from "effect-milter/Message"
 * import * as Verdict from "effect-milter/Verdict"
 *
 * const Disclaimer = Message.make("disclaimer", { modify: ["mime"] }).on({
 *   endOfHeaders: (head) => Effect.succeed(Message.isAutomatic(head) ? Verdict.acceptMessage : Verdict.continue),
 *   document: ({ mime }) => Effect.as(mime.append({ text: "Confidential" }), Verdict.continue)
 * })
 * ```
 *
 * @category reading
 * @since 0.1.0
 */
export const isAutomatic = ({ headers, sender }: Pick<Head, "headers" | "sender">): boolean => {
  /** The first word of a field, in lower case. */
  const word = (name: string): string | undefined => /^[^\s;,(]*/.exec(headers.get(name)?.toLowerCase() ?? "")?.[0]
  const submitted = word("Auto-Submitted") ?? ""
  const precedence = word("Precedence") ?? ""
  return sender.isNull ||
    (submitted !== "" && submitted !== "no") ||
    ["bulk", "junk", "auto_reply"].includes(precedence) ||
    word("Content-Type") === "multipart/report" ||
    word("X-Auto-Response-Suppress") === "all" ||
    ["X-Autoreply", "X-Autorespond", "X-Failed-Recipients"].some((name) => headers.field(name) !== undefined)
}

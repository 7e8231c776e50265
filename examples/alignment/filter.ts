/** Refuses mail whose author, as everybody sees it in From, is not who has sent it. */
import type { Network } from "effect-milter/ClientAddress"
import * as Milter from "effect-milter/Milter"
import type * as Stage from "effect-milter/Stage"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import { authorOf, type Fault, hostOf, isAligned, type Mode } from "./author.ts"

/** Options of {@link alignment}. */
export interface Options {
  readonly mode: Mode
  /** Whose mail is checked: that of all clients, or of those who have authenticated or are in `networks`. */
  readonly only: "all" | "authenticated"
  readonly networks: Network
}

// 5.6.0 is "something about the content" in RFC 3463; 554 since no mailbox is at fault. The list of those who send such
// mail is short: programs that are broken, and people who try what a receiver makes of it.
const faulty = (...text: ReadonlyArray<string>) => Verdict.reject({ code: "554", enhanced: "5.6.0", text })

const faults: { readonly [K in Fault]: Verdict.Reject } = {
  "missing": faulty("The message has no From field. It must have one, with one address."),
  "several fields": faulty("The message has several From fields. It must have one, with one address."),
  "several addresses": faulty(
    "From has several addresses, or its display name needs quotes. It must have one address."
  ),
  "unreadable": faulty("The address in From cannot be read. It must be like From: Name <user@example.org>")
}

const misaligned = (author: string, sender: string, mode: Mode) =>
  Verdict.reject({
    enhanced: "5.7.1",
    text: [
      `The address in From is of ${author}, but the message is sent by ${sender || "an address without a domain"}.`,
      mode === "strict"
        ? "Both must have the same domain: change From, or send with the account of that address."
        : "Both must be of the same organization: change From, or send with the account of that address."
    ]
  })

const isChecked = ({ networks, only }: Options, { client, macros }: Stage.Session): boolean =>
  only === "all" || macros.authentication !== undefined || networks.contains(client)

/**
 * Requires the domain of From to be aligned with that of the envelope sender. The null sender passes: bounces and
 * vacation messages come from it, and nobody can be held to it.
 */
export const alignment = (options: Options) =>
  Milter.make("alignment", {
    // The values of the From fields.
    message: () => Effect.sync((): Array<string> => [])
  }).on({
    mail: ({ sender }, { session }) =>
      Effect.succeed(sender.isNull || !isChecked(options, session) ? Verdict.acceptMessage : Verdict.continue),
    endOfHeaders: (_, { envelope: { sender }, message }) => {
      const author = authorOf(message)
      if ("fault" in author) return Effect.succeed(faults[author.fault])
      const domain = hostOf(sender.domain) ?? ""
      return Effect.succeed(
        isAligned(author.domain, domain, options.mode)
          ? Verdict.acceptMessage
          : misaligned(author.domain, domain, options.mode)
      )
    }
  }, {
    header: ({ name, value }, { message }) =>
      Effect.sync(() => {
        if (name.trim().toLowerCase() === "from") message.push(value)
      })
  })

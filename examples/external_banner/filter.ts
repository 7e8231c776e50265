/** Warns of mail from outside, and takes the warnings out of the replies that leave. */
import type * as ClientAddress from "effect-milter/ClientAddress"
import * as Message from "effect-milter/Message"
import type * as Stage from "effect-milter/Stage"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"

export interface Options {
  readonly text: string
  /** Undefined: the text as a paragraph. */
  readonly html: string | undefined
  /** Marks the banner. */
  readonly id: string
  /** What Subject begins with; `""` leaves it alone. */
  readonly subject: string
  /** The clients whose mail is from inside, beside those that have authenticated. */
  readonly networks: ClientAddress.Network
}

/** The field that says what the banner says, for mail programs and other filters. */
export const field = "X-External"

const isInside = ({ client, macros }: Stage.Session, networks: ClientAddress.Network): boolean =>
  macros.authentication !== undefined || networks.contains(client)

/**
 * Mail from outside gets the banner at the top of its text, whatever the sender has put there: marks that came with it are taken out
 * first, so nobody can say that it has been marked already. A signed message gets the field, and the subject, only. Mail from inside
 * loses the banners of the messages that it quotes.
 */
export const externalBanner = ({ html, id, networks, subject, text }: Options) =>
  Message.make("external_banner", { modify: ["headers", "mime"] }).on({
    document: Effect.fnUntraced(function*({ headers, mime }, { session }) {
      const isFromInside = isInside(session, networks)
      yield* headers.remove(field)
      const edit = isFromInside
        ? mime.removeMarked(id)
        : Effect.andThen(
          mime.removeMarked(id),
          mime.prepend({ text, ...(html === undefined ? {} : { html }), mark: id })
        )
      const result = yield* Effect.result(edit)
      if (result._tag === "Failure") yield* Effect.logInfo("no banner", { message: result.failure.message })
      if (!isFromInside) {
        yield* headers.append(field, "yes")
        const old = headers.get("Subject") ?? ""
        if (subject !== "" && !old.startsWith(subject)) yield* headers.set("Subject", `${subject} ${old}`)
      }
      return Verdict.continue
    })
  })

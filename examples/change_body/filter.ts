/** Replaces the body of each message. */
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"

/** The new body unless told otherwise. */
export const defaultBody = "foobar"

/** The text, whose line ends become CR LF, takes the place of whatever was sent. Header fields stay as they are. */
export const changeBody = (text: string = defaultBody) => {
  const bytes = new TextEncoder().encode(text.replace(/\r\n|\r|\n/g, "\r\n"))
  return Milter.make("change_body", { modify: ["replaceBody"] }).on({
    endOfMessage: (_, { edit }) => Effect.as(edit.replaceBody(bytes), Verdict.continue)
  })
}

/** Replies that the library itself gives to a client. They name the session, so that it can be found in the log. */
import * as Verdict from "../../Verdict.ts"

interface Worded {
  readonly worded: (text: string) => string
}

const temporary = "Temporary failure, please try again later"

/** A filter cannot decide. */
export const notNow = (session: Worded): Verdict.TempFail =>
  Verdict.tempFail({ enhanced: "4.3.0", text: session.worded(temporary) })

/** The disk is full, or broken. */
export const noSpace = (session: Worded): Verdict.TempFail =>
  Verdict.tempFail({ code: "452", enhanced: "4.3.1", text: session.worded(temporary) })

// After a 421 the client is gone, and comes back elsewhere.

export const tooManyConnections = (session: Worded): Verdict.TempFail =>
  Verdict.tempFail({ code: "421", enhanced: "4.3.2", text: session.worded("Too many connections") })

export const shuttingDown = (session: Worded): Verdict.TempFail =>
  Verdict.tempFail({ code: "421", enhanced: "4.3.2", text: session.worded("Service is shutting down") })

/** Temporary, since the sender then puts the other recipients into another message. */
export const tooManyRecipients = (session: Worded): Verdict.TempFail =>
  Verdict.tempFail({ code: "452", enhanced: "4.5.3", text: session.worded("Too many recipients") })

/** The message must not pass with a part of them: others may remove what must not get through. */
export const tooManyModifications = (session: Worded): Verdict.Reject =>
  Verdict.reject({ code: "550", enhanced: "5.7.1", text: session.worded("The message needs too many changes") })

export const tooLarge = (session: Worded, what: "header" | "message"): Verdict.Reject =>
  Verdict.reject({ code: "552", enhanced: "5.3.4", text: session.worded(`The ${what} is too large`) })

/** Tells everybody who reads a message which address its SMTP client had. */
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"

/** The header field unless told otherwise. */
export const defaultName = "X-MilterExample-Connect-IP"

/**
 * Adds a field with the client's IP address to each message. The address is known since connect, and modifications are
 * made at end of message: the session keeps it, for as many messages as the client sends.
 */
export const appendHeaderIp = (name: string = defaultName) =>
  Milter.make("append_header_ip", { modify: ["addHeader"] }).on({
    endOfMessage: Effect.fnUntraced(function*(_, { edit, session: { client } }) {
      // The others are UNIX sockets, and clients of which the MTA does not tell.
      if (client._tag === "IPv4" || client._tag === "IPv6") yield* edit.addHeader(name, client.address)
      return Verdict.continue
    })
  })

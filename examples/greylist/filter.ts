/** Puts off what comes from somebody new: servers try again, most programs that only send spam do not. */
import type * as ClientAddress from "effect-milter/ClientAddress"
import type * as Envelope from "effect-milter/Envelope"
import * as Milter from "effect-milter/Milter"
import type * as Stage from "effect-milter/Stage"
import * as Verdict from "effect-milter/Verdict"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as IpNetwork from "effect/net/IpNetwork"
import * as NetAddress from "effect/net/NetAddress"
import { type Triplet, Triplets } from "./triplets.ts"

/** What becomes of mail while the database does not answer. */
export const whenDown = {
  tempfail: Verdict.tempFail({ enhanced: "4.3.0", text: "Cannot look up whether we know you, please try again later" }),
  pass: "pass"
} as const

export interface Options {
  readonly delay: Duration.Duration
  /** Clients that need not wait. */
  readonly known: ClientAddress.Network
  readonly whenDown: keyof typeof whenDown
}

export const greylist = ({ delay, known, whenDown: down }: Options) =>
  Milter.make("greylist").on({
    rcpt: Effect.fnUntraced(function*({ recipient }, { envelope, session }) {
      const network = isTrusted(session, known) ? undefined : networkOf(session.client)
      if (network === undefined) return Verdict.continue
      const triplets = yield* Triplets
      const waited = yield* triplets.attempt(tripletOf(network, envelope.sender, recipient))
      return Duration.isGreaterThanOrEqualTo(waited, delay)
        ? Verdict.continue
        : refusal(Duration.subtract(delay, waited))
    })
  }).pipe(
    // A database that is down is left alone for a while: each recipient would wait for its timeout.
    Milter.circuitBreaker({ failures: 3, openFor: "5 seconds", whileOpen: whenDown[down] }),
    Milter.onFailure(({ message }) => Effect.as(Effect.logWarning(`${message}: ${down}`), whenDown[down]))
  )

/** Those who have logged in, and this host. */
const isTrusted = ({ client, macros, origin }: Stage.Session, known: ClientAddress.Network): boolean =>
  origin === "local" || client.isLoopback || known.contains(client) || (macros.get("auth_authen") ?? "") !== ""

/** A large sender tries again from another host, which is near. Undefined for clients without an IP address. */
const networkOf = (client: ClientAddress.ClientAddress): string | undefined =>
  client._tag === "IPv4" || client._tag === "IPv6"
    ? IpNetwork.format(
      IpNetwork.fromAddressUnsafe(NetAddress.ipFromStringUnsafe(client.address), client._tag === "IPv4" ? 24 : 64)
    )
    : undefined

/**
 * Lists and programs that watch for bounces have a new sender for each message or recipient, `list+1234-bob=example.net@…`:
 * without its numbers and without the part after a plus, the sender stays the same.
 */
const tripletOf = (network: string, sender: Envelope.Mailbox, recipient: Envelope.Mailbox): Triplet => ({
  network,
  sender: keyOf(sender).replace(/\+[^@]*(?=@)/, "").replace(/\d+/g, "#"),
  recipient: keyOf(recipient)
})

const keyOf = ({ domain, isNull, localPart }: Envelope.Mailbox): string =>
  isNull ? "" : `${localPart.toLowerCase()}@${domain}`

/** A reply in whole minutes: spam is sent by those who read it, too. */
const refusal = (left: Duration.Duration) => {
  const minutes = Math.ceil(Duration.toMinutes(left))
  return Verdict.tempFail({
    enhanced: "4.7.1",
    text: `Greylisted, please try again in ${minutes === 1 ? "a minute" : `${minutes} minutes`}`
  })
}

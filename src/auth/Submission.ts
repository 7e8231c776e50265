/**
 * Selects our own mail: submitted by users and hosts that may send through us, unlike mail from the rest of the world.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as ClientAddress from "../ClientAddress.ts"
import type { Envelope, Session } from "../Stage.ts"

/**
 * What is known at MAIL of a message that begins.
 *
 * @category models
 * @since 0.1.0
 */
export interface Submission {
  readonly session: Session
  readonly envelope: Envelope
}

/**
 * Selects messages, at MAIL.
 *
 * @category models
 * @since 0.1.0
 */
export type Selection<R = never> = (submission: Submission) => boolean | Effect.Effect<boolean, never, R>

/**
 * Selects mail of our own users and hosts: the client is authenticated, or the mail did not come by SMTP, or the client's
 * address belongs to one of the networks (CIDR). There are no networks by default, not even loopback, from which content
 * filters return mail from anywhere. Throws `InvalidValue` for an invalid network.
 *
 * Authentication is shown by the MTA's macros `{auth_type}` and `{auth_authen}`, which Postfix and Sendmail send with MAIL
 * unless they are configured otherwise. Either is enough: a widely copied main.cf sends only
 * `{auth_authen}`.
 *
 * **Example** (Sign for users and for a host that sends newsletters)
 *
 * ```ts
 * import * as Auth from "effect-milter/auth"
 *
 * const Sign = Auth.sign({ when: Auth.submitted(["192.0.2.7", "2001:db8:1::/48"]) })
 * ```
 *
 * @category selecting
 * @since 0.1.0
 */
export const submitted = (networks: ReadonlyArray<string> = []): (submission: Submission) => boolean => {
  const ours = Result.getOrThrow(ClientAddress.network(networks))
  return ({ session }) => session.origin === "local" || isAuthenticated(session) || ours.contains(session.client)
}

const isAuthenticated = ({ macros }: Session): boolean =>
  (macros.get("auth_type") ?? "") !== "" || (macros.get("auth_authen") ?? "") !== ""

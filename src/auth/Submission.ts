/**
 * Which mail is our own: handed in by those who may send through us, in contrast to mail from the rest of the world.
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
 * Which messages, decided at MAIL.
 *
 * @category models
 * @since 0.1.0
 */
export type Selection<R = never> = (submission: Submission) => boolean | Effect.Effect<boolean, never, R>

/**
 * Mail of our own users and hosts: the client has authenticated itself, or it did not come by SMTP, or the client's address
 * belongs to one of the networks (CIDR; none by default, not even loopback, where content filters hand back mail from
 * anywhere). Throws `InvalidValue` for a network that is none.
 *
 * Whether a client has authenticated itself is told by the MTA's macros `{auth_type}` and `{auth_authen}`, which Postfix and
 * Sendmail send with MAIL unless they are configured otherwise. Either is enough: a widely copied main.cf sends only
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

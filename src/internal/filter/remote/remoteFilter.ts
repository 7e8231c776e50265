/** Another milter as a filter. Re-exported by `Milter`. */
import * as Effect from "effect/Effect"
import type { Dialer } from "../../net/dialer.ts"
import type { Made } from "../filterTypes.ts"
import { fromResolve } from "../filterValue.ts"
import type { RemoteError } from "./remoteError.ts"
import { checkRemote, type RemoteOptions } from "./remoteOptions.ts"

export { RemoteError } from "./remoteError.ts"
export type { RemoteOptions } from "./remoteOptions.ts"

/**
 * Runs another milter as a filter: any process that speaks the protocol, such as opendkim, rspamd or clamav-milter, in a
 * {@link sequence}, under {@link when}, in a {@link shadow}, with {@link onFailure} and a {@link circuitBreaker}.
 *
 * **Details**
 *
 * - What the filter agrees on with the MTA comes from the declaration alone, since the MTA negotiates before the milter is
 *   dialled. `effect-milter probe ADDRESS` asks a milter what it wants, and prints the declaration.
 * - The milter is dialled when the filter first takes part in the SMTP session; under {@link when} not before. It is offered
 *   what is declared and the MTA has given. One that wants more has failed, and the log names the missing words.
 * - Every failure is a {@link RemoteError}. The milter is out for the rest of the SMTP session then, as with an MTA:
 *   `onFailure` answers in its place, and nothing dials again before the next session.
 * - An accept concerns this milter only. Its other answers go to the MTA as they are: reject, tempFail, discard, and replies
 *   with their text. Its edits reach the later filters of a sequence.
 * - The milter sees this filter as its MTA: aborts and quit come as from Postfix.
 *
 * **Gotchas**
 *
 * - The path of a UNIX socket is the one that this process sees, not the one in the chroot of Postfix's smtpd.
 * - A macro list that any filter asks for replaces what the MTA's administrator has configured for that stage: name in
 *   `macros` all that the milter reads there.
 * - The MTA waits for the server, which has less patience with a filter than an MTA with a milter: 8 s for a command. A milter
 *   with slow checks at RCPT needs a longer `commandTimeout` of the server, below the MTA's own. All filters of a sequence
 *   share the time of an answer, at end of message too. A server whose milters declare more `timeouts` together than the
 *   server has does not start.
 * - Under {@link delayReject} a milter that has refused is told nothing more of the message: mail to an exempt recipient passes
 *   it unseen.
 * - The replies `4` and `f`, which only MTAs use among themselves, are failures.
 *
 * **Example** (Two milters and a filter)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Layer from "effect/Layer"
 * import * as Milter from "effect-milter/Milter"
 * import * as MilterServer from "effect-milter/MilterServer"
 * import { NodeMilterClient } from "effect-milter/node"
 * import * as Verdict from "effect-milter/Verdict"
 *
 * const Opendkim = Milter.remote("opendkim", {
 *   to: "unix:/run/opendkim/opendkim.sock",
 *   modify: ["insertHeader", "changeHeader", "deleteHeader"],
 *   signs: true
 * })
 *
 * const Rspamd = Milter.remote("rspamd", {
 *   to: "inet:11332@127.0.0.1",
 *   modify: ["addHeader", "changeHeader", "deleteHeader", "quarantine"]
 * })
 *
 * const Tagged = Milter.make("tagged", { modify: ["insertHeader"] }).on({
 *   endOfMessage: (_, { edit }) => Effect.as(edit.insertHeader(1, "X-Tagged", "yes"), Verdict.continue)
 * })
 *
 * const All = Milter.sequence([Rspamd, Tagged, Opendkim]).pipe(
 *   Milter.onFailure(() => Effect.succeed(Verdict.tempFail()))
 * )
 *
 * const server = MilterServer.layer(All).pipe(Layer.provide(NodeMilterClient.layer))
 * ```
 *
 * @see `MilterClient.chain` to ask milters from an SMTP server
 *
 * @category constructors
 * @since 0.1.0
 */
export const remote = (name: string, options: RemoteOptions): Made<RemoteError, Dialer> => {
  checkRemote(name, options)
  return fromResolve(Effect.map(
    // The MTA's side of the protocol is half of this library: a filter that asks no other milter does not load it.
    Effect.promise(() => import("./remoteDefinition.ts")),
    // A filter may stand in a sequence twice, or in the shadow and beside it: each place has connections of its own.
    ({ remoteDefinition }) => [remoteDefinition(name, options)]
  ))
}

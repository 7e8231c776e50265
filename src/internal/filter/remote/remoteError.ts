/** The failure of another milter that runs as a filter. Re-exported by `Milter`. */
import * as Data from "effect/Data"
import type { ClientError, ClientErrorReason } from "../../mta/clientError.ts"

/**
 * A milter that runs as a filter (see {@link remote}) has failed. It is out for the rest of the SMTP session, and the policy
 * of `onFailure` answers in its place.
 *
 * - `filter`: the name of the filter
 * - `kind`: `unreachable` (no connection), `negotiation` (the milter wants what is not declared, or the MTA does not give),
 *   `protocol` (an answer that no MTA takes: an invalid packet or reply, a verdict that is illegal at its stage, an edit that
 *   is not declared), `timeout`, or `closed` (the connection ended in the middle)
 * - `error`: what the MTA's side of the connection reports, with the address and the last command
 *
 * @category errors
 * @since 0.1.0
 */
export class RemoteError extends Data.TaggedError("RemoteError")<{
  readonly filter: string
  readonly kind: "unreachable" | "negotiation" | "protocol" | "timeout" | "closed"
  readonly error: ClientError
}> {
  override get message(): string {
    const { error, filter, kind } = this
    const isUndeclared = kind === "negotiation" || error.reason._tag === "UnrequestedAction"
    return `${filter}: ${error.message}${
      isUndeclared ? `; effect-milter probe ${error.address} prints the declaration for Milter.remote` : ""
    }`
  }
}

const kinds: { readonly [K in ClientErrorReason["_tag"]]?: RemoteError["kind"] } = {
  Unreachable: "unreachable",
  NegotiationError: "negotiation",
  Timeout: "timeout",
  Closed: "closed"
}

/** The failure of this filter that an error on its connection is. */
export const remoteErrorOf = (filter: string, error: ClientError): RemoteError =>
  new RemoteError({ filter, kind: kinds[error.reason._tag] ?? "protocol", error })

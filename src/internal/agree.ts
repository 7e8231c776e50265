/** The MTA's side of the negotiation. */
import * as Result from "effect/Result"
import { Action, type Agreement, NegotiationError, newestVersion, type Offer, oldestVersion } from "../Negotiation.ts"
import type * as Packet from "../Packet.ts"

/** What Sendmail (from 8.14.1) and Postfix (from 2.6) offer: all there is. */
export const everything: Offer = { version: newestVersion, actions: 0x1ff, steps: 0x1fffff }

/**
 * Checks what a filter answered. A higher version, one below 2 and an action that was not offered are refused; a step that
 * was not offered is left out, as Postfix does.
 */
export const agree = (offered: Offer, answered: Packet.Negotiated): Result.Result<Agreement, NegotiationError> => {
  const missing: Array<string> = []
  if (answered.version < oldestVersion || answered.version > offered.version) {
    missing.push(`version ${answered.version}`)
  }
  const unoffered = answered.actions & ~offered.actions
  let unknown = unoffered
  for (const [name, bit] of Object.entries(Action)) {
    if ((unoffered & bit) !== 0) missing.push(name)
    unknown &= ~bit
  }
  if (unknown !== 0) missing.push(`actions 0x${(unknown >>> 0).toString(16)}`)
  if (missing.length > 0) return Result.fail(new NegotiationError({ missing, offered }))
  return Result.succeed({
    version: answered.version,
    actions: answered.actions,
    steps: answered.steps & offered.steps,
    macros: answered.macros
  })
}

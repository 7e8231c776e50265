/** The MTA's side of the negotiation. */
import * as Result from "effect/Result"
import {
  Action,
  type Agreement,
  NegotiationError,
  newestVersion,
  type Offer,
  oldestVersion,
  Step
} from "../../Negotiation.ts"
import type * as Packet from "../../Packet.ts"
import type { Manners } from "./manners/mtaManners.ts"

/** What Sendmail (from 8.14.1) and Postfix (from 2.6) offer: every action and every step. */
export const everything: Offer = { version: newestVersion, actions: 0x1ff, steps: 0x1fffff }

/**
 * Checks what a filter answered. A higher version, one below 2 and an action that was not offered are refused. A step that
 * was not offered is left out, as Postfix does, or refused as by Sendmail; macro lists are refused by a Postfix that does
 * not know them.
 */
export const agree = (
  offered: Offer,
  answered: Packet.Negotiated,
  unoffered: Manners["unoffered"]
): Result.Result<Agreement, NegotiationError> => {
  const missing: Array<string> = []
  if (answered.version < oldestVersion || answered.version > offered.version) {
    missing.push(`version ${answered.version}`)
  }
  missing.push(...names("actions", answered.actions & ~offered.actions, Action))
  if (unoffered.steps === "refused") missing.push(...names("steps", answered.steps & ~offered.steps, Step))
  if (unoffered.macroLists === "refused" && answered.macros.length > 0) missing.push("macro lists")
  if (missing.length > 0) return Result.fail(new NegotiationError({ missing, offered }))
  return Result.succeed({
    version: answered.version,
    actions: answered.actions,
    steps: answered.steps & offered.steps,
    macros: answered.macros
  })
}

/** The names of the bits that are set; bits without a name as one number. */
const names = (what: string, bits: number, known: { readonly [name: string]: number }): ReadonlyArray<string> => {
  const found: Array<string> = []
  let unknown = bits
  for (const [name, bit] of Object.entries(known)) {
    if ((bits & bit) !== 0) found.push(name)
    unknown &= ~bit
  }
  if (unknown !== 0) found.push(`${what} 0x${(unknown >>> 0).toString(16)}`)
  return found
}

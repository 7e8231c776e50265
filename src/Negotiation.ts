/**
 * The first exchange on a milter connection: the MTA offers a version, actions and protocol steps, the filter answers
 * with what it wants of them. Pure; {@link negotiate} never asks for what was not offered.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Result from "effect/Result"
import { ByteString } from "./internal/bytes/byteString.ts"
import { Action } from "./internal/protocol/negotiationBits.ts"
import { usualMacrosOf } from "./internal/protocol/stageTable.ts"
import type { MacroStage } from "./Macros.ts"
import * as Macros from "./Macros.ts"

export { Action, maxPayloadOf, Step } from "./internal/protocol/negotiationBits.ts"

/**
 * The newest protocol version spoken here. Postfix (from 2.6) and Sendmail (from 8.14) offer 6.
 *
 * @category constants
 * @since 0.1.0
 */
export const newestVersion = 6

/**
 * The oldest version accepted. Sendmail 8.12 is the last MTA that spoke version 1.
 *
 * @category constants
 * @since 0.1.0
 */
export const oldestVersion = 2

/**
 * The three words of a negotiation packet, as offered by the MTA or agreed on.
 *
 * @category models
 * @since 0.1.0
 */
export interface Offer {
  readonly version: number
  readonly actions: number
  readonly steps: number
}

/**
 * What a filter requests: `actions` that it requires, `optionalActions` that it uses if they are offered, `steps` (each is
 * dropped if it was not offered), and the macros of each stage.
 *
 * @category models
 * @since 0.1.0
 */
export interface Wanted {
  readonly actions: number
  readonly optionalActions: number
  readonly steps: number
  readonly macros: { readonly [K in MacroStage]?: ReadonlyArray<string> }
}

/**
 * What both sides have agreed on. `macros` are the lists that the answer carries, in the form of the wire.
 *
 * @category models
 * @since 0.1.0
 */
export interface Agreement extends Offer {
  readonly macros: ReadonlyArray<{ readonly stage: number; readonly names: ByteString }>
}

/**
 * The negotiation failed: the MTA's version is below 2, or the MTA does not offer actions that the filter requires, which
 * `missing` names. The connection is closed before any mail, and the MTA treats the filter as not available.
 *
 * @category errors
 * @since 0.1.0
 */
export class NegotiationError extends Data.TaggedError("NegotiationError")<{
  readonly missing: ReadonlyArray<string>
  readonly offered: Offer
}> {
  override get message(): string {
    const { actions, steps, version } = this.offered
    return `the MTA does not offer ${this.missing.join(", ")} (it offered version ${version}, actions 0x${
      actions.toString(16)
    }, steps 0x${steps.toString(16)})`
  }
}

const actionNames = Object.entries(Action)

/**
 * Answers an offer. The version is the lower of the two. A required action that was not offered is an error. Optional actions
 * and steps are limited to the offer.
 *
 * **Gotchas**
 *
 * - Macro lists are sent only if the MTA offered to take them: Postfix 2.3 and 2.4 treat the extra bytes as an error.
 * - Sendmail (8.17, 8.18) uses a list for end of message only together with one for end of headers, and drops the macros of end
 *   of message if only the other list comes. So both lists are sent if either is requested.
 * - Postfix reads an empty list as a request for its defaults. So an empty list is not sent.
 *
 * **Example** (A filter that adds a header, for Postfix 3)
 *
 * ```ts
 * import * as Negotiation from "effect-milter/Negotiation"
 *
 * const wanted: Negotiation.Wanted = {
 *   actions: Negotiation.Action.addHeader,
 *   optionalActions: 0,
 *   steps: Negotiation.Step.noBody,
 *   macros: {}
 * }
 * const agreed = Negotiation.negotiate(wanted, { version: 6, actions: 0x1ff, steps: 0x1fffff })
 * ```
 *
 * @category negotiating
 * @since 0.1.0
 */
export const negotiate = (wanted: Wanted, offered: Offer): Result.Result<Agreement, NegotiationError> => {
  const missing: Array<string> = offered.version < oldestVersion ? [`version ${oldestVersion} or later`] : []
  for (const [name, bit] of actionNames) {
    if ((wanted.actions & bit & ~offered.actions) !== 0) missing.push(name)
  }
  if (missing.length > 0) return Result.fail(new NegotiationError({ missing, offered }))
  const macros = (offered.actions & Action.setMacroLists) !== 0 ? macroLists(wanted.macros) : []
  return Result.succeed({
    version: Math.min(newestVersion, offered.version),
    actions: wanted.actions | (wanted.optionalActions & offered.actions) |
      (macros.length > 0 ? Action.setMacroLists : 0),
    steps: wanted.steps & offered.steps,
    macros
  })
}

const macroLists = (wanted: Wanted["macros"]): Agreement["macros"] => {
  const lists: Array<{ readonly stage: number; readonly names: ByteString }> = []
  const both = (wanted.endOfHeaders?.length ?? 0) + (wanted.endOfMessage?.length ?? 0) > 0
  for (const stage of Macros.stages) {
    let names: ReadonlyArray<string> = wanted[stage] ?? []
    // The second list must not remove the macros that the MTA sends by itself.
    if (names.length === 0 && both && (stage === "endOfHeaders" || stage === "endOfMessage")) {
      names = usualMacrosOf(stage)
    }
    if (names.length === 0) continue
    lists.push({
      stage: Macros.stageNumber[stage],
      names: ByteString.fromText(Array.from(new Set(names.map((name) => Macros.render(name)))).join(" "))
    })
  }
  return lists
}

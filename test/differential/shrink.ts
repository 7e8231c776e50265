/**
 * Makes a conversation on which the filters disagree shorter: Effect's property engine leaves out commands, as long as the
 * filters still disagree on what is left.
 */
import type * as Packet from "effect-milter/Packet"
import * as Arbitrary from "effect/Arbitrary"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Random from "../support/random.ts"
import { type Difference, differences } from "./differences.ts"
import { type Disagreement, Driver } from "./driver.ts"
import type { Variant } from "./filter.ts"
import type { Peer } from "./peer.ts"

/** The longest that one is made shorter, in milliseconds. */
const budget = 60_000

/** More than a conversation of 200 commands needs. */
const maxShrinks = 5000

/** What a shorter conversation may show: what one command too few leads to is a difference that is known. */
const known = Object.keys(differences) as ReadonlyArray<Difference>

/** Numbers of the commands that are left out; the negotiation, which is the first, never is. */
const Removed = Schema.Array(Schema.Int)

/** Half of the commands that are left, a quarter of them, and so on down to one. */
const shorter = (length: number) => (removed: ReadonlyArray<number>): ReadonlyArray<ReadonlyArray<number>> => {
  const left = Array.from({ length: length - 1 }, (_, index) => index + 1).filter((index) => !removed.includes(index))
  const candidates: Array<ReadonlyArray<number>> = []
  for (let size = left.length; size >= 1; size = Math.floor(size / 2)) {
    // The last ones first: what follows the disagreement does not matter.
    for (let end = left.length; end > 0; end -= size) {
      candidates.push([...removed, ...left.slice(Math.max(0, end - size), end)])
    }
  }
  return candidates
}

/** Says these commands again, and no others. */
const again = Effect.fnUntraced(function*(driver: Driver, said: ReadonlyArray<Packet.MtaPacket>) {
  for (const packet of said) {
    if (packet._tag === "Quit") return yield* driver.end("quit")
    if (packet._tag === "Macro" || packet._tag === "Abort" || packet._tag === "QuitNewConnection") driver.tell(packet)
    else if ((yield* driver.ask(packet, ...known)) === "") break
  }
  yield* driver.end("close")
})

/**
 * The shortest conversation found within a minute, and how the filters disagree on it; `undefined` if they do not disagree when
 * the commands of the first are said again.
 */
export const shrink = Effect.fnUntraced(function*(
  options: {
    readonly title: string
    readonly variant: Variant
    /** What was said when they disagreed. */
    readonly first: Disagreement
    readonly open: Effect.Effect<{ readonly theirs: Peer; readonly ours: Peer }, never, Scope.Scope>
  }
) {
  const { first, open, title, variant } = options
  const until = (yield* Clock.currentTimeMillis) + budget
  const result = yield* Arbitrary.checkEffect(
    // At size zero the array is empty, so the first run says all.
    Arbitrary.schema(Removed, { shrink: shorter(first.said.length) }),
    Effect.fnUntraced(function*(removed) {
      // When time is up nothing shorter is found any more.
      if ((yield* Clock.currentTimeMillis) > until) return true
      const said = first.said.filter((_, index) => !removed.includes(index))
      const driver = new Driver({
        ...yield* open,
        title: `${title}, ${said.length} of ${first.said.length} commands`,
        random: Random.make(0),
        steps: variant.steps
      })
      yield* Effect.catchTag(again(driver, said), "Disagreement", (disagreement) =>
        // Silence takes long, and is easily brought about by commands that are out of order.
        disagreement.silent === first.silent ? Effect.fail(disagreement) : Effect.void)
      return true
    }, Effect.scoped),
    { runs: 1, size: 0, maxShrinks }
  )
  return result._tag === "Falsified" && result.failure._tag === "PropertyError" ? result.failure.error : undefined
})

/** Has forgotten to export its filter by default. */
import * as Milter from "effect-milter/Milter"

export const Nothing = Milter.make("nothing").on({})

/**
 * An application whose modules each bring a filter: it says which ones there are and in what order, and provides their
 * layers. One that it forgets is a compile error that names the filter.
 */
import * as Milter from "effect-milter/Milter"
import * as Layer from "effect/Layer"
import { UnknownRecipients } from "./accounts.ts"
import { Origin } from "./origin.ts"

/** The order is that of this list, whatever the order in which layers are built. Needs both of them. */
export const filters = Milter.sequence([UnknownRecipients, Origin])

/** What the modules provide, which needs accounts; a test provides other ones. */
export const modules = Layer.mergeAll(UnknownRecipients.layer, Origin.layer)

/** A key that nobody provides a filter for: types would refuse it, a default export has none. */
import * as Milter from "effect-milter/Milter"

export default class Greylist extends Milter.Service<Greylist>()("test/Greylist") {}

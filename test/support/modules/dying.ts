/** A filter whose hook dies. */
import * as Milter from "effect-milter/Milter"
import * as Effect from "effect/Effect"

export default Milter.make("dying").on({ mail: () => Effect.die(new Error("the database is not there")) })

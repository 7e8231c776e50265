/**
 * The server under test, `effectMilter.ts ADDRESS [quiet] [five]`: every stage has a hook, end of message adds a header. With
 * `quiet` it does not log a line for each message; with `five` it is a sequence of five filters.
 */
import * as Layer from "effect/Layer"
import { serve } from "./program.ts"

serve(Layer.empty)

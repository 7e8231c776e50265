/**
 * The server under test, `effectMilter.ts ADDRESS [quiet] [five] [unmetered]`: every stage has a hook, end of message adds a
 * header. With `quiet` it does not log a line for each message; with `five` it is a sequence of five filters; with `unmetered`
 * it counts nothing.
 */
import * as Layer from "effect/Layer"
import { serve } from "./program.ts"

// Not preloaded: a message cost 3 % less with any module preloaded, also without a change to the server.
if (process.argv.includes("unmetered")) await import("./withoutMetrics.ts")

serve(Layer.empty)

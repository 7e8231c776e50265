/** The server under test, `logged.ts ADDRESS`, with the log of `effect-milter serve`. */
import * as logFormat from "../../src/cli/serve/logFormat.ts"
import { serve } from "./program.ts"

serve(logFormat.layer("logfmt"))

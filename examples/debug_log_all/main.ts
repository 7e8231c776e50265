/** The command: serves the filter, which has no options of its own. */
import * as MilterServer from "effect-milter/MilterServer"
import * as command from "../support/command.ts"
import { debugLogAll } from "./filter.ts"

command.run({
  name: "debug_log_all",
  description: "Logs all that the MTA tells: every event with all macros, refused recipients included",
  options: {},
  serve: () => MilterServer.layerConfig(debugLogAll)
})

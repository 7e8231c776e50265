/** The command: serves the filter with the name of its field. */
import * as MilterServer from "effect-milter/MilterServer"
import * as Flag from "effect/cli/Flag"
import * as command from "../support/command.ts"
import * as flags from "../support/flags.ts"
import { appendHeaderIp, defaultName } from "./filter.ts"

command.run({
  name: "append_header_ip",
  description: "Adds the IP address of the SMTP client to each message, as a header field",
  options: {
    headername: flags.fieldName("headername", defaultName).pipe(
      Flag.withDescription(`The name of the field (${defaultName})`)
    )
  },
  serve: ({ headername }) => MilterServer.layerConfig(appendHeaderIp(headername))
})

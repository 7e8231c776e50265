/** The command: serves the filter with the name of its field. */
import * as MilterServer from "effect-milter/MilterServer"
import * as Flag from "effect/cli/Flag"
import * as command from "../support/command.ts"
import * as flags from "../support/flags.ts"
import { defaultName, instanceHeader } from "./filter.ts"

command.run({
  name: "instance_header",
  description: "Adds a header field that says which smtpd has received the message",
  options: {
    headername: flags.fieldName("headername", defaultName).pipe(
      Flag.withDescription(`The name of the field (${defaultName})`)
    )
  },
  serve: ({ headername }) => MilterServer.layerConfig(instanceHeader(headername))
})

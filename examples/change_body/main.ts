/** The command: serves the filter with the new body. */
import * as MilterServer from "effect-milter/MilterServer"
import * as Flag from "effect/cli/Flag"
import * as command from "../support/command.ts"
import { changeBody, defaultBody } from "./filter.ts"

command.run({
  name: "change_body",
  description: "Replaces the body of each message",
  options: {
    newbody: Flag.String("newbody").pipe(
      Flag.withDefault(defaultBody),
      Flag.withMetavar("TEXT"),
      Flag.withDescription(`The new body (${defaultBody})`)
    )
  },
  serve: ({ newbody }) => MilterServer.layerConfig(changeBody(newbody))
})

/** The command: serves the filter with its mode and the clients that it looks at. */
import * as MilterServer from "effect-milter/MilterServer"
import * as Flag from "effect/cli/Flag"
import * as command from "../support/command.ts"
import * as flags from "../support/flags.ts"
import { alignment } from "./filter.ts"

command.run({
  name: "alignment",
  description: "Refuses mail whose author in From is not of the envelope sender's domain",
  options: {
    alignment: Flag.Literals("alignment", ["strict", "relaxed"]).pipe(
      Flag.withDefault("relaxed"),
      Flag.withDescription("strict: the same domain; relaxed: of the same organization (relaxed)")
    ),
    only: Flag.Literals("only", ["all", "authenticated"]).pipe(
      Flag.withDefault("all"),
      Flag.withDescription("Whose mail is checked: that of all clients, or of those who have authenticated (all)")
    ),
    networks: flags.networks("networks").pipe(
      Flag.withDescription("With --only authenticated: clients whose mail is checked as well, such as 10.0.0.0/8")
    )
  },
  serve: ({ alignment: mode, networks, only }) => MilterServer.layerConfig(alignment({ mode, networks, only }))
})

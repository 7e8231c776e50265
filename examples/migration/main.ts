/** The command: says which of the two is live, and where the old milter listens. */
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterClient } from "effect-milter/node"
import * as Flag from "effect/cli/Flag"
import * as Layer from "effect/Layer"
import * as command from "../support/command.ts"
import * as flags from "../support/flags.ts"
import * as Differences from "./differences.ts"
import { migration } from "./filter.ts"
import { old } from "./old.ts"
import { replacement } from "./replacement.ts"

command.run({
  name: "migration",
  description: "Compares a new filter with the old milter on live mail, and swaps them",
  options: {
    old: flags.text("old", "inet:8900@127.0.0.1").pipe(
      Flag.withMetavar("SPEC"),
      Flag.withDescription("Where the old milter listens (inet:8900@127.0.0.1)")
    ),
    live: Flag.Literals("live", ["old", "new"]).pipe(
      Flag.withDefault("old"),
      Flag.withDescription("Which of them decides about mail; the other is in the shadow (old)")
    ),
    domain: flags.text("domain", "example.com").pipe(
      Flag.withDescription("The domain whose senders the new filter refuses (example.com)")
    )
  },
  serve: ({ domain, live, old: to }) => {
    const before = old(to)
    const after = replacement(domain)
    return MilterServer.layerConfig(live === "old" ? migration(before, after) : migration(after, before)).pipe(
      Layer.provide([NodeMilterClient.layer, Differences.layer])
    )
  }
})

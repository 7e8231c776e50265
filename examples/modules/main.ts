/** The command: serves the application's filters with a list of accounts. */
import * as MilterServer from "effect-milter/MilterServer"
import * as Flag from "effect/cli/Flag"
import * as Layer from "effect/Layer"
import * as command from "../support/command.ts"
import { Accounts } from "./accounts.ts"
import { filters, modules } from "./application.ts"

command.run({
  name: "modules",
  description: "Refuses recipients without an account and marks mail from outside: two modules of one application",
  options: {
    accounts: Flag.String("accounts").pipe(
      Flag.withMetavar("ADDRESSES"),
      Flag.withDefault("alice@example.org,bob@example.org"),
      Flag.map((list) => list.split(",").map((address) => address.trim().toLowerCase())),
      Flag.filter(
        (addresses) => addresses.every((address) => /^[^\s@]+@[^\s@]+$/.test(address)),
        () => "addresses such as alice@example.org,bob@example.org"
      ),
      Flag.withDescription("Who has an account, separated by commas")
    )
  },
  serve: ({ accounts }) =>
    MilterServer.layerConfig(filters).pipe(
      Layer.provide(modules),
      Layer.provide(Accounts.layerOf(accounts))
    )
})

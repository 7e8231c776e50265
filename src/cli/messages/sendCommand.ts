/** `effect-milter send`: sends messages through a running filter, and shows the outcome. */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { layer as dialer } from "../../node/NodeMilterClient.ts"
import * as specs from "../flags/specs.ts"
import * as clientTrouble from "../trouble/clientTrouble.ts"
import { run } from "./converse.ts"
import * as messageFlags from "./messageFlags.ts"

const flags = {
  messages: messageFlags.messages,
  to: specs.filterAddress("to").pipe(Flag.withDescription("Where the filter listens")),
  timeout: specs.timeout,
  ...messageFlags.flags
}

const clientTimeouts = Option.match({
  onNone: () => ({}),
  onSome: (time: Duration.Duration) => ({ timeouts: { connect: time, command: time, content: time } })
})

export const send = Command.make("send", flags, ({ timeout, to, ...given }) =>
  run({
    address: to,
    options: { as: messageFlags.mtas[given.as], ...clientTimeouts(timeout) },
    explain: (error) => clientTrouble.explain(error)
  }, given).pipe(Effect.provide(dialer))).pipe(
    Command.withDescription(
      "Sends messages through a filter as an MTA would, and shows the verdict and what was changed; of several messages a line " +
        "each, and a summary. Exit code for one message: 0 accepted, 2 rejected, 3 refused for now, 4 discarded, 5 quarantined; " +
        "for several 0; 6 if --expect says otherwise; 1 if one could not be sent"
    ),
    Command.withShortDescription("Sends messages through a filter as an MTA would, and shows verdicts and changes"),
    Command.withExamples([
      { command: "effect-milter send hello.eml --to unix:/run/opendkim/opendkim.sock --client 127.0.0.1" },
      { command: "effect-milter send spam.eml --to inet:11332@127.0.0.1 --as sendmail --json" },
      { command: "effect-milter send ~/Maildir/.Junk --to inet:11332 --expect rejected" }
    ])
  )

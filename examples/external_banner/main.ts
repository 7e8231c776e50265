/** The command: serves the filter with the banner of its flags. */
import * as MilterServer from "effect-milter/MilterServer"
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import * as command from "../support/command.ts"
import * as flags from "../support/flags.ts"
import { externalBanner } from "./filter.ts"

const defaultText = "CAUTION: This message comes from outside. Do not open links or files that you do not expect."

command.run({
  name: "external_banner",
  description: "Warns of mail from outside, and takes the warnings out of replies that leave",
  options: {
    text: flags.text("text", defaultText).pipe(Flag.withDescription("The banner (CAUTION: This message ...)")),
    html: flags.text("html").pipe(
      Flag.withDescription("The banner for HTML (the text as a paragraph)"),
      Flag.optional
    ),
    id: flags.identifier("id", "external").pipe(Flag.withDescription("Marks the banner (external)")),
    subject: Flag.String("subject").pipe(
      Flag.withDefault(""),
      Flag.filter((tag) => /^[ -~]{0,60}$/.test(tag), () => "at most 60 printable ASCII characters"),
      Flag.withMetavar("TAG"),
      Flag.withDescription("What Subject begins with, such as [EXTERN]; the subject stays as it is without")
    ),
    networks: flags.networks("networks").pipe(
      Flag.withDescription(
        "Clients whose mail is from inside, such as 10.0.0.0/8, beside those that have authenticated"
      )
    )
  },
  serve: ({ html, id, networks, subject, text }) =>
    MilterServer.layerConfig(externalBanner({ text, html: Option.getOrUndefined(html), id, subject, networks }))
})

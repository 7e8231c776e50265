/** The flags that `send` and `test` share: the messages, their envelope, the MTA, and what is printed. */
import * as Argument from "effect/cli/Argument"
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as MilterClient from "../../MilterClient.ts"
import type * as RawMessage from "../../RawMessage.ts"
import * as specs from "../flags/specs.ts"
import * as exit from "../trouble/exit.ts"
import { addressesIn } from "./addresses.ts"

export const messages = specs.pathArgument("MESSAGE").pipe(
  Argument.withDescription("A message, a mailbox file (mbox), a Maildir or another directory; - reads standard input"),
  Argument.variadic({ min: 1 })
)

export const flags = {
  as: Flag.Literals("as", ["postfix", "postfix23", "postfix26", "postfix38", "postfix311", "sendmail", "sendmail818"])
    .pipe(
      Flag.withDefault("postfix" as const),
      Flag.withMetavar("MTA"),
      Flag.withDescription("The MTA to behave like; postfix is 3.7, postfix38 up to 3.10, sendmail 8.17")
    ),
  from: Flag.String("from").pipe(
    Flag.withMetavar("ADDRESS"),
    Flag.withDescription(
      "The envelope's sender, <> for none; if not given, the address in From:, or else in Return-Path:"
    ),
    Flag.optional
  ),
  rcpt: Flag.String("rcpt").pipe(
    Flag.withMetavar("ADDRESS"),
    Flag.withDescription(
      "A recipient; can be repeated; if not given, the addresses in To: and Cc:, or else in Delivered-To:"
    ),
    Flag.atLeast(0)
  ),
  client: specs.client,
  helo: Flag.String("helo").pipe(
    Flag.withMetavar("NAME"),
    Flag.withDescription("What the client says at HELO; its host name if not given"),
    Flag.optional
  ),
  macro: specs.macro,
  output: specs.pathFlag("output").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription(
      "Writes the message as it would be delivered; for several messages a directory, in which they are numbered"
    ),
    Flag.optional
  ),
  expect: Flag.Literals("expect", ["accepted", "rejected", "tempfailed", "discarded", "quarantined"]).pipe(
    Flag.withMetavar("VERDICT"),
    Flag.withDescription(
      "The verdict that each message should get; the exit code is 0 then, and 6 if one gets another"
    ),
    Flag.optional
  ),
  json: Flag.Boolean("json").pipe(
    Flag.withDefault(false),
    Flag.withDescription("Prints a line of JSON for each message")
  ),
  verbose: Flag.Boolean("verbose").pipe(
    Flag.withDefault(false),
    Flag.withDescription("Shows the conversation with the filter too, on standard error")
  )
}

/** The values of the flags. */
export interface Given {
  readonly messages: ReadonlyArray<string>
  readonly as: keyof typeof mtas
  readonly from: Option.Option<string>
  readonly rcpt: ReadonlyArray<string>
  readonly client: Option.Option<Partial<MilterClient.Connect>>
  readonly helo: Option.Option<string>
  readonly macro: ReadonlyArray<readonly [string, string]>
  readonly output: Option.Option<string>
  readonly expect: Option.Option<"accepted" | "rejected" | "tempfailed" | "discarded" | "quarantined">
  readonly json: boolean
  readonly verbose: boolean
}

export const mtas = {
  postfix: MilterClient.postfix,
  postfix23: MilterClient.postfix23,
  postfix26: MilterClient.postfix26,
  postfix38: MilterClient.postfix38,
  postfix311: MilterClient.postfix311,
  sendmail: MilterClient.sendmail,
  sendmail818: MilterClient.sendmail818
}

/** The message and its envelope: from the flags, else from the header. */
export const messageOf = (
  raw: RawMessage.RawMessage,
  { client, from, helo, macro, rcpt }: Pick<Given, "client" | "from" | "helo" | "macro" | "rcpt">
): Result.Result<MilterClient.Message, exit.Trouble> => {
  const sender = Option.getOrUndefined(from) ?? addressesIn(raw, "from")[0] ?? returnPath(raw)
  if (sender === undefined) {
    return Result.fail(exit.trouble("there is no address in From: of the message: give --from ADDRESS"))
  }
  const named = [...new Set([...addressesIn(raw, "to"), ...addressesIn(raw, "cc")])]
  const recipients = rcpt.length > 0 ? rcpt : named.length > 0 ? named : addressesIn(raw, "delivered-to").slice(0, 1)
  if (recipients.length === 0) {
    return Result.fail(exit.trouble("there is no address in To: and Cc: of the message: give --rcpt ADDRESS"))
  }
  return Result.succeed({
    ...raw,
    from: sender,
    to: recipients,
    macros: specs.macrosByStage(macro),
    ...(Option.isSome(client) ? { client: client.value } : {}),
    ...(Option.isSome(helo) ? { helo: helo.value } : {})
  })
}

/** The sender that a final MTA has noted; `<>` of a bounce. */
const returnPath = (raw: RawMessage.RawMessage): string | undefined =>
  raw.headers.some(([name, value]) => name.toLowerCase() === "return-path" && value === "<>")
    ? "<>"
    : addressesIn(raw, "return-path")[0]

/** `effect-milter send`: sends one message through a filter, and shows the outcome. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Delivery from "../Delivery.ts"
import * as MilterClient from "../MilterClient.ts"
import { layer as dialer } from "../node/NodeMilterClient.ts"
import type * as Packet from "../Packet.ts"
import * as RawMessage from "../RawMessage.ts"
import { addressesIn } from "./addresses.ts"
import * as clientTrouble from "./clientTrouble.ts"
import * as exit from "./exit.ts"
import { packetLine } from "./packetLine.ts"
import * as report from "./report.ts"
import * as specs from "./specs.ts"
import { type Style, style } from "./style.ts"

const flags = {
  message: Argument.String("MESSAGE.eml").pipe(Argument.withDescription("The message; - reads standard input")),
  to: specs.filterAddress("to").pipe(Flag.withDescription("Where the filter listens")),
  as: Flag.Literals("as", ["postfix", "postfix23", "postfix26", "postfix38", "postfix311", "sendmail"]).pipe(
    Flag.withDefault("postfix" as const),
    Flag.withMetavar("MTA"),
    Flag.withDescription("The MTA to behave like; postfix is 3.7, sendmail 8.17")
  ),
  from: Flag.String("from").pipe(
    Flag.withMetavar("ADDRESS"),
    Flag.withDescription("The envelope's sender, <> for none; the address in From: if not given"),
    Flag.optional
  ),
  rcpt: Flag.String("rcpt").pipe(
    Flag.withMetavar("ADDRESS"),
    Flag.withDescription("A recipient; can be repeated; the addresses in To: and Cc: if not given"),
    Flag.atLeast(0)
  ),
  client: specs.client,
  helo: Flag.String("helo").pipe(
    Flag.withMetavar("NAME"),
    Flag.withDescription("What the client says at HELO; its host name if not given"),
    Flag.optional
  ),
  macro: specs.macro,
  output: Flag.String("output").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription("Writes the message as it would be delivered"),
    Flag.optional
  ),
  json: Flag.Boolean("json").pipe(Flag.withDefault(false), Flag.withDescription("Prints JSON")),
  verbose: Flag.Boolean("verbose").pipe(
    Flag.withDefault(false),
    Flag.withDescription("Shows the conversation with the filter too, on standard error")
  )
}

const readInput = (path: string): Effect.Effect<Uint8Array, exit.Trouble, FileSystem.FileSystem | Stdio.Stdio> =>
  path === "-"
    ? Effect.flatMap(Stdio.Stdio, ({ stdin }) => Stream.runCollect(stdin)).pipe(
      Effect.map((chunks) => Buffer.concat(chunks)),
      Effect.mapError((error) => exit.trouble(`cannot read standard input: ${exit.lineOf(error)}`))
    )
    : FileSystem.FileSystem.pipe(
      Effect.flatMap((files) => files.readFile(path)),
      Effect.mapError(() => exit.trouble(`cannot read ${path}: give the file of a message, or - for standard input`))
    )

/** The message and its envelope: from the flags, else from the file. */
const messageOf = Effect.fnUntraced(function*(
  raw: RawMessage.RawMessage,
  { client, from, helo, macro, rcpt }: {
    readonly client: Option.Option<Partial<MilterClient.Connect>>
    readonly from: Option.Option<string>
    readonly helo: Option.Option<string>
    readonly macro: ReadonlyArray<readonly [string, string]>
    readonly rcpt: ReadonlyArray<string>
  }
) {
  const sender = Option.getOrUndefined(from) ?? addressesIn(raw, "from")[0]
  if (sender === undefined) {
    return yield* exit.trouble("there is no address in From: of the message: give --from ADDRESS")
  }
  const recipients = rcpt.length > 0 ? rcpt : [...new Set([...addressesIn(raw, "to"), ...addressesIn(raw, "cc")])]
  if (recipients.length === 0) {
    return yield* exit.trouble("there is no address in To: and Cc: of the message: give --rcpt ADDRESS")
  }
  const message: MilterClient.Message = {
    ...raw,
    from: sender,
    to: recipients,
    macros: specs.macrosByStage(macro),
    ...(Option.isSome(client) ? { client: client.value } : {}),
    ...(Option.isSome(helo) ? { helo: helo.value } : {})
  }
  return message
})

const mtas = {
  postfix: MilterClient.postfix,
  postfix23: MilterClient.postfix23,
  postfix26: MilterClient.postfix26,
  postfix38: MilterClient.postfix38,
  postfix311: MilterClient.postfix311,
  sendmail: MilterClient.sendmail
}

const isRefused = ({ _tag }: MilterClient.Answer): boolean =>
  _tag === "Reject" || _tag === "TempFail" || _tag === "Reply"

/** The message as it would be delivered without the filter, to the recipients that were not refused. */
const beforeOf = (
  message: MilterClient.Message,
  { recipients }: MilterClient.Outcome,
  as: keyof typeof mtas
): Delivery.Message =>
  Result.getOrThrow( // it fails with modifications only
    MilterClient.applyTo(
      { ...message, to: recipients.filter(({ answer }) => !isRefused(answer)).map(({ address }) => address) },
      [],
      { as: mtas[as] }
    )
  )

const converse = (
  to: string,
  as: keyof typeof mtas,
  message: MilterClient.Message,
  observe: ((from: "mta" | "filter", packet: Packet.MtaPacket | Packet.FilterPacket) => void) | undefined
) =>
  Effect.gen(function*() {
    const filter = yield* MilterClient.dial(to, {
      as: mtas[as],
      ...(observe === undefined ? {} : { observe })
    })
    const outcome = yield* filter.sendMessage(message)
    // The verdict holds even if the filter is gone by now.
    yield* Effect.ignore(filter.quit())
    return outcome
  }).pipe(Effect.scoped, Effect.provide(dialer), Effect.mapError((error) => clientTrouble.explain(error)))

const write = (path: string, { delivered }: MilterClient.Outcome) =>
  delivered === undefined
    ? exit.trouble(`nothing is written to ${path}: the message would not be delivered`)
    : FileSystem.FileSystem.pipe(
      Effect.flatMap((files) => files.writeFile(path, Delivery.toBytes(delivered), { mode: 0o600 })),
      Effect.mapError(() =>
        exit.trouble(`cannot write ${path}: give --output a file in a directory that you may write to`)
      )
    )

const print = (text: string) => Effect.sync(() => void process.stdout.write(text))

const observer = (style: Style) => {
  const started = performance.now()
  return (from: "mta" | "filter", packet: Packet.MtaPacket | Packet.FilterPacket): void =>
    void process.stderr.write(`${packetLine(from, packet, performance.now() - started, style)}\n`)
}

export const send = Command.make(
  "send",
  flags,
  Effect.fnUntraced(function*(given) {
    const message = yield* messageOf(RawMessage.parse(yield* readInput(given.message)), given)
    const colours = yield* style
    const outcome = yield* converse(given.to, given.as, message, given.verbose ? observer(colours) : undefined)
    const code = exit.verdictCodes[report.verdictOf(outcome)]
    yield* print(
      given.json ? report.json(outcome, code) : report.text(beforeOf(message, outcome, given.as), outcome, colours)
    )
    if (Option.isSome(given.output) && outcome._tag === "Accepted") yield* write(given.output.value, outcome)
    if (code !== 0) return yield* new exit.Result({ code })
  })
).pipe(
  Command.withDescription(
    "Sends a message through a filter as an MTA would, and shows the verdict and what was changed. " +
      "Exit code: 0 accepted, 2 rejected, 3 refused for now, 4 discarded, 5 quarantined; 1 if it could not be sent"
  ),
  Command.withShortDescription("Sends a message through a filter as an MTA would, and shows verdict and changes"),
  Command.withExamples([
    { command: "effect-milter send hello.eml --to unix:/run/opendkim/opendkim.sock --client 127.0.0.1" },
    { command: "effect-milter send spam.eml --to inet:11332@127.0.0.1 --as sendmail --json" }
  ])
)

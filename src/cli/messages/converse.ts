/** Sends messages through a filter, one connection each, and prints what becomes of them. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Path from "node:path"
import * as Delivery from "../../Delivery.ts"
import { showInvisible } from "../../internal/bytes/invisible.ts"
import * as MilterClient from "../../MilterClient.ts"
import type * as Packet from "../../Packet.ts"
import * as RawMessage from "../../RawMessage.ts"
import * as progressBar from "../terminal/progressBar.ts"
import { type Style, style } from "../terminal/style.ts"
import { watching } from "../terminal/waiting.ts"
import { packetLine } from "../trace/packetLine.ts"
import * as exit from "../trouble/exit.ts"
import { filesOf, type Found, messagesOf } from "./messageFiles.ts"
import { type Given, messageOf, mtas } from "./messageFlags.ts"
import * as report from "./report.ts"
import { Tally } from "./tally.ts"

/** The filter, and the words for a session with it that failed. */
export interface Target {
  readonly address: string
  readonly options: MilterClient.Options
  readonly explain: (error: MilterClient.ClientError) => exit.Trouble
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

type Observe = (from: "mta" | "filter", packet: Packet.MtaPacket | Packet.FilterPacket) => void

const observer = (style: Style): Observe => {
  const started = performance.now()
  return (from, packet) =>
    void process.stderr.write(`${packetLine(from, packet, performance.now() - started, style)}\n`)
}

const converse = ({ address, options }: Target, message: MilterClient.Message, observe: Observe | undefined) =>
  Effect.gen(function*() {
    const filter = yield* MilterClient.dial(address, { ...options, observe: yield* watching(address, observe) })
    const outcome = yield* filter.sendMessage(message)
    // The verdict holds even if the filter is gone by now.
    yield* Effect.ignore(filter.quit())
    return outcome
  }).pipe(Effect.scoped)

const write = (path: string, { delivered }: MilterClient.Outcome) =>
  delivered === undefined
    ? exit.trouble(`nothing is written to ${path}: the message would not be delivered`)
    : FileSystem.FileSystem.pipe(
      Effect.flatMap((files) => files.writeFile(path, Delivery.toBytes(delivered), { mode: 0o600 })),
      Effect.mapError(() =>
        exit.trouble(`cannot write ${path}: give --output a file in a directory that you may write to`)
      )
    )

const print = (text: string): void => void process.stdout.write(text)

const readStdin = Effect.flatMap(Stdio.Stdio, ({ stdin }) => Stream.runCollect(stdin)).pipe(
  Effect.map((chunks): Uint8Array => Buffer.concat(chunks)),
  Effect.mapError((error) => exit.trouble(`cannot read standard input: ${exit.lineOf(error)}`))
)

/** The message, its outcome, and whether that is the expected one. */
const conclude = (given: Given, outcome: MilterClient.Outcome) => {
  const verdict = report.verdictOf(outcome)
  const isExpected = Option.isNone(given.expect) || given.expect.value === verdict.toLowerCase()
  return { code: exit.verdictCodes[verdict], isExpected, note: isExpected ? "" : ` (expected: ${expected(given)})` }
}

const expected = ({ expect }: Given): string => Option.getOrElse(expect, () => "")

/** A single message: its whole report, and its verdict as the exit code. */
const sendOne = Effect.fnUntraced(function*(target: Target, given: Given, { bytes, name }: Found) {
  const message = yield* Effect.fromResult(messageOf(RawMessage.parse(bytes), given))
  const colours = yield* style
  const outcome = yield* Effect.mapError(
    converse(target, message, given.verbose ? observer(colours) : undefined),
    target.explain
  )
  const { code, isExpected, note } = conclude(given, outcome)
  print(
    given.json
      ? report.json(name, outcome, code)
      : report.text(beforeOf(message, outcome, given.as), outcome, colours)
  )
  if (Option.isSome(given.output) && outcome._tag === "Accepted") yield* write(given.output.value, outcome)
  if (!isExpected) {
    process.stderr.write(`effect-milter: ${report.words[report.verdictOf(outcome)]}${note}\n`)
    return yield* new exit.Result({ code: exit.unexpected })
  }
  if (code !== 0 && Option.isNone(given.expect)) return yield* new exit.Result({ code })
})

const outputDirectory = (path: string) =>
  FileSystem.FileSystem.pipe(
    Effect.flatMap((files) => files.makeDirectory(path, { recursive: true, mode: 0o700 })),
    Effect.mapError(() =>
      exit.trouble(`cannot make the directory ${path}: for several messages, give --output a directory`)
    )
  )

/** Several messages: a line for each, and a summary. */
const sendMany = Effect.fnUntraced(function*(
  target: Target,
  given: Given,
  total: number,
  messages: Iterable<Result.Result<Found, exit.Trouble>>
) {
  const colours = yield* style
  const observe = given.verbose ? observer(colours) : undefined
  const bar = progressBar.make(total)
  const tally = new Tally()
  const started = performance.now()
  let isUnreachable = false
  if (Option.isSome(given.output)) yield* outputDirectory(given.output.value)
  const say = (text: string): void => {
    bar.clear()
    print(text)
  }
  yield* Effect.gen(function*() {
    for (const found of messages) {
      const { bytes, name, position } = yield* Effect.fromResult(found)
      const shown = showInvisible(name)
      const message = messageOf(RawMessage.parse(bytes), given)
      const began = performance.now()
      const outcome = yield* Effect.result(
        Result.isFailure(message)
          ? Effect.fail(message.failure)
          : Effect.mapError(converse(target, message.success, observe), (error) => {
            isUnreachable = error.reason._tag === "Unreachable"
            return target.explain(error)
          })
      )
      if (Result.isSuccess(outcome)) {
        const { code, isExpected, note } = conclude(given, outcome.success)
        tally.add(shown, outcome.success, performance.now() - began, isExpected)
        say(
          given.json
            ? report.json(name, outcome.success, code)
            : `${shown}: ${report.line(outcome.success, colours)}${colours.red(note)}\n`
        )
        if (Option.isSome(given.output) && outcome.success._tag === "Accepted") {
          const file = `${String(tally.messages).padStart(4, "0")}.eml`
          yield* write(Path.join(given.output.value, file), outcome.success)
        }
      } else if (isUnreachable) {
        // No message will fare better.
        return yield* outcome.failure
      } else {
        tally.fail()
        bar.clear()
        process.stderr.write(`effect-milter: ${shown}: ${outcome.failure.message}\n`)
      }
      bar.show(position, tally.messages)
    }
  }).pipe(Effect.ensuring(Effect.sync(bar.clear)))
  const summary = tally.summary(performance.now() - started, colours)
  if (given.json) process.stderr.write(summary)
  else print(summary)
  if (tally.failed > 0) return yield* exit.trouble(`${tally.failed} of ${tally.messages} messages could not be sent`)
  if (tally.unexpected > 0) return yield* new exit.Result({ code: exit.unexpected })
})

/** Sends the messages of the command line. */
export const run = Effect.fnUntraced(function*(target: Target, given: Given) {
  const files = yield* Effect.fromResult(filesOf(given.messages))
  const stdin = given.messages.includes("-") ? yield* readStdin : new Uint8Array()
  const messages = messagesOf(files, stdin)
  // Whether there are several shows when the second one is there: a mailbox file may have one message, too.
  const [first, second] = [messages.next(), messages.next()]
  if (first.done === true) return yield* exit.trouble(`there is no message in ${given.messages.join(" ")}`)
  if (second.done === true) return yield* sendOne(target, given, yield* Effect.fromResult(first.value))
  const all = function*() {
    yield first.value
    yield second.value
    yield* messages
  }
  yield* sendMany(target, given, files.reduce((sum, { size }) => sum + size, 0), all())
})

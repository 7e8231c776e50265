/** `effect-milter bench`: measures how fast a filter answers. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as MilterClient from "../../MilterClient.ts"
import { layer as dialer } from "../../node/NodeMilterClient.ts"
import * as specs from "../flags/specs.ts"
import { style } from "../terminal/style.ts"
import * as clientTrouble from "../trouble/clientTrouble.ts"
import * as exit from "../trouble/exit.ts"
import { type Connect, Figures, type Load, run } from "./benchLoad.ts"
import { page } from "./benchPage.ts"
import * as benchReport from "./benchReport.ts"

const flags = {
  filter: specs.filterArgument("SPEC").pipe(Argument.withDescription("Where the filter listens")),
  connections: specs.positive("connections", 100_000).pipe(
    Flag.withDefault(10),
    Flag.withDescription("Connections at a time; 10 if not given")
  ),
  messages: specs.positive("messages", 1_000_000_000).pipe(
    Flag.withDefault(1000),
    Flag.withDescription("Messages in all, after the warm-up; 1000 if not given")
  ),
  perConnection: specs.positive("per-connection", 1_000_000_000).pipe(
    Flag.withDefault(50),
    Flag.withDescription("Messages on a connection before another is opened; 50 if not given")
  ),
  size: specs.size("size").pipe(
    Flag.withDefault(4096),
    Flag.withDescription("Size of the body, such as 500, 100k or 10M; 4k if not given")
  ),
  rate: specs.positive("rate", 1_000_000).pipe(
    Flag.withDescription("Messages a second; as fast as the filter answers if not given"),
    Flag.optional
  ),
  compare: specs.filterAddress("compare").pipe(
    Flag.withMetavar("SPEC2"),
    Flag.withDescription("Measures a second filter too, in turn with the first"),
    Flag.optional
  ),
  json: Flag.Boolean("json").pipe(Flag.withDefault(false), Flag.withDescription("Prints JSON")),
  html: specs.pathFlag("html").pipe(
    Flag.withDescription("Writes a page with plots, all in one file"),
    Flag.optional
  )
}

const bodyLine = `${"All work and no play makes Jack a dull boy.".padEnd(70, ".")}\r\n`

const messageOf = (size: number): MilterClient.Message => ({
  from: "alice@example.net",
  to: "bob@example.org",
  headers: [
    ["Received", "from client.example.org (client.example.org [192.0.2.1])\n\tby mx.example.org (Postfix)"],
    ["Date", "Sun, 22 Nov 2026 11:17:00 +0000"],
    ["From", "Alice <alice@example.net>"],
    ["To", "Bob <bob@example.org>"],
    ["Subject", "Minutes of the meeting"],
    ["Message-Id", "<20261122111700.4711@example.net>"],
    ["MIME-Version", "1.0"],
    ["Content-Type", "text/plain; charset=utf-8"]
  ],
  body: bodyLine.repeat(Math.ceil(size / bodyLine.length)).slice(0, size)
})

/** An MTA's connection to the filter. */
const connectTo = (spec: string, message: MilterClient.Message, flag: string): Connect<exit.Trouble> => {
  const explained = <A, R>(effect: Effect.Effect<A, MilterClient.ClientError, R>) =>
    Effect.mapError(effect, (error) => clientTrouble.explain(error, flag))
  return MilterClient.dial(spec, { as: MilterClient.postfix }).pipe(
    // The end of the session is the filter's goodbye only: what it was asked for has been measured.
    Effect.tap((filter) => Effect.addFinalizer(() => Effect.ignore(filter.quit()))),
    Effect.map((filter) => explained(Effect.map(filter.sendMessage(message), ({ _tag }) => _tag))),
    Effect.provide(dialer),
    explained
  )
}

/** Rounds in which two filters take turns. */
const rounds = 10
/** Messages that are sent and not counted, for filters that compile while they run and for caches of all kinds. */
const warmUp = 100

const share = (total: number, round: number): number =>
  Math.floor(total * (round + 1) / rounds) - Math.floor(total * round / rounds)

interface Side extends benchReport.Measured {
  readonly connect: Connect<exit.Trouble>
}

const measure = (load: Load, sides: ReadonlyArray<Side>) =>
  Effect.gen(function*() {
    for (const { connect } of sides) {
      yield* run({ ...load, messages: Math.min(warmUp, load.messages), rate: undefined }, connect, new Figures())
    }
    if (sides.length === 1) return yield* run(load, sides[0]!.connect, sides[0]!.figures)
    for (let round = 0; round < rounds; round++) {
      const messages = share(load.messages, round)
      for (const { connect, figures } of messages === 0 ? [] : sides) {
        yield* run({ ...load, messages }, connect, figures)
      }
    }
  })

const progressWidth = 30

/** The state of the run on one line of standard error, if that is a terminal, until the effect ends. */
const withProgress = <A, E, R>(effect: Effect.Effect<A, E, R>, load: Load, sides: ReadonlyArray<Side>) => {
  const total = load.messages * sides.length
  const show = Effect.sync(() => {
    const sent = sides.reduce((sum, { figures }) => sum + figures.messages, 0)
    const filled = Math.floor(sent / total * progressWidth)
    const bar = `${"█".repeat(filled)}${"░".repeat(progressWidth - filled)}`
    process.stderr.write(
      `\r\u001b[K${bar} ${Math.floor(sent / total * 100)} %, ${sent.toLocaleString("en-US")} of ${
        benchReport.count(total, "message")
      }`
    )
  })
  const shown = Effect.repeat(show, Schedule.spaced("100 millis"))
  const clear = Effect.sync(() => void process.stderr.write("\r\u001b[K"))
  return Effect.raceFirst(effect, Effect.andThen(shown, Effect.never)).pipe(Effect.ensuring(clear))
}

const write = (path: string, text: string) =>
  FileSystem.FileSystem.pipe(
    Effect.flatMap((files) => files.writeFileString(path, text)),
    Effect.mapError(() => exit.trouble(`cannot write ${path}: give --html a file in a directory that you may write to`))
  )

const print = (text: string) => Effect.sync(() => void process.stdout.write(text))

export const bench = Command.make(
  "bench",
  flags,
  Effect.fnUntraced(function*({ compare, filter, html, json, size, ...given }) {
    const load: Load = { ...given, rate: Option.getOrUndefined(given.rate) }
    const message = messageOf(size)
    const side = (spec: string, flag: string): Side => ({
      spec,
      figures: new Figures(),
      connect: connectTo(spec, message, flag)
    })
    const sides = [side(filter, "SPEC"), ...Option.toArray(compare).map((spec) => side(spec, "--compare"))]
    const result = yield* Effect.result(
      process.stderr.isTTY ? withProgress(measure(load, sides), load, sides) : measure(load, sides)
    )
    const sent = sides.reduce((sum, { figures }) => sum + figures.messages, 0)
    // Nothing was measured: there is nothing to report.
    if (Result.isFailure(result) && sent === 0) return yield* result.failure
    const failure = Result.isFailure(result)
      ? `only ${sent.toLocaleString("en-US")} of ${
        benchReport.count(load.messages * sides.length, "message")
      } were measured: ${result.failure.message}`
      : undefined
    const report: benchReport.Report = { load, size, measured: sides, failure }
    yield* print(json ? benchReport.json(report) : benchReport.text(report, yield* style))
    if (Option.isSome(html)) {
      yield* write(html.value, page(report, DateTime.formatIsoDateUtc(yield* DateTime.now)))
    }
    if (failure !== undefined) return yield* exit.trouble(failure)
  })
).pipe(
  Command.withDescription(
    "Sends messages to a filter over several connections, as Postfix would, and shows throughput and latency. With --rate, " +
      "latency counts from the time at which a message was due. Exit code: 0, or 1 if the filter could not be reached or was " +
      "lost, after which the figures are those of the messages before"
  ),
  Command.withShortDescription("Measures throughput and latency of a filter"),
  Command.withExamples([
    { command: "effect-milter bench unix:/run/opendkim/opendkim.sock --connections 20 --messages 5000" },
    { command: "effect-milter bench inet:11332@127.0.0.1 --rate 50 --html report.html" },
    { command: "effect-milter bench unix:/tmp/new.sock --compare unix:/tmp/old.sock" }
  ])
)

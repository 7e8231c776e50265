/** `effect-milter trace`: sits between an MTA and a filter, and shows the packets. */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import { dialingKey } from "../internal/net/dialer.ts"
import type { Transport } from "../internal/net/transport.ts"
import { Dialer } from "../MilterClient.ts"
import { open } from "../node/internal/open.ts"
import { layer as dialer } from "../node/NodeMilterClient.ts"
import * as Recording from "../Recording.ts"
import * as clientTrouble from "./clientTrouble.ts"
import * as endless from "./endless.ts"
import * as exit from "./exit.ts"
import { listenTrouble } from "./listenTrouble.ts"
import { packetLine, seconds } from "./packetLine.ts"
import { relay, type Side } from "./relay.ts"
import * as specs from "./specs.ts"
import { type Style, style } from "./style.ts"

const flags = {
  listen: specs.listenAddress("listen").pipe(Flag.withDescription("Where the MTA connects to")),
  upstream: specs.filterAddress("upstream").pipe(Flag.withDescription("Where the filter listens")),
  record: specs.pathFlag("record").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription("Writes a recording, for replay and for tests"),
    Flag.optional
  ),
  redact: Flag.Boolean("redact").pipe(
    Flag.withDefault(false),
    Flag.withDescription("Hides addresses, names and texts of mail, on the screen and in the recording")
  ),
  mode: specs.mode
}

const sideName = { mta: "the MTA", filter: "the filter" }

class Tracer {
  private readonly colours: Style
  /** Hides what must not be shown. It must see all lines, since an address gets the same substitute each time. */
  private readonly redact: (line: Recording.Line) => Recording.Line
  private readonly descriptor: number | undefined
  /** Called once, when the trace cannot go on. */
  private readonly onFailure: (trouble: exit.Trouble) => void
  private readonly started = performance.now()
  private connections = 0
  /** Whether names and addresses are hidden. */
  readonly hides: boolean

  constructor(
    colours: Style,
    redact: boolean,
    descriptor: number | undefined,
    onFailure: (trouble: exit.Trouble) => void
  ) {
    this.colours = colours
    this.hides = redact
    this.redact = redact ? Recording.redactor() : (line) => line
    this.descriptor = descriptor
    this.onFailure = onFailure
  }

  nextConnection(): number {
    return ++this.connections
  }

  now(): number {
    return Math.round(performance.now() - this.started)
  }

  print(connection: number, text: string): void {
    process.stdout.write(`${this.colours.cyan(String(connection).padStart(3))} ${text}\n`)
  }

  note(connection: number, text: string): void {
    this.print(connection, `${this.colours.dim(seconds(this.now()))} ${this.colours.bold(text)}`)
  }

  /** Records a line. Gives it as it was recorded. */
  record(line: Recording.Line): Recording.Line {
    const shown = this.redact(line)
    if (this.descriptor === undefined) return shown
    try {
      Fs.writeSync(this.descriptor, `${Recording.formatLine(shown)}\n`)
    } catch (error) {
      this.onFailure(exit.trouble(`the recording ends here, and so does the trace: ${exit.lineOf(error)}`))
    }
    return shown
  }

  event(
    connection: number,
    event: Recording.Event["event"],
    more: Partial<Omit<Recording.Event, "_tag" | "connection" | "event" | "time">> = {}
  ): void {
    this.record({ _tag: "Event", connection, time: this.now(), event, ...more })
  }

  frame(connection: number, line: Recording.RecordedFrame): void {
    const shown = this.record(line)
    if (shown._tag !== "Frame") return
    const packet = Recording.packet(shown)
    this.print(
      connection,
      Result.isSuccess(packet)
        ? packetLine(shown.from, packet.success, shown.time, this.colours)
        : `${this.colours.dim(seconds(shown.time))} ${
          this.colours.red(
            `${sideName[shown.from]} breaks the protocol: ${exit.lineOf(packet.failure)}`
          )
        }`
    )
  }

  junk(connection: number, from: Side, bytes: Uint8Array): void {
    this.event(connection, "junk", { from, length: bytes.length, bytes: bytes.slice() })
    this.note(connection, `${sideName[from]} sends ${bytes.length} bytes that are no frames; they are passed on`)
  }

  closed(connection: number, by: Side, error: unknown): void {
    this.event(connection, error === undefined ? "eof" : "reset", { from: by })
    this.note(
      connection,
      error === undefined ? `${sideName[by]} has closed` : `lost ${sideName[by]}: ${exit.lineOf(error)}`
    )
  }
}

const connect = Effect.fnUntraced(function*(mta: Transport, upstream: string, tracer: Tracer) {
  const connection = tracer.nextConnection()
  tracer.event(connection, "open")
  tracer.note(connection, `${tracer.hides ? "the MTA" : mta.peer} connects`)
  const { [dialingKey]: { dial } } = yield* Dialer
  const filter = yield* Effect.result(dial(upstream))
  if (Result.isFailure(filter)) {
    tracer.event(connection, "refused", { error: exit.lineOf(filter.failure) })
    tracer.note(connection, clientTrouble.unreachable(upstream, filter.failure, "--upstream").message)
    mta.destroy()
    return
  }
  relay(mta, filter.success, {
    frame: (from, frame) => tracer.frame(connection, Recording.frame(from, frame, { connection, time: tracer.now() })),
    junk: (from, bytes) => tracer.junk(connection, from, bytes),
    closed: (by, error) => tracer.closed(connection, by, error)
  })
})

/** Checks at the start that the filter is there: if not, that is most likely a mistake in the address. */
const probe = (upstream: string) =>
  Effect.flatMap(Dialer, (dialer) =>
    dialer[dialingKey].dial(upstream).pipe(
      Effect.map((transport) => transport.destroy()),
      Effect.mapError((cause) => clientTrouble.unreachable(upstream, cause, "--upstream"))
    ))

const recordingFile = (path: string) =>
  Effect.acquireRelease(
    Effect.try({
      // The recording holds mail: only we may read it, and it must not replace a file ("x" does not follow links either).
      try: () => Fs.openSync(path, "wx", 0o600),
      catch: (error) =>
        exit.trouble(
          error instanceof Error && "code" in error && error.code === "EEXIST"
            ? `${path} exists: remove it, or give --record another file`
            : `cannot write ${path}: give --record a file in a directory that you may write to`
        )
    }),
    (descriptor) => Effect.sync(() => Fs.closeSync(descriptor))
  )

const run = Effect.fnUntraced(function*(given: {
  readonly listen: string
  readonly upstream: string
  readonly record: Option.Option<string>
  readonly redact: boolean
  readonly mode: number
}) {
  yield* probe(given.upstream)
  const descriptor = Option.isSome(given.record) ? yield* recordingFile(given.record.value) : undefined
  const failed = yield* Deferred.make<never, exit.Trouble>()
  const tracer = new Tracer(
    yield* style,
    given.redact,
    descriptor,
    (trouble) => void Deferred.doneUnsafe(failed, Effect.fail(trouble))
  )
  tracer.record({ _tag: "Description", event: "trace", description: `effect-milter trace of ${given.upstream}` })
  const warn = (message: string): void => void process.stderr.write(`effect-milter: ${message}\n`)
  const listeners = yield* open(given.listen, { mode: given.mode, owner: undefined, group: undefined }, warn).pipe(
    Effect.mapError((error) => listenTrouble(error))
  )
  yield* endless.markEndless
  const fork = Effect.runForkWith(yield* Effect.context<Dialer>())
  for (const listener of listeners) {
    yield* listener.accept((transport) => void fork(connect(transport, given.upstream, tracer)))
  }
  process.stdout.write(
    `listening on ${listeners.flatMap(({ addresses }) => addresses).join(", ")}, in front of ${given.upstream}\n`
  )
  return yield* Deferred.await(failed)
})

export const trace = Command.make("trace", flags, (given) => run(given).pipe(Effect.scoped, Effect.provide(dialer)))
  .pipe(
    Command.withDescription(
      "Sits between an MTA and a filter, passes everything on and shows it. Ends at Ctrl-C, with exit code 0"
    ),
    Command.withShortDescription("Sits between an MTA and a filter and shows what they say"),
    Command.withExamples([
      {
        command:
          "effect-milter trace --listen inet:9001@127.0.0.1 --upstream inet:9000@127.0.0.1 --record session.jsonl",
        description: "Point the MTA at port 9001"
      }
    ])
  )

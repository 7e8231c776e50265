/** `effect-milter trace`: sits between an MTA and a filter, and shows the packets. */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { dialingKey } from "../../internal/net/dialer.ts"
import type { Transport } from "../../internal/net/transport.ts"
import { Dialer } from "../../MilterClient.ts"
import { open } from "../../node/internal/open.ts"
import { layer as dialer } from "../../node/NodeMilterClient.ts"
import * as Recording from "../../Recording.ts"
import * as endless from "../endless.ts"
import * as specs from "../flags/specs.ts"
import { style } from "../terminal/style.ts"
import * as clientTrouble from "../trouble/clientTrouble.ts"
import * as exit from "../trouble/exit.ts"
import { listenTrouble } from "../trouble/listenTrouble.ts"
import { PacketLog } from "./packetLog.ts"
import * as recordingFile from "./recordingFile.ts"
import { relay } from "./relay.ts"

const flags = {
  listen: specs.listenAddress("listen").pipe(Flag.withDescription("Where the MTA connects to")),
  upstream: specs.filterAddress("upstream").pipe(Flag.withDescription("Where the filter listens")),
  record: specs.pathFlag("record").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription("Writes a recording, for replay and for tests"),
    Flag.optional
  ),
  append: Flag.Boolean("append").pipe(
    Flag.withDefault(false),
    Flag.withDescription("Adds to the recording if it is there already")
  ),
  redact: Flag.Boolean("redact").pipe(
    Flag.withDefault(false),
    Flag.withDescription("Hides addresses, names and texts of mail, on the screen and in the recording")
  ),
  mode: specs.mode
}

/** The log, with the clock of this trace and the numbers of its connections. */
export class Tracer {
  readonly log: PacketLog
  private readonly started = performance.now()
  private connections: number

  /** `connections`: the number of the last connection in the recording so far. */
  constructor(log: PacketLog, connections: number) {
    this.log = log
    this.connections = connections
  }

  nextConnection(): number {
    return ++this.connections
  }

  now(): number {
    return Math.round(performance.now() - this.started)
  }
}

const connect = Effect.fnUntraced(function*(mta: Transport, upstream: string, tracer: Tracer) {
  const { log } = tracer
  const connection = tracer.nextConnection()
  log.event(connection, tracer.now(), "open")
  log.note(connection, tracer.now(), `${log.hides ? "the MTA" : mta.peer} connects`)
  const { [dialingKey]: { dial } } = yield* Dialer
  const filter = yield* Effect.result(dial(upstream))
  if (Result.isFailure(filter)) {
    log.event(connection, tracer.now(), "refused", { error: exit.lineOf(filter.failure) })
    log.note(connection, tracer.now(), clientTrouble.unreachable(upstream, filter.failure, "--upstream").message)
    mta.destroy()
    return
  }
  relay(mta, filter.success, {
    frame: (from, frame) => log.frame(Recording.frame(from, frame, { connection, time: tracer.now() })),
    junk: (from, bytes) => log.junk(connection, tracer.now(), from, bytes, "; they are passed on"),
    closed: (by, error) => log.closed(connection, tracer.now(), by, error)
  })
})

/** Checks at the start that the filter is there: if not, that is most likely a mistake in the address. */
const probe = (upstream: string) =>
  Effect.flatMap(Dialer, (dialer) =>
    dialer[dialingKey].dial(upstream).pipe(
      Effect.map((transport) => transport.destroy()),
      Effect.mapError((cause) => clientTrouble.unreachable(upstream, cause, "--upstream"))
    ))

/** Listens at `listen`, passes each connection on to `upstream`, and shows it. */
export const between = Effect.fnUntraced(function*(listen: string, mode: number, upstream: string, tracer: Tracer) {
  const warn = (message: string): void => void process.stderr.write(`effect-milter: ${message}\n`)
  const listeners = yield* open(listen, { mode, owner: undefined, group: undefined }, warn).pipe(
    Effect.mapError((error) => listenTrouble(error))
  )
  const fork = Effect.runForkWith(yield* Effect.context<Dialer>())
  for (const listener of listeners) {
    yield* listener.accept((transport) => void fork(connect(transport, upstream, tracer)))
  }
  return listeners.flatMap(({ addresses }) => addresses)
})

const run = Effect.fnUntraced(function*(given: {
  readonly listen: string
  readonly upstream: string
  readonly record: Option.Option<string>
  readonly append: boolean
  readonly redact: boolean
  readonly mode: number
}) {
  yield* probe(given.upstream)
  if (given.append && Option.isNone(given.record)) {
    return yield* exit.trouble("--append has no recording to add to: give --record FILE as well")
  }
  const failed = yield* Deferred.make<never, exit.Trouble>()
  const fail = (trouble: exit.Trouble): void => void Deferred.doneUnsafe(failed, Effect.fail(trouble))
  const file = Option.isSome(given.record)
    ? yield* recordingFile.open(given.record.value, given.append, fail)
    : undefined
  const log = new PacketLog(yield* style, given.redact, yield* Clock.currentTimeMillis, file?.write)
  const tracer = new Tracer(log, file?.connections ?? 0)
  log.describe(`effect-milter trace of ${given.upstream}`)
  const addresses = yield* between(given.listen, given.mode, given.upstream, tracer)
  yield* endless.markEndless
  process.stdout.write(`listening on ${addresses.join(", ")}, in front of ${given.upstream}\n`)
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

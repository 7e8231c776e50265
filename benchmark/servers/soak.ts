/**
 * The server of the soak: hooks that answer, fail, die, are slow, do not stop or hold files, by the sender of the message.
 * Counts what it opens and what it closes. Forked with --expose-gc.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Milter from "effect-milter/Milter"
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterServer } from "effect-milter/node"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Fs from "node:fs"

/** What the soak asks for and gets; memory in bytes. */
export interface Sample {
  readonly heap: number
  readonly external: number
  readonly resident: number
  /** Open files and sockets of the process. */
  readonly descriptors: number
  /** What keeps Node's event loop alive: sockets, timers, requests. */
  readonly handles: number
  readonly fibers: number
  readonly connections: number
  readonly messages: number
  /** Since the start. */
  readonly outcomes: { readonly [outcome: string]: number }
}

let fibers = 0
let connections = 0
let messages = 0
const outcomes: Record<string, number> = {}

const collect = async (): Promise<void> => {
  for (let turn = 0; turn < 4; turn++) {
    ;(globalThis.gc as () => void)()
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

const sample = async (): Promise<void> => {
  await collect()
  const { external, heapUsed, rss } = process.memoryUsage()
  const now: Sample = {
    heap: heapUsed,
    external,
    resident: rss,
    descriptors: Fs.readdirSync("/proc/self/fd").length,
    handles: process.getActiveResourcesInfo().length,
    fibers,
    connections,
    messages,
    outcomes
  }
  process.send?.(now)
}

process.on("message", () => void sample())

const kindOf = (localPart: string, stage: string): boolean => localPart.startsWith(stage)

const piece = new Uint8Array(65_536).fill(120)

const filter = Milter.make("soak", {
  modify: ["addHeader", "replaceBody"],
  connection: () =>
    Effect.acquireRelease(
      Effect.sync(() => void connections++),
      () => Effect.sync(() => void connections--)
    ),
  message: () =>
    Effect.acquireRelease(
      Effect.sync(() => void messages++),
      (_, exit) =>
        Effect.sync(() => {
          messages--
          const outcome = Option.match(Milter.outcome(exit), { onNone: () => exit._tag, onSome: ({ _tag }) => _tag })
          outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
        })
    )
}).on({
  connect: () => Effect.succeed(Verdict.continue),
  helo: () => Effect.succeed(Verdict.continue),
  mail: Effect.fnUntraced(function*({ sender }) {
    if (kindOf(sender.localPart, "fail")) return yield* Effect.fail("failed")
    return kindOf(sender.localPart, "reject") ? Verdict.reject() : Verdict.continue
  }),
  rcpt: (_, { envelope }) =>
    kindOf(envelope.sender.localPart, "wait")
      ? Effect.as(Effect.sleep("20 millis"), Verdict.continue)
      : Effect.succeed(Verdict.continue),
  data: (_, { envelope }) =>
    kindOf(envelope.sender.localPart, "hang")
      ? Effect.never
      : kindOf(envelope.sender.localPart, "stubborn")
      ? Effect.as(Effect.uninterruptible(Effect.sleep("500 millis")), Verdict.continue)
      : Effect.succeed(Verdict.continue),
  header: (_, { envelope }) =>
    kindOf(envelope.sender.localPart, "die") ? Effect.die(new Error("died")) : Effect.succeed(Verdict.continue),
  endOfHeaders: () => Effect.succeed(Verdict.continue),
  body: (_, { envelope }) =>
    kindOf(envelope.sender.localPart, "skip") ? Effect.succeed(Verdict.skipBody) : Effect.succeed(Verdict.continue),
  endOfMessage: Effect.fnUntraced(function*(_, { edit, envelope }) {
    const { localPart } = envelope.sender
    yield* edit.addHeader("X-Soak", localPart)
    if (kindOf(localPart, "replace")) {
      yield* edit.replaceBody(Stream.range(1, 16).pipe(Stream.map(() => piece)))
    }
    if (kindOf(localPart, "long")) yield* Effect.sleep("350 millis")
    return kindOf(localPart, "discard") ? Verdict.discardMessage : Verdict.continue
  })
}).pipe(Milter.onFailure(() => Effect.succeed("pass")))

const count: Metric.FiberRuntimeMetricsService = {
  recordFiberStart: () => void fibers++,
  recordFiberEnd: () => void fibers--
}

MilterServer.layer(filter, {
  commandTimeout: "300 millis",
  endOfMessageTimeout: "1 second",
  progressInterval: "100 millis",
  idleTimeout: "2 seconds",
  frameTimeout: "500 millis",
  writeTimeout: "500 millis",
  stopTimeout: "1 second",
  maxRecipients: 3,
  maxConnections: 30
}).pipe(
  Layer.provide(NodeMilterServer.layer({ listen: `unix:${process.argv[2]}` })),
  Layer.tap(() => Effect.sync(() => process.send?.("listening"))),
  Layer.provide(Logger.layer([])),
  Layer.provide(Layer.succeed(Metric.FiberRuntimeMetrics, count)),
  Layer.launch,
  NodeRuntime.runMain({ teardown: NodeMilterServer.teardown })
)
